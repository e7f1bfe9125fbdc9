"""The template: a job that runs as it is."""

from pathlib import Path

import pytest

from ayni.cli.init import TEMPLATE_FILES, FileInTheWayError, init
from ayni.jobs.loading import load_job
from ayni.task import REQUIRED_METHODS


def test_the_template_is_a_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my first model!"

    init(folder)

    job = load_job(folder / "job.yaml")
    assert job.spec.name == "my-first-model"
    assert job.spec.publish is not None
    assert job.spec.publish.repository == "me/my-first-model"
    assert f"ayni run '{folder / 'job.yaml'}'" in capsys.readouterr().out


def test_the_folder_here_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    init(Path())

    assert {path.name for path in tmp_path.iterdir()} == set(TEMPLATE_FILES)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text("mine")

    with pytest.raises(FileInTheWayError, match=r"task\.py would be overwritten"):
        init(tmp_path)

    assert (tmp_path / "task.py").read_text() == "mine"
    assert not (tmp_path / "job.yaml").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job").touch()

    with pytest.raises(FileInTheWayError):
        init(tmp_path / "job")


@pytest.mark.slow
def test_the_template_learns(tmp_path: Path) -> None:
    import torch
    from torch.utils.data import DataLoader

    init(tmp_path)
    task = load_job(tmp_path / "job.yaml").task.load()
    torch.manual_seed(0)
    model = task.build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    examples = DataLoader(task.dataset("train"), batch_size=32, shuffle=True)  # type: ignore[arg-type]

    for _, batch in zip(range(90), examples, strict=False):
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        optimizer.step()

    metrics = task.evaluate(model, DataLoader(task.dataset("test"), batch_size=100))  # type: ignore[arg-type]
    assert metrics["accuracy"] > 0.9
    assert model(task.example_input()).shape == (1, 3)
    assert all(hasattr(task, name) for name in REQUIRED_METHODS)
