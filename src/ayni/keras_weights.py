"""The weights of a Keras model under names that are the same in every process and every file.

Keras numbers its layers as they are made, over the whole life of a process: the second model of a kind has
other names than the first. Here a weight is called by its place in `model.weights`, followed by its layer and
itself without those numbers: "003.dense.kernel". The names in order are the order of `model.weights`, so
that a file of them can be used without Ayni:

    weights = safetensors.numpy.load_file("model.safetensors")
    model.set_weights([weights[name] for name in sorted(weights)])

Neither Keras nor numpy is imported with this module: `ayni verify` works without them.

Not covered: states of random generators and of metrics, which are no weights; `.keras` and `.h5` files.
"""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_keras(model: object) -> bool:
    """Whether a model is one of Keras, told without importing Keras."""
    return any(base.__module__.split(".")[0] == "keras" for base in type(model).__mro__)


def named_weights(model: Any) -> dict[str, Any]:
    """Name -> variable, in the order of `model.weights`; a weight that is used twice is there once."""
    weights = model.weights
    width = max(3, len(str(len(weights))))
    return {f"{index:0{width}d}.{_own_name(weight)}": weight for index, weight in enumerate(weights)}


def state_names(model: Any, *, only_moving: bool = False) -> frozenset[str]:
    """Names of the weights that layers keep beside what they learn, such as running means.

    A frozen kernel is none of them: it could learn. With `only_moving` those of frozen layers are left out,
    because Keras computes such layers in evaluation mode.
    """
    # What a variable says of itself (`trainable`) does not tell a running mean from a frozen kernel; in
    # which of the layer's lists it is does. Keras has no public name for these lists (3.0 to 3.15).
    layers = [layer for layer in model._flatten_layers() if layer.trainable or not only_moving]
    kept = {id(each) for layer in layers for each in layer._non_trainable_variables}
    return frozenset(name for name, weight in named_weights(model).items() if id(weight) in kept)


def count_parameters(model: Any) -> int:
    """Frozen ones too, tied ones once, without the state of layers."""
    states = state_names(model)
    return sum(math.prod(weight.shape) for name, weight in named_weights(model).items() if name not in states)


def array_of(weight: Any) -> "NDArray[Any]":
    """A weight as an array on the CPU that numpy and safetensors know: bfloat16 becomes float32."""
    import numpy as np

    array: NDArray[Any] = np.asarray(weight.numpy())
    return array if array.dtype.kind in "biuf" else array.astype(np.float32)


def load_weights(model: Any, path: Path, *, example: Any) -> None:
    """Fill a model from a file; names and shapes must be the model's.

    `example` is one input: many models of Keras have weights only when they have seen one.

    Raises:
        ValueError: they are not, or the file is no safetensors file.
        OSError: the file cannot be read.
    """
    import safetensors
    import safetensors.numpy

    model(example, training=False)
    try:
        arrays = safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    weights = named_weights(model)
    if strangers := sorted(set(arrays) ^ set(weights)):
        raise ValueError(f"{len(strangers)} weights are not in both, such as {strangers[0]}")
    for name, weight in weights.items():
        if arrays[name].shape != tuple(weight.shape):
            raise ValueError(f"{name} has the shape {arrays[name].shape}, the model's is {weight.shape}")
    for name, weight in weights.items():
        weight.assign(arrays[name])


def _own_name(weight: Any) -> str:
    layer, name = ["model", *str(weight.path).split("/")][-2:]
    return f"{_unnumbered(layer)}.{_unnumbered(name)}"


def _unnumbered(name: str) -> str:
    return re.sub(r"_\d+$", "", name)
