"""Inputs of a Keras model, as its task gives them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from ayni.compress.calibration import NoModelInputError
from ayni.compress.keras.keras_inputs import joined, keras_inputs, one_by_one
from ayni.task import TaskFailedError

pytestmark = pytest.mark.keras


def test_inputs_are_those_that_evaluate_gives_to_its_model(mnist_task: Any) -> None:
    model = mnist_task.build_model()

    inputs = keras_inputs(mnist_task, model, split="train", num_examples=50, batch_size=32)

    assert [batch.shape for batch in inputs] == [(32, 784), (18, 784)]
    np.testing.assert_array_equal(inputs[0][1], mnist_task.dataset("train")[3500 // 50][0])


def test_a_task_that_never_asks_its_model_is_told_so(altered: Any) -> None:
    def evaluate(_self: Any, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        return {"accuracy": float(len(list(batches)))}

    blind = altered(evaluate=evaluate)

    with pytest.raises(NoModelInputError, match="train"):
        keras_inputs(blind, blind.build_model(), split="train", num_examples=4)


def test_an_empty_split_is_told_so(altered: Any) -> None:
    empty = altered(dataset=lambda _self, _split: [])

    with pytest.raises(NoModelInputError, match="0 examples of the train split"):
        keras_inputs(empty, empty.build_model(), split="train", num_examples=4)


def test_code_of_the_task_that_raises_is_named(altered: Any) -> None:
    def evaluate(_self: Any, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        raise KeyError("label")

    broken = altered(evaluate=evaluate)

    with pytest.raises(TaskFailedError, match=r"evaluate.*label"):
        keras_inputs(broken, broken.build_model(), split="validation", num_examples=4)


def test_structures_are_taken_apart_and_joined_again() -> None:
    pytest.importorskip("keras")
    batch = {"age": np.arange(3)[:, None], "pair": (np.zeros((3, 2)), np.arange(6).reshape(3, 2))}

    singles = one_by_one([batch])
    together = joined(singles, 5)

    assert [single["age"].tolist() for single in singles] == [[[0]], [[1]], [[2]]]
    assert together["age"][:, 0].tolist() == [0, 1, 2, 0, 1]
    assert together["pair"][1].tolist() == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]


def test_only_examples_of_one_shape_are_joined() -> None:
    pytest.importorskip("keras")
    singles = [np.zeros((1, 4)), np.ones((1, 7)), np.full((1, 4), 2.0)]

    assert joined(singles, 3)[:, 0].tolist() == [0, 2, 0]
