"""Inputs that the model really sees."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ayni.compress.calibration import NoModelInputError, model_inputs, spread
from ayni.compress.inputs import ModelInputs
from ayni.task import Task, TaskFailedError


class Pairs:
    """Ten examples of words and a mask; how the model is called with a batch is given."""

    def __init__(self, call: Any, num_examples: int = 10) -> None:
        self.call, self.num_examples = call, num_examples

    def dataset(self, split: str) -> Sequence[Any]:
        return [
            {"words": torch.full((3,), index), "mask": torch.ones(3)} for index in range(self.num_examples)
        ]

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        for batch in batches:
            self.call(model, batch)
        return {"loss": 0.0}


class Anything(nn.Module):
    """Takes any call."""

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.zeros(1)


def calls_of(call: Any, **options: Any) -> list[ModelInputs]:
    return model_inputs(Pairs(call), Anything(), split="test", num_examples=4, batch_size=3, **options)  # type: ignore[arg-type]


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
    assert [batch.num_examples for batch in inputs] == [4, 4, 2]
    assert all(len(batch.args) == 1 and not batch.kwargs for batch in inputs)
    assert torch.equal(torch.cat([batch.args[0] for batch in inputs]), expected)


def test_a_call_by_name_is_noted_by_name() -> None:
    inputs = calls_of(lambda model, batch: model(input_ids=batch["words"], mask=batch["mask"], cache=None))

    assert [list(batch.kwargs) for batch in inputs] == [["input_ids", "mask", "cache"]] * 2
    assert torch.cat([batch.kwargs["input_ids"] for batch in inputs])[:, 0].tolist() == spread(10, 4)
    assert [batch.kwargs["cache"] for batch in inputs] == [None, None]


def test_several_inputs_and_what_is_no_tensor_are_kept_in_their_places() -> None:
    inputs = calls_of(lambda model, batch: model(batch["words"], 0.5, batch["mask"], flag=True))

    assert [tensor.shape for tensor in inputs[0].tensors.values()] == [(3, 3), (3, 3)]
    assert (inputs[0].args[1], inputs[0].kwargs) == (0.5, {"flag": True})


def test_each_call_of_a_task_that_calls_twice_is_noted() -> None:
    inputs = calls_of(lambda model, batch: (model(batch["words"]), model(batch["mask"])))

    assert [batch.num_examples for batch in inputs] == [3, 3, 1, 1]


def test_what_the_task_writes_later_does_not_reach_what_was_noted() -> None:
    weight = torch.ones(3, requires_grad=True)

    def call(model: Any, batch: Any) -> None:
        with torch.enable_grad():
            given = weight * batch["mask"]
        model(given, [given])
        given.detach().zero_()

    inputs = calls_of(call)

    assert inputs[0].args[0].tolist() == [[1.0] * 3] * 3
    assert inputs[0].args[1][0].tolist() == [[1.0] * 3] * 3
    assert not inputs[0].args[0].requires_grad


@pytest.mark.parametrize(
    "call",
    [
        lambda model, batch: model("text"),
        lambda model, batch: model(),
        lambda model, batch: model(torch.tensor(1.0)),
        lambda model, batch: model(batch),
    ],
)
def test_calls_in_which_no_tensor_holds_examples_are_refused(call: Any) -> None:
    with pytest.raises(NoModelInputError, match="4 examples of the test split"):
        calls_of(call)


def test_a_split_without_examples_is_refused_before_the_task_stumbles() -> None:
    task = Pairs(lambda model, batch: 1 / 0, num_examples=0)

    with pytest.raises(NoModelInputError, match="0 examples of the test split"):
        model_inputs(task, Anything(), split="test", num_examples=4)  # type: ignore[arg-type]


def test_a_task_that_fails_leaves_no_hook_and_is_named() -> None:
    model = Anything()

    with pytest.raises(TaskFailedError, match="KeyError"):
        model_inputs(Pairs(lambda _, batch: batch["no"]), model, split="test", num_examples=4)  # type: ignore[arg-type]

    assert not model._forward_pre_hooks


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
