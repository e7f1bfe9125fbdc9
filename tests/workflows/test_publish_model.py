"""What is published says what the model does, and the code on its card runs."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.files import sha256_of_file
from ayni.hub.prediction import predict
from ayni.hub.run_results import RESULTS_FILE, BadRunResultsError, verify_results
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.publish_model import _purpose
from ayni.workflows.run_job import run_job

LETTERS = '''
import torch
from torch import nn
from torch.utils.data import TensorDataset

TEXT = torch.tensor([0, 1, 2, 2] * 60)


class Letters:
    """What comes after a, b, newline, newline?"""

    def build_model(self):
        return nn.Embedding(3, 3)

    def dataset(self, split):
        windows = TEXT.unfold(0, 6, 1)
        return TensorDataset(windows[:, :5], windows[:, 1:])

    def loss(self, model, batch):
        text, following = batch
        return nn.functional.cross_entropy(model(text).flatten(0, 1), following.flatten())

    def evaluate(self, model, batches):
        return {"nats": float(sum(self.loss(model, batch) for batch in batches))}

    def example_input(self):
        return torch.zeros(1, 5, dtype=torch.int64)

    def labels(self):
        return ["a", "b", "\\n"]


letters = Letters()
'''
JOB = """
name: letters
task: task:{name}
metric: {{better: lower}}
train: {{rounds: 3, local_steps: 20, batch_size: 16, learning_rate: 0.1}}
explain: {{samples: 0}}
publish: {{repository: me/letters, licence: mit}}
"""


def publish(folder: Path, house: House, *, name: str = "Letters") -> Run:
    folder.mkdir()
    (folder / "task.py").write_text(LETTERS)
    (folder / "job.yaml").write_text(JOB.format(name=name))
    run = house.runs.create(load_job(folder / "job.yaml"))
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=False)
    return run


def card_code(published: Path) -> str:
    """The first Python on the card, which needs no Ayni."""
    return (published / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


@pytest.mark.parametrize("name", ["Letters", "letters"])
def test_the_code_of_the_card_runs_for_a_class_and_for_an_object(
    name: str,
    tmp_path: Path,
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish(tmp_path / "job", house, name=name)
    folder = house.hub.find("me/letters").folder
    (tmp_path / "card.py").write_text(card_code(folder))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "task", raising=False)

    runpy.run_path(str(tmp_path / "card.py"))

    monkeypatch.delitem(sys.modules, "task")
    assert capsys.readouterr().out.strip() == "torch.Size([1, 5, 3])"


def test_a_published_language_model_says_which_character_comes_next(tmp_path: Path, house: House) -> None:
    publish(tmp_path / "job", house)
    for name, text in (("short.txt", "ab\n\na\n"), ("long.txt", "ab\n\nab\n\nab\n\na")):
        (tmp_path / name).write_text(text)
    (tmp_path / "numbers.json").write_text("[2, 2, 0]")

    snapshot = house.hub.find("me/letters")
    answers = predict(snapshot, [tmp_path / name for name in ("short.txt", "long.txt", "numbers.json")])

    config = json.loads((snapshot.folder / "config.json").read_text())
    assert (config["pipeline_tag"], config["labels"]) == ("text-generation", ["a", "b", "\n"])
    assert [(answer["label"], answer["prediction"]) for answer in answers] == [("b", 1)] * 3
    assert next(iter(answers[0]["probabilities"])) == "b"


def test_what_a_run_reached_is_published_with_its_evidence(finished: Run) -> None:
    folder = Path(finished.result("publish")["folder"])  # type: ignore[index]
    record = json.loads((folder / RESULTS_FILE).read_text())
    digests = {path.name: sha256_of_file(path) for path in folder.iterdir() if path.is_file()}
    receipts = [json.loads(path.read_text()) for path in sorted((folder / "receipts").iterdir())]

    found = verify_results(record, files=digests, receipts=receipts)

    assert (found.run, found.public_key) == (finished.id, receipts[0]["public_key"])
    assert found.results[0].variant == "full" and found.results[0].metrics
    card = (folder / "README.md").read_text()
    assert f"type: {found.dataset}" in card or f'"type": "{found.dataset}"' in card
    with pytest.raises(BadRunResultsError):
        verify_results(record, files=digests | {found.results[0].file: "0" * 64}, receipts=receipts)


def test_outputs_that_nobody_names_are_not_published_as_classes(finished: Run) -> None:
    folder = Path(finished.result("publish")["folder"])  # type: ignore[index]

    assert json.loads((folder / "config.json").read_text())["pipeline_tag"] == "other"


class Constant(nn.Module):
    """Answers with zeros of one shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, _example: torch.Tensor) -> torch.Tensor:
        return torch.zeros(self.shape)


class Averages(nn.Module):
    """Every answer looks at the whole text, as models do that fill gaps."""

    def forward(self, text_NT: torch.Tensor) -> torch.Tensor:
        return text_NT.float().mean(1)[:, None, None].expand(1, text_NT.shape[1], 2)


class Fails(nn.Module):
    def forward(self, _example: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shape")


IMAGE, ROW, TEXT = torch.zeros(1, 1, 4, 4), torch.zeros(1, 4), torch.zeros(1, 4, dtype=torch.int64)
NAMES = ("no", "yes")


@pytest.mark.parametrize(
    ("model", "example", "labels", "tag", "kept"),
    [
        (Constant(1, 2), IMAGE, NAMES, "image-classification", NAMES),
        (Constant(1, 2), ROW, NAMES, "tabular-classification", NAMES),
        (Constant(1, 2), TEXT, NAMES, "text-classification", NAMES),
        (Constant(1, 2), ROW, None, "other", None),
        (Constant(1, 3), ROW, NAMES, "other", NAMES),
        (nn.Embedding(2, 2), TEXT, NAMES, "text-generation", NAMES),
        (nn.Embedding(3, 3), TEXT, NAMES, "text-generation", None),
        (nn.Embedding(2, 2), TEXT, None, "text-generation", None),
        (Averages(), TEXT, NAMES, "other", NAMES),
        (Constant(1, 4, 2), ROW, NAMES, "other", NAMES),
        (Constant(1, 2, 4, 4), IMAGE, NAMES, "other", NAMES),
        (Fails(), ROW, NAMES, "other", NAMES),
    ],
)
def test_what_a_model_does_is_told_by_what_it_answers(
    model: nn.Module, example: torch.Tensor, labels: Any, tag: str, kept: Any
) -> None:
    assert _purpose(model, example, labels) == (tag, kept)
