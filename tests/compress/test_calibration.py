"""Inputs that the model really sees."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ayni.compress.calibration import NoModelInputError, model_inputs, spread
from ayni.task import Task


@given(num_examples=st.integers(1, 500), num_wanted=st.integers(1, 500))
def test_examples_are_spread_over_the_whole_split(num_examples: int, num_wanted: int) -> None:
    indices = spread(num_examples, num_wanted)

    assert len(set(indices)) == min(num_examples, num_wanted)
    assert indices[0] == 0
    assert max(indices) < num_examples
    assert num_examples - 1 - indices[-1] <= num_examples // len(indices)


def test_inputs_are_what_the_task_gives_to_its_model(bars: Task) -> None:
    inputs = model_inputs(bars, bars.build_model(), split="train", num_examples=10, batch_size=4)

    expected = torch.stack([bars.dataset("train")[index][0] for index in spread(192, 10)])
    assert [len(batch) for batch in inputs] == [4, 4, 2]
    assert torch.equal(torch.cat(inputs), expected)


def test_the_model_is_left_without_a_hook(bars: Task) -> None:
    model = bars.build_model()

    model_inputs(bars, model, split="train", num_examples=2)

    assert not model._forward_pre_hooks


def test_a_task_that_never_calls_the_model_is_refused(bars: Task) -> None:
    class Constant:
        dataset = staticmethod(bars.dataset)

        def evaluate(self, model: Any, batches: Any) -> Mapping[str, float]:
            return {"accuracy": 1.0}

    with pytest.raises(NoModelInputError, match="train split"):
        model_inputs(Constant(), bars.build_model(), split="train", num_examples=2)  # type: ignore[arg-type]
