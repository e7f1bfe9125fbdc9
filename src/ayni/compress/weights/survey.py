"""How a model calls its layers: which, in which order, and with which tensors.

Not covered: layers that a model does not call as modules (inside torch's MultiheadAttention); state that a
model keeps deep inside its own objects, where it is not noticed.
"""

import contextlib
import graphlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.layers import CONVOLUTIONS
from ayni.compress.weights.statistics import CalibrationError
from ayni.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How a model calls its layers, found by one pass of every batch.

    order: names in the order of first calls.
    groups: the first of several layers that are given the same tensor -> all of them.
    num_calls: largest number of calls in one pass.
    keeps_state: the model changed its own attributes in a pass.
    """

    order: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    num_calls: Mapping[str, int]
    keeps_state: bool


def survey_layers(model: nn.Module, inputs: Sequence[ModelInputs], layers: Mapping[str, nn.Module]) -> Survey:
    """Run every batch once and note which layers are called, in which order and with which tensors.

    Raises:
        CalibrationError: the model fails on a batch, or computes numbers that are not finite.
    """
    passes: list[_Pass] = []
    keeps_state = False
    for index, batch in enumerate(inputs):
        notes = _Pass()
        # The first pass may fill caches that stay as they are (tables of positions).
        before = _attributes(model) if index == 1 else None
        with hooked(layers, notes.note):
            run_batch(batch, model, index)
        keeps_state = keeps_state or (before is not None and before != _attributes(model))
        passes.append(notes)
    order = _merged([tuple(notes.leaders) for notes in passes])
    num_calls = {name: max(notes.num_calls.get(name, 0) for notes in passes) for name in order}
    groups: dict[str, tuple[str, ...]] = {}
    for name in order:
        leaders = {notes.leaders.get(name) for notes in passes}
        leader = next(iter(leaders))
        if len(leaders) == 1 and leader in groups and num_calls[name] == num_calls[leader] == 1:
            groups[leader] = (*groups[leader], name)
        else:
            groups[name] = (name,)
    return Survey(order=order, groups=groups, num_calls=num_calls, keeps_state=keeps_state)


@dataclass(slots=True)
class _Pass:
    """Which layer was called, and which layer was given the same tensor first."""

    leaders: dict[str, str] = field(default_factory=dict)
    num_calls: dict[str, int] = field(default_factory=dict)
    _latest: tuple[str, Any, Tensor] | None = None

    def note(self, name: str, layer: nn.Module, activation: Tensor) -> None:
        if not bool(torch.isfinite(activation).all()):
            raise CalibrationError(
                f"{name or 'the model'} is given numbers that are infinite or not a number"
            )
        # The tensor is held until the next call, so that its memory cannot become another tensor's.
        key = _input_key(layer, activation)
        leader = name
        if self._latest is not None and key == self._latest[1]:
            leader = self._latest[0]
        self._latest = leader, key, activation
        self.leaders.setdefault(name, leader)
        self.num_calls[name] = self.num_calls.get(name, 0) + 1


def _merged(sequences: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """One order that agrees with all: what joins the answers of experts comes after every expert."""
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for sequence in sequences:
        for name in sequence[:1]:
            sorter.add(name)
        for before, name in itertools.pairwise(sequence):
            sorter.add(name, before)
    try:
        return tuple(sorter.static_order())
    except graphlib.CycleError:
        # Batches disagree. Then some of them reach a layer that is compressed already.
        return tuple(dict.fromkeys(name for sequence in sequences for name in sequence))


@contextlib.contextmanager
def hooked(
    layers: Mapping[str, nn.Module], notice: Callable[[str, nn.Module, Tensor], None]
) -> Iterator[None]:
    """Meanwhile, call `notice(name, layer, activation)` in front of each call of a layer."""

    def hook_of(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            notice(name, layer, args[0] if args else next(iter(kwargs.values())))

        return hook

    handles = [
        layer.register_forward_pre_hook(hook_of(name), with_kwargs=True) for name, layer in layers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_batch(batch: ModelInputs, model: nn.Module, index: int) -> None:
    """Call the model, whatever it answers.

    Raises:
        CalibrationError: the model raised something that is no `UserError`.
    """
    try:
        batch.run(model)
    except UserError:
        raise
    except Exception as error:  # A model may raise anything.
        raise CalibrationError(
            f"the model fails on batch {index} ({type(error).__name__}: {error})"
        ) from error


def _input_key(layer: nn.Module, activation: Tensor) -> Any:
    """Equal when two layers, called one after the other, are given the same rows."""
    version = None if activation.is_inference() else activation._version
    shape = (activation.data_ptr(), activation.shape, activation.stride(), activation.dtype, version)
    if not isinstance(layer, CONVOLUTIONS):
        return "rows", *shape
    how = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode)
    return type(layer).__name__, *shape, *how


def _attributes(model: nn.Module) -> list[Any]:
    """What changes when a model keeps something from a call: objects by identity, tensors by version."""
    found: list[Any] = []
    for module in model.modules():
        for name, value in (*vars(module).items(), *module._buffers.items()):
            if name not in ("_parameters", "_modules", "_buffers"):
                found.append((name, _Seen(value)))
    return found


class _Seen:
    """Equality of a value with itself at another time. Holds it, so that its identity stays its own."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any) -> None:
        self._value = value
        is_versioned = isinstance(value, Tensor) and not value.is_inference()
        self._mark = (
            value._version if is_versioned else len(value) if isinstance(value, (list, dict)) else None
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Seen) and self._value is other._value and self._mark == other._mark
