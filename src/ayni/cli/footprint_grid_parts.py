"""A file of grid data, as text for a terminal of 80 columns.

Not covered: its hours one by one.
"""

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from ayni.cli.sparkline import sparkline

Json = Mapping[str, Any]
_DAY_HOURS = 24
_INDENT = "  "


def grid_parts(view: Json) -> list[RenderableType]:
    """What the file is, then what its hours are; of several zones their names."""
    parts: list[RenderableType] = [Text(f"{view['file'] or 'Live'}: {view['kind']}", style="bold")]
    series = view["series"]
    if series is None:
        zones = ", ".join(view["zones"])
        return [*parts, Text(f"{len(view['zones'])} zones: {zones}"), "Choose one with --zone."]
    parts += [Text(line) for line in _series_lines(series, num_zones=len(view["zones"]))]
    if all(value is not None for value in series["mean_day"]):
        parts += ["", *_day_lines(series["mean_day"])]
    parts += [Text(f"Note: {note}") for note in series["notes"]]
    if view["file"] is not None:
        parts += ["", f"When to run with it: {_when_command(view)}"]
    return parts


def _series_lines(series: Json, *, num_zones: int) -> list[str]:
    among = f", one of {num_zones}" if num_zones > 1 else ""
    said = series["basis"] or "not said: give --counting life-cycle or --counting direct"
    lines = [
        f"Zone:   {series['zone']}{among}",
        f"Basis:  {said}",
        f"Hours:  {series['num_hours']:,}, {_day(series['first_hour'])} to {_day(series['end'])} UTC; "
        f"{_holes(series)}",
    ]
    if series["mean"] is not None:
        lines.append(
            f"Weight: mean {series['mean']:.0f} g CO2e/kWh, {series['lowest']:.0f} to "
            f"{series['highest']:.0f}; varies by {100 * series['variation']:.0f} %"
        )
    return [
        *lines,
        f"Truth:  {series['low_factor']:g} to {series['high_factor']:g} times the figure, 90 % of the time "
        f"({series['link']})",
        f"Source: {series['source']}",
    ]


def _holes(series: Json) -> str:
    hole = series["longest_hole"]
    if hole is None:
        return "no holes"
    return f"{series['num_holes']:,} holes, the longest {hole['num_hours']} h from {_day(hole['first_hour'])}"


def _day(text: str) -> str:
    when = datetime.fromisoformat(text)
    return f"{when.day} {when:%b %Y %H:%M}"


def _day_lines(mean_day: list[float]) -> list[str]:
    ruler = "".join(f"{hour:02d}    " for hour in range(0, _DAY_HOURS, 6))
    reach = f"{min(mean_day):.0f} to {max(mean_day):.0f} g CO2e/kWh"
    return [
        "Its mean day:",
        f"{_INDENT}{sparkline(mean_day, width=_DAY_HOURS)}  {reach}",
        f"{_INDENT}{ruler}  hour (UTC)",
    ]


def _when_command(view: Json) -> str:
    words = ["ayni", "footprint", "when", "--hours", "4", "--file", view["file"]]
    words += ["--zone", view["series"]["zone"]] if len(view["zones"]) > 1 else []
    if view["kind"] == "plain table":
        counting = view["series"]["basis"]
        words += ["--counting", counting.rpartition(", ")[2] if counting else "life-cycle|direct"]
    return shlex.join(words).replace("'life-cycle|direct'", "life-cycle|direct")
