"""A row of numbers as a line of small bars, for a terminal.

Not covered: axes. The first and the last value are written beside the line.
"""

import itertools
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
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def _thinned(values: Sequence[float], width: int) -> list[float]:
    """At most `width` means over stretches of nearly equal length, in order."""
    num_bars = min(width, len(values))
    edges = [index * len(values) // num_bars for index in range(num_bars + 1)] if num_bars else [0]
    return [sum(values[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
