"""From values to positions on a plot, and the round numbers to write beside an axis.

Linear and logarithmic; a domain of no width is widened, so that one single point can be drawn.

Not covered: time axes.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

ROUND_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Maps values of [low, high] to positions of [start, end], which may run backwards (SVG's y does)."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool = False
    is_whole: bool = False
    """Whether only whole numbers mean something there, such as rounds."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"an axis needs low < high, got {self.low} and {self.high}")
        if self.is_logarithmic and self.low <= 0:
            raise ValueError(f"a logarithmic axis needs values above 0, got {self.low}")

    def position(self, value: float) -> float:
        """Where a value lies; outside of the domain it lies outside of the range.

        linear:       start + (end - start) * (v - low) / (high - low)
        logarithmic:  the same of log v, log low, log high
        """
        if self.is_logarithmic:
            part = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * part

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values inside the domain, about as many as wanted (a span below a decade: linear ones)."""
        if not self.is_logarithmic or self.high / self.low < 10:
            return linear_ticks(self.low, self.high, wanted, smallest_step=1.0 if self.is_whole else 0.0)
        return _decade_ticks(self.low, self.high, wanted)


def padded(
    values: Iterable[float], *, share: float = 0.08, is_logarithmic: bool = False
) -> tuple[float, float]:
    """The range of some values, widened by a share of it on both sides."""
    known = list(values)
    low, high = min(known), max(known)
    if is_logarithmic:
        margin = (high / low) ** share if high > low else 2.0
        return low / margin, high * margin
    margin = (high - low) * share if high > low else (abs(low) * 0.1 or 1.0)
    return low - margin, high + margin


def linear_ticks(low: float, high: float, wanted: int, *, smallest_step: float = 0.0) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten inside [low, high], at most `wanted` + 1 of them.

    Source: Heckbert, "Nice numbers for graph labels", Graphics Gems, 1990. Ours takes the smallest round
    step that is not below the raw one, so it never gives more than asked for.
    """
    raw = max((high - low) / wanted, smallest_step)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step for step in ROUND_STEPS if step * power >= raw * (1 - 1e-9)) * power
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _decade_ticks(low: float, high: float, wanted: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= wanted + 1:
            return inside
    stride = math.ceil(len(inside) / wanted)
    return inside[::stride]
