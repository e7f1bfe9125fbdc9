"""Linear layers whose bfloat16 weights lie in the order in which the processor multiplies them.

    nn.Linear           weights row by row; oneDNN puts them in order again in every call
    PrepackedLinear     in blocks, once                     mkldnn::_linear_pointwise

The same products, sums and roundings in another order of memory. What is saved is one pass over all weights a
call: a fifth of the time of a product with 128 tokens or with one (SmolLM2-135M on a processor with AMX, one
thread; against float32, 128 tokens are 2.4 times as fast before and 2.9 after, one token 1.0 and 1.3).

The layers take and give any float type and compute in bfloat16. A head that is tied to an embedding gets a
copy of its own: 2 bytes a weight of memory more, and nothing in a file, for this is done after loading.

Cost: one pass over the weights.

Source: oneDNN's developer guide, "Memory Format Propagation" (weights of format tag "any", reordered once).
The operators are those that torch's own compiler makes of frozen linear layers (torch/_inductor/fx_passes/
mkldnn_fusion.py).

Not covered: convolutions, which torch has no such operator for without its compiler; float32, for which it
gains little and loses with one row; training, copying (copy.deepcopy) and saving these modules: write the
model to a file first.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ayni.errors import UserError


class CannotPrepackError(UserError):
    """No layer of the model can be brought into the order of the processor."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"No layer can be prepacked: {reason}. The model was left as it is. Convert it with to_half "
            "first, and have its linear layers on the CPU as plain nn.Linear; or go without this step."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepackedLayers:
    """Names of the layers that were replaced, and bytes of their weights in the new order."""

    names: tuple[str, ...]
    weight_bytes: int


class PrepackedLinear(nn.Module):
    """A linear layer that computes in bfloat16 with weights in oneDNN's order. Not for training."""

    bias: torch.Tensor | None

    def __init__(self, packed: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        # No buffer: opaque memory can neither be stored nor moved, which state_dict and `to` would try.
        self._packed = packed
        self.register_buffer("bias", None if bias is None else bias.detach().to(torch.bfloat16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output, in the dtype of its input."""
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(torch.bfloat16), self._packed, self.bias, "none", [], ""
        )
        return y.to(x.dtype)


def can_prepack() -> bool:
    """Whether this torch has oneDNN, and oneDNN bfloat16 on this processor."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@torch.no_grad()
def prepacked_weight(weight_OI: torch.Tensor) -> torch.Tensor:
    """A bfloat16 copy of a weight [O, I] as an opaque tensor, for `PrepackedLinear`."""
    ordered: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(
        weight_OI.detach().to(torch.bfloat16).contiguous(), None
    )
    return ordered


def prepack_linears(model: nn.Module) -> PrepackedLayers:
    """Replace the bfloat16 linear layers of a model, in place.

    Layers of classes derived from nn.Linear are left alone: others may read their weights directly, as
    torch's MultiheadAttention does.

    Args:
        model: on the CPU, already converted (`torch_variants.to_half`); it keeps its mode.

    Raises:
        CannotPrepackError: torch has no oneDNN for bfloat16 here, or no layer is a plain nn.Linear of
            bfloat16.
    """
    if not can_prepack():
        raise CannotPrepackError("this torch, or this processor, has no oneDNN with bfloat16")
    layers = {name: module for name, module in model.named_modules() if name and _is_suitable(module)}
    if not layers:
        raise CannotPrepackError("it has no linear layers of bfloat16 below its top")
    weights: dict[int, torch.Tensor] = {}
    made: dict[int, PrepackedLinear] = {}
    for layer in layers.values():
        parameter = layer.get_parameter("weight")
        if id(parameter) not in weights:
            weights[id(parameter)] = prepacked_weight(parameter)
        bias = layer._parameters.get("bias")
        made[id(layer)] = PrepackedLinear(weights[id(parameter)], bias).train(layer.training)
    # Every place in which a layer hangs; `named_modules` gave each layer once.
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if id(child) in made:
                parent._modules[key] = made[id(child)]
    return PrepackedLayers(
        names=tuple(layers),
        weight_bytes=sum(weight.numel() * weight.element_size() for weight in weights.values()),
    )


def _is_suitable(module: nn.Module) -> bool:
    if type(module) is not nn.Linear or not module.weight.numel():
        return False
    return module.weight.dtype == torch.bfloat16 and module.weight.device.type == "cpu"
