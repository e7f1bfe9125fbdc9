"""Matrices that answer as the original does, though they are sparse or on a grid: the algebra of one layer.

    minimise over W'    ||(W - W') X||^2 = tr((W - W') H (W - W')^T),    H = X X^T

    weight_GOI      W: G groups of a convolution (1 for other layers), O outputs and I inputs of a group
    hessian_GII     H
    keep_GOI        True where a weight may stay

Everything here is a function of tensors. Which layers, in which order, and on which inputs is the subject of
`second_order`.

Not covered: correlations between outputs (the Hessian of the loss instead of the layer's error).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ayni.compress.weights.masks import NofM, Pattern, keep_by_score, lowest
from ayni.errors import AyniError

MAX_DAMPING_TRIES = 12
RoundColumn = Callable[[Tensor, int, Tensor], Tensor]
"""(column_GO, its index, the weights as they are, [G, O, I]) -> the nearest values on the grid."""


class NotFactorizableError(AyniError):
    """A Hessian has no Cholesky factor, however much damping is added."""

    def __init__(self, *, damping: float) -> None:
        self.damping = damping
        super().__init__(
            f"The second moments of a layer's inputs are not positive definite, even with {damping:g} times "
            "their mean added. Give more calibration inputs, or leave the layer out with `skip`."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Curvature:
    """H of one layer, ready to be used.

    hessian: float32 [G, I, I], scaled to a mean diagonal of 1, then damped; an input that is always zero
        has 1 on the diagonal.
    factor: U, float32 [G, I, I], upper triangular with U^T U = H^-1. It is what eliminating inputs from left
        to right needs: U_jj^2 is the first entry of the inverse of H without the rows and columns before j.
    is_dead: inputs that are always zero, bool [G, I].
    scale: by what the second moments were divided, float64 [G, 1, 1].
    """

    hessian: Tensor
    factor: Tensor
    is_dead: Tensor
    scale: Tensor

    @classmethod
    def of(cls, gram_GII: Tensor, *, damping: float) -> "Curvature":
        """Damp and factorize, in float64.

            H = gram + damping * mean(diag(gram)) * I

        Where H is not positive definite in floating point the damping grows tenfold until it is.

        Cost: about 2 G I^3 multiplications.

        Raises:
            NotFactorizableError: it never is.
        """
        device = gram_GII.device
        gram = _exact(gram_GII)
        diagonal = gram.diagonal(dim1=1, dim2=2)
        is_dead = diagonal <= 0
        scale = diagonal.mean(1)[:, None, None]
        scale = torch.where(scale > 0, scale, 1.0)
        hessian = gram / scale
        hessian.diagonal(dim1=1, dim2=2)[is_dead] = 1.0
        added = damping
        for _ in range(MAX_DAMPING_TRIES):
            damped = hessian.clone()
            damped.diagonal(dim1=1, dim2=2).add_(added)
            lower, info = torch.linalg.cholesky_ex(damped)
            if not bool(info.any()):
                inverse = torch.cholesky_inverse(lower)
                upper, info = torch.linalg.cholesky_ex((inverse + inverse.mT) / 2, upper=True)
                if not bool(info.any()):
                    parts = (damped.float(), upper.float(), is_dead, scale)
                    return cls(*(part.to(device) for part in parts))
            added = max(10 * added, 1e-8)
        raise NotFactorizableError(damping=added)


def _exact(matrix: Tensor) -> Tensor:
    """In float64, on the processor where the device has none."""
    return (matrix.cpu() if matrix.device.type == "mps" else matrix).double()


def error_of(weight_GOI: Tensor, original_GOI: Tensor, curvature: Curvature) -> float:
    """Relative error of the layer's answers: ||(W - W') X||^2 / ||W X||^2. 0 for a layer that answers 0."""
    # Inputs that are always zero have 1 in the Hessian, and no part in any answer.
    seen_GOI = original_GOI.masked_fill(curvature.is_dead.unsqueeze(1), 0.0)
    difference_GOI = (seen_GOI - weight_GOI).masked_fill(curvature.is_dead.unsqueeze(1), 0.0)
    lost = float(((difference_GOI @ curvature.hessian) * difference_GOI).sum())
    whole = float(((seen_GOI @ curvature.hessian) * seen_GOI).sum())
    return max(0.0, lost / whole) if whole > 0 else 0.0


def follow(weight_GOI: Tensor, drift_GII: Tensor, curvature: Curvature) -> Tensor:
    """The weights that give, on inputs that have drifted, most nearly the answers of the original model.

        minimise over W'    ||W X0 - W' X||^2 + damping ||W - W'||^2
        W' = W + W (X0 - X) X^T H^-1

    X0 is what the layer is given in the original model, X what it is given behind layers that are compressed
    already. Compressing these weights instead of W mends part of the earlier layers' errors.

    Source: Li et al., "GPTAQ", ICML 2025, section 3, arXiv:2504.02692, which corrects column by column; the
    shift of the target ahead of the loop is the same quadratic problem.

    Cost: G O I^2 multiplications.

    Args:
        weight_GOI: W.
        drift_GII: sum of (x0 - x) x^T.
        curvature: of X, its inputs in the same order.
    """
    push = weight_GOI @ (drift_GII / curvature.scale).float()
    return weight_GOI + (push @ curvature.factor.mT) @ curvature.factor


def eliminate(
    weight_GOI: Tensor,
    curvature: Curvature,
    *,
    pattern: Pattern | None = None,
    keep_GOI: Tensor | None = None,
    round_column: RoundColumn | None = None,
    block_columns: int = 128,
) -> Tensor:
    """Prune, round, or both, one input column after the other; columns to the right make up for each error.

        q_j      the column as it will be: pruned weights 0, the others on the grid (if there is one)
        e_j      = (w_j - q_j) / U_jj
        W_{:,k}  -= e_j U_jk            for k > j

    With a pattern the mask is chosen block by block: within `block_columns` columns the lowest of
    w_ij^2 / U_jj^2 go, over all rows; n:m chooses within m columns. `keep_GOI` gives the mask instead.
    Sparsity without a grid is SparseGPT, a grid without sparsity GPTQ, and both at once what the former
    calls joint.

    Source: Frantar and Alistarh, "SparseGPT", ICML 2023, algorithm 1, arXiv:2301.00774; Frantar et al.,
    "GPTQ", ICLR 2023, algorithm 1, arXiv:2210.17323.

    Cost: G O I^2 multiplications.

    Args:
        weight_GOI: is not changed.
        curvature: of the layer's inputs, in the order of the columns.
        pattern: for n:m, m divides I.
        keep_GOI: a mask that is fixed already.
        round_column: rounds to the grid; zeros must stay zeros when weights are pruned too.
        block_columns: how many columns are updated at once, and the scope of the mask.
    """
    work = weight_GOI.clone()
    out = torch.empty_like(work)
    num_inputs = work.shape[-1]
    factor = curvature.factor
    is_pattern = isinstance(pattern, NofM)
    step = max(1, block_columns // pattern.of) * pattern.of if isinstance(pattern, NofM) else block_columns
    for start in range(0, num_inputs, step):
        end = min(start + step, num_inputs)
        columns = work[..., start:end]
        upper = factor[:, start:end, start:end]
        diagonal = upper.diagonal(dim1=1, dim2=2)
        if keep_GOI is not None:
            keep = keep_GOI[..., start:end]
        elif pattern is None or is_pattern:
            keep = torch.ones_like(columns, dtype=torch.bool)
        else:
            keep = keep_by_score((columns / diagonal[:, None]).square(), pattern)
        errors = torch.empty_like(columns)
        for j in range(end - start):
            if isinstance(pattern, NofM) and keep_GOI is None and j % pattern.of == 0:
                these = slice(j, j + pattern.of)
                score = (columns[..., these] / diagonal[:, None, these]).square()
                keep[..., these] = keep_by_score(score, pattern)
            column = columns[..., j]
            value = column * keep[..., j]
            if round_column is not None:
                value = round_column(value, start + j, work)
            out[..., start + j] = value
            error = (column - value) / diagonal[:, j, None]
            errors[..., j] = error
            columns[..., j + 1 :].sub_(error.unsqueeze(-1) * upper[:, j, None, j + 1 :])
        work[..., end:].sub_(errors @ factor[:, start:end, end:])
    return out


def keep_by_alternation(
    weight_GOI: Tensor,
    curvature: Curvature,
    pattern: Pattern,
    *,
    num_rounds: int = 20,
    num_growing: int = 15,
    penalty: float = 0.2,
) -> Tensor:
    """A mask found by going back and forth between the best dense weights and the nearest sparse ones (ADMM).

        V  = columns scaled to a Hessian of diagonal 1
        Z  <- (V + D) with its smallest entries set to 0
        D  <- D + V - Z
        V  <- (V0 H + rho (Z - D)) (H + rho I)^-1           rho: the penalty

    The sparsity grows over the first rounds as t^3, so that early choices see how others make up for them.
    Weights that were dropped may come back, which SparseGPT's one pass from left to right does not allow.

    Source: Boza, "Fast and Effective Weight Update for Pruned Large Language Models", TMLR 2024, algorithms 1
    and 2, arXiv:2401.02938, with rho = 1. There the solution is V; here the mask of Z alone is used, and
    `refit` solves for the weights exactly.

    Cost: num_rounds * G O I^2 multiplications and one inverse.
    """
    scale = curvature.hessian.diagonal(dim1=1, dim2=2).sqrt()
    hessian = curvature.hessian / (scale[:, :, None] * scale[:, None, :])
    raised = _exact(hessian).clone()
    raised.diagonal(dim1=1, dim2=2).add_(penalty)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(raised)).to(hessian)
    dense = weight_GOI * scale[:, None]
    target = dense @ hessian
    dual = torch.zeros_like(dense)
    keep = torch.ones_like(dense, dtype=torch.bool)
    for index in range(num_rounds):
        score = (dense + dual).square()
        share = min(1.0, (index + 1) / num_growing) ** 3
        if isinstance(pattern, NofM):
            stays = keep_by_score(score, pattern)
            num_pruned = round(share * pattern.sparsity * score.numel())
            keep = ~lowest(score.masked_fill(stays, torch.inf), num_pruned)
        else:
            keep = ~lowest(score, round(share * pattern * score.numel()))
        sparse = (dense + dual) * keep
        dual = dual + dense - sparse
        dense = (target + penalty * (sparse - dual)) @ inverse
    return keep


def refit(
    weight_GOI: Tensor, original_GOI: Tensor, keep_GOI: Tensor, curvature: Curvature, *, num_steps: int = 30
) -> Tensor:
    """The weights that stay, moved to where the layer's error is least. Exact for enough steps.

        minimise tr((W0 - W) H (W0 - W)^T) over W with W_ij = 0 where keep_ij is False

    Each row is a linear system of its own; all are solved at once by conjugate gradients with diag(H) as
    preconditioner, so that no row's submatrix of H is ever formed. Works on any mask.

    Source: Meng et al., "ALPS", NeurIPS 2024, section 3.3, arXiv:2406.07831; Hestenes and Stiefel, 1952.

    Cost: num_steps * G O I^2 multiplications.

    Args:
        weight_GOI: where to begin.
        original_GOI: W0.
        keep_GOI: what may differ from 0.
        curvature: of the layer's inputs.
        num_steps: of conjugate gradients; 30 leave less error than a calibration set's own noise.
    """
    hessian = curvature.hessian
    inverse_diagonal = 1.0 / hessian.diagonal(dim1=1, dim2=2)[:, None]
    weight = weight_GOI * keep_GOI
    residual = ((original_GOI - weight) @ hessian) * keep_GOI
    direction = residual * inverse_diagonal
    power = (residual * direction).sum(-1, keepdim=True)
    for _ in range(num_steps):
        pushed = (direction @ hessian) * keep_GOI
        bend = (direction * pushed).sum(-1, keepdim=True)
        length = torch.where(bend > 0, power / bend, 0.0)
        weight = weight + length * direction
        residual = residual - length * pushed
        conditioned = residual * inverse_diagonal
        next_power = (residual * conditioned).sum(-1, keepdim=True)
        direction = conditioned + torch.where(power > 0, next_power / power, 0.0) * direction
        power = next_power
    return weight


def descend(
    weight_GOI: Tensor,
    original_GOI: Tensor,
    curvature: Curvature,
    *,
    round_column: RoundColumn,
    keep_GOI: Tensor | None = None,
) -> Tensor:
    """One sweep of coordinate descent over rounded weights; the error never grows.

        R        = (W0 - W) H
        w_ij     <- the grid's value next to w_ij + R_ij / H_jj

    Elimination can only make up to the right; here a column sees all others as they are in the end.

    Source: Behdin et al., "QuantEase", 2023, section 3, arXiv:2309.01885.

    Cost: G O I^2 multiplications, bound by memory.
    """
    hessian = curvature.hessian
    weight = weight_GOI.clone()
    residual = (original_GOI - weight) @ hessian
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    for j in range(weight.shape[-1]):
        column = weight[..., j]
        target = column + residual[..., j] / diagonal[:, j, None]
        if keep_GOI is not None:
            target = target * keep_GOI[..., j]
        value = round_column(target, j, weight)
        change = value - column
        weight[..., j] = value
        residual.sub_(change.unsqueeze(-1) * hessian[:, j, None, :])
    return weight
