"""Low-rank layers: one large matrix becomes two thin ones.

    y = W x + b      W_OI ~ A_OR B_RI      y = A (B x) + b

A convolution is first B, the same convolution with R outputs, then A, a 1 x 1 convolution: its flattened
weight is the matrix. Two layers of rank R hold R (O + I) weights, fewer than O I only if R < O I / (O + I);
a layer is never replaced above that.

On its own the step costs much quality: train afterwards (`recover` and `distill` in `ayni.compress.retrain`).
Input moments, where given, make the error count where inputs are, which plain SVD does not know. MiniLM, mean
cosine of sentences to the whole model, without and with moments of 128 sentences: 0.903 and 0.970 at 90 % of
the layers' weights, 0.595 and 0.907 at 75 %, 0.337 and 0.736 at 50 %.

    O outputs, I inputs of one output (channels times kernel), R rank, K = min(O, I)

Not covered: convolutions with groups, embeddings, layers inside torch's MultiheadAttention, tensor
decompositions (CP, Tucker) of kernels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from ayni.compress.structure.layer_graph import layers_with_shared_weights
from ayni.compress.structure.restore import unchanged_on_failure
from ayni.compress.structure.surgery import replace_everywhere
from ayni.compress.weights.layers import CONVOLUTIONS, require_layers, skipped_layers, weight_OI
from ayni.errors import UserError

DAMPING = 1e-6
"""Share of the mean squared input that is added to every input's, so that unused inputs do not make the
moments singular."""


class CannotFactorizeError(UserError):
    """No layer becomes smaller as two."""

    def __init__(self, reason: str, *, skipped: Mapping[str, str]) -> None:
        self.reason, self.skipped = reason, dict(skipped)
        details = "".join(f"; {name}: {why}" for name, why in list(self.skipped.items())[:3])
        super().__init__(f"This model cannot be factorized: {reason}{details}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorization:
    """What `factorize` did.

    ranks: of each layer that became two.
    lost_energy: share of the squared singular values that each of them lost, 0 to 1.
    skipped: layers that stayed whole, and why.
    """

    ranks: Mapping[str, int]
    lost_energy: Mapping[str, float]
    skipped: Mapping[str, str]
    parameters_before: int
    parameters_after: int


class LowRank(nn.Sequential):
    """Two layers in the place of one: B without a bias, then A with the bias of the one."""

    @property
    def weight(self) -> torch.Tensor:
        """A B as a matrix, for code that reads the weight of a linear layer; computed in each call."""
        return self[1].get_parameter("weight").flatten(1) @ self[0].get_parameter("weight").flatten(1)

    @property
    def bias(self) -> torch.Tensor | None:
        """Bias of A."""
        return self[1]._parameters.get("bias")


@dataclass(frozen=True, eq=False)
class _Decomposition:
    """W = U_OK diag(s_K) V_KI; s measures the error in the layer's output where moments were given."""

    left_OK: torch.Tensor  # noqa: N815 (shape suffix)
    singular_K: torch.Tensor  # noqa: N815
    right_KI: torch.Tensor  # noqa: N815

    @property
    def num_weights(self) -> int:
        return self.left_OK.shape[0] * self.right_KI.shape[1]

    @property
    def cost_of_rank(self) -> int:
        """Weights that one more rank takes: O + I."""
        return self.left_OK.shape[0] + self.right_KI.shape[1]

    @property
    def largest_rank(self) -> int:
        return largest_useful_rank(self.left_OK.shape[0], self.right_KI.shape[1])

    @cached_property
    def lost_energies(self) -> torch.Tensor:
        """Share of the energy lost at rank 0, 1, ..., K."""
        energy_K = self.singular_K.square()
        total = energy_K.sum()
        if total == 0:
            return torch.zeros(len(energy_K) + 1, dtype=energy_K.dtype)
        tail_K = energy_K.flip(0).cumsum(0).flip(0) / total
        return torch.cat([tail_K, tail_K.new_zeros(1)])


def factorize(
    model: nn.Module,
    *,
    energy: float | None = None,
    ratio: float | None = None,
    input_moments: Mapping[str, torch.Tensor] | None = None,
    skip: Sequence[str] = (),
) -> Factorization:
    """Replace linear layers and convolutions by two of low rank. In place; exactly one rule sets the ranks.

        energy e    per layer the smallest R with  sum_{i<=R} s_i^2 >= e sum_i s_i^2
        ratio q     over all layers together: weights after <= q weights before, losing the smallest sum of
                    energy shares (the best whole plan up to the step of one rank, by bisection of a price)

    s are the singular values of W, or, with moments H = mean of x x^T, of W L where H = L L^T: then the
    truncated product is the best of its rank for the layer's outputs, min E |W x - A B x|^2.

    The result is a function of the arguments. Cost: one SVD of each layer, O(O I K).

    Source: Eckart, Young, "The approximation of one matrix by another of lower rank", Psychometrika 1, 1936;
    for convolutions Zhang et al., "Accelerating Very Deep Convolutional Networks", 2015, arXiv:1505.06798;
    for L: Wang et al., "SVD-LLM", 2024, arXiv:2403.07378, section 3.

    Args:
        model: stays as it was if anything goes wrong.
        energy: above 0, at most 1.
        ratio: weights after over weights before, of the layers that can be factorized.
        input_moments: H_II by layer name, as a mean or a sum over inputs; layers without one use plain SVD.
        skip: patterns as of a shell of layers to leave alone.

    Raises:
        CannotFactorizeError: no layer becomes smaller, or the ratio cannot be reached.
        NothingToCompressError, NonFiniteWeightError: no layers, or weights that are not finite.
    """
    _check_rule(energy, ratio)
    layers = require_layers(model, skip=skip, step="factorize")
    skipped = skipped_layers(model, skip=skip) | _unsuited(model, layers)
    layers = {name: layer for name, layer in layers.items() if name not in skipped}
    if not layers:
        raise CannotFactorizeError("no layer is suited", skipped=skipped)
    parts = {
        name: _decompose(weight_OI(layer), (input_moments or {}).get(name), name=name)
        for name, layer in layers.items()
    }
    if energy is not None:
        ranks = {name: _rank_by_energy(part, energy) for name, part in parts.items()}
    else:
        assert ratio is not None
        ranks = _ranks_by_ratio(parts, ratio, skipped)
    for name, rank in ranks.items():
        if rank > parts[name].largest_rank:
            skipped[name] = (
                f"it would need rank {rank}, and is smaller as two only up to {parts[name].largest_rank}"
            )
    ranks = {name: rank for name, rank in ranks.items() if name not in skipped}
    if not ranks:
        raise CannotFactorizeError("at no layer do two thin matrices hold fewer weights", skipped=skipped)
    num_before = sum(parameter.numel() for parameter in model.parameters())
    with unchanged_on_failure(model):
        for name, rank in ranks.items():
            replace_everywhere(model, layers[name], _two_layers(layers[name], parts[name], rank))
    return Factorization(
        ranks=ranks,
        lost_energy={name: float(parts[name].lost_energies[rank]) for name, rank in ranks.items()},
        skipped=skipped,
        parameters_before=num_before,
        parameters_after=sum(parameter.numel() for parameter in model.parameters()),
    )


def largest_useful_rank(num_outputs: int, num_inputs: int) -> int:
    """The largest R with R (O + I) < O I; 0 if there is none."""
    return (num_outputs * num_inputs - 1) // (num_outputs + num_inputs)


def _check_rule(energy: float | None, ratio: float | None) -> None:
    if (energy is None) == (ratio is None):
        raise ValueError("factorize takes either energy or ratio")
    if energy is not None and not 0 < energy <= 1:
        raise ValueError(f"energy is above 0 and at most 1, not {energy}")
    if ratio is not None and not 0 < ratio < 1:
        raise ValueError(f"ratio is between 0 and 1, not {ratio}")


def _unsuited(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, str]:
    shared = layers_with_shared_weights(model)
    inside_attention = {
        id(child)
        for module in model.modules()
        if isinstance(module, nn.MultiheadAttention)
        for child in module.modules()
    }
    reasons: dict[str, str] = {}
    for name, layer in layers.items():
        num_outputs, num_inputs = weight_OI(layer).shape
        if layer is model:
            reasons[name] = "it is the model itself, which cannot be replaced in place"
        elif layer in shared:
            reasons[name] = f"its weight is also {shared[layer]}"
        elif id(layer) in inside_attention:
            reasons[name] = "torch's MultiheadAttention reads its weight and does not call it"
        elif isinstance(layer, CONVOLUTIONS) and layer.groups > 1:
            reasons[name] = f"it is a convolution of {layer.groups} groups"
        elif layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
            reasons[name] = "hooks are registered on it"
        elif largest_useful_rank(num_outputs, num_inputs) < 1:
            reasons[name] = f"{num_outputs} x {num_inputs} is smaller than any two layers"
    return reasons


def _decompose(weight: torch.Tensor, moments: torch.Tensor | None, *, name: str) -> _Decomposition:
    wide = weight.double()
    if moments is None:
        left, singular, right = torch.linalg.svd(wide, full_matrices=False)
        return _Decomposition(left, singular, right)
    size = wide.shape[1]
    if moments.shape != (size, size) or not bool(torch.isfinite(moments).all()):
        raise ValueError(
            f"input_moments of {name} have the shape {tuple(moments.shape)} or are not finite; "
            f"{size} x {size} finite numbers are expected"
        )
    factor_II = _factor(moments.to(wide))
    left, singular, right = torch.linalg.svd(wide @ factor_II, full_matrices=False)
    # W ~ U s V^T L^-1: solving with L is exact where its inverse would lose digits.
    right = torch.linalg.solve_triangular(factor_II, right, upper=False, left=False)
    return _Decomposition(left, singular, right)


def _factor(moments_II: torch.Tensor) -> torch.Tensor:
    """Lower triangle L with L L^T = moments and a little on the diagonal.

    Sums of float32 products can have negative eigenvalues, of the size of their largest times the rounding:
    the damping grows tenfold until it covers them.
    """
    size, mean = len(moments_II), moments_II.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)
    identity_II = torch.eye(size, dtype=moments_II.dtype, device=moments_II.device)
    damping = DAMPING
    while True:
        found = torch.linalg.cholesky_ex(moments_II + damping * mean * identity_II)
        if not int(found.info):
            factor_II: torch.Tensor = found.L
            return factor_II
        # Ends, because a diagonal of `size` times the mean outweighs everything beside it.
        damping *= 10


def _rank_by_energy(part: _Decomposition, energy: float) -> int:
    # A sum of squares has rounding of its own: a loss of exactly 1 - e must count as enough.
    enough = part.lost_energies <= 1 - energy + 1e-12
    return max(1, int(enough.nonzero()[0]))


def _ranks_by_ratio(
    parts: Mapping[str, _Decomposition], ratio: float, skipped: dict[str, str]
) -> dict[str, int]:
    """Ranks that lose least within the budget. Writes into `skipped` which layers stay whole.

    At a price p for one weight each layer on its own takes the rank that minimises lost(R) + p * cost(R),
    or stays whole. The lowest price whose plan fits is found by bisection.
    """
    total = sum(part.num_weights for part in parts.values())
    budget = ratio * total
    floor = sum(min(part.cost_of_rank, part.num_weights) for part in parts.values())
    if floor > budget:
        raise CannotFactorizeError(
            f"{ratio:g} of {total} weights is less than the {floor} that rank 1 everywhere takes", skipped={}
        )
    low, high = 0.0, 1.0
    # At a price of 1 a weight costs as much as all the energy of a layer: every layer takes rank 1.
    for _ in range(100):
        price = (low + high) / 2
        if _size(parts, _plan(parts, price)) <= budget:
            high = price
        else:
            low = price
    plan = _plan(parts, high)
    for name, rank in plan.items():
        if rank is None:
            skipped[name] = "the budget is met without it"
    chosen = {name: rank for name, rank in plan.items() if rank is not None}
    return _spend_rest(parts, chosen, int(budget) - _size(parts, plan))


def _plan(parts: Mapping[str, _Decomposition], price: float) -> dict[str, int | None]:
    """Rank of each layer at a price per weight; None: it stays whole."""
    plan: dict[str, int | None] = {}
    for name, part in parts.items():
        ranks = torch.arange(1, part.largest_rank + 1)
        prices = part.lost_energies[ranks] + price * part.cost_of_rank * ranks
        best = int(prices.argmin())
        plan[name] = int(ranks[best]) if float(prices[best]) < price * part.num_weights else None
    return plan


def _size(parts: Mapping[str, _Decomposition], plan: Mapping[str, int | None]) -> int:
    return sum(
        part.num_weights if plan[name] is None else part.cost_of_rank * int(plan[name] or 0)
        for name, part in parts.items()
    )


def _spend_rest(parts: Mapping[str, _Decomposition], ranks: dict[str, int], rest: int) -> dict[str, int]:
    """Use what the prices left over, one rank at a time where it saves most energy for its weights."""
    ranks = dict(ranks)
    while True:
        gains = {
            name: float(parts[name].lost_energies[rank] - parts[name].lost_energies[rank + 1])
            / parts[name].cost_of_rank
            for name, rank in ranks.items()
            if rank < parts[name].largest_rank and parts[name].cost_of_rank <= rest
        }
        if not gains:
            return ranks
        best = max(gains, key=lambda name: gains[name])
        ranks[best] += 1
        rest -= parts[best].cost_of_rank


def _two_layers(layer: nn.Module, part: _Decomposition, rank: int) -> LowRank:
    # The root of s on each side keeps both at one scale, which optimizers and quantizers like.
    root_R = part.singular_K[:rank].sqrt()
    first_RI = root_R[:, None] * part.right_KI[:rank]
    second_OR = part.left_OK[:, :rank] * root_R
    weight, bias = layer.get_parameter("weight"), layer._parameters.get("bias")
    first: nn.Module
    second: nn.Module
    if isinstance(layer, CONVOLUTIONS):
        kind = type(layer)
        first = kind(
            layer.in_channels,
            rank,
            layer.kernel_size,  # type: ignore[arg-type]
            stride=layer.stride,  # type: ignore[arg-type]
            padding=layer.padding,  # type: ignore[arg-type]
            dilation=layer.dilation,  # type: ignore[arg-type]
            bias=False,
            padding_mode=layer.padding_mode,
            device="meta",
        )
        second = kind(rank, layer.out_channels, 1, bias=bias is not None, device="meta")
    else:
        first = nn.Linear(first_RI.shape[1], rank, bias=False, device="meta")
        second = nn.Linear(rank, second_OR.shape[0], bias=bias is not None, device="meta")
    for module, values in ((first, first_RI), (second, second_OR)):
        shape = module.get_parameter("weight").shape
        module.weight = nn.Parameter(
            values.reshape(shape).to(weight).contiguous(), requires_grad=weight.requires_grad
        )
    if bias is not None:
        second.bias = bias
    return LowRank(first, second).train(layer.training)
