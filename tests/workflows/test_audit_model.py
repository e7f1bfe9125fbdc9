"""A job with an audit: what leaks is not published, and the card of what is published anyway says so."""

from pathlib import Path

import pytest
from tests.workflows.conftest import TASK

from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run
from ayni.task import Task
from ayni.workflows.amend_job import amend_job
from ayni.workflows.audit_model import (
    AuditFailedError,
    AuditFound,
    NotAuditableError,
    check_auditable,
)
from ayni.workflows.house import House
from ayni.workflows.progress import RecordedProgress
from ayni.workflows.run_job import run_job

# Labels that mean nothing: whatever the model knows of its training examples it knows by heart.
NOISE_TASK = '''
import torch
from torch import nn
from torch.utils.data import TensorDataset


class Noise:
    """Which of two sides was a picture of noise put on?"""

    def build_model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 64), nn.ReLU(), nn.Linear(64, 2))

    def dataset(self, split):
        generator = torch.Generator().manual_seed({"train": 0, "validation": 1, "test": 2}[split])
        pictures = torch.randn(300 if split == "train" else 150, 1, 6, 6, generator=generator)
        return TensorDataset(pictures, torch.randint(0, 2, (len(pictures),), generator=generator))

    def loss(self, model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model, batches):
        right = [(model(pictures).argmax(1) == sides) for pictures, sides in batches]
        return {"accuracy": float(torch.cat(right).float().mean())}

    def example_input(self):
        return torch.zeros(1, 1, 6, 6)

    def labels(self):
        return ["left", "right"]
'''
NOISE_JOB = """
name: noise
task: task:Noise
train: {learners: 1, rounds: 2, local_steps: 60, batch_size: 50, learning_rate: 0.01}
audit: {method: rmia, shadow_models: 4, records: 300}
explain: {samples: 0}
publish: {repository: me/noise, licence: mit}
"""


@pytest.fixture
def noise_job(tmp_path: Path) -> Path:
    folder = tmp_path / "noise"
    folder.mkdir()
    (folder / "task.py").write_text(NOISE_TASK)
    (folder / "job.yaml").write_text(NOISE_JOB)
    return folder / "job.yaml"


def begin(house: House, path: Path, *overrides: str) -> Run:
    return house.runs.create(load_job(path, overrides))


def finish(run: Run, house: House) -> RecordedProgress:
    progress = RecordedProgress()
    with run.lock():
        run_job(run, house, progress=progress, approve=None, yes=True)
    return progress


def published_card(run: Run, house: House) -> str:
    result = run.result("publish")
    assert result is not None
    return (Path(result["folder"]) / "README.md").read_text()


@pytest.mark.slow
def test_a_model_that_learnt_by_heart_is_not_published_unless_that_is_wanted(
    house: House, noise_job: Path
) -> None:
    run = begin(house, noise_job)

    with pytest.raises(AuditFailedError, match=r"AUC is at least 0\.[89].*despite_audit=true"):
        finish(run, house)

    found = AuditFound.from_json(run.result("audit") or {})
    assert run.result("publish") is None
    assert found.model.attack.num_members == 300
    assert len(found.images) == 8 and all(image and (run.folder / image).is_file() for image in found.images)
    assert set(found.label_names) <= {"left", "right"}

    with run.lock():
        amend_job(run, ["publish.despite_audit=true"])
    progress = finish(run, house)

    assert "The audit failed, and the model was published all the same" in published_card(run, house)
    page = (run.folder / "report" / "report.html").read_text()
    assert "gives away training examples" in page and "models without it" in page
    # What was audited once is not audited again.
    assert any(step == "audit" and "(kept)" in text for _, step, text in progress.events)


def test_a_model_without_secrets_passes_and_its_card_says_who_looked(house: House, job_file: Path) -> None:
    (job_file.parent / "task.py").write_text(TASK.replace("160", "600"))
    run = begin(house, job_file, "audit={method: rmia, shadow_models: 4}")

    progress = finish(run, house)

    assert AuditFound.from_json(run.result("audit") or {}).model.verdict.kind == "pass"
    card = published_card(run, house)
    assert "No leak was found" in card and "audited for bias or robustness" in card
    assert [text for event, step, text in progress.events if (event, step) == ("advanced", "audit")] == [
        f"{number} of 4 shadow models" for number in (1, 2, 3, 4)
    ]


def test_few_examples_get_no_verdict_and_are_published(house: House, job_file: Path) -> None:
    run = begin(house, job_file, "audit={method: rmia, shadow_models: 4}")

    finish(run, house)

    assert AuditFound.from_json(run.result("audit") or {}).model.verdict.kind == "none"
    assert "No verdict: 160 members" in published_card(run, house)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("(points[:, 1] > points[:, 0]).long()", "points[:, 1]"), "label of row 0"),
        (("nn.Linear(8, 2))", "nn.Linear(8, 1))"), r"answers \(1, 1\)"),
        (("TensorDataset(points, ", "TensorDataset(points, points, "), "not a pair"),
    ],
)
def test_what_cannot_be_audited_is_said_before_training(
    house: House, job_file: Path, change: tuple[str, str], message: str
) -> None:
    (job_file.parent / "task.py").write_text(TASK.replace(*change))
    job = load_job(job_file, ["audit={}"])
    task: Task = job.task.load()

    with pytest.raises(NotAuditableError, match=message):
        check_auditable(job.spec, task)


def test_a_model_of_unknown_recipe_cannot_be_audited(job_file: Path) -> None:
    job = load_job(job_file, ["audit={}", "model=task", "train={}"])

    with pytest.raises(NotAuditableError, match="without its recipe"):
        check_auditable(job.spec, job.task.load())
