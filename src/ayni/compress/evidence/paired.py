"""How far two models differ in a metric on the same examples, and how sure that is.

Both answer the same examples, so what makes an example easy or hard is common to both and drops out: the
interval of the difference is narrower than what the two separate intervals suggest. A budget is tested
against the worse end of this interval.

    the metric is                     interval of the difference             function
    a share of examples (accuracy)    Newcombe's, from two of Wilson's       difference_of_shares
    a mean over examples (loss)       Student's, of the differences          difference_of_means
    anything else (F1, AUC)           percentiles of a paired bootstrap      difference_by_bootstrap

Examples that hang together (windows of one text, pictures of one patient) are given as groups; otherwise
the interval would be too narrow.

Shape suffixes: N examples, G groups.

Not covered: several comparisons at once (ayni.compress.evidence.changes corrects for those), sequential looks
at the same test set, groups for shares.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.errors import UserError
from ayni.intervals import LEVEL, NORMAL_QUANTILE, wilson_interval

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Values = Sequence[float] | Sequence[bool] | NDArray[Any] | torch.Tensor
Method = Literal["newcombe", "student", "bootstrap"]

NUM_RESAMPLES = 2000
"""The ends of a 95 % interval are then the 50th value from either side, known to about 2 % of its width."""
MIN_BOOTSTRAP_GROUPS = 10
MAX_UNDEFINED_SHARE = 0.05
MAX_SUMMED_DEGREES = 100


class UnpairedError(UserError):
    """Two lists of values do not belong to the same examples, or hold something that is no number."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Values of two models cannot be compared example by example: {reason}. "
            "Evaluate both on the same examples in the same order."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """A metric before and after a change, and the interval [low, high] of after - before at `level`."""

    before: float
    after: float
    low: float
    high: float
    method: Method
    num_examples: int
    level: float = LEVEL

    @property
    def difference(self) -> float:
        """How much the metric grew: after - before, in its own units."""
        return self.after - self.before

    def drop(self, *, lower_is_better: bool) -> float:
        """How much worse it became; negative when it became better."""
        return self.difference if lower_is_better else -self.difference

    def worst_drop(self, *, lower_is_better: bool) -> float:
        """The worse end of the interval of the drop: what a budget is compared with."""
        return self.high if lower_is_better else -self.low

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("before", "after", "difference", "low", "high", "method", "num_examples", "level")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The difference that `to_json` wrote."""
        names = ("before", "after", "low", "high", "method", "num_examples", "level")
        return cls(**{name: data[name] for name in names})


def difference_of_shares(is_right_before_N: Values, is_right_after_N: Values) -> PairedDifference:
    """Difference of two shares of the same examples, such as accuracies.

        p1 = share before, [l1, u1] its Wilson interval; p2, [l2, u2] the same after; d = p2 - p1
        low  = d - sqrt((p2 - l2)^2 - 2 phi (p2 - l2) (u1 - p1) + (u1 - p1)^2)
        high = d + sqrt((u2 - p2)^2 - 2 phi (u2 - p2) (p1 - l1) + (p1 - l1)^2)

    phi is the correlation of the 2 x 2 table of right and wrong, a positive numerator being reduced by N / 2
    and not below 0; it is 0 when a margin is empty. Never collapses, not even when no answer changed.

    Source: Newcombe, "Improved confidence intervals for the difference between binomial proportions based
    on paired data", Statistics in Medicine 17, 1998, method 10.

    Raises:
        UnpairedError: different lengths, no examples, or values that are neither true nor false.
    """
    before_N, after_N = _paired(is_right_before_N, is_right_after_N)
    for values_N in (before_N, after_N):
        if not np.isin(values_N, (0.0, 1.0)).all():
            raise UnpairedError("a share counts examples that are right (1) or wrong (0), nothing between")
    num = len(before_N)
    both, only_after = int((before_N * after_N).sum()), int((after_N > before_N).sum())
    only_before = int((before_N > after_N).sum())
    right_before, right_after = both + only_before, both + only_after
    phi = _corrected_phi(both, only_before, only_after, num - both - only_before - only_after)
    share_1, share_2 = right_before / num, right_after / num
    (low_1, high_1), (low_2, high_2) = wilson_interval(right_before, num), wilson_interval(right_after, num)
    below = _combined(share_2 - low_2, high_1 - share_1, phi)
    above = _combined(high_2 - share_2, share_1 - low_1, phi)
    return PairedDifference(
        before=share_1,
        after=share_2,
        low=max(-1.0, share_2 - share_1 - below),
        high=min(1.0, share_2 - share_1 + above),
        method="newcombe",
        num_examples=num,
    )


def difference_of_means(
    before_N: Values, after_N: Values, *, groups_N: Sequence[Any] | NDArray[Any] | None = None
) -> PairedDifference | None:
    """Difference of two means over the same examples, such as losses or cosines.

        d_i = after_i - before_i,  m = mean(d),  r_g = sum of (d_i - m) over group g
        m +- t(G - 1) * sqrt(G / (G - 1) * sum r_g^2) / N

    Without groups each example is its own, and this is Student's interval m +- t(N - 1) s / sqrt(N). None
    with a single group, of which no spread can be learned. Equal differences give an interval of width 0.

    Source: Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73,
    1986 (the sum over groups), with the usual factor G / (G - 1).

    Raises:
        UnpairedError: different lengths, no examples, or values that are not finite.
    """
    before, after = _paired(before_N, after_N)
    members_N, num_groups = _groups(groups_N, len(before))
    if num_groups < 2:
        return None
    differences_N = after - before
    mean = float(differences_N.mean())
    residuals_G = np.bincount(members_N, weights=differences_N - mean, minlength=num_groups)
    variance = num_groups / (num_groups - 1) * float((residuals_G**2).sum()) / len(before) ** 2
    half_width = student_quantile(num_groups - 1) * math.sqrt(variance)
    mean_before = float(before.mean())
    return PairedDifference(
        before=mean_before,
        after=mean_before + mean,
        low=mean - half_width,
        high=mean + half_width,
        method="student",
        num_examples=len(before),
    )


def difference_by_bootstrap(
    metric_before: Callable[[Integers], float],
    metric_after: Callable[[Integers], float],
    *,
    num_examples: int,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    groups_N: Sequence[Any] | NDArray[Any] | None = None,
) -> PairedDifference | None:
    """Difference of any metric: percentiles of its differences on resampled examples.

    Both models are evaluated on the same resample, which is what pairs them. With groups, whole groups are
    drawn. None where it cannot be trusted: fewer than MIN_BOOTSTRAP_GROUPS groups, or the metric is not
    finite on all examples or on more than MAX_UNDEFINED_SHARE of the resamples (one class is missing).

    Cost: 2 * num_resamples + 2 evaluations of the metric. Percentiles are a little too narrow below about
    50 examples.

    Args:
        metric_before: the metric of the model before, over the examples of these indices (with repeats).
        metric_after: the same for the model after.
        num_examples: N; indices go from 0 to N - 1.
        seed: of the draws.
        num_resamples: how many draws.
        groups_N: group of each example.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Raises:
        UnpairedError: no examples, or groups of another length.
    """
    members_N, num_groups = _groups(groups_N, num_examples)
    everything = np.arange(num_examples, dtype=np.int64)
    before, after = float(metric_before(everything)), float(metric_after(everything))
    if num_groups < MIN_BOOTSTRAP_GROUPS or not math.isfinite(after - before):
        return None
    order_N = np.argsort(members_N, kind="stable")
    starts = np.searchsorted(members_N[order_N], np.arange(num_groups + 1))
    rng = np.random.default_rng(seed)
    differences = []
    for _ in range(num_resamples):
        drawn = rng.integers(num_groups, size=num_groups)
        indices = np.concatenate([order_N[starts[group] : starts[group + 1]] for group in drawn])
        differences.append(float(metric_after(indices)) - float(metric_before(indices)))
    defined = [difference for difference in differences if math.isfinite(difference)]
    if len(defined) < (1 - MAX_UNDEFINED_SHARE) * num_resamples:
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return PairedDifference(
        before=before,
        after=after,
        low=float(low),
        high=float(high),
        method="bootstrap",
        num_examples=num_examples,
    )


def mcnemar_p_value(*, num_lost: int, num_won: int, one_sided: bool = False) -> float:
    """Probability of so uneven a split of the changed answers by chance alone.

        one-sided: P(X >= num_lost), X ~ Binomial(num_lost + num_won, 1/2);  two-sided: min(1, 2 min(tails))

    The exact conditional test: never wrong more often than it says, and therefore a little slow to find a
    small loss. One-sided asks for losses only. 1 when nothing changed.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947; the exact form as in Fagerland, Lydersen and Laake, BMC Medical
    Research Methodology 13:91, 2013.

    Raises:
        ValueError: a negative count.
    """
    if num_lost < 0 or num_won < 0:
        raise ValueError(f"{num_lost} lost and {num_won} won answers are no counts")
    upper = _upper_tail(num_lost, num_lost + num_won)
    if one_sided:
        return upper
    return min(1.0, 2 * min(upper, _upper_tail(num_won, num_lost + num_won)))


def student_quantile(degrees: int) -> float:
    """Quantile of Student's t at (1 + LEVEL) / 2 for so many degrees of freedom.

    Up to MAX_SUMMED_DEGREES by bisection of the finite sums for P(|T| < t), t = sqrt(degrees) tan(angle);
    above them from the expansion around the normal quantile, whose error is then below 1e-7.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, formulas 26.7.3 to 26.7.5.

    Raises:
        ValueError: no degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"Student's t needs at least 1 degree of freedom, not {degrees}")
    if degrees <= MAX_SUMMED_DEGREES:
        low, high = 0.0, math.pi / 2
        # Each halving gains one bit of the angle.
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _share_within(middle, degrees) < LEVEL else (low, middle)
        return math.sqrt(degrees) * math.tan(low)
    z = NORMAL_QUANTILE
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / float(degrees) ** (power + 1) for power, term in enumerate(terms))


def as_floats(values: Values | Any) -> Floats:
    """Any list, array or tensor (bfloat16 too, on any device) as an array of 64-bit floats."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    return np.asarray(values, dtype=np.float64)


def _share_within(angle: float, degrees: int) -> float:
    """P(|T| < sqrt(degrees) tan(angle)), a sum of degrees // 2 terms."""
    cosine_squared = math.cos(angle) ** 2
    is_odd = degrees % 2 == 1
    term = math.cos(angle) if is_odd else 1.0
    total = 0.0
    for index in range(degrees // 2):
        if index:
            factor = 2 * index / (2 * index + 1) if is_odd else (2 * index - 1) / (2 * index)
            term *= factor * cosine_squared
        total += term
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if is_odd else total


def _upper_tail(num_at_least: int, num_draws: int) -> float:
    """P(X >= num_at_least) for X ~ Binomial(num_draws, 1/2), by logarithms so that any size fits."""
    log_all = math.lgamma(num_draws + 1) - num_draws * math.log(2)
    terms = (
        math.exp(log_all - math.lgamma(count + 1) - math.lgamma(num_draws - count + 1))
        for count in range(num_at_least, num_draws + 1)
    )
    return min(1.0, math.fsum(terms))


def _corrected_phi(both: int, only_before: int, only_after: int, neither: int) -> float:
    num = both + only_before + only_after + neither
    margins = (both + only_before) * (only_after + neither) * (both + only_after) * (only_before + neither)
    if margins == 0:
        return 0.0
    numerator = float(both * neither - only_before * only_after)
    if numerator > 0:
        numerator = max(0.0, numerator - num / 2)
    return numerator / math.sqrt(margins)


def _combined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def _paired(before_N: Values, after_N: Values) -> tuple[Floats, Floats]:
    before, after = as_floats(before_N), as_floats(after_N)
    if before.ndim != 1 or before.shape != after.shape or len(before) == 0:
        raise UnpairedError(f"their shapes are {before.shape} and {after.shape}")
    for name, values in (("before", before), ("after", after)):
        if not np.isfinite(values).all():
            raise UnpairedError(f"{int((~np.isfinite(values)).sum())} values {name} are not finite")
    return before, after


def _groups(groups_N: Sequence[Any] | NDArray[Any] | None, num_examples: int) -> tuple[Integers, int]:
    if num_examples < 1:
        raise UnpairedError("there are no examples")
    if groups_N is None:
        return np.arange(num_examples, dtype=np.int64), num_examples
    if len(groups_N) != num_examples:
        raise UnpairedError(f"{len(groups_N)} groups are named for {num_examples} examples")
    names, members_N = np.unique(np.asarray(groups_N), return_inverse=True)
    return members_N.astype(np.int64), len(names)
