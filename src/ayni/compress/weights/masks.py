"""Which weights stay: masks by magnitude, by threshold, n of every m; and keeping them through training.

    weight_OI       O outputs, I inputs, as `ayni.compress.weights.layers` gives them
    keep_OI         True where the weight stays

Sparsity is the number of zeros over the number of weights, in the layers that were pruned. It makes nothing
faster on a CPU, and a file smaller only when zeros are stored as such.

Source: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015,
section 3, arXiv:1506.02626 (magnitude). Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021,
section 3, arXiv:2104.08378 (n of m).

Not covered: whole channels (`prune`); scores that need data (`wanda`, `second_order`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ayni.compress.weights.layers import matrix_layers, require_layers, skipped_layers, weight_OI
from ayni.errors import AyniError, UserError

Scope = Literal["global", "layer"]
Masks = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class NofM:
    """Of every `of` consecutive inputs of an output `kept` stay. 2:4 is what sparse GPU kernels compute."""

    kept: int
    of: int

    def __post_init__(self) -> None:
        if not 0 < self.kept < self.of:
            raise ValueError(f"a pattern n:m keeps n of m with 0 < n < m, not {self.kept}:{self.of}")

    @classmethod
    def parse(cls, text: str) -> "NofM":
        """From "2:4".

        Raises:
            ValueError: not of this form.
        """
        match = re.fullmatch(r"(\d+):(\d+)", text)
        if match is None:
            raise ValueError(f"{text!r} is no pattern n:m such as '2:4'")
        return cls(kept=int(match[1]), of=int(match[2]))

    @property
    def sparsity(self) -> float:
        """Share of zeros: (m - n) / m."""
        return 1 - self.kept / self.of


Pattern = float | NofM
"""How much goes: a sparsity with any pattern, or n of every m."""


class PatternMismatchError(UserError):
    """The inputs of a layer do not divide into groups of m."""

    def __init__(self, *, layer: str, num_inputs: int, of: int) -> None:
        self.layer, self.num_inputs, self.of = layer, num_inputs, of
        super().__init__(
            f"{layer or 'the model'} has {num_inputs} inputs for each output, which are no groups of {of}. "
            "Leave the layer out with `skip`, or ask for a sparsity without a pattern."
        )


class MaskMismatchError(AyniError):
    """Masks were made for a model of another shape."""

    def __init__(self, *, layer: str, reason: str) -> None:
        self.layer = layer
        super().__init__(f"The mask of {layer or 'the model'} does not fit: {reason}. Make the masks anew.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What pruning did.

    num_zeros, num_weights: over the layers that were pruned, counted afterwards; biases are not among them.
    sparsity_by_layer: zeros over weights of each of them.
    skipped: layers that were left alone, each with the reason.
    """

    num_zeros: int
    num_weights: int
    sparsity_by_layer: Mapping[str, float]
    skipped: Mapping[str, str]

    @property
    def sparsity(self) -> float:
        """Zeros over weights."""
        return self.num_zeros / self.num_weights


def check_pattern(pattern: Pattern, layers: Mapping[str, nn.Module]) -> None:
    """Whether the pattern can be had from all these layers.

    Raises:
        ValueError: a sparsity outside [0, 1).
        PatternMismatchError: n:m, and the inputs of a layer do not divide by m.
    """
    if not isinstance(pattern, NofM):
        if not 0 <= pattern < 1:
            raise ValueError(f"sparsity is a share of weights from 0 up to but not 1, not {pattern}")
        return
    for name, layer in layers.items():
        num_inputs = weight_OI(layer).shape[1]
        if num_inputs % pattern.of:
            raise PatternMismatchError(layer=name, num_inputs=num_inputs, of=pattern.of)


def lowest(score: Tensor, count: int) -> Tensor:
    """True at the `count` lowest values of a tensor, exactly; of equal values the first ones.

    A threshold alone would take all or none of equal weights, and on a grid of few values most are equal.

    Cost: O(number of values), without sorting.
    """
    if count <= 0:
        return torch.zeros_like(score, dtype=torch.bool)
    flat = score.reshape(-1)
    threshold = flat.kthvalue(min(count, flat.numel())).values
    taken = flat < threshold
    ties = (flat == threshold).nonzero()[: count - int(taken.sum())]
    taken[ties] = True
    return taken.view(score.shape)


def keep_by_score(score_OI: Tensor, pattern: Pattern, *, per_row: bool = False) -> Tensor:
    """The mask that lets the weights with the highest scores stay.

        sparsity            round(sparsity * number) go, over the whole matrix or from each row
        n:m                 of every m consecutive inputs the n highest stay; of equal ones the first go

    Args:
        score_OI: not negative; any number of leading axes.
        pattern: `check_pattern` holds.
        per_row: the same sparsity in each row.
    """
    if isinstance(pattern, NofM):
        groups = score_OI.reshape(*score_OI.shape[:-1], -1, pattern.of)
        return _keep_highest(groups, pattern.kept).flatten(-2)
    if per_row:
        num_inputs = score_OI.shape[-1]
        return _keep_highest(score_OI, num_inputs - round(pattern * num_inputs))
    return ~lowest(score_OI, round(pattern * score_OI.numel()))


def magnitude_masks(layers: Mapping[str, nn.Module], pattern: Pattern, *, scope: Scope = "layer") -> Masks:
    """Masks by |w|: the lowest go.

        keep_ij = 1[|w_ij| > Q_s(|w|)]      Q_s: the quantile, over each layer or over all

    The magnitude, not the weight: `w > threshold` would delete every negative weight.

    Args:
        layers: of `matrix_layers`.
        pattern: n:m is the same with both scopes.
        scope: "global" lets layers with small weights lose more; unsafe where layers differ in scale.

    Cost: with "global" a copy of all magnitudes in float32.
    """
    if scope == "layer" or isinstance(pattern, NofM):
        return {name: keep_by_score(_magnitude(layer), pattern) for name, layer in layers.items()}
    magnitudes = [_magnitude(layer) for layer in layers.values()]
    device = magnitudes[0].device
    joined = torch.cat([magnitude.reshape(-1).to(device) for magnitude in magnitudes])
    keep = ~lowest(joined, round(pattern * joined.numel()))
    pieces = torch.split(keep, [magnitude.numel() for magnitude in magnitudes])
    return {
        name: piece.view(magnitude.shape).to(magnitude.device)
        for name, piece, magnitude in zip(layers, pieces, magnitudes, strict=True)
    }


def prune_by_magnitude(
    model: nn.Module, pattern: Pattern, *, scope: Scope = "layer", skip: Sequence[str] = ()
) -> PruneReport:
    """Set the weights of lowest magnitude to zero. In place; see `magnitude_masks`.

    Raises:
        NothingToCompressError, NonFiniteWeightError: see `require_layers`.
        PatternMismatchError, ValueError: see `check_pattern`.
    """
    layers = require_layers(model, skip=skip, step="Pruning by magnitude")
    check_pattern(pattern, layers)
    apply_masks(model, magnitude_masks(layers, pattern, scope=scope))
    return prune_report(layers, skipped=skipped_layers(model, skip=skip))


def prune_below(model: nn.Module, threshold: float, *, skip: Sequence[str] = ()) -> PruneReport:
    """Set every weight with |w| < threshold to zero. In place.

    One threshold is not portable: 0.05 prunes 23 % of SmolLM2-135M at little loss and ruins MiniLM. The
    report says what sparsity it came to; prefer `prune_by_magnitude`, which is told the sparsity.

    Raises:
        NothingToCompressError, NonFiniteWeightError: see `require_layers`.
        ValueError: a threshold that is not positive and finite.
    """
    if not 0 < threshold < float("inf"):
        raise ValueError(f"a threshold on |w| is positive and finite, not {threshold}")
    layers = require_layers(model, skip=skip, step="Pruning below a threshold")
    apply_masks(model, {name: _magnitude(layer) >= threshold for name, layer in layers.items()})
    return prune_report(layers, skipped=skipped_layers(model, skip=skip))


def masks_of(model: nn.Module, *, skip: Sequence[str] = ()) -> Masks:
    """The masks that the weights show: False where a weight is zero. Layers without zeros have none."""
    masks = {name: weight_OI(layer) != 0 for name, layer in matrix_layers(model, skip=skip).items()}
    return {name: keep_OI for name, keep_OI in masks.items() if not bool(keep_OI.all())}


def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the weights to zero where a mask is False. In place, all layers or none.

    Raises:
        MaskMismatchError: a layer is missing or of another shape.
    """
    layers = matrix_layers(model)
    for name, keep_OI in masks.items():
        if name not in layers:
            raise MaskMismatchError(layer=name, reason="the model has no such layer")
        shape = weight_OI(layers[name]).shape
        if shape != keep_OI.shape:
            raise MaskMismatchError(layer=name, reason=f"{tuple(keep_OI.shape)} for {tuple(shape)}")
    with torch.no_grad():
        for name, keep_OI in masks.items():
            weight = weight_OI(layers[name])
            # Not multiplied: zero times infinity would be no zero.
            weight.masked_fill_(~keep_OI.to(weight.device), 0.0)


def keep_masks(
    model: nn.Module, masks: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> Callable[[], None]:
    """Apply the masks after every step of the optimizer, until the returned function is called.

    The gradient of a pruned weight is not zero, and momentum and weight decay move it too; so the zeros are
    put back rather than guarded.
    """
    apply_masks(model, masks)

    def reapply(*_: Any) -> None:
        apply_masks(model, masks)

    handle = optimizer.register_step_post_hook(reapply)
    return handle.remove


def prune_report(layers: Mapping[str, nn.Module], *, skipped: Mapping[str, str]) -> PruneReport:
    """Count the zeros of these layers as they are now."""
    num_zeros = {name: int((weight_OI(layer) == 0).sum()) for name, layer in layers.items()}
    num_weights = {name: weight_OI(layer).numel() for name, layer in layers.items()}
    return PruneReport(
        num_zeros=sum(num_zeros.values()),
        num_weights=sum(num_weights.values()),
        sparsity_by_layer={name: num_zeros[name] / num_weights[name] for name in layers},
        skipped=dict(skipped),
    )


def _magnitude(layer: nn.Module) -> Tensor:
    return weight_OI(layer).abs().float()


def _keep_highest(score: Tensor, kept: int) -> Tensor:
    """True at the `kept` highest of the last axis; of equal ones the last."""
    order = score.argsort(dim=-1, stable=True)
    keep = torch.zeros_like(score, dtype=torch.bool)
    return keep.scatter_(-1, order[..., score.shape[-1] - kept :], True)
