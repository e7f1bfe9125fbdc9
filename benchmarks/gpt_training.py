"""Ayni's half of the training benchmarks: the small GPT by `RECIPE`, through `train` as a job runs it.

Not covered: the start of worker processes, which no figure here contains.
"""

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.registry import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ayni.train.config import TrainConfig
    from ayni.train.dask_engine import DaskEngine
    from ayni.train.engine import Engine
    from ayni.train.result import TrainResult

TASK_FILE = HERE / "small_gpt.py"


def recipe_config(*, local_steps: int, num_steps: int | None = None, **changes: Any) -> "TrainConfig":
    """`RECIPE` as the keys of a job, with one outer setting for all; `changes` replaces single ones.

    Raises:
        ValueError: the steps are no whole number of rounds.
    """
    # Imported here and below, so that listing the benchmarks does not import torch.
    from ayni.train.config import TrainConfig
    from benchmarks.small_gpt import OUTER_LEARNING_RATE, OUTER_MOMENTUM, RECIPE

    num_steps = num_steps or RECIPE.num_steps
    if num_steps % local_steps:
        raise ValueError(f"{num_steps} steps cannot be cut into rounds of {local_steps}")
    config = TrainConfig(
        learners=RECIPE.num_learners,
        rounds=num_steps // local_steps,
        local_steps=local_steps,
        batch_size=RECIPE.batch_size,
        device="cpu",
        learning_rate=RECIPE.learning_rate,
        weight_decay=RECIPE.weight_decay,
        warmup_steps=RECIPE.warmup_steps,
        gradient_clip=RECIPE.gradient_clip,
        outer_learning_rate=OUTER_LEARNING_RATE,
        outer_momentum=OUTER_MOMENTUM,
    )
    return replace(config, **changes)


@contextmanager
def two_workers() -> "Iterator[DaskEngine]":
    """A local cluster for several trainings, one after the other.

    A training of one step comes first: parts of torch are imported when they are used for the first time,
    and that belongs to the start.
    """
    from ayni.train.dask_engine import DaskEngine

    with DaskEngine(2) as engine:
        train_small_gpt(recipe_config(local_steps=1, num_steps=1), seed=0, engine=engine)
        yield engine


def train_small_gpt(config: "TrainConfig", *, seed: int, engine: "Engine") -> "TrainResult":
    """One training in a folder of its own, which is gone afterwards.

    Raises:
        RuntimeError: a learner was lost or failed, so that times and losses would mean something else.
    """
    from ayni.task import TaskReference
    from ayni.train.result import SilentObserver
    from ayni.train.training import train

    observer = SilentObserver()
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            TaskReference(module_path=TASK_FILE, object_name="SmallGPT"),
            config,
            seed=seed,
            folder=Path(folder) / "train",
            spill_folder=Path(folder) / "spill",
            engine=engine,
            observer=observer,
        )
    if observer.notices:
        raise RuntimeError(f"the training with seed {seed} was disturbed: {'; '.join(observer.notices)}")
    return result


def best_loss(result: "TrainResult") -> float:
    """The lowest validation loss of all rounds."""
    return float(min(line["metrics"]["loss"] for line in result.curve))
