"""Remove whole attention heads: rows of the layers that make them, columns of the layer that takes them.

The four layers around an attention are a closed set, so they are cut here and not by a tracer, which does not
get through every attention of Transformers. Whether the cut was right is not believed but computed: the
smaller model must answer as the whole one does with the columns of those heads set to zero. A cut that does
not is taken back, and the report says so. Then the heads that are left are fitted to make up for the others.

MiniLM (6 blocks of 12 heads, 128 calibration sentences, one shot; mean cosine of other sentences to the whole
model): a quarter of the heads 0.836 by weights alone, 0.920 by data, 0.967 with the fit, 0.975 across layers;
half of them 0.693, 0.800, 0.909 and 0.925.

    H query heads, U heads of keys and values (U < H: grouped queries), D numbers of one head
    weight_OH       columns of the output layer, one block of D for each head

Not covered: torch's MultiheadAttention (its code fixes D = width / H); attention whose layers are
convolutions; one layer for queries, keys and values where U < H; per-head parameters (position biases,
temperatures); the configuration object of a Transformers model, which would build the old sizes again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.attention import Attention, find_attentions
from ayni.compress.structure.head_surgery import HeadPlan, NoHeadPlanError, cut_heads, plan_heads
from ayni.compress.structure.layer_graph import layers_with_shared_weights, reparametrized_layers
from ayni.compress.weights.input_moments import input_moments
from ayni.compress.weights.layers import weight_OI
from ayni.errors import UserError

DAMPING = 1e-3
"""Share of the mean squared input that is added to every input's in the fit: calibration is a sample."""


class CannotPruneHeadsError(UserError):
    """No attention of the model can lose heads."""

    def __init__(self, reason: str, *, skipped: Mapping[str, str] | None = None) -> None:
        self.reason, self.skipped = reason, dict(skipped or {})
        details = "".join(f"; {name}: {why}" for name, why in list(self.skipped.items())[:3])
        super().__init__(
            f"This model cannot lose attention heads: {reason}{details}. Leave the step out; pruning of "
            "channels and quantization do not need it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPruning:
    """What `prune_heads` did.

    num_heads: query heads before and after, of each attention that lost some, by the name of its module.
    skipped: attentions that stayed whole, and why.
    """

    num_heads: Mapping[str, tuple[int, int]]
    skipped: Mapping[str, str]
    parameters_before: int
    parameters_after: int


def prune_heads(
    model: nn.Module,
    inputs: ModelInputs,
    *,
    heads: float,
    calibration: Sequence[ModelInputs] = (),
    across_layers: bool = False,
) -> HeadPruning:
    """Remove the fraction `heads` of the heads of every attention, the least important first. In place.

    Grouped queries go in whole groups, so that each remaining head of keys serves as many queries as before;
    with one head of keys for all (U = 1) single query heads go. Every attention keeps at least one.

    With calibration, the output layer's remaining columns are then fitted by least squares to what the
    whole layer answered.

    The result is a function of the arguments. Parameters that change are new objects. Cost: one forward pass
    with activations, one for each calibration batch, and two to five for each attention, of `inputs`.

    Source: Michel, Levy, Neubig, "Are Sixteen Heads Really Better than One?", NeurIPS 2019,
    arXiv:1905.10650. It ranks heads by the gradient of the loss; ours by the size of what a head adds to the
    output layer, which needs no labels (`head_scores`). The fit: Kurtic, Frantar, Alistarh, "ZipLM", NeurIPS
    2023, section 3.1, arXiv:2302.04089; it also chooses by it, one head after the other.

    Args:
        model: stays as it was, attention by attention, where a cut is not proven right.
        inputs: one batch of real inputs, for finding attentions and for the proof; not zeros.
        heads: fraction between 0 and 1; a count that is not whole is rounded down.
        calibration: batches over which the size of what a head adds is measured, and to which the rest is
            fitted; without any, the weights alone are asked. Give more rows than the layer has inputs.
        across_layers: rank all heads together; attentions whose heads matter less lose more.

    Raises:
        CannotPruneHeadsError: no attention with several heads was found, or none can lose one.
    """
    if not 0 < heads < 1:
        raise ValueError(f"heads is a fraction between 0 and 1, not {heads}")
    computed = reparametrized_layers(model)
    if computed:
        raise CannotPruneHeadsError(
            f"the weights of {', '.join(computed[:3])} are computed for each call (masks, parametrizations); "
            "make them plain weights first"
        )
    num_before = sum(parameter.numel() for parameter in model.parameters())
    plans, skipped = _plans(model, find_attentions(model, inputs))
    if not plans:
        raise CannotPruneHeadsError("no attention was found whose heads can be told apart", skipped=skipped)
    moments = input_moments(model, {name: plan.output_layer for name, plan in plans.items()}, calibration)
    scores = [head_scores(plan, moments.get(name)) for name, plan in plans.items()]
    changed: dict[str, tuple[int, int]] = {}
    for (name, plan), dropped in zip(
        plans.items(), _choose(scores, heads, across_layers=across_layers), strict=True
    ):
        if not dropped:
            skipped[name] = (
                "none of its heads is among the least important"
                if across_layers
                else f"{heads:g} of its {plan.num_units} groups of heads is less than one"
            )
            continue
        whole_OH = weight_OI(plan.output_layer).clone()
        reason = cut_heads(model, plan, dropped, inputs)
        if reason is None:
            changed[name] = plan.num_heads, plan.num_heads - len(dropped) * plan.heads_per_unit
            if name in moments:
                _compensate(plan, dropped, whole_OH, moments[name])
        else:
            skipped[name] = reason
    if not changed:
        raise CannotPruneHeadsError("no head could go", skipped=skipped)
    return HeadPruning(
        num_heads=changed,
        skipped=skipped,
        parameters_before=num_before,
        parameters_after=sum(parameter.numel() for parameter in model.parameters()),
    )


def head_scores(plan: HeadPlan, moments_HH: torch.Tensor | None) -> list[float]:
    """Importance of each unit (a head, or a group of query heads with its keys) of an attention.

        with moments        s_h = sqrt(mean over rows x of |W_o,h x_h|^2)
        without             s_h = |W_o,h W_v,h|_F, what a head adds for inputs of unit covariance;
                            |W_o,h|_F where one layer makes queries, keys and values

    A unit of several heads adds their squares. The scores are divided by their root mean square, so that
    attentions can be compared.

    Args:
        plan: how the layers divide into heads.
        moments_HH: mean of x x^T over the inputs of the output layer.
    """
    squares = [
        sum(_square(plan, head, moments_HH) for head in range(start, start + plan.heads_per_unit))
        for start in range(0, plan.num_heads, plan.heads_per_unit)
    ]
    mean = sum(squares) / len(squares)
    return [math.sqrt(square / mean) if mean > 0 else 0.0 for square in squares]


def _square(plan: HeadPlan, head: int, moments_HH: torch.Tensor | None) -> float:
    columns = slice(head * plan.head_dim, (head + 1) * plan.head_dim)
    out_OD = weight_OI(plan.output_layer)[:, columns].double()
    if moments_HH is not None:
        inner_DD = moments_HH[columns, columns]
    elif plan.value_rows is None:
        return float(out_OD.square().sum())
    else:
        value_DI = weight_OI(plan.value_layer)[plan.value_rows(head)].double()
        inner_DD = value_DI @ value_DI.T
    # |W_o V|_F^2 = trace(W_o V V^T W_o^T), computed without the product of all inputs and outputs.
    return max(0.0, float(((out_OD.T @ out_OD) * inner_DD).sum()))


def _compensate(
    plan: HeadPlan, dropped: Sequence[int], whole_OH: torch.Tensor, moments_HH: torch.Tensor
) -> None:
    """Let the heads that are left say what they can of what the others said.

        W' = W M_:,k (M_k,k + d I)^-1      k: columns that are left; d: damping

    is the minimum of E |W x - W' x_k|^2: heads are correlated, and much of one is found in the others.
    """
    size = plan.heads_per_unit * plan.head_dim
    gone = {column for unit in dropped for column in range(unit * size, (unit + 1) * size)}
    kept = [column for column in range(len(moments_HH)) if column not in gone]
    inner = moments_HH[kept][:, kept]
    damping = DAMPING * inner.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)
    inner = inner + damping * torch.eye(len(kept), dtype=inner.dtype, device=inner.device)
    answered_OK = whole_OH.double() @ moments_HH[:, kept]
    solved_KO = torch.cholesky_solve(answered_OK.T, torch.linalg.cholesky(inner))
    weight_OI(plan.output_layer).copy_(solved_KO.T)


def _choose(scores: Sequence[Sequence[float]], heads: float, *, across_layers: bool) -> list[list[int]]:
    """For each attention the units that go; of equal scores the first goes."""
    if not across_layers:
        return [
            sorted(sorted(range(len(row)), key=row.__getitem__)[: int(len(row) * heads)]) for row in scores
        ]
    ranked = sorted(
        ((score, attention, unit) for attention, row in enumerate(scores) for unit, score in enumerate(row))
    )
    chosen: list[list[int]] = [[] for _ in scores]
    wanted = int(len(ranked) * heads)
    for _, attention, unit in ranked:
        if wanted and len(chosen[attention]) < len(scores[attention]) - 1:
            chosen[attention].append(unit)
            wanted -= 1
    return [sorted(units) for units in chosen]


def _plans(model: nn.Module, attentions: Sequence[Attention]) -> tuple[dict[str, HeadPlan], dict[str, str]]:
    names = {module: name for name, module in model.named_modules()}
    shared = layers_with_shared_weights(model)
    plans: dict[str, HeadPlan] = {}
    skipped = {
        name: "torch's MultiheadAttention fixes the size of a head by their number"
        for module, name in names.items()
        if isinstance(module, nn.MultiheadAttention) and module.num_heads > 1
    }
    taken: dict[int, str] = {}
    for number, attention in enumerate(attentions):
        layers = [*attention.score_layers, *attention.value_layers]
        owner = names[layers[0]].rpartition(".")[0] if layers else ""
        name = owner or f"attention {number}"
        name = name if name not in plans and name not in skipped else f"{name} ({number})"
        try:
            plan = plan_heads(attention)
            for layer in plan.layers:
                if layer in shared:
                    raise NoHeadPlanError(f"{names[layer]} shares its weight with {shared[layer]}")
                if id(layer) in taken:
                    raise NoHeadPlanError(f"{names[layer]} also serves {taken[id(layer)]}")
            taken |= {id(layer): name for layer in plan.layers}
            plans[name] = plan
        except NoHeadPlanError as error:
            skipped[name] = str(error)
    return plans, skipped
