"""How well an attack tells members from non-members: AUC, hits at few false alarms, privacy spent.

Legend: M members, N non-members. A higher score means "I think this one was in the training data".

Sources: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver
operating characteristic curves", Biometrics 44, 1988 (variance of the AUC); Clopper and Pearson, Biometrika
26, 1934 (interval of a share); Carlini et al., "Membership inference attacks from first principles", IEEE S&P
2022, arXiv:2112.03570 (why hits at few false alarms and not the AUC alone); Kairouz, Oh and Viswanath, "The
composition theorem for differential privacy", ICML 2015 (what epsilon bounds: TPR <= e^epsilon FPR + delta).

Not covered: the uncertainty of the threshold itself, which is the highest of the non-members' scores.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ayni.intervals import LEVEL, NORMAL_QUANTILE

Scores = NDArray[np.float64]

# Below so many non-members not even one false alarm in a thousand could be seen: 10 / FPR (Carlini et al.).
NON_MEMBERS_FOR_A_THOUSANDTH = 10_000
# Where the privacy that an attack proves spent is looked for; chosen before, so that it can be corrected for.
EPSILON_RATES = (0.01, 0.05, 0.1)
CURVE_RATES = (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, *(part / 20 for part in range(1, 21)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A measured share with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The share that `to_json` wrote."""
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackResult:
    """What an attack reached on members and non-members."""

    num_members: int
    num_non_members: int
    auc: Share
    """Probability that a member has the higher score; 0.5 is guessing."""
    hits_at_1_percent: Share
    """Share of members found where 1 % of non-members are taken for members."""
    hits_at_01_percent: Share | None
    """The same at 0.1 %; None with fewer than 10,000 non-members, who could not show it."""
    epsilon_low: float
    """The attack proves that at least this epsilon was spent (95 %, for the delta that it was given)."""
    curve: Sequence[tuple[float, float]]
    """Share of members found by share of false alarms (ROC), from 0 to 1."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The result that `to_json` wrote."""
        few = data["hits_at_01_percent"]
        return cls(
            num_members=data["num_members"],
            num_non_members=data["num_non_members"],
            auc=Share.from_json(data["auc"]),
            hits_at_1_percent=Share.from_json(data["hits_at_1_percent"]),
            hits_at_01_percent=None if few is None else Share.from_json(few),
            epsilon_low=data["epsilon_low"],
            curve=tuple((alarms, hits) for alarms, hits in data["curve"]),
        )


def measure_attack(members_M: Scores, non_members_N: Scores, *, delta: float = 0.0) -> AttackResult:
    """How far these scores tell members from non-members.

    Raises:
        ValueError: a side is empty, or a score is NaN.
    """
    if len(members_M) == 0 or len(non_members_N) == 0:
        raise ValueError(
            f"{len(members_M)} members and {len(non_members_N)} non-members: expected some of both"
        )
    if np.isnan(members_M).any() or np.isnan(non_members_N).any():
        raise ValueError("a score is NaN")
    few = len(non_members_N) >= NON_MEMBERS_FOR_A_THOUSANDTH
    return AttackResult(
        num_members=len(members_M),
        num_non_members=len(non_members_N),
        auc=area_under_curve(members_M, non_members_N),
        hits_at_1_percent=_hits_at(members_M, non_members_N, 0.01),
        hits_at_01_percent=_hits_at(members_M, non_members_N, 0.001) if few else None,
        epsilon_low=_epsilon_low(members_M, non_members_N, delta),
        curve=tuple(
            (rate, _counts_at(members_M, non_members_N, rate)[0] / len(members_M)) for rate in CURVE_RATES
        ),
    )


def area_under_curve(members_M: Scores, non_members_N: Scores) -> Share:
    """The AUC with DeLong's interval; equal scores count half.

    With all members above all non-members the variance is 0 and so is the interval's width.
    """
    above_M, below_N = _placements(members_M, non_members_N), 1 - _placements(non_members_N, members_M)
    auc = float(above_M.mean())
    variance = _variance_of_mean(above_M) + _variance_of_mean(below_N)
    half = NORMAL_QUANTILE * math.sqrt(variance)
    return Share(value=auc, low=max(0.0, auc - half), high=min(1.0, auc + half))


def share_of(count: int, total: int, *, level: float = LEVEL) -> Share:
    """A share k / n with its Clopper-Pearson interval, which is never too narrow."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(1 - tail, count + 1, total - count))
    return Share(value=count / total, low=low, high=high)


def _placements(scores: Scores, others: Scores) -> Scores:
    """For each score the share of `others` below it; equal ones count half."""
    ordered = np.sort(others)
    left, right = np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
    placements: Scores = (left + right) / (2 * len(others))
    return placements


def _variance_of_mean(values: Scores) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.25


def _counts_at(members_M: Scores, non_members_N: Scores, false_alarms: float) -> tuple[int, int]:
    """Members and non-members above the threshold that lets at most this share of non-members through."""
    allowed = math.floor(false_alarms * len(non_members_N))
    threshold = np.sort(non_members_N)[::-1][allowed] if allowed < len(non_members_N) else -np.inf
    return int((members_M > threshold).sum()), int((non_members_N > threshold).sum())


def _hits_at(members_M: Scores, non_members_N: Scores, false_alarms: float) -> Share:
    return share_of(_counts_at(members_M, non_members_N, false_alarms)[0], len(members_M))


def _epsilon_low(members_M: Scores, non_members_N: Scores, delta: float) -> float:
    """The highest ln((TPR_low - delta) / FPR_high) of the rates; the bounds hold at 95 % for all together."""
    # Two bounds for each rate share the 5 %; an interval has two tails, of which one is used.
    level = 1 - (1 - LEVEL) / len(EPSILON_RATES)
    found = [0.0]
    for rate in EPSILON_RATES:
        hits, alarms = _counts_at(members_M, non_members_N, rate)
        low = share_of(hits, len(members_M), level=level).low - delta
        high = share_of(alarms, len(non_members_N), level=level).high
        if low > 0:
            found.append(math.log(low / high))
    return max(found)
