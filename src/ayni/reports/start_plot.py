"""When to run, as one SVG that stands alone: the hours to come, and what such waiting saved in the past.

Drawn as the report's figures are: by hand, with text as text, in colours that follow light and dark. It is
wider than they are and has a time axis, so it has code of its own.

Not covered: interaction, and more than a week of hours in one readable row.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup, escape

from ayni.reports.scales import Axis, padded

Json = Mapping[str, Any]
WIDTH = 640.0
EDGE, LEFT, RIGHT = 14.0, 66.0, 28.0
HOURS_TOP, HOURS_FLOOR = 74.0, 230.0
PAST_TOP, PAST_FLOOR = 316.0, 436.0
_HOUR = timedelta(hours=1)
_DAY_HOURS = 24
_MOST_TICKS = 9
_STYLE = """
svg { color-scheme: light dark; --card: #ffffff; --ink: #1b1f23; --soft: #555d65; --line: #d9dcd8;
  --c0: #0072b2; --c1: #b65200; --c2: #007a5a;
  font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --card: #1b1f23; --ink: #e9ebec; --soft: #a4adb5; --line: #363d44;
    --c0: #62b5ec; --c1: #f0a04b; --c2: #4cc9a0; }
}
.paper { fill: var(--card); }
text { fill: var(--soft); paint-order: stroke; stroke: var(--card); stroke-width: 4px;
  stroke-linejoin: round; }
.head { fill: var(--ink); font-size: 16px; font-weight: 650; }
.name { font-weight: 600; }
.tick { font-size: 12px; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.zero { stroke: var(--soft); stroke-dasharray: 4 3; }
.line { fill: none; stroke: var(--c0); stroke-width: 2.25; stroke-linejoin: round; }
.now { fill: var(--c1); } .then { fill: var(--c2); } rect.now, rect.then { fill-opacity: .16; }
text.now, text.then { font-weight: 650; }
"""


def start_plot(view: Json) -> str:
    """The SVG of what `ayni.wiring.footprint.when` found.

    Raises:
        ValueError: no hour to come is known.
    """
    hours = view["grams_per_kwh_by_hour"]
    if not hours:
        raise ValueError("no hour to come is known, so there is nothing to draw")
    replayed = view["replayed"]
    height = PAST_FLOOR + 44 if replayed else HOURS_FLOOR + 44
    parts = [*_hours_panel(view)]
    if replayed:
        parts += _past_panel(replayed)
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            'role="img" aria-labelledby="title description">\n<title id="title">{title}</title>\n'
            '<desc id="description">{description}</desc>\n<style>{style}</style>\n'
            '<rect class="paper" width="{width:g}" height="{height:g}"/>\n{body}\n</svg>\n'
        ).format(
            width=WIDTH,
            height=height,
            title=_title(view),
            description=view["reason"],
            style=Markup(_STYLE),
            body=Markup("\n").join(parts),
        )
    )


def _title(view: Json) -> str:
    work = f"{view['hours']:g} h of work in {view['zone']}"
    if view["verdict"] == "wait":
        start = datetime.fromisoformat(view["start_at"])
        return f"{work}: wait until {start:%a} {start.day} {start:%b %H:%M} UTC"
    return f"{work}: {'no use waiting' if view['verdict'] == 'no use' else 'start as soon as you may'}"


def _hours_panel(view: Json) -> Iterable[Markup]:
    hours = view["grams_per_kwh_by_hour"]
    x_axis = Axis(low=0, high=len(hours), start=LEFT, end=WIDTH - RIGHT)
    low, high = padded(hours, share=0.12)
    y_axis = Axis(low=max(0.0, low), high=high, start=HOURS_FLOOR, end=HOURS_TOP)
    yield _text(EDGE, 24, _title(view), css="head")
    yield _text(EDGE, 46, f"g CO2e/kWh, as expected by {view['forecast']}", css="name")
    yield from _grid(y_axis, [(tick, f"{tick:g}") for tick in y_axis.ticks(4)])
    starts = [("now", "at once", view["not_before"], view["grams_per_kwh_now"])]
    if view["verdict"] == "wait":
        starts.append(("then", "then", view["start_at"], view["grams_per_kwh_then"]))
    for css, name, begin, grams in starts:
        yield from _band(view, x_axis, css=css, name=f"{name} {grams:.0f}", begin=begin)
    places = [
        f"{x_axis.position(index + edge):.1f},{y_axis.position(value):.1f}"
        for index, value in enumerate(hours)
        for edge in (0, 1)
    ]
    yield Markup('<polyline class="line" points="{}"/>').format(" ".join(places))
    yield _floor(HOURS_FLOOR)
    yield from _time_ticks(view, x_axis)


def _band(view: Json, x_axis: Axis, *, css: str, name: str, begin: str) -> Iterable[Markup]:
    """The hours of the work when it begins then; its name stands above."""
    first = (datetime.fromisoformat(begin) - datetime.fromisoformat(view["first_hour"])) / _HOUR
    left = x_axis.position(first)
    right = min(x_axis.end, x_axis.position(first + view["hours"]))
    yield Markup('<rect class="{}" x="{:.1f}" y="{:g}" width="{:.1f}" height="{:g}"/>').format(
        css, left, HOURS_TOP, right - left, HOURS_FLOOR - HOURS_TOP
    )
    # A name at the right edge would leave the picture.
    is_late = left > WIDTH * 0.8
    yield _text(
        right if is_late else left, HOURS_TOP - 6, name, css=css, anchor="end" if is_late else "start"
    )


def _time_ticks(view: Json, x_axis: Axis) -> Iterable[Markup]:
    first, num_hours = datetime.fromisoformat(view["first_hour"]), len(view["grams_per_kwh_by_hour"])
    step = next(step for step in (3, 6, 12, 24, 48, 10_000) if num_hours / step <= _MOST_TICKS)
    for index in range(num_hours + 1):
        when = first + _HOUR * index
        if (index + first.hour) % step == 0:
            x = x_axis.position(index)
            yield _text(x, HOURS_FLOOR + 18, f"{when:%H:%M}", css="tick", anchor="middle")
            if when.hour == 0 or step >= _DAY_HOURS:
                day = f"{when:%a} {when.day} {when:%b}"
                yield _text(x, HOURS_FLOOR + 33, day, css="tick", anchor="middle")
    yield _text(EDGE, HOURS_FLOOR + 18, "UTC", css="tick")


def _past_panel(replayed: Json) -> Iterable[Markup]:
    """Savings of single jobs in order: where the line runs below zero, waiting made them worse."""
    cuts = replayed["percentiles"]
    shares = [5 * (index + 1) for index in range(len(cuts))]
    x_axis = Axis(low=0, high=100, start=LEFT, end=WIDTH - RIGHT)
    low, high = padded([0.0, *cuts], share=0.1)
    y_axis = Axis(low=low, high=high, start=PAST_FLOOR, end=PAST_TOP)
    yield _text(
        EDGE,
        PAST_TOP - 34,
        f"Past: {replayed['num_jobs']:,} starts saved {100 * replayed['realised']:.1f} % in all; "
        f"{100 * replayed['share_worse']:.0f} % of the jobs got worse",
        css="name",
    )
    yield _text(EDGE, PAST_TOP - 16, f"saved by single jobs, chosen by {replayed['forecast']}")
    yield from _grid(y_axis, [(tick, f"{round(100 * tick)} %") for tick in y_axis.ticks(4)])
    zero = y_axis.position(0.0)
    yield Markup('<line class="zero" x1="{:g}" x2="{:g}" y1="{:.1f}" y2="{:.1f}"/>').format(
        LEFT, x_axis.end, zero, zero
    )
    places = [
        f"{x_axis.position(share):.1f},{y_axis.position(cut):.1f}"
        for share, cut in zip(shares, cuts, strict=True)
    ]
    yield Markup('<polyline class="line" points="{}"/>').format(" ".join(places))
    yield _floor(PAST_FLOOR)
    for share in (5, 25, 50, 75, 95):
        yield _text(x_axis.position(share), PAST_FLOOR + 18, f"{share} %", css="tick", anchor="middle")
    yield _text(x_axis.end, PAST_FLOOR + 34, "of the jobs saved less", css="tick", anchor="end")


def _grid(y_axis: Axis, ticks: Iterable[tuple[float, str]]) -> Iterable[Markup]:
    for tick, name in ticks:
        y = y_axis.position(tick)
        yield Markup('<line class="grid" x1="{:g}" x2="{:g}" y1="{:.1f}" y2="{:.1f}"/>').format(
            LEFT, WIDTH - RIGHT, y, y
        )
        yield _text(LEFT - 8, y + 4, name.replace("-", "\N{MINUS SIGN}"), css="tick", anchor="end")


def _floor(y: float) -> Markup:
    return Markup('<line class="axis" x1="{:g}" x2="{:g}" y1="{:g}" y2="{:g}"/>').format(
        LEFT, WIDTH - RIGHT, y, y
    )


def _text(x: float, y: float, content: str, *, css: str = "", anchor: str = "start") -> Markup:
    return Markup(
        '<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{content}</text>'
    ).format(x=x, y=y, css=css, anchor=anchor, content=escape(content))
