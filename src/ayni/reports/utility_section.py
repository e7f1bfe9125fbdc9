"""A section of a report: does derived data help? A row for each arm, and its gain with its interval.

Takes what `UtilityResult.to_json` gave. The word "helps" comes from there and is not judged anew.

Not covered: single seeds, which the JSON has.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from ayni.reports.pages import page_environment
from ayni.reports.plot_marks import CHOSEN, PLAIN, WHISKER
from ayni.reports.scales import Axis, padded
from ayni.reports.svg import svg_figure, svg_text

Json = Mapping[str, Any]
WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 460.0, 190.0, 16.0, 30.0, 34.0, 40.0
HELPS = "helps"
_LONGEST_NAME = 30


def utility_section(result: Json) -> Markup:
    """The section as HTML, for a page with the house's style sheet."""
    template = page_environment(()).get_template("utility.html.j2")
    return Markup(
        template.render(
            result=result,
            rows=[_row(arm, result["energy_unit"]) for arm in result["arms"]],
            plot=utility_plot(result),
        )
    )


def utility_plot(result: Json) -> Markup:
    """Gains at equal steps with their intervals, one below the other; empty without a comparison."""
    arms = [arm for arm in result["arms"] if arm["same_steps"]]
    if not arms:
        return Markup("")
    ends = [0.0, *(arm["same_steps"][end] for arm in arms for end in ("low", "high"))]
    low, high = padded(ends)
    floor = TOP + ROW * len(arms)
    axis = Axis(low=low, high=high, start=LEFT, end=WIDTH - RIGHT)
    parts = [*_frame(axis, floor)]
    for index, arm in enumerate(arms):
        parts += _mark(arm, axis, y=TOP + ROW * (index + 0.5))
    return svg_figure(
        parts,
        key="utility",
        title="What each arm gains",
        description=". ".join(f"{arm['name']}: {_difference(arm['same_steps'])} points" for arm in arms),
        width=WIDTH,
        height=floor + BOTTOM,
    )


def _frame(axis: Axis, floor: float) -> Iterable[Markup]:
    yield svg_text(0, 14, "against what it is compared with, at equal steps", css="axis-name")
    zero = axis.position(0.0)
    yield Markup('<line class="axis" x1="{0:.1f}" x2="{0:.1f}" y1="{1:g}" y2="{2:g}"/>').format(
        zero, TOP, floor
    )
    for tick in axis.ticks():
        x = axis.position(tick)
        yield Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1:g}" y2="{2:g}"/>').format(
            x, TOP, floor
        )
        yield svg_text(x, floor + 16, f"{tick:+g}".replace("-", "\N{MINUS SIGN}"), anchor="middle")
    yield svg_text(axis.end, floor + 34, "points of accuracy", css="axis-name", anchor="end")


def _mark(arm: Json, axis: Axis, *, y: float) -> Iterable[Markup]:
    found = arm["same_steps"]
    begin = CHOSEN if arm["verdict"] == HELPS else PLAIN
    whisker = WHISKER + Markup(' x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
        axis.position(found["low"]), axis.position(found["high"]), y, y
    )
    x = axis.position(found["mean"])
    # Shape and colour: what helps is a diamond.
    if arm["verdict"] == HELPS:
        drawn = Markup('<path d="M{:.1f} {:.1f}l8 8-8 8-8-8z"/>').format(x, y - 8)
    else:
        drawn = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="5"/>').format(x, y)
    yield begin + Markup(">{}{}</g>").format(whisker, drawn)
    name = arm["name"]
    shown = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    yield svg_text(0, y + 4, shown, css="label")


def _row(arm: Json, unit: str) -> dict[str, str]:
    cost = arm["cost"]
    energy = cost["cpu_seconds"] if cost["joules"] is None else cost["joules"]
    same_energy = "" if not arm["same_energy"] else _difference(arm["same_energy"])
    if same_energy:
        same_energy += f" (the other took {arm['steps_ratio']:.1f} times the steps)"
    return {
        "name": arm["name"],
        "accuracy": f"{arm['accuracy']:.2f} %",
        "against": arm["compared_with"] or "",
        "same_steps": "" if not arm["same_steps"] else _difference(arm["same_steps"]),
        "same_energy": same_energy,
        "energy": f"{energy:.{max(0, 2 - math.floor(math.log10(energy or 1)))}f} {unit}",
        "verdict": arm["verdict"],
    }


def _difference(found: Json) -> str:
    text = f"{found['mean']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"
    return text.replace("-", "\N{MINUS SIGN}")
