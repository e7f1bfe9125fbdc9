"""When to run, as text for a terminal of 80 columns.

Not covered: everything that `--json` has.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ayni.cli.sparkline import sparkline
from ayni.cli.tables import plain_table
from ayni.reports import formats

Json = Mapping[str, Any]
_MOST_BARS = 60
_INDENT = "  "
_HOUR = timedelta(hours=1)
_SHOWN_PERCENTILES = (5, 25, 50, 75, 95)
_NOW_MARK, _START_MARK = "-", "^"


def when_parts(view: Json) -> list[RenderableType]:
    """The answer first, then what it rests on, then what it was worth in the past."""
    parts: list[RenderableType] = [Text(_question(view)), Text(_answer(view), style="bold")]
    # Where the past is shown below, the reason would only say it once more.
    if not view["replayed"] or view["verdict"] in ("start now", "needs data"):
        parts.append(Text(view["reason"]))
    if view["grams_per_kwh_by_hour"]:
        parts += ["", _starts_table(view), "", f"Expected by {view['forecast']}:", *_hours_lines(view)]
    if view["replayed"]:
        parts += ["", Text(_past_line(view["replayed"])), _spread_table(view["replayed"])]
    return [*parts, "", *map(Text, _ground_lines(view))]


def moment(text: str) -> str:
    """A time with its day, in UTC and, where that differs, by this machine's clock."""
    when = datetime.fromisoformat(text)
    here = when.astimezone()
    shown = f"{when:%a} {when.day} {when:%b %H:%M} UTC"
    return shown if here.utcoffset() == timedelta(0) else f"{shown} ({here:%H:%M} here)"


def percent(share: float) -> str:
    """A share of one in per cent without decimals, never -0 %."""
    return f"{round(100 * share) + 0:d} %".replace("-", formats.MINUS)


def _question(view: Json) -> str:
    earliest = "" if view["not_before"] == view["asked_at"] else f" from {moment(view['not_before'])}"
    return (
        f"{view['hours']:g} h of work in {view['zone'] or 'no zone'},{earliest} to be done by "
        f"{moment(view['deadline'])}"
    )


def _answer(view: Json) -> str:
    if view["verdict"] == "wait":
        waits = datetime.fromisoformat(view["start_at"]) - datetime.fromisoformat(view["asked_at"])
        return f"Wait until {moment(view['start_at'])}, in {formats.seconds(waits.total_seconds())}."
    return {
        "start now": "Start as soon as you may: waiting promises nothing.",
        "no use": "No use waiting: the grid is too flat, or too hard to foresee.",
        "needs data": "Cannot tell.",
    }[view["verdict"]]


def _starts_table(view: Json) -> Table:
    table = plain_table("start", "g CO2e/kWh", "expected saving")
    at_once, then = view["grams_per_kwh_now"], view["grams_per_kwh_then"]
    table.add_row(moment(view["not_before"]), f"{at_once:.0f}", "")
    saving = view["expected_saving"]
    if saving > 0:
        # What is promised is shown beside the answer "no use" too, so that it can be judged.
        best = view["start_at"] if view["verdict"] == "wait" else None
        name = "the best hours ahead" if best is None else moment(best)
        table.add_row(name, f"{then:.0f}", percent(saving))
    return table


def _hours_lines(view: Json) -> list[RenderableType]:
    """A bar for each hour to come, the hours of the day below, and marks for now and for the start."""
    hours = view["grams_per_kwh_by_hour"]
    num_bars = min(len(hours), _MOST_BARS)
    low, high = round(min(hours)), round(max(hours))
    marks = [" "] * num_bars
    for begin, mark in ((view["not_before"], _NOW_MARK), (view["start_at"], _START_MARK)):
        if mark == _NOW_MARK or view["verdict"] == "wait":
            for index in _bars_of_work(view, begin, num_bars):
                marks[index] = mark
    legend = f"{_NOW_MARK} at once" + (f"  {_START_MARK} then" if _START_MARK in marks else "")
    lines = [
        f"{sparkline(hours, width=num_bars)}  {low} to {high} g CO2e/kWh",
        f"{''.join(marks)}  {legend}",
        f"{_hours_of_day(view, num_bars)}  hour (UTC)",
    ]
    return [f"{_INDENT}{line}" for line in lines]


def _bars_of_work(view: Json, begin: str, num_bars: int) -> range:
    """The bars over which the work lasts when it begins then."""
    hours_per_bar = len(view["grams_per_kwh_by_hour"]) / num_bars
    offset = (datetime.fromisoformat(begin) - datetime.fromisoformat(view["first_hour"])) / _HOUR
    last = ceil((offset + view["hours"]) / hours_per_bar - 1e-9)
    return range(int(offset / hours_per_bar), min(num_bars, last))


def _hours_of_day(view: Json, num_bars: int) -> str:
    first, num_hours = datetime.fromisoformat(view["first_hour"]), len(view["grams_per_kwh_by_hour"])
    step = 6 if num_hours <= _MOST_BARS else 24
    row = [" "] * num_bars
    for index in range(num_hours):
        bar = index * num_bars // num_hours
        if (first.hour + index) % step == 0 and bar + 2 <= num_bars:
            row[bar : bar + 2] = f"{(first.hour + index) % 24:02d}"
    return "".join(row)


def _past_line(replayed: Json) -> str:
    return (
        f"Past: {replayed['num_jobs']:,} starts chosen by {replayed['forecast']} saved "
        f"{100 * replayed['realised']:.1f} % in all (who knows the future: {100 * replayed['oracle']:.1f} "
        f"%), and {percent(replayed['share_worse'])} of the jobs got worse."
    )


def _spread_table(replayed: Json) -> Table:
    """Savings of single jobs by how many had less."""
    table = plain_table("of the jobs", *(f"{share} %" for share in _SHOWN_PERCENTILES))
    cuts = replayed["percentiles"]
    table.add_row("saved less than", *(percent(cuts[share // 5 - 1]) for share in _SHOWN_PERCENTILES))
    return table


def _ground_lines(view: Json) -> list[str]:
    lines = []
    if annual := view["annual"]:
        lines.append(
            f"What is known of {annual['zone']} is its annual mean, "
            f"{annual['grams_co2e_per_kwh']:.0f} g CO2e/kWh ({annual['low']:.0f} to {annual['high']:.0f}; "
            f"{annual['basis']})."
        )
    if view["sources"]:
        lines.append(f"Data: {'; '.join(view['sources'])} ({view['basis']}).")
    return lines + [f"Note: {note}." for note in view["notes"]]
