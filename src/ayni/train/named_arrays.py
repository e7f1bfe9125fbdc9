"""A model as named arrays: all that learners and the coordinator exchange.

Float parameters and float buffers travel, tied weights once, half precision as float32. Integer
buffers (counters) and buffers outside the state dict stay where they are: their mean has no meaning.
The manifest (name, shape, dtype) says which arrays a model has; another one is refused.
"""

import hashlib
import json
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ayni.errors import UserError

NamedArrays: TypeAlias = dict[str, NDArray[Any]]


class ChangedModelError(UserError):
    """The task's model is not the one that the checkpoint or the update was made with."""


def travelling_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Float parameters and float buffers of the state dict by name; a tied weight has its first name."""
    kept = model.state_dict(keep_vars=True)
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor for name, tensor in named.items() if tensor.is_floating_point() and name in kept}


def buffer_names(model: nn.Module) -> frozenset[str]:
    """Names of the float buffers that travel, such as running means."""
    return frozenset(dict(model.named_buffers())) & frozenset(travelling_tensors(model))


def get_arrays(model: nn.Module) -> NamedArrays:
    """Copies of the travelling tensors as float32 or float64 arrays."""
    return {name: to_array(tensor) for name, tensor in travelling_tensors(model).items()}


def to_array(tensor: torch.Tensor) -> NDArray[Any]:
    """A copy on the CPU; half precision becomes float32, because numpy has no bfloat16."""
    dtype = getattr(torch, _dtype_name(tensor))
    array: NDArray[Any] = tensor.detach().to("cpu", dtype, copy=True).numpy()
    return array


def _dtype_name(tensor: torch.Tensor) -> str:
    return "float64" if tensor.dtype == torch.float64 else "float32"


def set_arrays(model: nn.Module, arrays: NamedArrays) -> None:
    """Copy arrays into the model.

    Raises:
        ChangedModelError: a name or shape differs.
    """
    tensors = travelling_tensors(model)
    expected = {name: [list(tensor.shape), _dtype_name(tensor)] for name, tensor in tensors.items()}
    check_manifest(expected, make_manifest(arrays))
    with torch.no_grad():
        for name, tensor in tensors.items():
            # The engine may hand out the array that other learners hold too; copy_ leaves it alone.
            tensor.copy_(torch.from_numpy(np.require(arrays[name], requirements=["C", "W"])))


def make_manifest(arrays: NamedArrays) -> dict[str, list[Any]]:
    """Name -> [shape, dtype], plain JSON."""
    return {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()}


def manifest_digest(manifest: dict[str, list[Any]]) -> str:
    """SHA-256 of a manifest, independent of the order of names."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def check_manifest(expected: dict[str, list[Any]], found: dict[str, list[Any]]) -> None:
    """Refuse arrays that do not fit the model, naming the first difference.

    Raises:
        ChangedModelError: a name is missing or too many, or a shape or dtype differs.
    """
    if expected == found:
        return
    missing = sorted(set(expected) - set(found))
    surplus = sorted(set(found) - set(expected))
    changed = [
        f"{name} is {found[name]}, expected {expected[name]}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    details = [
        *(f"{name} is missing" for name in missing),
        *(f"{name} is unknown" for name in surplus),
        *changed,
    ]
    if details:
        raise ChangedModelError(
            f"The task's model has changed since this run began: {'; '.join(details[:3])}"
            f"{' ...' if len(details) > 3 else ''}. Undo the change, or start a new run."
        )


def num_bytes(arrays: NamedArrays) -> int:
    """Bytes that the arrays take on the wire, without headers."""
    return sum(array.nbytes for array in arrays.values())
