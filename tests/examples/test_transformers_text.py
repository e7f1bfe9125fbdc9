"""The model of Transformers: its splits are apart, its words are those of the training text."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ayni.task import Task, TaskReference
from ayni.train.config import TrainConfig
from ayni.train.strategy_config import AdapterConfig

FOLDER = Path(__file__).parents[2] / "examples" / "transformers_text"


def task_named(name: str) -> Any:
    return TaskReference(module_path=FOLDER / "task.py", object_name=name).load()


@pytest.fixture(scope="module")
def task() -> Any:
    return task_named("ManualTopics")


@pytest.mark.parametrize("name", ["ManualTopics", "OtherTopics"])
def test_no_window_is_in_two_splits_and_every_topic_is_in_each(name: str) -> None:
    task = task_named(name)
    splits = {split: task.dataset(split) for split in ("train", "validation", "test")}

    windows = [{words.tobytes() for words, _ in split} for split in splits.values()]
    assert not windows[0] & windows[1]
    assert not (windows[0] | windows[1]) & windows[2]
    for split in splits.values():
        assert {topic for _, topic in split} == set(range(len(task.labels())))


def test_words_are_numbers_of_the_vocabulary_and_short_paragraphs_are_padded(task: Any) -> None:
    words_ND = np.stack([words for words, _ in task.dataset("train")])

    assert words_ND.shape[1] == 32
    assert 0 <= words_ND.min() <= words_ND.max() < 1500
    padded = words_ND[(words_ND == 0).any(axis=1)]
    assert len(padded) > 0
    assert (np.diff((padded == 0).astype(int), axis=1) >= 0).all()  # nothing follows the padding


def test_a_model_that_always_says_the_same_gets_the_share_of_that_topic(task: Any) -> None:
    class Stubborn(nn.Module):
        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return torch.eye(8)[2].expand(len(words), 8)

    topics = torch.tensor([2, 0, 2, 1])

    assert task.evaluate(Stubborn(), [(torch.zeros(4, 32), topics)])["accuracy"] == 0.5


def test_counting_words_is_better_than_guessing(task: Any) -> None:
    assert task.baseline()["accuracy"] > 0.4


@pytest.mark.slow  # importing transformers and peft takes seconds
def test_it_is_a_task_that_learns_whole_or_by_adapters(task: Any, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    from ayni.train.learner import make_replica

    assert isinstance(task, Task)
    whole = make_replica(task, TrainConfig(), seed=1)
    config = TrainConfig(adapter=AdapterConfig(rank=4))
    whole.save(tmp_path / "model.safetensors")
    other = task_named("OtherTopics")
    adapted = make_replica(other, config, seed=1, init_path=tmp_path / "model.safetensors")
    examples = other.dataset("train")[::80]
    batch = adapted.batch(examples)

    losses = [adapted.step(batch, learning_rate=0.01, where="here") for _ in range(20)]

    assert len(adapted.notices) == 1
    assert sum(array.size for array in adapted.arrays().values()) < whole.num_parameters / 10
    assert losses[-1] < 0.5 * losses[0]
    expected = adapted.mean_loss(examples)
    adapted.save(tmp_path / "adapted.safetensors")
    again = make_replica(other, TrainConfig(), seed=2, init_path=tmp_path / "adapted.safetensors")
    assert again.notices == ()
    assert again.mean_loss(examples) == pytest.approx(expected, rel=1e-4)


def test_the_module_needs_transformers_only_to_build_the_model(task: Any) -> None:
    assert "transformers" not in vars(sys.modules[type(task).__module__])
