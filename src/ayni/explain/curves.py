"""Deletion and insertion curves: does the answer rest on what an attribution names?

Legend: N examples, P parts of one input, S fractions of a curve.

Source: Petsiuk, Das, Saenko, "RISE: randomized input sampling for explanation of black-box models", BMVC
2018, arXiv:1806.07421, section 4.2 (both curves and their areas); Samek et al., "Evaluating the
visualization of what a deep neural network has learned", 2017, arXiv:1509.06321 (against random order).
Ours differs in that the random order, too, only takes parts that differ from the reference (random ink,
not random paper): beside paper any map of an image with a blank background looks right.

Not covered: replaced parts may look like nothing that the model was trained on, which hurts both
orders; a blurred image as the reference.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ayni.explain.attribution import Attributed, class_probabilities
from ayni.explain.explanation import Curve

STEPS = 10
"""Tenths of the parts: 11 points of a curve, with both ends."""
NUM_RANDOM_ORDERS = 3
CURVE_PASSES = 2 + 2 * (STEPS - 1) * (1 + NUM_RANDOM_ORDERS)
CONFIDENCE = 0.95

Numbers = NDArray[np.float64]


class UncheckableError(Exception):
    """Internal: this model cannot be asked about inputs without parts, for the reason that is its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Both curves of the same examples."""

    deletion: Curve
    insertion: Curve


def draw_curves(model: nn.Module, attributed: Attributed, *, rng: np.random.Generator) -> Curves:
    """Probability of the answers while parts go, or come, by their attributions or at random.

    Args:
        model: In evaluation mode.
        attributed: Inputs, answers and attributions. Parts rated alike are taken in random order.
        rng: Draws the random orders.

    Cost: CURVE_PASSES = 74 forward passes an example.

    Raises:
        UncheckableError: the model fails on inputs without parts, or gives no finite answer.
    """
    parts, classes_N = attributed.parts, attributed.classes
    carries_NP = parts.carries
    sizes_N1 = carries_NP.sum(1, keepdim=True)

    def probabilities(hidden_NP: torch.Tensor) -> Numbers:
        found: Numbers = class_probabilities(model, parts.without(hidden_NP))[
            torch.arange(len(classes_N)), classes_N
        ].numpy()
        return found.astype(np.float64)

    whole_N, blank_N = probabilities(torch.zeros_like(carries_NP)), _without_parts(probabilities, carries_NP)
    if not np.isfinite(whole_N).all():
        raise UncheckableError("the model's answers are not finite")

    def curve(rank_NP: torch.Tensor, *, deletes: bool) -> Numbers:
        between = []
        for step in range(1, STEPS):
            # Rounded up in whole numbers: 0.7 * 10 is more than 7 in floating point.
            is_first = rank_NP < (step * sizes_N1 + STEPS - 1) // STEPS
            between.append(probabilities(carries_NP & (is_first if deletes else ~is_first)))
        ends = (whole_N, blank_N) if deletes else (blank_N, whole_N)
        return np.stack([ends[0], *between, ends[1]], axis=1)

    rated = _ranks(parts.scores(attributed.values), carries_NP, rng)
    orders = [_ranks(torch.zeros(carries_NP.shape), carries_NP, rng) for _ in range(NUM_RANDOM_ORDERS)]

    def compared(*, deletes: bool) -> Curve:
        random_NS = np.mean([curve(order, deletes=deletes) for order in orders], axis=0)
        return _curve(curve(rated, deletes=deletes), random_NS)

    return Curves(deletion=compared(deletes=True), insertion=compared(deletes=False))


def _without_parts(probabilities: Callable[[torch.Tensor], Numbers], carries_NP: torch.Tensor) -> Numbers:
    """Of inputs without any part, which models that mask their padding may not be made for."""
    try:
        blank_N = probabilities(carries_NP)
    except Exception as error:  # of the user's model
        raise UncheckableError(
            f"the model fails on an input without parts ({type(error).__name__})"
        ) from error
    if not np.isfinite(blank_N).all():
        raise UncheckableError("the model's answer to an input without parts is not finite")
    return blank_N


def _ranks(scores_NP: torch.Tensor, carries_NP: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Place of each part in the order of falling scores, from 0; parts that carry nothing come last."""
    scores = np.where(carries_NP.numpy(), scores_NP.double().numpy(), -np.inf)
    order = np.lexsort((rng.random(scores.shape), -scores), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
    return torch.from_numpy(ranks)


def _curve(attributed_NS: Numbers, random_NS: Numbers) -> Curve:
    fractions = np.arange(STEPS + 1) / STEPS
    # Trapezoids of equal width.
    areas, random_areas = (
        ((values[:, 1:] + values[:, :-1]) / 2).mean(1) for values in (attributed_NS, random_NS)
    )
    low, high = _interval(areas - random_areas)
    return Curve(
        fractions=fractions.tolist(),
        attributed=attributed_NS.mean(0).tolist(),
        random=random_NS.mean(0).tolist(),
        area_attributed=float(areas.mean()),
        area_random=float(random_areas.mean()),
        difference_low=low,
        difference_high=high,
        num_examples=len(areas),
    )


def _interval(differences_N: Numbers) -> tuple[float | None, float | None]:
    """Student's interval of the mean; (None, None) for fewer than two examples."""
    from scipy.stats import t

    count = len(differences_N)
    if count < 2:
        return None, None
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1) * differences_N.std(ddof=1) / np.sqrt(count))
    mean = float(differences_N.mean())
    return mean - half, mean + half
