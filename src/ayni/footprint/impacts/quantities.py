"""A figure with its 90 % interval, and how intervals travel through products and sums.

    product      factors are independent: logarithms add in quadrature
                 high / value = exp(sqrt(sum ln(high_i / value_i)^2)), low likewise
    sum          of one meter, one grid, one table: the error is the same in all parts and does not
                 shrink with their number; ends are added
    groups       parts of one group share their error, groups do not: ends are added inside a group,
                 distances from the value add in quadrature between groups

Not covered: shapes of distributions. An end is the 5 or 95 % point of what is assumed, no more.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A figure that is not negative, with the ends of its 90 % interval, in the unit that its owner names."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high < math.inf:
            raise ValueError(f"{self.value} ({self.low} to {self.high}) is no figure with its interval")

    @classmethod
    def exact(cls, value: float) -> "Quantity":
        """A figure without an error, such as a declared one."""
        return cls(value=value, low=value, high=value)

    @classmethod
    def within(cls, value: float, *, low_factor: float, high_factor: float) -> "Quantity":
        """A figure whose ends are these factors of it."""
        return cls(value=value, low=value * low_factor, high=value * high_factor)

    def times(self, factor: float) -> "Quantity":
        """This figure times an exact number that is not negative."""
        return Quantity(value=self.value * factor, low=self.low * factor, high=self.high * factor)

    def to_json(self) -> dict[str, float]:
        """Plain JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.2g} to {self.high:.2g})"


def product(*factors: Quantity) -> Quantity:
    """The product of independent figures; exactly 0 when one of them is."""
    value = math.prod(factor.value for factor in factors)
    if value == 0:
        return Quantity.exact(0.0)
    low = 0.0
    if all(factor.low > 0 for factor in factors):
        low = value / in_quadrature(factor.value / factor.low for factor in factors)
    high = value * in_quadrature(factor.high / factor.value for factor in factors)
    return Quantity(value=value, low=min(low, value), high=max(high, value))


def in_quadrature(factors: Iterable[float]) -> float:
    """exp(sqrt(sum ln(f)^2)), at least 1: the factor of a product whose factors err independently."""
    return math.exp(math.hypot(*(math.log(factor) for factor in factors)))


def correlated_sum(parts: Iterable[Quantity]) -> Quantity:
    """The sum of figures that share their error; 0 of none."""
    given = list(parts)
    return Quantity(
        value=math.fsum(part.value for part in given),
        low=math.fsum(part.low for part in given),
        high=math.fsum(part.high for part in given),
    )


def sum_of_groups(groups: Iterable[Iterable[Quantity]]) -> Quantity:
    """The sum of groups: shared errors inside each (one tier and hardware model), none between them."""
    sums = [correlated_sum(group) for group in groups]
    value = math.fsum(each.value for each in sums)
    return Quantity(
        value=value,
        low=max(0.0, value - math.hypot(*(each.value - each.low for each in sums))),
        high=value + math.hypot(*(each.high - each.value for each in sums)),
    )
