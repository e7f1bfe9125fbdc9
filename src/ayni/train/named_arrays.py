"""A model as named arrays: all that learners and the coordinator exchange.

Parameters that learn and float buffers travel, tied weights once, all as float32. Frozen
parameters stay where they are, and so do integer buffers (counters), whose mean has no meaning, and
buffers outside the state dict. The manifest (name, shape, dtype) says which arrays travel; another one
is refused. Models of torch; those of Keras are read in keras_replica.py.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ayni.errors import UserError
from ayni.train.codec import stored_bytes, to_array, view_or_array

NamedArrays: TypeAlias = dict[str, NDArray[Any]]


class ChangedModelError(UserError):
    """The task's model is not the one that the checkpoint or the update was made with."""


def travelling_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Learning parameters and float buffers of the state dict; a tied weight has its first name."""
    kept = model.state_dict(keep_vars=True)
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    named = {**learning, **dict(model.named_buffers())}
    return {name: tensor for name, tensor in named.items() if tensor.is_floating_point() and name in kept}


def buffer_names(model: nn.Module) -> frozenset[str]:
    """Names of the float buffers that travel, such as running means."""
    return frozenset(dict(model.named_buffers())) & frozenset(travelling_tensors(model))


def get_arrays(model: nn.Module, *, copy: bool = True) -> NamedArrays:
    """The travelling tensors as float32 arrays on the CPU.

    Without `copy` an array shares memory with its tensor where it can: read it before the next step.
    """
    read = to_array if copy else view_or_array
    return {name: read(tensor) for name, tensor in travelling_tensors(model).items()}


def set_arrays(model: nn.Module, arrays: NamedArrays) -> None:
    """Copy arrays, all that travel or some of them, into the model.

    Raises:
        ChangedModelError: an unknown name, or another shape or dtype.
    """
    tensors = travelling_tensors(model)
    expected = {name: [list(tensor.shape), "float32"] for name, tensor in tensors.items() if name in arrays}
    check_manifest(expected, make_manifest(arrays))
    with torch.no_grad():
        for name, array in arrays.items():
            # The coordinator's arrays are the memory of its own replica: nothing to copy.
            if array.ctypes.data != tensors[name].data_ptr() or not array.flags.c_contiguous:
                # The caller may hand out an array that others hold too; copy_ leaves it alone.
                tensors[name].copy_(torch.from_numpy(np.require(array, requirements=["C", "W"])))


def make_manifest(arrays: NamedArrays) -> dict[str, list[Any]]:
    """Name -> [shape, dtype], plain JSON, in the order of the arrays."""
    return {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()}


def manifest_digest(manifest: dict[str, list[Any]]) -> str:
    """SHA-256 of a manifest, independent of the order of names."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def digest_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, independent of the order of names.

    One array at a time is looked at, so that a lazy mapping costs no copy of the model.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.require(arrays[name], requirements="C")
        digest.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def digest_of_model(model: nn.Module) -> str:
    """`digest_of` all weights and buffers of the state dict, frozen ones and integers too."""
    return digest_of(_StoredBytes(model))


class _StoredBytes(Mapping[str, NDArray[Any]]):
    """The bytes of each tensor as they are stored, whatever the dtype, made when they are asked for."""

    def __init__(self, model: nn.Module) -> None:
        stored = {
            name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)
        }
        # With its dtype in the name, because the bytes alone would not tell bfloat16 from float16.
        self._tensors = {f"{name} {list(value.shape)} {value.dtype}": value for name, value in stored.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return stored_bytes(self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


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
