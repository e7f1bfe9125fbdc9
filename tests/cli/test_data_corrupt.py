"""`ayni data corrupt`: a sheet and copies of images, numbers and curves of models, and exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.workflows.conftest import open_house
from tests.workflows.test_corrupt_model import TASK

from ayni.cli import main
from ayni.jobs.loading import load_job
from ayni.workflows.progress import SilentProgress
from ayni.workflows.run_job import run_job


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    for name in ("iris", "rose"):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (12, 10), (number * 20, 90, 200))
            image.save(tmp_path / "flowers" / name / f"{number}.png")
    return tmp_path / "flowers"


@pytest.fixture
def run_id(home: Path, tmp_path: Path) -> str:
    """A finished run of a classifier of 8 x 8 images."""
    folder = tmp_path / "sides"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    (folder / "job.yaml").write_text(
        "name: sides\ntask: task:Sides\nexplain: {samples: 0}\n"
        "train: {rounds: 2, local_steps: 10, batch_size: 16, learning_rate: 0.02}\n"
    )
    house = open_house(home)
    run = house.runs.create(load_job(folder / "job.yaml"))
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=True)
    return run.id


def test_a_source_gets_a_sheet_and_copies(flowers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = flowers.parent / "out"
    arguments = ["--copies", "--kind", "shot-noise", "--severity", "2", "--output", str(output)]

    assert main.run_command(["data", "corrupt", str(flowers), *arguments]) == 0

    shown = capsys.readouterr().out
    assert "4 copies of 4 images, 1 kind at 1 severity" in " ".join(shown.split())
    assert Image.open(output / "corruption-sheet.png").size[0] > 6 * 96
    assert len(list((output / "shot_noise" / "2").rglob("*.png"))) == 4


def test_a_run_gets_its_numbers_together_and_a_page_with_curves(
    run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    arguments = ["--model", "latest", "--reference", "baseline", "--output", str(output)]

    assert main.run_command(["data", "corrupt", *arguments]) == 0

    shown = capsys.readouterr().out
    for column in ("clean", "corrupted", "mCE", "relative", "CE of", "fog", "logistic regression"):
        assert column in " ".join(shown.split())
    page = (output / "robustness.html").read_text()
    assert page.count("<polyline") == 2 * 16 and "src=" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert run_id in page and json.loads((output / "robustness.json").read_text())["num_examples"] == 120


def test_without_a_reference_it_says_so_and_an_earlier_result_can_be_one(
    run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "out")]
    assert main.run_command(["data", "corrupt", "--model", run_id, *output, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reference"] is None and "No reference was named" in found["note"]

    earlier = ["--reference", str(tmp_path / "out" / "robustness.json")]
    assert main.run_command(["data", "corrupt", "--model", run_id, *output, *earlier]) == 0
    assert f"the reference {run_id} (earlier)" in " ".join(capsys.readouterr().out.split())
    assert main.run_command(["data", "corrupt", "--model", run_id, *output, *earlier, "--seed", "1"]) == 2
    assert "Give --seed 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name images to look at"),
        (["flowers", "--reference", "me/x"], "name one with --model"),
        (["flowers", "--kind", "fog"], "add --copies"),
        (["flowers", "--copies", "--kind", "foggy"], "expected one of gaussian_noise"),
        (["--model", "latest", "--copies"], "all 75 settings"),
        (["nowhere"], "There are no data at"),
        (["--model", "latest"], "There are no runs yet"),
    ],
)
@pytest.mark.usefixtures("home")
def test_mistakes_are_explained(
    flowers: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(flowers.parent)

    assert main.run_command(["data", "corrupt", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_values_that_are_none_are_named_with_file_and_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).random((8, 8, 8))
    images[5, 0, 0] = np.nan
    np.savez(tmp_path / "bad.npz", inputs=images, labels=np.arange(8) % 2)

    assert main.run_command(["data", "corrupt", str(tmp_path / "bad.npz")]) == 2
    assert "bad.npz: 1 inputs hold NaN or infinity, the first at row 5" in " ".join(
        capsys.readouterr().err.split()
    )
