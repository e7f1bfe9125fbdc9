"""`ayni explain` on a finished run, on what it published, on a downloaded folder and on bare weights."""

import json
import shutil
from pathlib import Path

import pytest

from ayni.cli import main
from ayni.jobs.loading import load_job
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.run_job import run_job

from ..workflows.conftest import open_house, write_job

pytest.importorskip("captum")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, House]:
    """A home with one finished run of a table with two columns, compressed and published."""
    folder = tmp_path_factory.mktemp("explained")
    house = open_house(folder / "home")
    job = load_job(
        write_job(folder / "job"),
        ["compress={max_accuracy_drop: 1.0, steps: [{quantize: {mode: dynamic}}]}", "train.rounds=6"],
    )
    run = house.runs.create(job)
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=True)
    return folder, house


@pytest.fixture
def here(made: tuple[Path, House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AYNI_HOME", str(made[0] / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_explained_again_and_stays_as_it_is(
    here: Path, made: tuple[Path, House], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made[1].runs.open("latest")
    before = files_of(run.folder)

    assert main.run_command(["explain", "latest", "--method", "deeplift", "--samples", "5"]) == 0

    shown = capsys.readouterr().out
    assert "DeepLift" in shown and "area below the curve" in shown
    assert "What each feature is worth" in shown and "Page: explanation.html" in shown
    page = (here / "explanation.html").read_text()
    assert page.count('<ol class="bars"') >= 5
    assert len(list((here / "explanation").glob("sample_*.npy"))) == 5
    assert files_of(run.folder) == before


def test_a_published_model_is_compared_with_its_chosen_variant_and_json_has_all(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["explain", "me/points", "--json", "--html", "p.html", "--samples", "2"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["of"].startswith("me/points@")
    assert found["variant"] in ("full-onnx", "int8") and found["num_compared"] == 160
    assert found["checks"]["verdict"] in ("faithful", "unsure", "not faithful")
    assert [each["of"] for each in found["importance"]] == ["model"]
    assert Path(found["items"][0]["attribution_file"]).is_file()
    assert (here / "p.html").is_file()


def test_a_downloaded_folder_and_bare_weights_are_explained_too(
    here: Path, made: tuple[Path, House], capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = made[1].hub.find("me/points")
    shutil.copytree(snapshot.folder, here / "copy")

    assert main.run_command(["explain", "copy", "--samples", "1", "--html", "a.html"]) == 0
    weights, task = "copy/model.safetensors", f"{made[0] / 'job' / 'task.py'}:Points"
    assert main.run_command(["explain", weights, "--samples", "1", "--html", "b.html", "--task", task]) == 0

    assert (here / "a.html").is_file() and (here / "b.html").is_file()


def test_a_folder_whose_task_was_changed_is_not_run(
    here: Path, made: tuple[Path, House], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made[1].hub.find("me/points").folder, here / "copy")
    (here / "copy" / "task.py").write_text("raise SystemExit('was run')")

    assert main.run_command(["explain", "copy"]) != 0

    assert "not what the model was trained with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["me/nothing"], "me/nothing cannot be explained"),
        (["nothing"], "No run is called 'nothing'"),
        (["empty"], "no config.json beside a model.safetensors"),
        (["weights.pt"], "weights are safetensors"),
        (["weights.safetensors"], "--task path/to/task.py:Object"),
        (["weights.safetensors", "--task", "task.py"], "--task is task.py"),
        (["latest", "--task", "task.py:Points"], "has its task"),
        (["latest", "--method", "gradcam"], "gradcam does not fit this model"),
        (["latest", "--method", "magic"], "magic"),
        (["latest", "--samples", "0"], "samples"),
    ],
)
def test_what_cannot_be_explained_is_said_with_what_can(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    (here / "empty").mkdir()
    (here / "weights.pt").write_bytes(b"")
    (here / "weights.safetensors").write_bytes(b"")

    assert main.run_command(["explain", *arguments]) == 2

    assert told in capsys.readouterr().err.replace("\n", " ")
    assert not (here / "explanation.html").exists()
