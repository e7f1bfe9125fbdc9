"""Fold batch norm into the layer before it: in inference both are one affine map.

    y = g (W x + b - m) / sqrt(v + e) + h  =  W' x + b'
    W' = diag(g / sqrt(v + e)) W           b' = g (b - m) / sqrt(v + e) + h

m, v: running mean and variance; g, h: scale and shift; e: the norm's epsilon. The pairs are read off one
call of the model, and the folded model must then answer as before.

Exporters and ONNX Runtime fold too, so that the gain is torch's alone. It still matters before weights are
quantized: the folded scales differ from channel to channel, and a grid must see them.

Not covered: a norm in front of its layer, group and layer norm (their statistics are the input's own),
transposed convolutions, and training on: the folded model has no running statistics any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ayni.compress.deploy.outputs import named_tensors
from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.layer_graph import count_uses, layers_with_shared_weights
from ayni.compress.structure.restore import traced, unchanged_on_failure
from ayni.compress.structure.surgery import answers, difference_between, replace_everywhere
from ayni.compress.weights.layers import CONVOLUTIONS, weight_OI
from ayni.errors import UserError


class CannotFoldError(UserError):
    """No batch norm of the model can be folded."""

    def __init__(self, reason: str, *, skipped: Mapping[str, str] | None = None) -> None:
        self.reason, self.skipped = reason, dict(skipped or {})
        details = "".join(f"; {name}: {why}" for name, why in list(self.skipped.items())[:3])
        super().__init__(f"Batch norm cannot be folded: {reason}{details}. Leave the step out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """What `fold_batch_norm` did.

    folded: name of the layer that took it in, by the name of each norm that is gone.
    skipped: norms that stayed, and why.
    """

    folded: Mapping[str, str]
    skipped: Mapping[str, str]


def fold_batch_norm(model: nn.Module, inputs: ModelInputs | torch.Tensor) -> Folding:
    """Fold each batch norm into the convolution or linear layer whose result it alone takes. In place.

    A folded norm becomes nn.Identity. Its layer gets new parameters, and a bias if it had none. Numbers are
    computed in float64 and rounded once. Cost: three forward passes.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2, arXiv:1712.05877.

    Args:
        model: stays as it was if the folded model answers differently.
        inputs: one batch as the model is called, on which pairs are found and answers compared; not zeros.

    Raises:
        CannotFoldError: no norm follows a layer, or the answers differ.
    """
    inputs = inputs if isinstance(inputs, ModelInputs) else ModelInputs((inputs,))
    names = {module: name for name, module in model.named_modules()}
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise CannotFoldError("the model has none")
    before, pairs, skipped = _pairs(model, inputs, names)
    if not pairs:
        raise CannotFoldError("none directly follows a layer that it could join", skipped=skipped)
    with unchanged_on_failure(model):
        for norm, layer in pairs.items():
            _fold(layer, norm)
            replace_everywhere(model, norm, nn.Identity().train(norm.training))
        wrong = difference_between(answers(model, inputs), before)
        if wrong is not None:
            raise CannotFoldError(f"the folded model does not answer as before: {wrong}")
    return Folding(
        folded={names[norm]: names[layer] for norm, layer in pairs.items()},
        skipped=skipped,
    )


def _pairs(
    model: nn.Module, inputs: ModelInputs, names: Mapping[nn.Module, str]
) -> tuple[dict[str, torch.Tensor], dict[nn.Module, nn.Module], dict[str, str]]:
    """Answers of the model, the layer of each norm that can be folded, and the others' reasons."""
    made: list[tuple[nn.Module, torch.Tensor]] = []
    taken: dict[nn.Module, list[torch.Tensor]] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            taken.setdefault(module, []).append(arguments[0])
        elif isinstance(result, torch.Tensor):
            made.append((module, result))

    watched = (nn.modules.batchnorm._BatchNorm, nn.Linear, *CONVOLUTIONS)
    hooks = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, watched)]
    try:
        with traced(model):
            answers = named_tensors(inputs.run(model))
    finally:
        for hook in hooks:
            hook.remove()
    shared = layers_with_shared_weights(model)
    pairs: dict[nn.Module, nn.Module] = {}
    skipped: dict[str, str] = {}
    for norm in (module for module in model.modules() if isinstance(module, watched[0])):
        calls = taken.get(norm, [])
        layers = [layer for layer, result in made if len(calls) == 1 and result is calls[0]]
        reason = _unfoldable(norm, calls, layers, shared)
        if reason is None and sum(layer is layers[0] for layer, _ in made) > 1:
            reason = f"{names[layers[0]]} is called more than once"
        # An addition that also takes the layer's result would see it scaled.
        if reason is None and count_uses(answers.values(), calls[0].grad_fn) != 1:
            reason = f"something else also takes the result of {names[layers[0]]}"
        if reason is None:
            pairs[norm] = layers[0]
        else:
            skipped[names[norm]] = reason
    return {name: tensor.detach().clone() for name, tensor in answers.items()}, pairs, skipped


def _unfoldable(
    norm: Any,
    calls: list[torch.Tensor],
    layers: list[nn.Module],
    shared: Mapping[nn.Module, str],
) -> str | None:
    if norm.running_mean is None or norm.running_var is None:
        return "it keeps no running statistics and normalises by each batch"
    if len(calls) != 1:
        return f"it is called {len(calls)} times"
    if len(layers) != 1:
        return "no convolution or linear layer stands directly before it"
    layer = layers[0]
    scale_O, shift_O = _scale_and_shift(norm, None)
    reasons = {
        "it normalises another axis than its linear layer's outputs": (
            isinstance(layer, nn.Linear) and calls[0].ndim != 2
        ),
        "the weight before it is computed by a parametrization": layer._parameters.get("weight") is None,
        "its layer shares a weight with another one": layer in shared or norm in shared,
        "its running variance is negative, or its values are not finite": not bool(
            torch.isfinite(scale_O).all() and torch.isfinite(shift_O).all()
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _scale_and_shift(norm: Any, bias_O: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The diagonal matrix that W is multiplied with, and b'."""
    mean_O = norm.running_mean.double()
    scale_O = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale_O = scale_O * norm.weight.detach().double()
    shift_O = scale_O * ((0.0 if bias_O is None else bias_O.detach().double()) - mean_O)
    return scale_O, shift_O if norm.bias is None else shift_O + norm.bias.detach().double()


def _fold(layer: Any, norm: Any) -> None:
    scale_O, shift_O = _scale_and_shift(norm, layer.bias)
    weight = layer.weight
    folded_OI = scale_O[:, None] * weight_OI(layer).double()
    layer.weight = nn.Parameter(
        folded_OI.reshape(weight.shape).to(weight.dtype), requires_grad=weight.requires_grad
    )
    layer.bias = nn.Parameter(shift_O.to(weight.dtype), requires_grad=weight.requires_grad)
