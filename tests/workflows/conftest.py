"""A job that takes a second: a linear model on points in the plane, trained without worker processes."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ayni import wiring
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run
from ayni.settings import read_settings
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.run_job import run_job

TASK = '''
import torch
from torch import nn
from torch.utils.data import TensorDataset


class Points:
    """Is a point above the diagonal?"""

    def build_model(self):
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))

    def dataset(self, split):
        generator = torch.Generator().manual_seed({"train": 0, "validation": 1, "test": 2}[split])
        points = torch.rand(160, 2, generator=generator)
        return TensorDataset(points, (points[:, 1] > points[:, 0]).long())

    def loss(self, model, batch):
        points, above = batch
        return nn.functional.cross_entropy(model(points), above)

    def evaluate(self, model, batches):
        pairs = [(model(points).argmax(1) == above) for points, above in batches]
        return {"accuracy": float(torch.cat(pairs).float().mean())}

    def example_input(self):
        return torch.zeros(1, 2)
'''
JOB = """
name: points
task: task:Points
seed: 1
train: {rounds: 3, local_steps: 5, batch_size: 16, learning_rate: 0.05}
limits: {credits: 1, energy_kwh: 1, carbon_grams: 100, deadline: 2h}
site: {zone: DE, pue: 1.2, ask_credits_per_core_hour: 1}
explain: {samples: 2}
publish: {repository: me/points, licence: mit}
"""


def write_job(folder: Path) -> Path:
    """A job folder with its task."""
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    (folder / "job.yaml").write_text(JOB)
    return folder / "job.yaml"


def open_house(home: Path) -> House:
    """A real house, but for learners that run in this process."""
    from ayni.train.in_process_engine import InProcessEngine

    @contextlib.contextmanager
    def make_engine(_config: Any) -> Iterator[InProcessEngine]:
        yield InProcessEngine()

    return replace(wiring.Installation(read_settings(home=home)).house, make_engine=make_engine)


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    return write_job(tmp_path / "job")


@pytest.fixture
def house(home: Path) -> House:
    return open_house(home)


@pytest.fixture
def new_run(house: House, job_file: Path) -> Callable[..., Run]:
    """Begins a run of the job, with overrides."""

    def begin(*overrides: str) -> Run:
        return house.runs.create(load_job(job_file, overrides))

    return begin


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, House]:
    """A finished run and its house. Look, do not touch."""
    folder = tmp_path_factory.mktemp("finished")
    house = open_house(folder / "home")
    run = house.runs.create(load_job(write_job(folder / "job")))
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=False)
    return run, house


@pytest.fixture
def finished(finished_once: tuple[Run, House], tmp_path: Path) -> Run:
    """A copy of the finished run's folder, to be spoiled."""
    run, _ = finished_once
    return Run(Path(shutil.copytree(run.folder, tmp_path / "runs" / run.id)))
