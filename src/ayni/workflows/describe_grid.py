"""What a file of hourly grid data is: publisher, zones, basis, span, holes, and what its hours are like.

The same is said of the hours that the API of Electricity Maps gives; these can be kept as a file, in the
API's own form, which every command reads again without the network.

Not covered: prices, and mending a file.
"""

import json
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from ayni.footprint.grid.basis import Counting
from ayni.footprint.grid.importers import kind_of_file, read_intensity_file
from ayni.footprint.grid.intensity_series import HOUR, IntensitySeries

_DAY_HOURS = 24
_EMISSION_FACTORS = {"life-cycle": "lifecycle", "direct": "direct"}


def describe_file(
    path: Path,
    *,
    zone: str | None = None,
    counting: Counting | None = None,
    unit: str = "g/kWh",
    time_zone: str | None = None,
) -> dict[str, Any]:
    """What a file is, as JSON; keys: docs/grid-data.md.

    Of a file with several zones and none chosen, the zones alone. A plain table of which nobody says what it
    counts is described with a null basis.

    Raises:
        GridFileError: the file is none that is known, or not whole; says which line.
    """
    kind = kind_of_file(path)
    found: dict[str, Any] = {
        "file": str(path),
        "kind": kind.name,
        "zones": list(kind.zones),
        "states_basis": kind.states_basis or counting is not None,
        "series": None,
    }
    if zone is None and len(kind.zones) > 1:
        return found
    # The numbers are the same whatever they count; nothing else is made of this guess.
    guess: Counting | None = counting if kind.states_basis else counting or "life-cycle"
    series = read_intensity_file(path, zone=zone, counting=guess, unit=unit, time_zone=time_zone)
    described = describe_series(series)
    if not found["states_basis"]:
        described["basis"] = None
    return {**found, "zones": found["zones"] or [series.zone], "series": described}


def describe_series(series: IntensitySeries) -> dict[str, Any]:
    """Zone, basis, span, holes and figures of a series, as JSON; figures are null without a known hour."""
    known = [value for value in series.grams_co2e_per_kwh if value is not None]
    mean = fmean(known) if known else None
    return {
        "zone": series.zone,
        "basis": str(series.basis),
        "source": series.source,
        "link": series.link,
        "low_factor": series.low_factor,
        "high_factor": series.high_factor,
        "first_hour": series.first_hour.isoformat(),
        "end": series.end.isoformat(),
        "num_hours": len(series.grams_co2e_per_kwh),
        "num_holes": series.num_holes,
        "longest_hole": _longest_hole(series),
        "mean": mean,
        "lowest": min(known, default=None),
        "highest": max(known, default=None),
        # Spread over mean: below about 0.1 a grid is too flat for waiting to pay.
        "variation": pstdev(known) / mean if mean else None,
        "mean_day": _mean_day(series),
        "notes": list(series.notes),
    }


def api_json(series: IntensitySeries) -> str:
    """A series in the form of the API's `past-range`, which `importers` reads; holes are null."""
    factors = _EMISSION_FACTORS[series.basis.counting]
    hours = [
        {
            "datetime": (series.first_hour + HOUR * index).isoformat(),
            "carbonIntensity": value,
            "emissionFactorType": factors,
        }
        for index, value in enumerate(series.grams_co2e_per_kwh)
    ]
    return json.dumps({"zone": series.zone, "data": hours}, indent=1) + "\n"


def _longest_hole(series: IntensitySeries) -> dict[str, Any] | None:
    """Where the most hours in a row have no value."""
    longest, begun = (0, 0), 0
    for index, value in enumerate(series.grams_co2e_per_kwh):
        if value is not None:
            begun = index + 1
        elif index + 1 - begun > longest[0]:
            longest = (index + 1 - begun, begun)
    if not longest[0]:
        return None
    return {"first_hour": (series.first_hour + HOUR * longest[1]).isoformat(), "num_hours": longest[0]}


def _mean_day(series: IntensitySeries) -> list[float | None]:
    """The mean of each hour of the day, of UTC, from midnight on."""
    of_hour: list[list[float]] = [[] for _ in range(_DAY_HOURS)]
    for index, value in enumerate(series.grams_co2e_per_kwh):
        if value is not None:
            of_hour[(series.first_hour.hour + index) % _DAY_HOURS].append(value)
    return [fmean(values) if values else None for values in of_hour]
