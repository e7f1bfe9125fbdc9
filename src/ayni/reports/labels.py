"""Where to write the names of points so that they do not lie on each other.

Greedy: few points, and a reader forgives a name on the other side of its dot. Text is measured by a
mean width per character, because the reader's fonts are not known here.

Not covered: lines that lead from a name to its point.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER_WIDTH = 7.0
LINE_HEIGHT = 14.0
GAP = 10.0

# x, y, text-anchor
Placed = tuple[float, float, str]
Frame = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "_Box") -> float:
        """Area that two boxes share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)


def place_labels(
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    *,
    frame: Frame,
    obstacles: Sequence[Frame] = (),
) -> list[Placed]:
    """A place for each name beside its point: the side that covers least of points and names before it.

    Args:
        names: what is to be written, in the order of importance.
        points: where the named things are.
        frame: left, top, right and bottom of the space that a name should not leave.
        obstacles: boxes of the same form that a name should not cover.
    """
    taken = [_Box(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    taken += [_Box(*obstacle) for obstacle in obstacles]
    placed: list[Placed] = []
    for name, (x, y) in zip(names, points, strict=True):
        options = [(_box(option, name), option) for option in _around(x, y)]
        box, best = min(options, key=lambda pair: _covered(pair[0], taken, frame))
        taken.append(box)
        placed.append(best)
    return placed


def spread_apart(positions: Sequence[float], *, gap: float, lowest: float = math.inf) -> list[float]:
    """The positions moved as little as needed down the page until neighbours are `gap` apart.

    What would come below `lowest` (the largest position there may be) is pushed up again, and its neighbours
    with it.
    """
    moved = list(positions)
    order = sorted(range(len(moved)), key=lambda index: moved[index])
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    for index in reversed(order):
        if moved[index] <= lowest:
            break
        moved[index] = lowest
        lowest -= gap
    return moved


def _around(x: float, y: float) -> list[Placed]:
    return [
        (x + GAP, y - 7, "start"),
        (x - GAP, y - 7, "end"),
        (x + GAP, y + 16, "start"),
        (x - GAP, y + 16, "end"),
        (x + GAP, y + 4, "start"),
        (x - GAP, y + 4, "end"),
        (x, y - 13, "middle"),
        (x, y + 22, "middle"),
    ]


def _box(place: Placed, name: str) -> _Box:
    x, y, anchor = place
    width = CHARACTER_WIDTH * len(name)
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return _Box(left, y - LINE_HEIGHT + 3, left + width, y + 3)


def _covered(box: _Box, taken: Sequence[_Box], frame: Frame) -> float:
    left, top, right, bottom = frame
    whole = (box.right - box.left) * (box.bottom - box.top)
    outside = whole - box.overlap(_Box(left, top, right, bottom))
    return sum(box.overlap(other) for other in taken) + 4 * outside
