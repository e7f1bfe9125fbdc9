"""Carbon intensity of Great Britain as its system operator (NESO) publishes it: half-hourly, direct.

    JSON   {"data": [{"from", "to", "intensity": {"forecast", "actual", "index"}}]}       national
           {"data": [{"regionid", "shortname", "data": [...]}]}                           one region
    CSV    DATETIME, GAS, COAL, ..., CARBON_INTENSITY, ...        historic generation mix, from 2009
           datetime, forecast, actual, index                      national forecast

`actual` is what counts. A file that has forecasts alone (all regional ones) gives a forecast, with its wider
interval. The figures are direct emissions of CO2 at the power stations, with imports and losses; life-cycle
figures are not published.

Not covered: files with all regions side by side; those are plain tables, see `importers`.

Source: Carbon Intensity Forecast methodology, NESO; api.carbonintensity.org.uk and api.neso.energy.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.grid_files import Clock, GridFileError, Table, holes_note, intensity, put_once
from ayni.footprint.grid.intensity_series import (
    FORECAST,
    FORECAST_FACTORS,
    METERED,
    PUBLISHED_FACTORS,
    IntensitySeries,
    filled,
    hourly_means,
    step_of,
)

SOURCE = "NESO Carbon Intensity, Great Britain, with imports"
ZONE = "GB"
_Points = dict[datetime, float | None]


def is_neso_table(table: Table) -> bool:
    """Whether a CSV is the historic generation mix or the national forecast."""
    titles = {title.lower() for title in table.header}
    return {"datetime", "carbon_intensity"} <= titles or {"datetime", "forecast", "actual"} <= titles


def series_of_table(table: Table) -> IntensitySeries:
    """The national series of a file of the data portal.

    Raises:
        GridFileError: a cell is neither number nor blank, or not a time.
    """
    time, mixed = table.column("datetime"), table.find("carbon_intensity")
    actual = mixed if mixed is not None else table.column("actual")
    forecast = actual if mixed is not None else table.column("forecast")
    clock = Clock(table.path, UTC)
    points: tuple[_Points, _Points] = ({}, {})
    for line, (when, *cells) in table.cells(time, actual, forecast):
        moment = clock.utc(when, line=line)
        for values, cell in zip(points, cells, strict=True):
            if moment is not None:
                put_once(values, moment, intensity(table.path, line, cell), path=table.path, line=line)
    return _series(table.path, ZONE, *points)


def is_neso_json(data: Any) -> bool:
    """Whether JSON is an answer of the carbon intensity API."""
    _, entries = _region_and_entries(data)
    return bool(entries) and all(
        "from" in entry and isinstance(entry.get("intensity"), Mapping) for entry in entries
    )


def series_of_json(path: Path, data: Any) -> IntensitySeries:
    """The national or regional series of an answer of the API.

    Raises:
        GridFileError: a value is neither number nor null, or not a time.
    """
    region, entries = _region_and_entries(data)
    clock = Clock(path, UTC)
    points: tuple[_Points, _Points] = ({}, {})
    for index, entry in enumerate(entries, start=1):
        moment = clock.utc(str(entry["from"]), line=index)
        for values, name in zip(points, ("actual", "forecast"), strict=True):
            cell = entry["intensity"].get(name)
            if moment is not None:
                grams = intensity(path, None, "" if cell is None else str(cell))
                put_once(values, moment, grams, path=path, line=None)
    return _series(path, ZONE if region is None else f"{ZONE}-{region}", *points)


def _region_and_entries(data: Any) -> tuple[str | None, list[Mapping[str, Any]]]:
    inside = data.get("data") if isinstance(data, Mapping) else None
    if (
        isinstance(inside, list)
        and len(inside) == 1
        and isinstance(inside[0], Mapping)
        and "data" in inside[0]
    ):
        inside = inside[0]
    region = None
    if isinstance(inside, Mapping):
        region, inside = str(inside.get("shortname", inside.get("regionid"))), inside.get("data")
    entries = inside if isinstance(inside, list) else []
    return region, [entry for entry in entries if isinstance(entry, Mapping)]


def _series(path: Path, zone: str, actual: _Points, forecast: _Points) -> IntensitySeries:
    is_forecast = all(value is None for value in actual.values())
    points = forecast if is_forecast else actual
    try:
        first_hour, values = filled(hourly_means(points, step_of(points)))
    except ValueError as error:
        raise GridFileError(path, f"is not hourly or finer: {error}") from error
    factors = FORECAST_FACTORS if is_forecast else PUBLISHED_FACTORS
    return IntensitySeries(
        zone=zone,
        basis=Basis(counting="direct"),
        source=SOURCE,
        first_hour=first_hour,
        grams_co2e_per_kwh=values,
        link=FORECAST if is_forecast else METERED,
        low_factor=factors[0],
        high_factor=factors[1],
        notes=holes_note(values.count(None), len(values)),
    )
