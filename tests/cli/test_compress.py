"""`ayni compress` as it is typed: what is shown, what is refused, and with which code it ends."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ayni import wiring
from ayni.cli import main
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run, Runs

# A model of two numbers that is right from the start: build_model gives the trained one.
TASK = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


class Points:
    def build_model(self):
        model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
        with torch.no_grad():
            model[0].weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 1))
            model[0].bias.zero_()
            model[2].weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(1, 8))
            model[2].bias.zero_()
        return model

    def dataset(self, split):
        generator = torch.Generator().manual_seed({"train": 0, "validation": 1, "test": 2}[split])
        points = torch.rand(60, 2, generator=generator)
        return TensorDataset(points, (points[:, 1] > points[:, 0]).long())

    def loss(self, model, batch):
        points, above = batch
        return nn.functional.cross_entropy(model(points), above)

    def evaluate(self, model, batches):
        pairs = [(model(points).argmax(1) == above) for points, above in batches]
        return {"accuracy": float(torch.cat(pairs).float().mean())}

    def example_input(self):
        return torch.zeros(1, 2)
"""


@pytest.fixture
def work(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    return folder


@pytest.fixture
def run(work: Path, home: Path, compress_result: dict[str, Any]) -> Run:
    """A run whose compression is done."""
    (work / "job.yaml").write_text("name: points\ntask: task:Points\n")
    made = Runs(home / "runs").create(load_job(work / "job.yaml"))
    made.save_result("compress", compress_result)
    return made


@pytest.mark.slow
def test_a_model_is_compressed_and_the_result_shown(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["compress", "task", "--task", "task.py:Points", "--steps", "quantize", "--name", "points"]

    assert main.run_command(typed) == 0

    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("Run ") and lines[0].endswith("-points: finished")
    assert [line[2:].split()[0] for line in lines[4:7]] == ["full", "full-onnx", "int8"]
    assert "What changed with" in shown.out or "No variant was chosen" in shown.out
    assert lines[-1].startswith("Report: ")
    assert "compress: done" in shown.err
    assert (work / "points-compress" / "job.yaml").exists()


def test_a_dry_run_writes_the_job_and_shows_its_plan(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["compress", "task", "--task", "task.py:Points", "--budget", "90s", "--dry-run"]

    assert main.run_command(typed) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Wrote Points-compress/job.yaml. Run it with: ayni run Points-compress/job.yaml"
    assert any(line.startswith("compress") and "1 min 30 s" in line.replace("\xa0", " ") for line in lines)
    assert wiring.runs_list() == []
    assert load_job(work / "Points-compress" / "job.yaml").spec.model == "task"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["nowhere.safetensors"], "There is no model 'nowhere.safetensors'"),
        (["task"], "--task is missing. Its build_model gives the trained model."),
        (["task", "--task", "absent.py:Points"], "there is no Python file absent.py"),
        (["task", "--task", "perplexed"], "There is no built-in task 'perplexed'. Did you mean perplexity?"),
        (["work", "--task", "perplexity"], "and work is no folder here"),
        ([".", "--task", "perplexity"], "It has no config.json"),
        (["task", "--task", "task.py:Points", "--max-drop", "-0.5"], "--max-drop: -0.5 cannot be a budget"),
        (["task", "--task", "task.py:Points", "--steps", "quantise"], "did you mean 'quantize'"),
        (["old.keras", "--task", "task.py:Points"], "It is a model of Keras"),
        (["show", "latest"], "There are no runs yet."),
        (["compare", "latest", "full", "int8"], "There are no runs yet."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_ends_with_2(
    work: Path, capsys: pytest.CaptureFixture[str], typed: list[str], said: str
) -> None:
    (work / "old.keras").touch()

    assert main.run_command(["compress", *typed]) == 2

    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err and shown.out == ""
    assert not list(work.glob("*-compress"))


@pytest.mark.parametrize(
    "typed", [["task", "--prefer", "beauty"], ["task", "--better", "bigger"], ["task", "--inferences", "0"]]
)
def test_a_value_that_is_none_of_the_choices_is_refused(
    work: Path, capsys: pytest.CaptureFixture[str], typed: list[str]
) -> None:
    assert main.run_command(["compress", *typed]) == 2

    assert f"Invalid value for '{typed[1]}'" in capsys.readouterr().err


def test_the_variants_of_the_newest_run_are_shown(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["compress", "show"]) == 0

    text = capsys.readouterr().out
    assert text.startswith(f"Run {run.id}: interrupted\n")
    assert "* int8" in text and "Search: 2 pipelines measured" in text


def test_json_is_the_result_and_nothing_else(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["compress", "show", run.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == wiring.compress_show(run.id)

    assert main.run_command(["compress", "compare", "latest", "full", "int8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == wiring.compress_compare(run.id, "full", "int8")


def test_two_variants_are_compared(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["compress", "compare", run.id, "full", "int8"]) == 0

    assert capsys.readouterr().out.startswith(f"A: full of {run.id}\nB: int8 (chosen) of {run.id}\n")


def test_looking_at_a_result_needs_no_torch(run: Run) -> None:
    code = (
        "import sys; from ayni.cli import main; code = main.run_command(['compress', 'show']); "
        "sys.exit(code or bool({'torch', 'numpy', 'onnx', 'dask'} & set(sys.modules)))"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr
