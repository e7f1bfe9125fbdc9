"""Hourly carbon intensity as Electricity Maps publishes it: CSV of the data portal, JSON of the API.

    CSV    Datetime (UTC), Country, Zone name, Zone id, Carbon intensity gCO2eq/kWh (direct),
           ... (Life cycle), ..., Data source, Data estimated, ...       (before 2025: ... (LCA), Zone Id)
    JSON   {"zone": "DE", "history" | "data" | "forecast": [{"datetime", "carbonIntensity",
           "emissionFactorType", "isEstimated", ...}]}

Both hold consumption-based figures: imports are traced to where they were generated. Estimated hours are
kept and counted in the notes. Finer steps are averaged into hours; daily and coarser files are refused.

Not covered: power breakdowns. The data have their own licence, which is not ours to give.

Source: portal.electricitymaps.com; files of 2021 to 2025.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayni.footprint.grid.basis import Basis, Counting
from ayni.footprint.grid.grid_files import Clock, GridFileError, Table, holes_note, intensity, put_once
from ayni.footprint.grid.intensity_series import (
    FORECAST,
    FORECAST_FACTORS,
    METERED,
    PUBLISHED_FACTORS,
    IntensitySeries,
    filled,
    hourly_means,
    same_zone,
    step_of,
)

SOURCE = "Electricity Maps, consumption-based"
_LISTS = ("history", "data", "forecast")
_COUNTING: dict[str, Counting] = {"lifecycle": "life-cycle", "direct": "direct"}
_TITLES: dict[Counting, tuple[str, ...]] = {
    "life-cycle": ("life cycle", "lca", "lifecycle"),
    "direct": ("direct",),
}


def is_electricity_maps_table(table: Table) -> bool:
    """Whether a CSV has the columns of the data portal."""
    return table.find("datetime") is not None and table.find("carbon intensity", "gco") is not None


def zones_of_table(table: Table) -> tuple[str, ...]:
    """The zones of a portal file, in order; none where it does not name them."""
    zone_id = table.find("zone id")
    return () if zone_id is None else tuple(sorted({cell for _, (cell,) in table.cells(zone_id)}))


def series_of_table(table: Table, *, zone: str | None, counting: Counting) -> IntensitySeries:
    """The series of one zone of a portal file.

    Raises:
        GridFileError: a column or a number is missing, or several zones and none chosen.
    """
    time = table.column("datetime")
    value, zone_id, estimated = (
        _value_column(table, counting),
        table.find("zone id"),
        table.find("data estimated"),
    )
    columns = (
        time,
        value,
        zone_id if zone_id is not None else time,
        estimated if estimated is not None else time,
    )
    clock = Clock(table.path, UTC if "utc" in table.header[time].lower() else None)
    wanted = zone or _only_zone(table, zone_id)
    points: dict[datetime, float | None] = {}
    num_estimated = 0
    for line, (when, grams, of_zone, is_estimated) in table.cells(*columns):
        if zone_id is not None and not same_zone(of_zone, wanted):
            continue
        moment = clock.utc(when, line=line)
        if moment is not None:
            put_once(points, moment, intensity(table.path, line, grams), path=table.path, line=line)
            num_estimated += estimated is not None and is_estimated.lower() in ("true", "1", "yes")
    if not points:
        raise GridFileError(table.path, f"there is no hour of the zone {wanted!r}")
    return _series(table.path, wanted, points, counting=counting, link=METERED, num_estimated=num_estimated)


def _value_column(table: Table, counting: Counting) -> int:
    for title in _TITLES[counting]:
        if (found := table.find("carbon intensity", title)) is not None:
            return found
    return table.column("carbon intensity", _TITLES[counting][0])


def _only_zone(table: Table, zone_id: int | None) -> str:
    if zone_id is None:
        raise GridFileError(table.path, "there is no column of zones; say which zone the file is of")
    zones = {cell for _, (cell,) in table.cells(zone_id)}
    if len(zones) != 1:
        raise GridFileError(table.path, f"it holds {len(zones)} zones, {_some(zones)}; choose one")
    return zones.pop()


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:5]) + (" ..." if len(ordered) > 5 else "")


def is_electricity_maps_json(data: Any) -> bool:
    """Whether JSON is an answer of the API."""
    entries = _entries(data)
    return bool(entries) and all("carbonIntensity" in entry and "datetime" in entry for entry in entries)


def series_of_json(path: Path, data: Any, *, zone: str | None, counting: Counting | None) -> IntensitySeries:
    """The series of an answer of the API (history, past-range, forecast or latest).

    `counting` is what to take an answer for that does not say; the API's own default is life-cycle.

    Raises:
        GridFileError: another zone than the one wanted, both kinds of counting, or no number.
    """
    entries = _entries(data)
    found = str(data.get("zone") or entries[0].get("zone") or zone or "")
    if not found or (zone is not None and not same_zone(found, zone)):
        raise GridFileError(path, f"it is of the zone {found or 'nobody says which'}, not {zone}")
    countings = {
        _COUNTING.get(str(entry.get("emissionFactorType")), counting or "life-cycle") for entry in entries
    }
    if len(countings) > 1 or (counting is not None and countings != {counting}):
        raise GridFileError(
            path, f"its figures are {' and '.join(sorted(countings))}, not {counting or 'one of them'}"
        )
    clock = Clock(path, UTC)
    points: dict[datetime, float | None] = {}
    for index, entry in enumerate(entries, start=1):
        moment = clock.utc(str(entry["datetime"]), line=index)
        cell = "" if entry["carbonIntensity"] is None else str(entry["carbonIntensity"])
        if moment is not None:
            put_once(points, moment, intensity(path, None, cell), path=path, line=None)
    return _series(
        path,
        found,
        points,
        counting=countings.pop(),
        link=FORECAST if "forecast" in data else METERED,
        num_estimated=sum(bool(entry.get("isEstimated")) for entry in entries),
    )


def _entries(data: Any) -> list[Mapping[str, Any]]:
    if not isinstance(data, Mapping):
        return []
    if "carbonIntensity" in data:
        return [data]
    lists = [data[name] for name in _LISTS if isinstance(data.get(name), list)]
    return [entry for entry in lists[0] if isinstance(entry, Mapping)] if lists else []


def _series(
    path: Path,
    zone: str,
    points: Mapping[datetime, float | None],
    *,
    counting: Counting,
    link: str,
    num_estimated: int,
) -> IntensitySeries:
    try:
        first_hour, values = filled(hourly_means(points, step_of(points)))
    except ValueError as error:
        raise GridFileError(path, f"is not hourly or finer: {error}") from error
    factors = FORECAST_FACTORS if link == FORECAST else PUBLISHED_FACTORS
    estimated = (
        (f"{num_estimated} of {len(points)} values are estimates of the publisher",) if num_estimated else ()
    )
    return IntensitySeries(
        zone=zone,
        basis=Basis(counting=counting),
        source=SOURCE,
        first_hour=first_hour,
        grams_co2e_per_kwh=values,
        link=link,
        low_factor=factors[0],
        high_factor=factors[1],
        notes=holes_note(values.count(None), len(values)) + estimated,
    )
