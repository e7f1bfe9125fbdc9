"""Corrupted images in a job, and for models that are there: the same images for all, named references."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayni.data.corruptions.kinds import CorruptionInputError
from ayni.data.corruptions.robustness import ReferenceError
from ayni.data.records import RecordsError
from ayni.errors import UserError
from ayni.hub.repositories import RepositoryNotFoundError
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run
from ayni.workflows.corrupt_model import (
    CorruptionArgumentsError,
    CorruptRequest,
    NotCorruptibleError,
    measure_models,
)
from ayni.workflows.house import House
from ayni.workflows.progress import RecordedProgress
from ayni.workflows.report_run import view_of
from ayni.workflows.run_job import run_job

TASK = '''
import torch
from torch import nn
from torch.utils.data import TensorDataset


class Sides:
    """Is the left or the right side of a small grey image brighter?"""

    def build_model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))

    def dataset(self, split):
        generator = torch.Generator().manual_seed({"train": 0, "validation": 1, "test": 2}[split])
        images = torch.rand(120, 1, 8, 8, generator=generator) * 0.6
        labels = torch.randint(0, 2, (120,), generator=generator)
        images[labels == 0, :, :, :4] += 0.3
        images[labels == 1, :, :, 4:] += 0.3
        return TensorDataset(images, labels)

    def loss(self, model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model, batches):
        right = [(model(images).argmax(1) == labels) for images, labels in batches]
        return {"accuracy": float(torch.cat(right).float().mean())}

    def example_input(self):
        return torch.zeros(1, 1, 8, 8)
'''
JOB = """
name: sides
task: task:Sides
train: {rounds: 2, local_steps: 10, batch_size: 16, learning_rate: 0.02}
compress: {steps: [{half: {}}]}
explain: {samples: 0, corruptions: {samples: 60}}
publish: {repository: me/sides, licence: mit}
"""


def nothing(share: float) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def sides_job(tmp_path: Path) -> Path:
    folder = tmp_path / "sides"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    (folder / "job.yaml").write_text(JOB)
    return folder / "job.yaml"


@pytest.fixture
def finish(house: House, sides_job: Path) -> Callable[..., tuple[Run, RecordedProgress]]:
    def work(*overrides: str) -> tuple[Run, RecordedProgress]:
        run = house.runs.create(load_job(sides_job, overrides))
        progress = RecordedProgress()
        with run.lock():
            run_job(run, house, progress=progress, approve=None, yes=True)
        return run, progress

    return work


def test_report_card_and_receipt_tell_what_corrupted_images_do(
    house: House, finish: Callable[..., tuple[Run, RecordedProgress]]
) -> None:
    run, progress = finish()

    view: Any = view_of(run)
    found = view["robustness"]
    names = [model["model"] for model in found["models"]]
    assert names[0] == "full" and names[-1] == found["reference"] == "logistic regression"
    assert (found["num_examples"], found["seed"], found["note"]) == (60, 0, "")
    full = found["models"][0]
    assert full["mean_error"] == pytest.approx(np.mean([full["errors"][kind] for kind in full["errors"]]))
    assert full["mce_percent"] > 0 and len(full["intervals"]) == 4
    assert any("corrupted images, 100%" in text for _, step, text in progress.events if step == "explain")
    # The corruptions are part of the step explain, and so of its receipt.
    explain = next(step for step in view["footprint"]["steps"] if step["step"] == "explain")
    assert explain["energy_joules"] > 0
    page = (run.folder / "report" / "report.html").read_text()
    assert "What corrupted images do to it" in page and page.count("robustness-fog-title") == 2
    card = (Path(view["published"]["folder"]) / "README.md").read_text()
    assert "## Robustness" in card and "relative to logistic regression" in card
    assert "not audited for bias or privacy" in card

    # The same through the published model: same images, same numbers.
    asked = CorruptRequest(models=["me/sides"], reference="baseline", samples=60)
    again = measure_models(asked, runs=house.runs, hub=house.hub, advanced=nothing)
    assert again.images_sha256 == found["images_sha256"]
    assert dict(again.first.errors.errors) == {kind: tuple(full["errors"][kind]) for kind in full["errors"]}
    assert again.first.errors.model.startswith("me/sides@")
    assert again.first.summary.mce_percent == pytest.approx(full["mce_percent"])

    # A run, its variant, and itself as the reference.
    variant = next(each["name"] for each in view["variants"] if each["name"] == "bfloat16")
    asked = CorruptRequest(models=[f"{run.id}:{variant}"], reference=run.id, samples=60)
    both = measure_models(asked, runs=house.runs, hub=house.hub, advanced=nothing)
    assert [model.errors.model for model in both.models] == [f"{run.id}:{variant}", run.id]
    assert both.models[1].summary.mce_percent == pytest.approx(100)

    assert_refusals(run, house)


def assert_refusals(run: Run, house: House) -> None:
    """What is asked wrongly of a finished run."""

    def refused(error: type[UserError], message: str, **asked: Any) -> None:
        with pytest.raises(error, match=message):
            measure_models(CorruptRequest(**asked), runs=house.runs, hub=house.hub, advanced=nothing)

    refused(CorruptionArgumentsError, "named twice", models=[run.id, run.id])
    refused(UserError, "no variant 'int9'", models=[f"{run.id}:int9"])
    refused(RepositoryNotFoundError, "nobody/none", models=["nobody/none"])
    refused(ReferenceError, "cannot be read", models=[run.id], reference="missing.json")


def test_a_job_without_corruptions_measures_none(
    finish: Callable[..., tuple[Run, RecordedProgress]],
) -> None:
    run, _ = finish("explain.corruptions=null", "compress=null", "publish=null")

    assert view_of(run)["robustness"] is None


def test_a_reference_of_the_hub_is_looked_for_before_training(
    finish: Callable[..., tuple[Run, RecordedProgress]],
) -> None:
    with pytest.raises(RepositoryNotFoundError, match="you/none"):
        finish("explain.corruptions={reference: you/none}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("8, 8, generator=generator) * 0.6", "8, 8, generator=generator) * 60"),
            "The image of row 0 has values",
        ),
        (
            ("images[labels == 0, :, :, :4] += 0.3", "images[3, 0, 0, 0] = float('nan')"),
            "NaN or infinity.*row 3",
        ),
        (("torch.rand(120, 1, 8, 8", "torch.rand(120, 5, 8, 8"), "has the shape|shape"),
        (("TensorDataset(images, labels)", "TensorDataset(images, images)"), "label of row 0"),
    ],
)
def test_what_cannot_be_corrupted_is_found_before_training(
    house: House, sides_job: Path, change: tuple[str, str], message: str
) -> None:
    from ayni.workflows.corrupt_model import check_corruptible

    changed = TASK.replace(*change)
    assert changed != TASK
    (sides_job.parent / "task.py").write_text(changed)
    job = load_job(sides_job)
    task = job.task.load()

    with pytest.raises(NotCorruptibleError, match=message):
        check_corruptible(job.spec, task, task.build_model())


def test_labels_beyond_the_model_s_classes_are_named_by_row(
    house: House, finish: Callable[..., tuple[Run, RecordedProgress]], tmp_path: Path
) -> None:
    from ayni.data.config import DataConfig

    run, _ = finish("explain.corruptions=null", "compress=null", "publish=null")
    rng = np.random.default_rng(0)
    images, labels = rng.random((12, 1, 8, 8)), np.array([0, 1, 2] * 4)
    np.savez(tmp_path / "three.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    np.savez(tmp_path / "wide.npz", inputs=rng.random((12, 1, 8, 9)), labels=np.arange(12) % 2)

    def measured(name: str) -> None:
        asked = CorruptRequest(models=[run.id], data=DataConfig(source=str(tmp_path / name)))
        measure_models(asked, runs=house.runs, hub=house.hub, advanced=nothing)

    with pytest.raises(RecordsError, match=r"label of example 2 is 2.*knows 2 classes"):
        measured("three.npz")
    with pytest.raises(CorruptionInputError, match=r"takes inputs \(1, 8, 8\), the images are \(1, 8, 9\)"):
        measured("wide.npz")


def test_results_are_plain_json(house: House, finish: Callable[..., tuple[Run, RecordedProgress]]) -> None:
    run, _ = finish("explain.corruptions={samples: 20, reference: full}", "compress=null", "publish=null")

    found = json.loads(json.dumps(view_of(run)["robustness"]))
    assert found["reference"] == "full" and found["models"][0]["mce_percent"] == pytest.approx(100)
