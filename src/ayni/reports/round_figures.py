"""How a training ran, round by round: utilisation, pace, bytes, and learners where their number changed.

Not covered: what it learned (figures.py), and how a plot is drawn (plots.py).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ayni.reports import formats
from ayni.reports.plots import Figure, Series, line_plot
from ayni.reports.variants import View

# A page with more rows than this is slow to open, and nobody reads it: `--json` has every round.
_MAX_ROWS = 200
# Strategies whose learners may begin work in one round that counts in the next.
_WITHOUT_PAUSE = ("streaming", "async")
_SHIFTED = (
    "A learner's time counts in the round that its work ends in, and may lie partly before it: "
    "so a single round may exceed 100\N{NO-BREAK SPACE}%."
)

Points = list[tuple[float, float]]
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFigure:
    """A plot over the rounds, and what must be known to read it."""

    plot: Markup
    caption: str = ""


def round_figures(view: View) -> list[RoundFigure]:
    """Plots over the rounds; none for a single round, and none of what is unknown."""
    train = view["train"] or {}
    curve = train.get("curve", [])
    if len(curve) < 2:
        return []
    caption = _SHIFTED if train["strategy"] in _WITHOUT_PAUSE else ""
    drawn = [
        RoundFigure(plot=_utilisation(curve), caption=caption),
        *(RoundFigure(plot=plot) for plot in (_pace(curve), _bytes(curve), _learners(curve))),
    ]
    return [figure for figure in drawn if figure.plot]


def rows_of_rounds(view: View) -> tuple[str, list[Entry]]:
    """What the table of rounds is called, and the rounds in it: all, or every n-th and the last."""
    curve = (view["train"] or {}).get("curve", [])
    stride = math.ceil(len(curve) / _MAX_ROWS)
    if stride <= 1:
        return "All rounds as a table", list(curve)
    name = f"Every {stride}th round as a table" if stride > 3 else f"One round in {stride} as a table"
    return name, [*curve[:-1:stride], curve[-1]]


def _utilisation(curve: Sequence[Entry]) -> Markup:
    points = _points(curve, "utilisation")
    return _plot(
        "rounds-utilisation",
        "Utilisation: time of the learners spent computing",
        _per_cent,
        [Series(name="computing", points=points)],
        y_to=1.0,
    )


def _pace(curve: Sequence[Entry]) -> Markup:
    points = _points(curve, "samples_per_second")
    series = [Series(name="samples", points=points)]
    return _plot("rounds-pace", "Samples per second", formats.digits, series)


def _bytes(curve: Sequence[Entry]) -> Markup:
    """Up, down and between learners; where a round does not tell them apart, their sum."""
    up, down = _points(curve, "bytes_up"), _points(curve, "bytes_down")
    between = [
        (entry["round"], entry["bytes_sent"] - entry["bytes_up"] - entry["bytes_down"])
        for entry in curve
        if None not in (entry["bytes_sent"], entry["bytes_up"], entry["bytes_down"])
    ]
    series = [Series(name="up", points=up), Series(name="down", points=down)]
    if any(value > 0 for _, value in between):
        series.append(Series(name="learners", points=between))
    if not up and not down:
        series = [Series(name="sent", points=_points(curve, "bytes_sent"))]
    return _plot("rounds-bytes", "Bytes in each round", formats.stored_bytes, series)


def _learners(curve: Sequence[Entry]) -> Markup:
    """Learners, where their number changed; their updates, where they were not as many."""
    alive, updates = _points(curve, "learners_alive"), _points(curve, "num_updates")
    if len({value for _, value in [*alive, *updates]}) < 2:
        return Markup("")
    series, label = [Series(name="alive", points=alive)], "Learners"
    if updates and updates != alive:
        series.append(Series(name="updates", points=updates))
        label = "Learners, and their updates in each round"
    return _plot("rounds-learners", label, lambda value: f"{value:g}", series, is_y_whole=True)


def _points(curve: Sequence[Entry], key: str) -> Points:
    return [(entry["round"], entry[key]) for entry in curve if entry[key] is not None]


def _plot(
    key: str,
    label: str,
    write: Callable[[float], str],
    series: Sequence[Series],
    *,
    y_to: float | None = None,
    is_y_whole: bool = False,
) -> Markup:
    ends = [
        f"{one.name} from {write(one.points[0][1])} to {write(one.points[-1][1])}"
        for one in series
        if one.points
    ]
    figure = Figure(
        key=key,
        title=f"{label} by round",
        description=f"{'; '.join(ends)}.",
        x_label="Round",
        y_label=label,
        write_x=lambda value: f"{value:g}",
        write_y=write,
        is_x_whole=True,
        is_y_whole=is_y_whole,
        y_from=0.0,
        y_to=y_to,
    )
    return line_plot(figure, series)


def _per_cent(value: float) -> str:
    return formats.share(value, 1.0)
