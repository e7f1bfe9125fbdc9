"""One optimizer step of a Keras model: gradient and update, by the backend's own means.

Not covered: the backends JAX and OpenVINO, whose models are no objects that change.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ayni.train.local import LossShapeError

BatchLoss: TypeAlias = Callable[[Any], Any]


class ModelInMode:
    """The task's model, which computes in training or evaluation mode unless a call says otherwise.

    `training` says which; everything else is the model's own.
    """

    def __init__(self, model: Any, *, training: bool) -> None:
        self._model = model
        self.training = training

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """What the model answers."""
        return self._model(*inputs, **{"training": self.training, **options})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def make_step(model: Any, loss: BatchLoss, optimizer: Any) -> Callable[[Any], float]:
    """A function from a batch to the loss before the step that it takes.

    The backend is that of the running Keras: "tensorflow" or "torch".

    Raises (the function):
        LossShapeError: the loss is not a scalar tensor with a gradient.
    """
    import keras

    if keras.backend.backend() == "torch":
        return _torch_step(model, loss, optimizer)
    return _tensorflow_step(model, loss, optimizer)


def _tensorflow_step(model: Any, loss: BatchLoss, optimizer: Any) -> Callable[[Any], float]:
    import tensorflow as tf

    variables = model.trainable_variables

    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(batch)
        _check_scalar(value)
        gradients = tape.gradient(value, [variable.value for variable in variables])
        _check_gradients(gradients)
        optimizer.apply(gradients, variables)
        return value

    # Without AutoGraph errors of the task keep their class and place. Shapes that change are compiled once
    # with an open dimension instead of again and again.
    run = step if model.run_eagerly else tf.function(step, autograph=False, reduce_retracing=True)
    return lambda batch: _number(run(batch))


def _torch_step(model: Any, loss: BatchLoss, optimizer: Any) -> Callable[[Any], float]:
    import torch

    variables = model.trainable_variables

    def step(batch: Any) -> float:
        for variable in variables:
            variable.value.grad = None
        value = loss(batch)
        _check_scalar(value)
        if not value.requires_grad:
            _check_gradients([])
        value.backward()
        gradients = [variable.value.grad for variable in variables]
        _check_gradients(gradients)
        with torch.no_grad():
            optimizer.apply(gradients, variables)
        return _number(value.detach())

    return step


def _number(value: Any) -> float:
    return float(np.asarray(value).reshape(()))


def _check_scalar(value: Any) -> None:
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise LossShapeError(f"The task's loss returned {type(value).__name__}, expected a scalar tensor.")
    shape = tuple(value.shape)
    if any(size != 1 for size in shape):
        raise LossShapeError(
            f"The task's loss has the shape {shape}, expected a scalar: return keras.ops.mean(loss)."
        )


def _check_gradients(gradients: list[Any]) -> None:
    if all(gradient is None for gradient in gradients):
        raise LossShapeError(
            "The task's loss does not depend on the weights that learn. Compute it with keras.ops (or the "
            "backend's own functions) from the model's output, and freeze not every layer."
        )
