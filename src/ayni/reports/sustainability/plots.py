"""Bars from zero with their intervals: by month side by side, by name one below the other.

A bar whose sum is not complete is hollow, and its number says "at least"; one without an interval has no
whisker.
Bars begin at zero, so that their lengths can be compared; where one dwarfs the rest, the table beside has the
numbers. All sizes are SVG units.

Not covered: bars below zero. Costs, which may be, are in tables only.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ayni.reports.plots import short
from ayni.reports.scales import Axis
from ayni.reports.svg import svg_figure, svg_text

WIDTH = 460.0
HEIGHT = 280.0
LEFT, TOP, RIGHT, BOTTOM = 62.0, 34.0, 12.0, 40.0
ROW = 40.0
BAR = 12.0
MAX_ROWS = 12
_LONGEST_NAME = 38
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CAP = 4.0
_SHARE_OF_SLOT = 0.62


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One sum: its name (a month as 2026-03), its known part, its interval, and whether it is complete."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    is_complete: bool = True
    is_imported: bool = False

    @property
    def css(self) -> str:
        """Its classes."""
        kind = "imported" if self.is_imported else "metered"
        return f"column {kind}" if self.is_complete else f"column {kind} incomplete"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFigure:
    """What is written around bars; `write` writes a value with its unit."""

    key: str
    title: str
    label: str
    write: Callable[[float], str]

    def drawn(self, parts: Iterable[Markup], bars: Sequence[Bar], *, height: float) -> Markup:
        """The figure around its parts, with every number in words for those who cannot see it."""
        told = "; ".join(self.told(bar) for bar in bars)
        return svg_figure(
            parts,
            key=self.key,
            title=self.title,
            description=f"{told}.",
            width=WIDTH,
            height=height,
        )

    def told(self, bar: Bar) -> str:
        """A bar in words: lab-a at least 12 kWh (6 to 30 kWh)."""
        text = f"{bar.name} {'' if bar.is_complete else 'at least '}{self.write(bar.value)}"
        if bar.low is None or bar.high is None:
            return text
        return f"{text} ({self.write(bar.low)} to {self.write(bar.high)})"


def months_between(first: str, last: str) -> list[str]:
    """All months from the first to the last, both included, as 2026-03."""
    year, month = int(first[:4]), int(first[5:])
    months = [first]
    while months[-1] < last:
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        months.append(f"{year:04d}-{month:02d}")
    return months


def month_plot(figure: BarFigure, bars: Sequence[Bar]) -> Markup:
    """A bar a month, with empty places for months between that have none; empty without bars."""
    drawn = sorted((bar for bar in bars if _reach(bar) > 0), key=lambda bar: bar.name)
    if not drawn:
        return Markup("")
    months = months_between(drawn[0].name, drawn[-1].name)
    slot = (WIDTH - LEFT - RIGHT) / len(months)
    axis = Axis(low=0.0, high=_highest(drawn), start=HEIGHT - BOTTOM, end=TOP)
    parts = [*_lines_across(figure, axis), *_month_names(months, slot)]
    places = {month: LEFT + slot * (index + 0.5) for index, month in enumerate(months)}
    for bar in drawn:
        parts += _standing(bar, axis, centre=places[bar.name], width=min(48.0, slot * _SHARE_OF_SLOT))
    return figure.drawn(parts, drawn, height=HEIGHT)


def ranked_plot(figure: BarFigure, bars: Sequence[Bar]) -> Markup:
    """The largest bars, one below the other, each under its name and number; empty without bars."""
    drawn = sorted((bar for bar in bars if _reach(bar) > 0), key=lambda bar: (-bar.value, bar.name))
    if not drawn:
        return Markup("")
    shown = drawn[:MAX_ROWS]
    height = TOP + ROW * len(shown) + BOTTOM
    axis = Axis(low=0.0, high=_highest(shown), start=0.0, end=WIDTH - RIGHT)
    parts = [
        *_lines_down(figure, axis, floor=height - BOTTOM),
        svg_text(0, 14, figure.label, css="axis-name"),
    ]
    for index, bar in enumerate(shown):
        parts += _lying(figure, bar, axis, top=TOP + ROW * index)
    return figure.drawn(parts, shown, height=height)


def _reach(bar: Bar) -> float:
    return bar.value if bar.high is None else bar.high


def _highest(bars: Iterable[Bar]) -> float:
    return max(_reach(bar) for bar in bars) * 1.04


def _lines_across(figure: BarFigure, axis: Axis) -> Iterable[Markup]:
    yield svg_text(0, 14, figure.label, css="axis-name")
    for tick in axis.ticks():
        y = axis.position(tick)
        yield Markup('<line class="{}" x1="{:g}" x2="{:g}" y1="{:.1f}" y2="{:.1f}"/>').format(
            "grid" if tick else "axis", LEFT, WIDTH - RIGHT, y, y
        )
        yield svg_text(LEFT - 8, y + 4, _tick(figure, tick), anchor="end")


def _lines_down(figure: BarFigure, axis: Axis, *, floor: float) -> Iterable[Markup]:
    for tick in axis.ticks(4):
        x = axis.position(tick)
        yield Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:g}" y2="{:g}"/>').format(
            "grid" if tick else "axis", x, x, TOP - 8, floor
        )
        anchor = "start" if x < 20 else "end" if x > WIDTH - 40 else "middle"
        yield svg_text(x, floor + 18, _tick(figure, tick), anchor=anchor)


def _tick(figure: BarFigure, tick: float) -> str:
    # Zero needs no unit, and would have another than its neighbours.
    return short(figure.write(tick)) if tick else "0"


def _month_names(months: Sequence[str], slot: float) -> Iterable[Markup]:
    """Every name where there is room, else every second, third, ...; the year below its first month."""
    stride = next(step for step in (1, 2, 3, 6, 12, 24, 48, 96, 1200) if slot * step >= 34)
    floor = HEIGHT - BOTTOM
    for index, month in enumerate(months):
        centre = LEFT + slot * (index + 0.5)
        is_first = index == 0 or month.endswith("-01")
        if index % stride == 0 and stride < 12:
            yield svg_text(centre, floor + 17, _MONTHS[int(month[5:]) - 1], anchor="middle")
        if is_first and (stride < 12 or index % stride == 0 or month.endswith("-01")):
            yield svg_text(centre, floor + (17 if stride >= 12 else 33), month[:4], anchor="middle")


def _standing(bar: Bar, axis: Axis, *, centre: float, width: float) -> Iterable[Markup]:
    top, floor = axis.position(bar.value), axis.position(0.0)
    yield Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        bar.css, centre - width / 2, top, width, max(1.0, floor - top)
    )
    if bar.low is not None and bar.high is not None:
        low, high = axis.position(bar.low), axis.position(bar.high)
        cap = min(_CAP, width / 2)
        yield Markup('<path class="interval" d="M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h{4:.1f}"/>').format(
            centre, high, low, centre - cap, 2 * cap
        )
        yield Markup('<path class="interval" d="M{:.1f} {:.1f}h{:.1f}"/>').format(centre - cap, low, 2 * cap)


def _lying(figure: BarFigure, bar: Bar, axis: Axis, *, top: float) -> Iterable[Markup]:
    middle = top + 22 + BAR / 2
    yield svg_text(0, top + 14, _cut(bar.name), css="label")
    number = f"{'' if bar.is_complete else 'at least '}{figure.write(bar.value)}"
    yield svg_text(WIDTH - RIGHT, top + 14, number, css="value", anchor="end")
    yield Markup('<rect class="{}" x="0" y="{:.1f}" width="{:.1f}" height="{:g}"/>').format(
        bar.css, top + 22, max(1.0, axis.position(bar.value)), BAR
    )
    if bar.low is not None and bar.high is not None:
        low, high = axis.position(bar.low), axis.position(bar.high)
        for x in (low, high):
            yield Markup('<path class="interval" d="M{:.1f} {:.1f}v{:g}"/>').format(
                x, middle - _CAP, 2 * _CAP
            )
        yield Markup('<path class="interval" d="M{:.1f} {:.1f}H{:.1f}"/>').format(low, middle, high)


def _cut(name: str) -> str:
    """A name that fits beside its number; the table has the whole."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
