from collections.abc import Callable
from pathlib import Path

import pytest

from ayni.task import TaskReference
from ayni.train.config import TrainConfig
from ayni.train.engine import Engine
from ayni.train.in_process_engine import InProcessEngine
from ayni.train.result import Observer, SilentObserver, TrainResult
from ayni.train.training import train

TINY_TASK = Path(__file__).with_name("tiny_task.py")
SMALL = {"learners": 2, "rounds": 3, "local_steps": 4, "batch_size": 8}


def tiny_task(name: str = "Tiny") -> TaskReference:
    return TaskReference(module_path=TINY_TASK, object_name=name)


def small_config(**changes: object) -> TrainConfig:
    return TrainConfig(**{**SMALL, **changes})  # type: ignore[arg-type]


TrainTiny = Callable[..., TrainResult]


@pytest.fixture
def task_reference() -> Callable[[str], TaskReference]:
    return tiny_task


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    return small_config


@pytest.fixture
def train_tiny(tmp_path: Path) -> TrainTiny:
    """Train the tiny task; keyword arguments that `train` does not know are fields of the configuration."""

    def run(
        *,
        task: str = "Tiny",
        seed: int = 3,
        folder: Path | None = None,
        engine: Engine | None = None,
        observer: Observer | None = None,
        **changes: object,
    ) -> TrainResult:
        folder = folder or tmp_path / "train"
        return train(
            tiny_task(task),
            small_config(**changes),
            seed=seed,
            folder=folder,
            spill_folder=folder / "spill",
            engine=engine or InProcessEngine(),
            observer=observer or SilentObserver(),
        )

    return run
