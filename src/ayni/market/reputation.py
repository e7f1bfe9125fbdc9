"""How far a site's work is trusted, and how often it is therefore checked.

Trust is earned by checks that were passed in a row and lost by one that was failed:

    trust = n / (n + h),   n = checks passed since the last failure, h = trust_halves_at
    rate  = max(least_check_rate, 1 - trust)

So a new site is always checked, and one that cheated begins anew. A check does the work, or a part of it,
again elsewhere and compares; what "the same" means depends on the work, so the comparator is a port.

Not covered: finding colluding sites. A replica goes to a site of another member.

Source: adaptive replication of BOINC (wiki, AdaptiveReplication), which counts consecutive valid results;
its rate is 1 / n beyond a threshold, ours falls smoothly and has a floor.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

from ayni.market.policy import LeasePolicy

# The bytes of a result, or numbers by name such as a held-out metric.
Result: TypeAlias = bytes | Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reputation:
    """What checks of a site's work have shown."""

    passed_since_failure: int = 0
    failed: int = 0

    def after(self, *, passed: bool) -> Self:
        """The reputation after one more check."""
        return type(self)(
            passed_since_failure=self.passed_since_failure + 1 if passed else 0,
            failed=self.failed + (not passed),
        )

    def trust(self, policy: LeasePolicy) -> float:
        """From 0 (unknown, or just failed) towards 1."""
        return self.passed_since_failure / (self.passed_since_failure + policy.trust_halves_at)

    def check_rate(self, policy: LeasePolicy) -> float:
        """The share of the site's work that is checked."""
        return max(policy.least_check_rate, 1 - self.trust(policy))


class Comparator(Protocol):
    """Says whether two results of the same work agree."""

    def agrees(self, claimed: Result, again: Result) -> bool:
        """Whether the claimed result is what doing the work again gives."""
        ...


class BitwiseComparator:
    """For deterministic work: the same bytes, or the very same numbers."""

    def agrees(self, claimed: Result, again: Result) -> bool:
        """Whether both are equal."""
        return claimed == again


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceComparator:
    """For numbers that differ from machine to machine: the same names, each close enough.

    |claimed - again| <= absolute + relative |again|; what is not finite agrees with nothing.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.relative + self.absolute) and min(self.relative, self.absolute) >= 0):
            raise ValueError(f"tolerances of {self.relative} and {self.absolute}; not negative, and finite")

    def agrees(self, claimed: Result, again: Result) -> bool:
        """Whether every number is within the tolerance."""
        if isinstance(claimed, bytes) or isinstance(again, bytes) or claimed.keys() != again.keys():
            return False
        return all(self._is_close(claimed[name], again[name]) for name in claimed)

    def _is_close(self, claimed: float, again: float) -> bool:
        if not (math.isfinite(claimed) and math.isfinite(again)):
            return False
        return abs(claimed - again) <= self.absolute + self.relative * abs(again)
