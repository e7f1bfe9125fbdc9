"""Inputs that a Keras model really sees: noted while its task evaluates, taken apart and joined.

The twin of calibration.py and inputs.py. An input is what the model is called with: an array, or a list,
tuple or mapping of arrays, each with the examples along its first axis.

Not covered: models that are called with several positional arguments.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ayni.compress.calibration import NoModelInputError, spread
from ayni.compress.keras.keras_runtime import KerasRuntime, failure_of
from ayni.task import Task
from ayni.train.keras_batches import batches


def keras_inputs(task: Task, model: Any, *, split: str, num_examples: int, batch_size: int = 32) -> list[Any]:
    """What the task's evaluate gives to its model for evenly spaced examples of a split.

    A batch may be anything that the task understands, so the task takes it apart itself and the model's
    inputs are noted.

    Raises:
        NoModelInputError: evaluate never called the model with one input, or the split is empty.
        TaskFailedError: the task raised.
    """
    noted = _Noted(KerasRuntime(model))
    with failure_of("evaluate"):
        dataset = task.dataset(split)
        indices = spread(len(dataset), num_examples)
        if not indices:
            raise NoModelInputError(split, num_examples=0)
        task.evaluate(noted, batches(dataset, batch_size, indices=indices))
    if not noted.seen:
        raise NoModelInputError(split, num_examples=len(indices))
    return noted.seen


def one_by_one(inputs: Sequence[Any]) -> list[Any]:
    """Inputs of one example each, in order; arrays are views of those given."""
    import keras

    def example(batch: Any, row: int) -> Any:
        return keras.tree.map_structure(lambda array: np.asarray(array)[row : row + 1], batch)

    return [example(batch, row) for batch in inputs for row in range(_num_examples(batch))]


def joined(singles: Sequence[Any], batch_size: int) -> Any:
    """One input of so many examples: those whose arrays have the shapes of the first, repeated as needed."""
    import keras

    alike = [single for single in singles if _shapes(single) == _shapes(singles[0])]
    chosen = [alike[index % len(alike)] for index in range(batch_size)]
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *chosen)


def _num_examples(batch: Any) -> int:
    import keras

    return len(keras.tree.flatten(batch)[0])


def _shapes(single: Any) -> list[tuple[int, ...]]:
    import keras

    return [array.shape for array in keras.tree.flatten(single)]


class _Noted:
    """A runtime that remembers what it was called with."""

    training = False

    def __init__(self, runtime: KerasRuntime) -> None:
        self._runtime = runtime
        self.seen: list[Any] = []

    def __call__(self, inputs: Any, *, training: bool = False) -> Any:
        self.seen.append(inputs)
        return self._runtime(inputs, training=training)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)
