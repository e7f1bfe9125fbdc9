"""What the section on explanations shows beside the examples: verdict, curves, importance, simple models.

A picture of an attribution looks convincing whatever it shows. So its verdict stands beside each picture, in
words and not by colour alone, and the curves that led to it stand above them.

Not covered: the examples themselves (gallery.py), and how the page looks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from markupsafe import Markup

from ayni.reports import formats, gallery
from ayni.reports.plots import Figure, Series, line_plot
from ayni.reports.variants import View

MAX_BARS = 12

Kind = Literal["good", "bad", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A verdict in a few words, as it stands beside a picture, and in a sentence."""

    kind: Kind
    text: str
    sentence: str


MARKS: Mapping[str, Mark] = {
    "faithful": Mark(kind="good", text="checked", sentence="The attributions name what the answers rest on."),
    "not faithful": Mark(
        kind="bad",
        text="explains nothing",
        sentence="The attributions do not name what the answers rest on: do not read anything into them.",
    ),
    "unsure": Mark(
        kind="open",
        text="unsure",
        sentence="The checks do not tell whether the attributions name what the answers rest on.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One number as a bar from 0. `start` and `width` are percent of the room, 0 at `zero`."""

    name: str
    written: str
    range: str
    """The interval; empty without one."""
    start: float
    width: float
    is_negative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars that share a scale, and how to read them."""

    title: str
    bars: Sequence[Bar]
    zero: float
    note: str = ""


def section(view: View) -> dict[str, Any]:
    """All that the section's template needs beside the object of the run."""
    return {
        "mark": mark(view),
        "curve_plots": curve_plots(view),
        "importances": importance_bars(view),
        "coefficients": coefficient_bars(view["baseline"]),
        "weight_pictures": weight_pictures(view["baseline"]),
        "galleries": gallery.galleries(view),
        "has_pictures": gallery.has_pictures(view),
        "legend": gallery.legend(view),
        "told": gallery.told,
    }


def mark(view: View) -> Mark | None:
    """The verdict on the attributions; None where there are none, or they were never checked."""
    explain = view["explain"] or {}
    if checks := explain.get("checks"):
        return MARKS.get(checks["verdict"], MARKS["unsure"])
    if deletion := explain.get("deletion"):
        # Runs from before there were curves have one point of one.
        return MARKS["faithful" if deletion["is_faithful"] else "not faithful"]
    return None


def curve_plots(view: View) -> list[Markup]:
    """The curves of deletion and insertion; none where they were not measured."""
    checks = (view["explain"] or {}).get("checks")
    if not checks:
        return []
    deletion, insertion = checks["deletion"], checks["insertion"]
    return [
        _curve(
            deletion,
            key="deletion",
            title="Deletion: taking away what is rated highest",
            x_label="Parts taken away",
            better="The attribution is right where its curve falls faster.",
        ),
        _curve(
            insertion,
            key="insertion",
            title="Insertion: showing what is rated highest",
            x_label="Parts shown",
            better="The attribution is right where its curve rises faster.",
        ),
    ]


def importance_bars(view: View) -> list[Bars]:
    """What each feature of a table is worth, for the model and the baseline; the most important first."""
    found = (view["explain"] or {}).get("importance") or []
    names = {"model": "the full model", "baseline": (view["baseline"] or {}).get("name") or "the baseline"}
    return [
        _bars(
            f"For {names.get(each['of'], names['model'])}",
            [(one["name"], one["mean_drop"], one["low"], one["high"]) for one in each["features"][:MAX_BARS]],
            written=lambda value, metric=each["metric"]: _drop(value, metric),
            note=_left_out(len(each["features"])) + each["note"],
        )
        for each in found
    ]


def coefficient_bars(baseline: Mapping[str, Any] | None) -> list[Bars]:
    """What a linear baseline weighs, for each of its answers."""
    coefficients = (baseline or {}).get("coefficients") or []
    return [
        _bars(
            f"For {formats.visible(answer)}",
            [(one["feature"], one["weight"], None, None) for one in own],
            written=formats.signed,
        )
        for answer, own in groupby(coefficients, key=lambda one: str(one["answer"]))
    ]


def weight_pictures(baseline: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a linear baseline weighs in an image, for each of its answers."""
    images = (baseline or {}).get("images") or []
    return [{"answer": one["answer"], "picture": gallery.data_uri(one["image"])} for one in images]


def _curve(curve: Mapping[str, Any], *, key: str, title: str, x_label: str, better: str) -> Markup:
    areas = {name: f"{curve[f'area_{name}']:.3f}" for name in ("attributed", "random")}
    figure = Figure(
        key=f"{key}-curve",
        title=title,
        description=(
            f"Mean probability of the answer over {curve['num_examples']} examples. Area below: "
            f"{areas['attributed']} in the order of the attribution, {areas['random']} in random order. "
            f"{better}"
        ),
        x_label=x_label,
        y_label=f"{title.partition(':')[0]}: mean probability, and area",
        write_x=_percent,
        write_y=_percent,
        y_from=0.0,
        y_to=1.0,
    )
    return line_plot(
        figure,
        [
            Series(
                name="by rating",
                points=list(zip(curve["fractions"], curve["attributed"], strict=True)),
                told=areas["attributed"],
            ),
            Series(
                name="random",
                points=list(zip(curve["fractions"], curve["random"], strict=True)),
                told=areas["random"],
            ),
        ],
    )


def _bars(
    title: str,
    rows: Sequence[tuple[str, float, float | None, float | None]],
    *,
    written: Any,
    note: str = "",
) -> Bars:
    values = [value for _, value, _, _ in rows]
    low, high = min(0.0, *values), max(0.0, *values)
    reach = (high - low) or 1.0
    zero = -100 * low / reach
    return Bars(
        title=title,
        zero=round(zero, 1),
        note=note,
        bars=[
            Bar(
                name=formats.visible(name),
                written=written(value),
                range="" if start is None or end is None else f"{written(start)} to {written(end)}",
                start=round(zero + 100 * min(value, 0.0) / reach, 1),
                width=round(100 * abs(value) / reach, 1),
                is_negative=value < 0,
            )
            for name, value, start, end in rows
        ],
    )


def _drop(value: float, metric: str) -> str:
    """A drop of a share in points, of anything else in its own unit."""
    return re.sub(r"^\+", "", formats.metric_change(value, metric))


def _left_out(num_features: int) -> str:
    more = num_features - MAX_BARS
    return f"{formats.count(more)} more, each worth less, are not shown. " if more > 0 else ""


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
