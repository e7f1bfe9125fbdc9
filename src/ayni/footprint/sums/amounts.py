"""Sums over many measurements: figures that may be unknown, and errors that are shared or not.

    unknown part      the sum is unknown; what is known of it stands beside it, with how many parts are not
    no interval       a part whose interval nobody states leaves the sum without one
    shared error      parts of one meter, grid or table err together: ends are added
    no shared error   distances from the value add in quadrature

Parts share an error when they name the same source of it. That is passed on: two runs on one meter, the
second of which shares its grid with a third, are one group of three. Groups err independently of each
other.

Not covered: partly shared errors. What shares one source is taken to share all: the wider interval.
"""

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ayni.footprint.impacts.quantities import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A figure that is not negative, in the unit that its owner names, with its 90 % interval.

    `low` and `high` are None together: nobody states them. Integers stay integers.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"an interval has two ends or none, not {self.low} and {self.high}")
        low, high = (
            (self.value, self.value) if self.low is None or self.high is None else (self.low, self.high)
        )
        if not 0 <= low <= self.value <= high < math.inf:
            raise ValueError(f"{self.value} ({self.low} to {self.high}) is no figure with its interval")

    @classmethod
    def of_json(cls, data: Mapping[str, float] | None) -> "Amount | None":
        """The figure in {"value", "low", "high"}; None of null."""
        return None if data is None else cls(value=data["value"], low=data["low"], high=data["high"])

    def times(self, factor: float) -> "Amount":
        """This figure times an exact number that is not negative."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Amount(value=self.value * factor, low=low, high=high)

    def quantity(self) -> Quantity | None:
        """The same as a figure that has its interval; None without one."""
        if self.low is None or self.high is None:
            return None
        return Quantity(value=self.value, low=self.low, high=self.high)

    def to_json(self) -> dict[str, float | None]:
        """Plain JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


ZERO = Amount(value=0, low=0, high=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A sum: what is known of it, of how many parts, and how many parts are unknown."""

    known: Amount
    num_known: int
    num_unknown: int

    @property
    def amount(self) -> Amount | None:
        """The sum; None while any part is unknown, never a partial sum."""
        return None if self.num_unknown else self.known

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the sum or nulls, and what is known of it."""
        whole = (
            Amount.to_json(self.known) if not self.num_unknown else dict.fromkeys(("value", "low", "high"))
        )
        counts = {"num_known": self.num_known, "num_unknown": self.num_unknown}
        return {**whole, "known": self.known.to_json() if self.num_known else None, **counts}


Part = tuple[Amount | None, Collection[Hashable]]
"""A figure, and the sources of its error: what it shares with others."""


def add_up(parts: Iterable[Part]) -> Total:
    """The sum of figures, each with the sources of its error.

    low = value - sqrt(sum over groups of (sum of (value_i - low_i))^2), high likewise
    """
    given = list(parts)
    known = [(amount, sources) for amount, sources in given if amount is not None]
    groups = _groups([sources for _, sources in known])
    value = _sum(amount.value for amount, _ in known)
    below, above = _distances([amount for amount, _ in known], groups)
    ends = (None, None) if below is None or above is None else (value - below, value + above)
    # Of integers the ends are integers too: whoever adds them up again finds the same.
    low, high = (round(end) if end is not None and isinstance(value, int) else end for end in ends)
    low = None if low is None else max(0, low)
    return Total(
        known=Amount(value=value, low=low, high=high),
        num_known=len(known),
        num_unknown=len(given) - len(known),
    )


def _sum(values: Iterable[float]) -> float:
    """Exact for integers, correctly rounded for others."""
    given = list(values)
    return sum(given) if all(isinstance(value, int) for value in given) else math.fsum(given)


def _distances(amounts: Sequence[Amount], groups: Sequence[int]) -> tuple[float | None, float | None]:
    """How far the ends of the sum are from it; None when a part has no interval."""
    below: dict[int, float] = {}
    above: dict[int, float] = {}
    for amount, group in zip(amounts, groups, strict=True):
        if amount.low is None or amount.high is None:
            return None, None
        below[group] = below.get(group, 0) + (amount.value - amount.low)
        above[group] = above.get(group, 0) + (amount.high - amount.value)
    if len(below) == 1:
        # One group needs no root, which would cost integers their last digits.
        return next(iter(below.values())), next(iter(above.values()))
    return math.hypot(*below.values()), math.hypot(*above.values())


def _groups(sources: Sequence[Collection[Hashable]]) -> list[int]:
    """For each part the number of its group: parts that share a source, and whoever shares with those."""
    parent = list(range(len(sources)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first_with: dict[Hashable, int] = {}
    for index, names in enumerate(sources):
        for name in names:
            parent[root(index)] = root(first_with.setdefault(name, index))
    return [root(index) for index in range(len(sources))]
