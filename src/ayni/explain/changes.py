"""What the compression changed, and why: the answers that flipped, seen from the full model.

The usual why is that they were close calls: any small error of the weights tips them. Whether it is so
shows in the full model's margins. What a single flip is about shows in the attribution of the decision
that flipped: of the logit of the full model's answer minus that of the variant's answer, in the full model.
All methods are linear in the logit, so that this is the difference of two attributions.

Legend: N compared examples, C classes.

Not covered: which layer or which step of the compression did it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ayni.explain.attribution import LastPlace, Method
from ayni.explain.captum_methods import ablation
from ayni.explain.explanation import CompressionChange
from ayni.explain.parts import Parts
from ayni.explain.sanity import rank_correlation

Numbers = NDArray[np.float64]

CLOSE_CALLS = 0.8
"""From this probability on that a disagreement had the smaller margin, the flips are called close calls."""
NOT_CLOSE = 0.6
MAX_ABLATION_PASSES = 20_000
"""Over all examples, of variant and full model each."""


def contrast(
    method: Method, model: nn.Module, inputs: torch.Tensor, ours_N: torch.Tensor, theirs_N: torch.Tensor
) -> torch.Tensor:
    """What speaks for the classes `ours` and against `theirs`, in the shape of the inputs."""
    return method.attribute(model, inputs, ours_N) - method.attribute(model, inputs, theirs_N)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """What decided between the two answers, in the variant beside the full model; see CompressionChange."""

    correlation: float | None = None
    kept_for: float | None = None
    kept_against: float | None = None


def compare_reasons(
    model: nn.Module,
    variant: Callable[[torch.Tensor], torch.Tensor],
    parts: Parts,
    ours_N: torch.Tensor,
    theirs_N: torch.Tensor,
) -> Reasons:
    """What decided between the two answers in the full model, and what is left of it in the variant.

    By ablation of both, which needs no gradients: most variants run where there are none. Nothing is
    known when it would cost too many passes.
    """
    if not len(parts.inputs):
        return Reasons()
    method = ablation(model, parts.inputs[:1])
    if 2 * method.passes * len(parts.inputs) > MAX_ABLATION_PASSES:
        return Reasons()
    ours, theirs = (
        contrast(method, each, parts.inputs, ours_N, theirs_N) for each in (model, LastPlace(variant))
    )
    full_NP, left_NP = parts.scores(ours), parts.scores(theirs)
    return Reasons(
        correlation=rank_correlation(parts, ours, theirs),
        kept_for=_share_kept(full_NP, left_NP, full_NP > 0),
        kept_against=_share_kept(full_NP, left_NP, full_NP < 0),
    )


def _share_kept(full_NP: torch.Tensor, left_NP: torch.Tensor, where_NP: torch.Tensor) -> float | None:
    """Sum of what is left over the sum of what was there, of the chosen parts of all examples."""
    total = float(full_NP[where_NP].double().sum())
    share = float(left_NP[where_NP].double().sum()) / total if total else math.nan
    return share if math.isfinite(share) else None


def describe_change(logits_NC: torch.Tensor, differs_N: torch.Tensor, reasons: Reasons) -> CompressionChange:
    """The margins of the full model where the variant agrees and where it does not, and what they say.

    Args:
        logits_NC: Of the full model.
        differs_N: Whether the variant answers otherwise.
        reasons: Of the variant, see `compare_reasons`.
    """
    top_N2 = logits_NC.double().topk(2, dim=1).values
    margins = (top_N2[:, 0] - top_N2[:, 1]).numpy()
    differs = differs_N.numpy()
    agreed, flipped = (each[np.isfinite(each)] for each in (margins[~differs], margins[differs]))
    closer = _probability_smaller(flipped, agreed)
    return CompressionChange(
        num_agreements=int((~differs).sum()),
        num_disagreements=int(differs.sum()),
        margin_agreements=_mean(agreed),
        margin_disagreements=_mean(flipped),
        closer_probability=closer,
        variant_correlation=reasons.correlation,
        kept_for=reasons.kept_for,
        kept_against=reasons.kept_against,
        reasons=[*_told_margins(flipped, agreed, closer), *_told_reasons(reasons)],
    )


def _probability_smaller(few: Numbers, many: Numbers) -> float | None:
    """Of one of `few` being smaller than one of `many`; ties count half (Mann and Whitney 1947)."""
    if not len(few) or not len(many):
        return None
    ordered = np.sort(many)
    larger = len(many) - np.searchsorted(ordered, few, side="right")
    equal = np.searchsorted(ordered, few, side="right") - np.searchsorted(ordered, few, side="left")
    return float((larger + equal / 2).mean() / len(many))


def _mean(values: Numbers) -> float | None:
    return float(values.mean()) if len(values) else None


def _told_margins(flipped: Numbers, agreed: Numbers, closer: float | None) -> list[str]:
    if not len(flipped):
        return []
    if closer is None:
        return [f"No answer is the same; the full model's mean margin is {flipped.mean():.2f}."]
    if closer >= CLOSE_CALLS:
        verdict = "the answers that flipped were close calls"
    elif closer > NOT_CLOSE:
        verdict = "some of the answers that flipped were close calls"
    else:
        verdict = "the answers that flipped were no close calls: the compression lost something that decides"
    return [
        f"Where they disagree, the full model's answer led the second by {flipped.mean():.2f} on average "
        f"(difference of logits); where they agree, by {agreed.mean():.2f}. "
        f"A disagreement had the smaller lead with a probability of {closer:.0%}: {verdict}."
    ]


def _told_reasons(reasons: Reasons) -> list[str]:
    if reasons.kept_for is None or reasons.kept_against is None:
        return []
    return [
        "In the disagreements that are shown, what spoke for the full model's answer has "
        f"{_left(reasons.kept_for)} left in the variant, what spoke for the variant's answer "
        f"{_left(reasons.kept_against)} (by ablation of both)."
    ]


def _left(share: float) -> str:
    return f"{share:.0%} of its weight" if share >= 0 else f"none of its weight (it turned: {share:.0%})"
