"""A row of numbers as a line of small bars, for a terminal.

Not covered: axes. The first and the last value are written beside the line.
"""

import itertools
import math
from collections.abc import Sequence

BARS = (
    "\N{LOWER ONE EIGHTH BLOCK}\N{LOWER ONE QUARTER BLOCK}\N{LOWER THREE EIGHTHS BLOCK}\N{LOWER HALF BLOCK}"
    "\N{LOWER FIVE EIGHTHS BLOCK}\N{LOWER THREE QUARTERS BLOCK}\N{LOWER SEVEN EIGHTHS BLOCK}\N{FULL BLOCK}"
)


def sparkline(values: Sequence[float], *, width: int = 40) -> str:
    """One bar for each value, or for the mean of neighbours when there are more than `width`.

    The lowest bar is the smallest mean and the full one the largest; equal values are all drawn low.
    """
    means = _thinned(values, width)
    if not means:
        return ""
    low, high = min(means), max(means)
    span = high - low
    if not 0 < span < math.inf:
        return BARS[0] * len(means)
    # The share first: the largest bar over the smallest span there is would be infinite.
    return "".join(BARS[round((mean - low) / span * (len(BARS) - 1))] for mean in means)


def _thinned(values: Sequence[float], width: int) -> list[float]:
    """At most `width` means over stretches of nearly equal length, in order."""
    num_bars = min(width, len(values))
    edges = [index * len(values) // num_bars for index in range(num_bars + 1)] if num_bars else [0]
    return [sum(values[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
