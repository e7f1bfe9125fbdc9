"""Cut heads out of the layers around one attention, and prove that the cut was right.

    H query heads, U units: heads of keys and values with the query heads that they serve
    D numbers of one head, O outputs, I inputs

Not covered: which heads should go (`ayni.compress.structure.heads`).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.attention import Attention
from ayni.compress.structure.restore import unchanged_on_failure
from ayni.compress.structure.surgery import answers, difference_between
from ayni.compress.weights.layers import weight_OI
from ayni.errors import AyniError

COUNT_NAMES = ("num_heads", "num_attention_heads", "n_heads", "n_head", "nhead", "heads", "num_query_heads")
KEY_COUNT_NAMES = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "kv_heads")
GROUP_NAMES = ("num_key_value_groups", "n_rep")

Layout = Literal["separate", "blocks", "interleaved"]
"""Rows of one layer that makes queries, keys and values: [3, H, D] (blocks) or [H, 3, D] (interleaved)."""


class NoHeadPlanError(AyniError):
    """An attention whose layers do not divide into heads; caught by `prune_heads`, which reports it."""


class _NotTheSameError(AyniError):
    """The smaller model answers differently from the whole one without those heads."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadPlan:
    """How the layers of one attention divide into heads.

    num_units: what can go on its own: heads of keys and values with their queries.
    layers: those whose rows are cut, then the output layer, whose columns are.
    """

    num_heads: int
    num_units: int
    num_key_heads: int
    head_dim: int
    input_layers: tuple[nn.Module, ...]
    value_layer: nn.Module
    output_layer: nn.Module
    is_fused: bool

    @property
    def heads_per_unit(self) -> int:
        """Query heads of one unit."""
        return self.num_heads // self.num_units

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """All layers that would change."""
        return (*self.input_layers, self.output_layer)

    @property
    def value_rows(self) -> Callable[[int], slice] | None:
        """Rows of value_layer that make the values of a query head; None if queries are made there too."""
        if self.is_fused:
            return None
        group = self.num_heads // self.num_key_heads
        return lambda head: slice((head // group) * self.head_dim, (head // group + 1) * self.head_dim)


def plan_heads(attention: Attention) -> HeadPlan:
    """How an attention divides into heads.

    Raises:
        NoHeadPlanError: with the reason, if it does not.
    """
    output = attention.output_layer
    if output is None:
        raise NoHeadPlanError("no layer takes the answers of the heads side by side")
    if len(attention.value_layers) != 1 or not 1 <= len(attention.score_layers) <= 2:
        raise NoHeadPlanError(
            f"its queries and keys come from {len(attention.score_layers)} layers and its values from "
            f"{len(attention.value_layers)}, where 1 to 2 and 1 are expected"
        )
    value = attention.value_layers[0]
    inputs = tuple({id(layer): layer for layer in (*attention.score_layers, value)}.values())
    for layer in (*inputs, output):
        if isinstance(layer, nn.modules.conv._ConvNd):
            raise NoHeadPlanError(f"a {type(layer).__name__} is one of its layers")
    heads, size = attention.num_heads, attention.head_dim
    if weight_OI(output).shape[1] != heads * size:
        raise NoHeadPlanError(
            f"its output layer takes {weight_OI(output).shape[1]} numbers, not {heads} heads of {size}"
        )
    is_fused = value in attention.score_layers
    if is_fused:
        if len(inputs) != 1 or weight_OI(value).shape[0] != 3 * heads * size:
            raise NoHeadPlanError("one layer makes queries, keys and values of different numbers of heads")
        key_heads = heads
    else:
        key_heads, rest = divmod(weight_OI(value).shape[0], size)
        if rest or heads % max(1, key_heads):
            raise NoHeadPlanError(f"its values are {weight_OI(value).shape[0]} numbers, heads have {size}")
    return HeadPlan(
        num_heads=heads,
        # One head of keys for all queries: the queries can go one by one.
        num_units=heads if key_heads == 1 else key_heads,
        num_key_heads=key_heads,
        head_dim=size,
        input_layers=inputs,
        value_layer=value,
        output_layer=output,
        is_fused=is_fused,
    )


def cut_heads(model: nn.Module, plan: HeadPlan, dropped: Sequence[int], inputs: ModelInputs) -> str | None:
    """Remove units from an attention and prove it; None, or why the model is as it was.

        f(model without the heads; inputs) = f(model with W_o's columns of those heads = 0; inputs)

    Model code may hold the number of heads, or their joint width, as attributes: both readings are tried.
    Cost: one forward pass for the answer to expect, and one for each reading that is tried.
    """
    expected = _answer_without(model, plan, dropped, inputs)
    layouts: tuple[Layout, ...] = ("blocks", "interleaved") if plan.is_fused else ("separate",)
    reason = ""
    for layout, with_widths in itertools.product(layouts, (False, True)):
        try:
            with unchanged_on_failure(model):
                _cut_layers(plan, dropped, layout)
                _set_attributes(model, plan, dropped, with_widths=with_widths)
                wrong = difference_between(answers(model, inputs), expected)
                if wrong is not None:
                    raise _NotTheSameError(
                        f"the smaller model does not answer as the whole one without those heads: {wrong}"
                    )
        except _NotTheSameError as error:
            reason = str(error)
        except Exception as error:  # The model's own code meets sizes that it does not expect.
            reason = reason or f"without these heads its forward pass fails ({error})"
        else:
            return None
    return reason


def _answer_without(
    model: nn.Module, plan: HeadPlan, dropped: Sequence[int], inputs: ModelInputs
) -> dict[str, torch.Tensor]:
    weight_OH = weight_OI(plan.output_layer)
    columns = torch.tensor(list(_positions(dropped, plan.heads_per_unit * plan.head_dim)))
    kept = weight_OH[:, columns].clone()
    try:
        weight_OH[:, columns] = 0
        return answers(model, inputs)
    finally:
        weight_OH[:, columns] = kept


def _cut_layers(plan: HeadPlan, dropped: Sequence[int], layout: Layout) -> None:
    unit = plan.heads_per_unit * plan.head_dim
    _keep(plan.output_layer, _others(_positions(dropped, unit), plan.num_heads * plan.head_dim), axis="in")
    for layer in plan.input_layers:
        num_rows = weight_OI(layer).shape[0]
        if layout == "interleaved":
            gone: Iterable[int] = _positions(dropped, 3 * plan.head_dim)
        elif layout == "blocks":
            gone = (row for part in range(3) for row in _positions(dropped, unit, part * num_rows // 3))
        elif plan.num_key_heads == 1 and num_rows < plan.num_heads * plan.head_dim:
            continue  # The one head of keys, or of values, that all queries share.
        else:
            gone = _positions(dropped, num_rows // plan.num_units)
        _keep(layer, _others(gone, num_rows), axis="out")


def _keep(layer: nn.Module, indices: torch.Tensor, *, axis: Literal["in", "out"]) -> None:
    """Replace the layer's parameters by their parts; Conv1D of Transformers stores its weight as [I, O]."""
    is_linear = isinstance(layer, nn.Linear)
    dim = int((axis == "in") == is_linear)
    _replace(layer, "weight", indices, dim)
    if axis == "out" and layer._parameters.get("bias") is not None:
        _replace(layer, "bias", indices, 0)
    size = {("in", True): "in_features", ("out", True): "out_features"}.get(
        (axis, is_linear), "nx" if axis == "in" else "nf"
    )
    setattr(layer, size, len(indices))


def _replace(layer: nn.Module, name: str, indices: torch.Tensor, dim: int) -> None:
    before: nn.Parameter = getattr(layer, name)
    part = before.detach().index_select(dim, indices.to(before.device))
    setattr(layer, name, nn.Parameter(part, requires_grad=before.requires_grad))


def _set_attributes(model: nn.Module, plan: HeadPlan, dropped: Sequence[int], *, with_widths: bool) -> None:
    """Tell the modules that hold the cut layers how many heads are left."""
    heads_left = plan.num_heads - len(dropped) * plan.heads_per_unit
    keys_left = 1 if plan.num_key_heads == 1 else plan.num_key_heads - len(dropped)
    changes = {(name, plan.num_heads): heads_left for name in COUNT_NAMES}
    changes |= {(name, plan.num_key_heads): keys_left for name in KEY_COUNT_NAMES}
    changes |= {(name, plan.num_heads // plan.num_key_heads): heads_left // keys_left for name in GROUP_NAMES}
    widths = {
        plan.num_key_heads * plan.head_dim: keys_left * plan.head_dim,
        plan.num_heads * plan.head_dim: heads_left * plan.head_dim,
    }
    for module in model.modules():
        if not any(child in plan.input_layers for child in module.children()):
            continue
        for name, value in list(vars(module).items()):
            if type(value) is not int:
                continue
            if (name, value) in changes:
                setattr(module, name, changes[name, value])
            elif with_widths and value in widths:
                setattr(module, name, widths[value])


def _positions(units: Sequence[int], size: int, start: int = 0) -> Iterator[int]:
    for unit in units:
        yield from range(start + unit * size, start + (unit + 1) * size)


def _others(gone: Iterable[int], total: int) -> torch.Tensor:
    dropped = set(gone)
    return torch.tensor([index for index in range(total) if index not in dropped])
