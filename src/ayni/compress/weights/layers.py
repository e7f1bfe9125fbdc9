"""Which modules of a model hold weights worth compressing, and how each of them is a matrix product.

Linear layers and convolutions compute the same thing: rows of inputs times a matrix. Pruning and quantization
are written once, for that matrix, and this file is the only one that knows the layers.

    weight_OI           O outputs, I inputs of one output
    input_rows_NI       N rows, one for each position (token, pixel) of each example
    C channels, G groups of a convolution

Not covered: embeddings (looked up, not multiplied), the joint projection inside torch's MultiheadAttention
(in_proj_weight), recurrent layers, transposed convolutions, and weights that a parametrization computes.
"""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import UninitializedParameter

from ayni.errors import UserError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MATRIX_LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, *CONVOLUTIONS)
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class NothingToCompressError(UserError):
    """No layer of the model can take the step."""

    def __init__(self, *, step: str, skipped: Mapping[str, str]) -> None:
        self.step = step
        self.skipped = dict(skipped)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(self.skipped.items())[:5])
        super().__init__(
            f"{step} finds nothing to change: no linear layer or convolution is left"
            f"{f' ({reasons})' if reasons else ' in this model'}. Widen `skip`, or leave this step out."
        )


class NonFiniteWeightError(UserError):
    """A weight is infinite or not a number, so no score or scale can be computed from it."""

    def __init__(self, *, layer: str, num_bad: int, num_weights: int) -> None:
        self.layer, self.num_bad = layer, num_bad
        super().__init__(
            f"{num_bad} of the {num_weights} weights of {layer or 'the model'} are infinite or not a number. "
            "Train again with a lower learning rate, or leave the layer out with `skip`."
        )


def matrix_layers(model: nn.Module, *, skip: Sequence[str] = ()) -> dict[str, nn.Module]:
    """The layers whose weight can be changed on its own, by qualified name, in order of definition.

    A module that occurs twice is named once, by its first name, and so is a weight that two layers share. A
    layer whose weight is an embedding's (the head of most language models) is left out: whoever changes it
    changes the embedding too. `skipped_layers` says why a layer is not here.

    Args:
        model: a layer alone is a model too; its name is "".
        skip: patterns as of a shell ("*.head", "encoder.layer.0.*") of names to leave out.
    """
    return {name: layer for name, layer, reason in _candidates(model, skip) if reason is None}


def skipped_layers(model: nn.Module, *, skip: Sequence[str] = ()) -> dict[str, str]:
    """The linear layers and convolutions that `matrix_layers` leaves out, each with the reason."""
    return {name: reason for name, _, reason in _candidates(model, skip) if reason is not None}


def require_layers(model: nn.Module, *, skip: Sequence[str], step: str) -> dict[str, nn.Module]:
    """`matrix_layers`, proven to be some and to hold finite numbers only.

    Raises:
        NothingToCompressError: no layer is left.
        NonFiniteWeightError: a weight is infinite or not a number.
    """
    layers = matrix_layers(model, skip=skip)
    if not layers:
        raise NothingToCompressError(step=step, skipped=skipped_layers(model, skip=skip))
    for name, layer in layers.items():
        weight = weight_OI(layer)
        num_bad = weight.numel() - int(torch.isfinite(weight).sum())
        if num_bad:
            raise NonFiniteWeightError(layer=name, num_bad=num_bad, num_weights=weight.numel())
    return layers


def weight_OI(layer: nn.Module) -> Tensor:  # noqa: N802 (the shape is part of the name)
    """The weight as a matrix: a view, so that writing to it writes to the layer. Without gradients.

        linear              as it is
        convolution         [O, C / G, *kernel] flattened: the kernel's positions run fastest
        Conv1D              Transformers' own class, transposed

    A convolution whose weight lies in channels-last order has no such view; its weight is laid out anew
    first, with the same values.

    Raises:
        TypeError: the layer is none of `matrix_layers`.
    """
    weight = _own_weight(layer)
    if weight is None or not is_matrix_layer(layer):
        raise TypeError(f"{type(layer).__name__} has no weight matrix of its own; use matrix_layers(model)")
    if not isinstance(layer, CONVOLUTIONS):
        values = weight.detach()
        return values if isinstance(layer, nn.Linear) else values.t()
    if not weight.is_contiguous():
        # Assigned through .data: the parameter stays the same object for ties and optimizers.
        weight.data = weight.data.contiguous()
    return weight.detach().view(weight.shape[0], -1)


def input_rows_NI(layer: nn.Module, activation: Tensor) -> Tensor:  # noqa: N802
    """What the layer multiplies with its weight: one row for each position of each example.

        linear              output rows = rows @ weight_OI(layer).T + bias
        convolution         each row is one patch, padded as the layer pads
        G groups            rows are [N, G * I]: columns [g * I, (g + 1) * I) are what the outputs
                            [g * O / G, (g + 1) * O / G) of weight_OI see

    Cost: a convolution's rows take (kernel size / stride) times the memory of the activation: split it.

    Args:
        layer: one of `matrix_layers`.
        activation: the argument of the layer's forward.
    """
    if not isinstance(layer, CONVOLUTIONS):
        return activation.reshape(-1, activation.shape[-1])
    num_axes = len(layer.kernel_size)
    x = activation if activation.ndim == num_axes + 2 else activation.unsqueeze(0)
    padding = list(layer._reversed_padding_repeated_twice)
    x = functional.pad(x, padding, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    for axis, (size, stride, dilation) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
    ):
        x = x.unfold(2 + axis, (size - 1) * dilation + 1, stride)[..., ::dilation]
    # [example, channel, *positions, *kernel] -> [example, *positions, channel, *kernel]
    order = (0, *range(2, 2 + num_axes), 1, *range(2 + num_axes, 2 + 2 * num_axes))
    return x.permute(order).reshape(-1, layer.in_channels * math.prod(layer.kernel_size))


def num_groups(layer: nn.Module) -> int:
    """G of a convolution; 1 for every other layer."""
    return int(layer.groups) if isinstance(layer, CONVOLUTIONS) else 1


def tied_names(model: nn.Module) -> dict[str, str]:
    """The name of each parameter that is another one, and the first name of that one.

    Tied means the same object, or the same memory read in the same way. Two parameters whose memory overlaps
    in part are not found.
    """
    first_names: dict[Any, str] = {}
    tied: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = first_names.setdefault(_memory(parameter), name)
        if first != name:
            tied[name] = first
    return tied


def is_matrix_layer(layer: nn.Module) -> bool:
    """Whether the layer is of a kind that `weight_OI` knows, whatever its weight is."""
    return isinstance(layer, MATRIX_LAYERS) or _is_transformers_conv1d(layer)


def _candidates(model: nn.Module, skip: Sequence[str]) -> list[tuple[str, nn.Module, str | None]]:
    """Every linear layer and convolution: name, module, and why it is left out (None: it is not)."""
    taken: dict[Any, str] = {}
    found: list[tuple[str, nn.Module, str | None]] = []
    others = {
        _memory(parameter): f"{module_name}.{name}" if module_name else name
        for module_name, module in model.named_modules()
        if not is_matrix_layer(module)
        for name, parameter in module.named_parameters(recurse=False)
    }
    for name, layer in model.named_modules():
        if not is_matrix_layer(layer):
            continue
        weight = _own_weight(layer)
        reason = _unusable(weight)
        if reason is None and weight is not None:
            memory = _memory(weight)
            first = taken.setdefault(memory, name)
            if first != name:
                # Also when the first one is skipped: its weight would change through this layer.
                reason = f"its weight is that of {first}"
            elif memory in others:
                reason = f"its weight is tied to {others[memory]}, which is no such layer"
        skipping = next((pattern for pattern in skip if fnmatchcase(name, pattern)), None)
        found.append((name, layer, reason if skipping is None else f"skip names it ({skipping})"))
    return found


def _unusable(weight: nn.Parameter | None) -> str | None:
    if weight is None:
        return "its weight is computed by a parametrization; remove that first"
    if isinstance(weight, UninitializedParameter):
        return "it has no weight before its first call"
    if weight.device.type == "meta":
        return "its weight is on the meta device and has no values"
    if weight.dtype not in DTYPES:
        return f"its weight is {weight.dtype}"
    return "its weight is empty" if weight.numel() == 0 else None


def _own_weight(layer: nn.Module) -> nn.Parameter | None:
    return layer._parameters.get("weight")


def _is_transformers_conv1d(layer: nn.Module) -> bool:
    # By its shape and name: importing transformers costs seconds, and copies of this class are many.
    weight = _own_weight(layer)
    return (
        type(layer).__name__ == "Conv1D" and hasattr(layer, "nf") and weight is not None and weight.ndim == 2
    )


def _memory(parameter: nn.Parameter) -> Any:
    """Equal for parameters that are one; the object itself where there is no memory to compare."""
    is_bare = isinstance(parameter, UninitializedParameter) or parameter.device.type == "meta"
    if is_bare or parameter.numel() == 0:
        return id(parameter)
    return parameter.device, parameter.data_ptr(), parameter.shape, parameter.stride(), parameter.dtype
