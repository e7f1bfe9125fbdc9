"""The report's figures as SVG text: learning curves and trade-offs, labelled where the eye already is.

Written by hand rather than by matplotlib: text stays text, colours are the page's CSS variables (so
that one file serves light and dark, screen and paper), nothing heavy is imported, and the base install
can draw. Series differ by shape and dashes too, not by colour alone. All sizes are SVG units; a figure is
drawn for about 460 CSS pixels and shrinks to 320.

Every figure carries a <title> and a <desc>; user text passes through `markupsafe.escape`.

Not covered: interaction.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from ayni.reports.labels import place_labels, spread_apart
from ayni.reports.plot_marks import CHOSEN, FRONT, PALE, PLAIN, RING, WHISKER
from ayni.reports.scales import Axis, padded
from ayni.reports.svg import svg_figure, svg_text

WIDTH = 460.0
HEIGHT = 300.0
LEFT = 58.0
TOP = 34.0
BOTTOM = 46.0
RIGHT = 20.0
# Room for the names at the ends of lines.
RIGHT_OF_LINES = 84.0
OUTSIDE_GAP = 4.0
# Height of a line of text.
LINE = 17.0
# Half of the largest mark, the diamond.
MARK_SIZE = 8.0
RING_GAP = 2.5
Write = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: points (x, y) in the order of x, named at its right end below its last value.

    `told` is written there instead of the last value, where that is not what matters.
    """

    name: str
    points: Sequence[tuple[float, float]]
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One variant: its place, the intervals around it, and how it stands out.

    is_pale: something else is better in everything, so that it is drawn smaller and without its interval.
    is_named: its name is written beside it; where there are many points only some have theirs.
    """

    name: str
    x: float
    y: float
    x_low: float | None = None
    x_high: float | None = None
    y_low: float | None = None
    y_high: float | None = None
    is_chosen: bool = False
    is_pale: bool = False
    is_named: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What is written around a plot, and how its numbers are written.

    Attributes:
        is_x_whole, is_y_whole: Only whole numbers mean something on this axis.
        y_from: A value that the y axis of lines shows in any case, such as 0 for what cannot be negative.
        y_to: The same at its upper end.
    """

    key: str
    title: str
    description: str
    x_label: str
    y_label: str
    write_x: Write
    write_y: Write
    is_x_whole: bool = False
    is_y_whole: bool = False
    y_from: float | None = None
    y_to: float | None = None


def line_plot(figure: Figure, series: Sequence[Series]) -> Markup:
    """Lines over one axis, each with its name and last value at its end; empty without points."""
    drawn = [replace(one, points=_thinned(one.points)) for one in series if one.points]
    if not drawn:
        return Markup("")
    xs = [x for one in drawn for x, _ in one.points]
    ys = [y for one in drawn for _, y in one.points]
    low, high = min(xs), max(xs)
    x_axis = Axis(
        low=low if low < high else low - 1,
        high=high if low < high else high + 1,
        start=LEFT,
        end=WIDTH - RIGHT_OF_LINES,
        is_whole=figure.is_x_whole,
    )
    y_axis = _vertical(*_reach(figure, ys), is_whole=figure.is_y_whole)
    parts = [*_frame(figure, x_axis, y_axis)]
    # A value and a name below it are two lines of text.
    ends = spread_apart(
        [y_axis.position(one.points[-1][1]) for one in drawn], gap=2 * LINE, lowest=HEIGHT - BOTTOM - LINE
    )
    for index, (one, label_y) in enumerate(zip(drawn, ends, strict=True)):
        parts += _line(figure, one, x_axis, y_axis, index=index, label_y=label_y)
    return _framed(figure, parts)


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most about one point for each unit of the width, the last one always: more cannot be seen."""
    stride = math.ceil(len(points) / WIDTH)
    return points if stride <= 1 else [*points[:-1:stride], points[-1]]


def _reach(figure: Figure, ys: Sequence[float]) -> tuple[float, float]:
    """The ends of the y axis: room around the values, and no further than the ends that a figure has."""
    low, high = padded(ys)
    low = low if figure.y_from is None else min(figure.y_from, *ys)
    high = high if figure.y_to is None else max(figure.y_to, *ys)
    return low, high if high > low else low + 1.0


def trade_off_plot(
    figure: Figure,
    points: Sequence[Point],
    *,
    is_higher_better: bool,
    reference: tuple[str, float] | None = None,
    is_logarithmic: bool = True,
    scale: float = 0.0,
) -> Markup:
    """Quality (y) against a cost (x, less is better), with the Pareto front as a stepped line.

    A point whose quality lies far from all others would flatten the rest into one line: it is drawn as
    an arrow at the edge with its value. So is the reference (name, quality), a dashed line where it fits.
    A point at the place of another one is a ring around it. `scale` is that of `split_far`.
    """
    if not points:
        return Markup("")
    near, distant = split_far(points, is_higher_better=is_higher_better, scale=scale)
    near.sort(key=lambda point: not point.is_chosen)
    far = _told(distant)
    x_ends = [end for p in points for end in (p.x, p.x_low, p.x_high) if end is not None]
    y_ends = [end for p in near for end in _y_ends(p) if end is not None]
    x_low, x_high = padded(x_ends, share=0.14, is_logarithmic=is_logarithmic)
    x_axis = Axis(low=x_low, high=x_high, start=LEFT, end=WIDTH - RIGHT, is_logarithmic=is_logarithmic)
    below, above = _num_outside(far, reference, y_range := padded(y_ends, share=0.16))
    y_axis = _vertical(*y_range, below=below, above=above)
    parts = [*_frame(figure, x_axis, y_axis)]
    parts += _reference(figure, reference, y_axis, x_axis, index=len(far))
    parts.append(_front(near, x_axis, y_axis, is_higher_better=is_higher_better))
    # The chosen mark is drawn last, on top of what lies under it.
    radii = ring_radii([(x_axis.position(p.x), y_axis.position(p.y)) for p in near])
    marks = [_marked(p, x_axis, y_axis, ring=ring) for p, ring in zip(near, radii, strict=True)]
    parts += [mark for mark, p in sorted(zip(marks, near, strict=True), key=lambda pair: pair[1].is_chosen)]
    parts += _names(near, x_axis, y_axis)
    for index, point in enumerate(far):
        parts += _outside(figure, point.name, point.y, y_axis, x=x_axis.position(point.x), index=index)
    return _framed(figure, parts)


def _told(far: Sequence[Point]) -> list[Point]:
    """Those with names, and one that stands for all without."""
    nameless = [point for point in far if not point.is_named]
    if len(nameless) < 2:
        return list(far)
    # Far points come in the order of quality, so that the first is the nearest.
    summed = replace(nameless[0], name=f"{len(nameless)} more, from", is_named=True)
    return [*(point for point in far if point.is_named), summed]


def _y_ends(point: Point) -> tuple[float | None, ...]:
    return (point.y,) if point.is_pale else (point.y, point.y_low, point.y_high)


def split_far(
    points: Sequence[Point], *, is_higher_better: bool, scale: float = 0.0
) -> tuple[list[Point], list[Point]]:
    """Points to draw in place, and those whose quality is too far off to share an axis with them.

    In the order of quality, the first point whose distance from the best is more than four times that
    of the one before (or of the widest interval, or 1 % of the best or of `scale`) is far, and so are all
    after it. The best two are near.

    Args:
        points: what is to be drawn.
        is_higher_better: of y.
        scale: size of the metric itself, where y is a difference of two of its values.
    """
    sign = 1.0 if is_higher_better else -1.0
    ordered = sorted(points, key=lambda p: -sign * p.y)
    best = ordered[0].y
    widths = [(p.y_high - p.y_low) for p in points if p.y_high is not None and p.y_low is not None]
    reach = max([*widths, abs(best) * 0.01, abs(scale) * 0.01, 1e-12])
    for position, point in enumerate(ordered):
        distance = abs(point.y - best)
        if position >= 2 and distance > 4 * reach:
            return ordered[:position], ordered[position:]
        reach = max(reach, distance)
    return ordered, []


def pareto_front(points: Iterable[Point], *, is_higher_better: bool) -> list[Point]:
    """Points that no other beats in both cost and quality, by rising cost. Cost: O(n log n)."""
    sign = 1.0 if is_higher_better else -1.0
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -sign * p.y)):
        if not front or sign * point.y > sign * front[-1].y:
            front.append(point)
    return front


def ring_radii(places: Sequence[tuple[float, float]]) -> list[float | None]:
    """For each mark None, or the radius of a ring around the earlier marks that it would hide behind."""
    radii: list[float | None] = []
    for index, place in enumerate(places):
        num_hidden = sum(math.dist(place, other) < MARK_SIZE for other in places[:index])
        radii.append(MARK_SIZE + RING_GAP * num_hidden if num_hidden else None)
    return radii


def short(number: str) -> str:
    """A written round number without the zeros that only precision put there: 50.0 kB is 50 kB."""
    return re.sub(r"(\.\d*?)0+(?=\D|$)", lambda match: match[1].rstrip("."), number)


def _vertical(low: float, high: float, *, below: int = 0, above: int = 0, is_whole: bool = False) -> Axis:
    """The y axis, leaving lines of text free for what lies below and above it."""
    start, end = HEIGHT - BOTTOM - LINE * below, TOP + LINE * above
    return Axis(low=low, high=high, start=start, end=end, is_whole=is_whole)


def _num_outside(
    far: Sequence[Point], reference: tuple[str, float] | None, y_range: tuple[float, float]
) -> tuple[int, int]:
    values = [point.y for point in far] + ([] if reference is None else [reference[1]])
    return sum(value <= y_range[0] for value in values), sum(value >= y_range[1] for value in values)


def _framed(figure: Figure, parts: Iterable[Markup]) -> Markup:
    return svg_figure(
        parts,
        key=figure.key,
        title=figure.title,
        description=figure.description,
        width=WIDTH,
        height=HEIGHT,
    )


def _frame(figure: Figure, x_axis: Axis, y_axis: Axis) -> Iterable[Markup]:
    """Grid lines across, round numbers beside them, and what the axes mean."""
    for tick in y_axis.ticks():
        y = y_axis.position(tick)
        yield Markup('<line class="grid" x1="{:g}" x2="{:g}" y1="{:.1f}" y2="{:.1f}"/>').format(
            LEFT, x_axis.end, y, y
        )
        yield svg_text(LEFT - 8, y + 4, short(figure.write_y(tick)), anchor="end")
    floor = HEIGHT - BOTTOM
    yield Markup('<line class="axis" x1="{:g}" x2="{:g}" y1="{:g}" y2="{:g}"/>').format(
        LEFT, x_axis.end, floor, floor
    )
    for tick in x_axis.ticks():
        x = x_axis.position(tick)
        yield Markup('<line class="axis" x1="{:.1f}" x2="{:.1f}" y1="{:g}" y2="{:g}"/>').format(
            x, x, floor, floor + 4
        )
        yield svg_text(x, floor + 18, short(figure.write_x(tick)), anchor="middle")
    # The name of the y axis lies flat above it: nobody reads sideways.
    yield svg_text(0, 14, figure.y_label, css="axis-name")
    yield svg_text(x_axis.end, HEIGHT - 6, figure.x_label, css="axis-name", anchor="end")


def _line(
    figure: Figure, series: Series, x_axis: Axis, y_axis: Axis, *, index: int, label_y: float
) -> Iterable[Markup]:
    places = [(x_axis.position(x), y_axis.position(y)) for x, y in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield Markup('<polyline class="line line-{}" points="{}"/>').format(index % 4, path)
    last_x, last_y = places[-1]
    yield Markup('<circle class="dot dot-{}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(
        index % 4, last_x, last_y
    )
    value = series.told or figure.write_y(series.points[-1][1])
    yield svg_text(last_x + 9, label_y - 2, value, css="value")
    yield svg_text(last_x + 9, label_y + 13, series.name, css="label")


def _marked(point: Point, x_axis: Axis, y_axis: Axis, *, ring: float | None) -> Markup:
    x, y = x_axis.position(point.x), y_axis.position(point.y)
    begin = CHOSEN if point.is_chosen else PALE if point.is_pale else PLAIN
    whiskers = Markup("")
    if point.y_low is not None and point.y_high is not None and not point.is_pale:
        whiskers += WHISKER + Markup(' x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
            x, x, y_axis.position(point.y_low), y_axis.position(point.y_high)
        )
    if point.x_low is not None and point.x_high is not None:
        whiskers += WHISKER + Markup(' x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
            x_axis.position(point.x_low), x_axis.position(point.x_high), y, y
        )
    if point.is_chosen:
        mark = Markup('<path d="M{:.1f} {:.1f}l8 8-8 8-8-8z"/>').format(x, y - MARK_SIZE)
    elif ring is not None:
        mark = RING + Markup(' cx="{:.1f}" cy="{:.1f}" r="{:g}"/>').format(x, y, ring)
    else:
        radius = 3.5 if point.is_pale else 5
        mark = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:g}"/>').format(x, y, radius)
    return begin + Markup(">{}{}</g>").format(whiskers, mark)


def _names(points: Sequence[Point], x_axis: Axis, y_axis: Axis) -> Iterable[Markup]:
    anchors = [(x_axis.position(p.x), y_axis.position(p.y)) for p in points]
    frame = (LEFT, TOP - 6, WIDTH, HEIGHT - BOTTOM)
    # An empty name takes no room, and its mark is still one that no other name should cover.
    names = [p.name if p.is_named else "" for p in points]
    whiskers = [
        (x - 3, y_axis.position(p.y_high), x + 3, y_axis.position(p.y_low))
        for p, (x, _) in zip(points, anchors, strict=True)
        if p.y_low is not None and p.y_high is not None and not p.is_pale
    ]
    places = place_labels(names, anchors, frame=frame, obstacles=whiskers)
    for point, (x, y, anchor) in zip(points, places, strict=True):
        if point.is_named:
            css = "label strong" if point.is_chosen else "label pale" if point.is_pale else "label"
            yield svg_text(x, y, point.name, css=css, anchor=anchor)


def _front(points: Sequence[Point], x_axis: Axis, y_axis: Axis, *, is_higher_better: bool) -> Markup:
    """The staircase between the points that nothing beats: any place under it is no gain."""
    front = pareto_front(points, is_higher_better=is_higher_better)
    if len(front) < 2:
        return Markup("")
    path = f"M{x_axis.position(front[0].x):.1f} {y_axis.position(front[0].y):.1f}"
    for point in front[1:]:
        path += f"H{x_axis.position(point.x):.1f}V{y_axis.position(point.y):.1f}"
    return FRONT + Markup(' d="{}"/>').format(path)


def _reference(
    figure: Figure, reference: tuple[str, float] | None, y_axis: Axis, x_axis: Axis, *, index: int
) -> Iterable[Markup]:
    if reference is None:
        return
    name, value = reference
    if not y_axis.low < value < y_axis.high:
        yield from _outside(figure, name, value, y_axis, index=index)
        return
    y = y_axis.position(value)
    yield Markup('<line class="reference" x1="{:g}" x2="{:g}" y1="{:.1f}" y2="{:.1f}"/>').format(
        LEFT, x_axis.end, y, y
    )
    yield svg_text(LEFT + 4, y - 5, f"{name} {figure.write_y(value)}", css="tick")


def _outside(
    figure: Figure, name: str, value: float, y_axis: Axis, *, x: float | None = None, index: int = 0
) -> Iterable[Markup]:
    """An arrow at the edge that the value lies behind, with its name and number."""
    is_below = value <= y_axis.low
    arrow = "\N{DOWNWARDS ARROW}" if is_below else "\N{UPWARDS ARROW}"
    edge = HEIGHT - BOTTOM - 6 - LINE * index if is_below else TOP + 6 + LINE * index
    text = f"{name} {figure.write_y(value)}"
    if x is None:
        yield svg_text(LEFT + OUTSIDE_GAP, edge, f"{arrow} {text}", css="tick")
    elif x > WIDTH / 2:
        yield svg_text(x + 4, edge, f"{text} {arrow}", css="tick", anchor="end")
    else:
        yield svg_text(x - 4, edge, f"{arrow} {text}", css="tick")
