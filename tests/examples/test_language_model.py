"""The language model: it never sees the character it has to guess, and its baselines are right."""

import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ayni.task import Task, TaskReference

FOLDER = Path(__file__).parents[2] / "examples" / "language_model"


@pytest.fixture(scope="module")
def task() -> Any:
    return TaskReference(module_path=FOLDER / "task.py", object_name="LanguageModel").load()


@pytest.fixture(scope="module")
def module(task: Any) -> Any:
    return sys.modules[type(task).__module__]


def test_it_is_a_task_with_one_to_three_million_parameters(task: Any) -> None:
    assert isinstance(task, Task)
    assert 1_000_000 <= sum(parameter.numel() for parameter in task.build_model().parameters()) <= 3_000_000


def test_an_answer_does_not_depend_on_later_characters(task: Any) -> None:
    model = task.build_model().eval()
    text = torch.randint(128, (1, 128))
    changed = text.clone()
    changed[0, 60:] = torch.randint(128, (68,))

    with torch.no_grad():
        before, after = model(text), model(changed)

    torch.testing.assert_close(before[:, :60], after[:, :60])
    assert not torch.allclose(before[:, 60:], after[:, 60:])


def test_each_window_is_paired_with_itself_one_character_later(task: Any, module: Any) -> None:
    windows, text = task.dataset("validation"), module.symbols_of_split("validation")

    for index in (0, 1, len(windows) - 1):
        given, following = windows[index]
        start = index * module.CONTEXT
        assert given.tolist() == text[start : start + module.CONTEXT].tolist()
        assert following.tolist() == text[start + 1 : start + module.CONTEXT + 1].tolist()
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_the_splits_follow_each_other_and_share_no_paragraph(module: Any) -> None:
    parts = [module.symbols_of_split(split) for split in ("train", "validation", "test")]

    assert np.array_equal(np.concatenate(parts), module.manual())
    paragraphs = bytes(module.manual()).split(b"\n\n")
    counts = Counter(b" ".join(paragraph.split()) for paragraph in paragraphs)
    assert [paragraph for paragraph, count in counts.items() if count > 1] == []


def test_a_model_that_knows_nothing_needs_seven_bits_a_character(task: Any) -> None:
    class Guessing(nn.Module):
        def forward(self, text: torch.Tensor) -> torch.Tensor:
            return torch.zeros(*text.shape, 128)

    text = torch.zeros(2, 5, dtype=torch.int64)

    assert task.evaluate(Guessing(), [(text, text)])["bits_per_character"] == pytest.approx(7.0)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_counting_agrees_with_counting_one_by_one(
    module: Any, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = b"the cat sat on the mat and the rat sat on the cat", b"the rat and the cat"
    texts = {"train": np.frombuffer(train, np.uint8), "test": np.frombuffer(test, np.uint8)}
    monkeypatch.setattr(module, "symbols_of_split", texts.__getitem__)

    bits = module.count_model_bits(order, 0.5)

    pairs = Counter((train[place - order : place], train[place]) for place in range(order, len(train)))
    pasts = Counter(train[place - order : place] for place in range(order, len(train)))
    wanted = [
        -math.log2(
            (pairs[test[place - order : place], test[place]] + 0.5)
            / (pasts[test[place - order : place]] + 0.5 * 128)
        )
        for place in range(order, len(test))
    ]
    assert bits == pytest.approx(sum(wanted) / len(wanted))


def test_longer_memory_makes_a_better_baseline(task: Any) -> None:
    found = task.baseline()

    assert (
        found["bits_per_character"] < found["bigram_bits_per_character"] < found["unigram_bits_per_character"]
    )
