"""Find the attentions of a model by watching one call of it.

No table of class names: what counts is that scores go through a softmax, or that
scaled_dot_product_attention is called, with an axis of heads; autograd's graph says which layers made the
scores and the values, and which layer takes the result.

    B batch, H heads, T places that ask, S places that are asked, D numbers of one head

Not covered: flex_attention and kernels of other packages; attention inside torch's MultiheadAttention, which
is one module (found by its class where that matters); models with the heads in the batch axis and a batch
that is not the first input's first axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.layer_graph import Node, chain_reaches, nearest_layers, weight_owners
from ayni.compress.structure.restore import traced
from ayni.compress.weights.layers import is_matrix_layer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attention:
    """One attention with several heads, and the layers around it.

    score_layers made queries and keys, value_layers the values; one layer may do all. output_layer
    takes the heads' answers side by side, or is None if no layer takes them just so.
    """

    num_heads: int
    head_dim: int
    score_layers: tuple[nn.Module, ...]
    value_layers: tuple[nn.Module, ...]
    output_layer: nn.Module | None


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    num_heads: int
    scores: tuple[torch.Tensor, ...]
    values: torch.Tensor
    result: torch.Tensor


def find_attentions(model: nn.Module, inputs: ModelInputs) -> list[Attention]:
    """The attentions with more than one head, in the order of calls; one that is called twice, once.

    Cost: one forward pass that keeps its activations.
    """
    owners = weight_owners(model)
    taken: list[tuple[nn.Module, torch.Tensor]] = []

    def note(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], torch.Tensor):
            taken.append((layer, arguments[0]))

    hooks = [layer.register_forward_pre_hook(note) for layer in model.modules() if is_matrix_layer(layer)]
    recorder = _Recorder(inputs.num_examples if inputs.tensors else 1)
    try:
        with traced(model), recorder:
            inputs.run(model)
    finally:
        for hook in hooks:
            hook.remove()
    calls = [call for call in recorder.calls if call.num_heads > 1]
    results: list[Node] = [call.result.grad_fn for call in calls]
    takers: dict[int, nn.Module] = {}
    for layer, argument in taken:
        index = chain_reaches(argument.grad_fn, results)
        if index is not None:
            takers[index] = layer
    return _distinct(
        Attention(
            num_heads=call.num_heads,
            head_dim=call.values.shape[-1],
            score_layers=tuple(nearest_layers(call.scores, owners)),
            value_layers=tuple(nearest_layers([call.values], owners)),
            output_layer=takers.get(index),
        )
        for index, call in enumerate(calls)
    )


class _Recorder(TorchFunctionMode):
    """Notes calls of scaled_dot_product_attention, and of softmax followed by a product with the values."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self._batch_size = batch_size
        self._weights: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        result = func(*args, **given)
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            named = {**dict(zip(("query", "key", "value"), args, strict=False)), **given}
            query, key, value = named["query"], named["key"], named["value"]
            self._note((query, key), value, result, like=query)
        elif name == "softmax" and isinstance(result, torch.Tensor):
            self._weights.append((result, args[0] if args else given["input"]))
        elif name in ("matmul", "__matmul__", "bmm", "einsum"):
            self._note_product([value for value in _flat(args) if isinstance(value, torch.Tensor)], result)
        return result

    def _note_product(self, factors: list[torch.Tensor], result: torch.Tensor) -> None:
        if len(factors) != 2 or not self._weights:
            return
        index = chain_reaches(factors[0].grad_fn, [weights.grad_fn for weights, _ in self._weights])
        if index is not None:
            scores = self._weights[index][1]
            self._note((scores,), factors[1], result, like=scores)

    def _note(
        self,
        scores: tuple[torch.Tensor, ...],
        values: torch.Tensor,
        result: torch.Tensor,
        *,
        like: torch.Tensor,
    ) -> None:
        """`like` is [B, H, T, .], or [B * H, T, .] where a model folds its heads into the batch."""
        if result.grad_fn is None or like.ndim not in (3, 4):
            return
        num_heads = like.shape[1] if like.ndim == 4 else like.shape[0] // max(1, self._batch_size)
        self.calls.append(_Call(num_heads, scores, values, result))


def _flat(arguments: Sequence[Any]) -> list[Any]:
    return [part for value in arguments for part in (value if isinstance(value, tuple | list) else [value])]


def _distinct(attentions: Any) -> list[Attention]:
    seen: dict[tuple[int, ...], Attention] = {}
    for attention in attentions:
        layers = (*attention.score_layers, *attention.value_layers, attention.output_layer)
        seen.setdefault(tuple(map(id, layers)), attention)
    return list(seen.values())
