"""Quantization-aware training: the model computes with rounded weights while it trains the exact ones.

    forward     w' = dequantize(quantize(w)), on a grid that is fitted to w anew at each step
    backward    dL/dw = dL/dw'                    (straight-through estimator)

The rounding has a gradient of 0 almost everywhere; passing the gradient through as if it were the identity
lets small changes add up until a weight moves to the next value. The grid always covers all weights, so that
no gradient has to be cut off at its ends.

    start_qat(model, grid); train as usual; weights = finish_qat(model); write_packed(path, model, weights)

In evaluation mode the model computes with the same rounded weights, so that its quality is measured as it
will be. Worth it where rounding after training loses much (2 and 3 bits); at 8 bits it is not. Compare with a
model that got the same epochs without it.

Cost: about 12 operations a weight and step beside the model's own.

Source: Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons", 2013,
arXiv:1308.3432, section 4. Jacob et al., CVPR 2018, section 3, arXiv:1712.05877: simulated quantization.
They smooth ranges over steps; for weights the exact range is at hand.

Not covered: activations, learned scales (LSQ), folding batch norm into the weights before (`fold` first),
layers whose weight is shared with another (tied heads), which stay as they are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ayni.compress.packed import weight as packed_weight
from ayni.compress.packed.weight import QuantizedWeight, as_matrix, dense_parameter
from ayni.compress.weights.grids import CannotQuantizeError, Grid
from ayni.compress.weights.layers import NothingToCompressError, require_layers, skipped_layers, weight_OI
from ayni.compress.weights.weight_only import INT4_GRID, MAX_ZERO_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class QatResult:
    """Which layers train on a grid now, and which do not, with the reason."""

    layers: tuple[str, ...]
    skipped: Mapping[str, str]


class FakeQuantize(nn.Module):
    """Parametrization of a weight: its nearest values on a grid, with the gradient of the identity.

    Weights that are 0 at the start stay 0 and get no gradient, where they are so many that they were pruned.
    """

    def __init__(self, grid: Grid, weight: torch.Tensor, *, is_transposed: bool) -> None:
        super().__init__()
        self.grid, self.is_transposed = grid, is_transposed
        is_kept = weight.detach() != 0
        was_pruned = float((~is_kept).float().mean()) > MAX_ZERO_SHARE
        self.is_kept: torch.Tensor | None
        # Not in the state: a checkpoint of training has the same names with and without a mask.
        self.register_buffer("is_kept", is_kept if was_pruned else None, persistent=False)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight as the model computes with it."""
        rounded: torch.Tensor = _StraightThrough.apply(weight, self)  # type: ignore[no-untyped-call]
        return rounded

    def quantize(self, weight: torch.Tensor) -> QuantizedWeight:
        """Grid and codes of a weight as it is now."""
        kept = weight.detach() if self.is_kept is None else weight.detach() * self.is_kept
        matrix_OI = as_matrix(kept, is_transposed=self.is_transposed)
        parameters = self.grid.fit(matrix_OI)
        return QuantizedWeight(
            grid=self.grid,
            parameters=parameters,
            codes=self.grid.quantize(matrix_OI, parameters),
            is_transposed=self.is_transposed,
        )


def start_qat(
    model: nn.Module,
    grid: Grid = INT4_GRID,
    *,
    grids: Mapping[str, Grid] | None = None,
    skip: Sequence[str] = (),
) -> QatResult:
    """Let the model compute with rounded weights from now on, in place.

    The exact weights are the parameters `...parametrizations.weight.original`, the same objects as before: an
    optimizer made earlier goes on training them. A weight that becomes infinite or NaN in training raises
    CannotQuantizeError at the next step.

    Args:
        model: is not changed if anything fails.
        grid: of all linear layers and convolutions.
        grids: other grids for single layers, by name.
        skip: patterns of names of layers to leave alone.

    Raises:
        NothingToCompressError: no layer is left.
        NonFiniteWeightError: a weight is infinite or not a number.
        CannotQuantizeError: a weight is pruned and its grid has no 0.
        ValueError: `grids` names no layer.
    """
    layers = require_layers(model, skip=skip, step="Quantization-aware training")
    if unknown := sorted(set(grids or ()) - set(layers)):
        raise ValueError(f"grids names {unknown[0]!r}, which is no layer that can be trained on a grid")
    num_owners = Counter(
        parameter.data_ptr()
        for module in model.modules()
        for parameter in module._parameters.values()
        if parameter is not None
    )
    skipped = skipped_layers(model, skip=skip)
    rounding: dict[str, FakeQuantize] = {}
    for name, layer in layers.items():
        weight = layer.get_parameter("weight")
        if num_owners[weight.data_ptr()] > 1:
            skipped[name] = "its weight is shared with another layer, which would go on with the exact one"
            continue
        transposed = packed_weight.is_transposed(layer, weight_OI(layer))
        fake = FakeQuantize((grids or {}).get(name, grid), weight, is_transposed=transposed)
        if fake.is_kept is not None and not fake.grid.keeps_zero:
            raise CannotQuantizeError(f"{name} is pruned, and the scheme {fake.grid.scheme!r} has no 0")
        rounding[name] = fake
    if not rounding:
        raise NothingToCompressError(step="Quantization-aware training", skipped=skipped)
    for name, fake in rounding.items():
        parametrize.register_parametrization(layers[name], "weight", fake)
    return QatResult(layers=tuple(rounding), skipped=skipped)


def finish_qat(model: nn.Module) -> dict[str, QuantizedWeight]:
    """Replace the exact weights by the rounded ones for good, in place; codes by name of parameter.

    What the model computes in evaluation mode does not change by it.

    Raises:
        NothingToCompressError: no layer of the model is in quantization-aware training.
    """
    found: dict[str, QuantizedWeight] = {}
    for name, module in list(model.named_modules()):
        fake = _fake_quantize_of(module)
        if fake is None:
            continue
        original = _original(module)
        weight = fake.quantize(original)
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        found[f"{name}.weight" if name else "weight"] = weight
    if not found:
        raise NothingToCompressError(step="Finishing quantization-aware training", skipped={})
    return found


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, fake: FakeQuantize) -> torch.Tensor:
        ctx.is_kept = fake.is_kept
        return dense_parameter(fake.quantize(weight), weight.shape, weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return (grads[0] if ctx.is_kept is None else grads[0] * ctx.is_kept), None


def _fake_quantize_of(module: nn.Module) -> FakeQuantize | None:
    if not parametrize.is_parametrized(module, "weight"):
        return None
    chain = list(module.parametrizations["weight"])  # type: ignore[index]
    # Another parametrization on top of ours would make the weight something else than our codes.
    return chain[0] if len(chain) == 1 and isinstance(chain[0], FakeQuantize) else None


def _original(module: nn.Module) -> torch.Tensor:
    original = module.parametrizations["weight"].original  # type: ignore[index, union-attr]
    assert isinstance(original, torch.Tensor)
    return original
