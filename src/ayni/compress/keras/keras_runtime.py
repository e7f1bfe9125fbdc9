"""A trained Keras model, built from a task and a file of weights, and run as a variant is run.

The runtime is compiled, as `model.predict` does it: an eager model spends a millisecond on Python alone, and
beside it any form looks fast.

Not covered: JAX and OpenVINO as backends; the number of threads, which TensorFlow takes once in a process,
before its first operation.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from ayni.compress.keras.keras_quantize import load_quantized
from ayni.errors import AyniError
from ayni.keras_weights import load_weights
from ayni.task import Task, TaskFailedError


class DamagedWeightsError(AyniError):
    """The weights are not those of the task's model."""

    def __init__(self, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(
            f"{file.name} does not hold the weights of the task's model: {reason}. "
            "Use the task that it was trained with, or train again."
        )


class KerasRuntime:
    """A Keras 3 model in evaluation mode: a callable on numpy arrays, compiled where the backend can."""

    training = False

    def __init__(self, model: Any) -> None:
        import keras

        self._model = model
        self._run = _compiled(model) if keras.backend.backend() == "tensorflow" else self._run_eagerly
        self._convert = keras.tree.map_structure

    def __call__(self, inputs: Any, *, training: bool = False) -> Any:
        """The model's output for a batch, as numpy arrays.

        Raises:
            ValueError: training mode is asked for.
        """
        if training:
            raise ValueError("a variant computes in evaluation mode only")
        return self._convert(_as_numpy, self._run(inputs))

    def _run_eagerly(self, inputs: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self._model(inputs, training=False)

    def __getattr__(self, name: str) -> Any:
        # A task may ask its own model for more than a call.
        return getattr(self._model, name)

    def eval(self) -> Self:
        """Already in evaluation mode."""
        return self


def build_trained(task: Task, weights: Path) -> Any:
    """The task's model with trained weights.

    Raises:
        TaskFailedError: build_model or example_input raised.
        DamagedWeightsError: the file does not fit.
    """
    model, example = _untrained(task)
    try:
        load_weights(model, weights, example=example)
    except (ValueError, OSError) as error:
        raise DamagedWeightsError(weights, str(error)) from error
    return model


def open_quantized(task: Task, file: Path) -> KerasRuntime:
    """A variant of Keras' own quantization, in the model that the task builds.

    Raises:
        TaskFailedError: build_model or example_input raised.
        CannotQuantizeKerasError, DamagedKerasFileError: the file does not fit the model.
    """
    model, example = _untrained(task)
    load_quantized(model, file, example=example)
    return KerasRuntime(model)


@contextlib.contextmanager
def failure_of(method: str) -> Iterator[None]:
    """Turn what the task's own code raises into an error that names the method."""
    try:
        yield
    except AyniError:
        raise
    except Exception as error:
        raise TaskFailedError(method=method, cause=error) from error


def _untrained(task: Task) -> tuple[Any, Any]:
    with failure_of("build_model"):
        model = task.build_model()
    with failure_of("example_input"):
        return model, task.example_input()


def _compiled(model: Any) -> Callable[[Any], Any]:
    import tensorflow as tf

    # Without retracing for each batch size; numpy arrays would be taken for constants, so they are converted.
    run = tf.function(lambda inputs: model(inputs, training=False), autograph=False, reduce_retracing=True)
    return lambda inputs: run(tf.nest.map_structure(tf.convert_to_tensor, inputs))


def _as_numpy(tensor: Any) -> Any:
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)
