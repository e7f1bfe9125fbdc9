"""Pictures on the card: only when asked for, only of test data, and as files of the repository."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ayni.data.splits import SplitCheck
from ayni.hub.card_explanations import explanations_section
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run
from ayni.jobs.spec import JobSpec, PublishSpec
from ayni.train.config import TrainConfig
from ayni.train.privacy_config import PrivacyConfig
from ayni.workflows.card_explanations import NOT_ASKED, SHARED, card_explanations
from ayni.workflows.explain_model import Understanding
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.publish_licence import PicturesNotAllowedError, check_pictures
from ayni.workflows.run_job import run_job

from .conftest import open_house

TASK = '''
import torch
from torch import nn


class Corners:
    """Is the bright corner at the top left (0) or at the bottom right (1)?"""

    def build_model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 2))

    def dataset(self, split):
        seed = {"train": 0, "validation": 1, "test": 2}[split]
        images = 0.1 * torch.rand(96, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
        for row, image in enumerate(images):
            image[0, *((0, 0) if row % 2 == 0 else (5, 5))] = 1.0
        return [(image, torch.tensor(row % 2)) for row, image in enumerate(images)]

    def loss(self, model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model, batches):
        pairs = [(model(images).argmax(1) == corners) for images, corners in batches]
        return {"accuracy": float(torch.cat(pairs).float().mean())}

    def example_input(self):
        return torch.zeros(1, 1, 6, 6)

    def data_card(self):
        return {"name": "corners", "licence": "mit"}
'''
JOB = """
name: corners
task: task:Corners
train: {rounds: 4, local_steps: 10, batch_size: 16, learning_rate: 0.05}
explain: {samples: 6}
publish: {repository: me/corners, licence: mit, pictures: true}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, House]:
    folder = tmp_path_factory.mktemp("corners")
    (folder / "job").mkdir()
    (folder / "job" / "task.py").write_text(TASK)
    (folder / "job" / "job.yaml").write_text(JOB)
    house = open_house(folder / "home")
    run = house.runs.create(load_job(folder / "job" / "job.yaml"))
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=True)
    return run, house


def understanding_of(run: Run) -> Understanding:
    result = run.result("explain")
    assert result is not None
    return Understanding.from_json(result)


def test_the_card_shows_pictures_that_are_files_of_the_revision(made: tuple[Run, House]) -> None:
    snapshot = made[1].hub.find("me/corners")

    card = (snapshot.folder / "README.md").read_text()
    pictures = sorted(name for name in snapshot.files if name.startswith("explanations/"))
    assert "## Explanations" in card and "integrated gradients" in card
    assert len(pictures) == 2 * 4
    for name in pictures:
        assert f'<img src="{name}"' in card
        assert (snapshot.folder / name).read_bytes().startswith(b"\x89PNG")


def test_what_the_job_does_not_ask_for_is_not_shown(made: tuple[Run, House], tmp_path: Path) -> None:
    run, house = made
    job = load_job(run.job.task.module_path.parent / "job.yaml", ["publish.pictures=false"])
    other = house.runs.create(job)

    section, pictures = card_explanations(other, understanding_of(run))

    assert section is not None and section.why_none == NOT_ASKED and pictures == {}
    assert "<img" not in explanations_section(section)
    assert section.reasons


def test_a_test_example_that_may_be_one_of_training_is_not_shown(made: tuple[Run, House]) -> None:
    understanding = understanding_of(made[0])

    def found(shared: Mapping[str, int]) -> Any:
        splits = SplitCheck(num_examples={}, num_shared=shared, num_repeated={}, num_looked_at={})
        return card_explanations(made[0], replace(understanding, splits=splits))

    section, pictures = found({"train-validation": 0, "train-test": 1})
    assert section.why_none == SHARED and pictures == {}
    assert len(found({"train-validation": 3, "train-test": 0})[1]) == 8


def test_a_model_that_was_not_explained_has_no_section(made: tuple[Run, House]) -> None:
    understanding = understanding_of(made[0])
    nothing = replace(understanding.explanations, method=None, items=[], checks=None)

    assert card_explanations(made[0], replace(understanding, explanations=nothing)) == (None, {})


def spec(*, pictures: bool = True, **more: Any) -> JobSpec:
    publish = PublishSpec(repository="me/x", pictures=pictures)
    return JobSpec(name="x", task="task:X", publish=publish, **more)


class Data:
    """As much of a task as is asked."""

    def __init__(self, licence: str | None) -> None:
        self.licence = licence

    def data_card(self) -> Mapping[str, Any]:
        return {} if self.licence is None else {"licence": self.licence}


def test_pictures_are_refused_before_any_work_where_records_must_not_be_shown() -> None:
    unknown: Any = Data(None)
    forbidden: Any = Data("cc-by-nd-4.0")
    free: Any = Data("mit")
    private = TrainConfig(privacy=PrivacyConfig(epsilon=8, delta=1e-5))

    with pytest.raises(PicturesNotAllowedError, match="not known"):
        check_pictures(spec(), unknown)
    with pytest.raises(PicturesNotAllowedError, match="forbids adaptations"):
        check_pictures(spec(), forbidden)
    with pytest.raises(PicturesNotAllowedError, match="privacy"):
        check_pictures(spec(train=private), free)
    check_pictures(spec(), free)
    check_pictures(spec(pictures=False), unknown)
