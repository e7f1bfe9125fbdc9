"""Hourly grid data from files: finds out what a file is and reads it.

    Electricity Maps    CSV of the portal, JSON of the API
    ENTSO-E             CSV and XML of generation per production type
    NESO                CSV and JSON of Great Britain
    plain table         first column the time, one column for each zone:
                        datetime_utc, DE-LU, FR
                        2023-01-01 00:00, 140.2, 41.9

A plain table does not say what it counts, so whoever gives it must: life-cycle or direct. Files ending in
.gz are unpacked.

Not covered: asking anybody over the network; see `electricity_maps_api`.
"""

import difflib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayni.footprint.grid import electricity_maps_files, entsoe_files, neso_files
from ayni.footprint.grid.basis import Basis, Counting
from ayni.footprint.grid.grid_files import (
    Clock,
    GridFileError,
    Table,
    holes_note,
    intensity,
    number,
    parse_table,
    put_once,
    read_text,
    time_zone_named,
)
from ayni.footprint.grid.intensity_series import IntensitySeries, filled, hourly_means, same_zone, step_of

_NO_XML = "is XML, and no ENTSO-E document of generation (type A75)"
_NO_JSON = "is JSON, and neither an answer of Electricity Maps nor of NESO"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """Who published a file in which form, and whose hours it holds.

    `zones` are those that it names, none where it names none. Without `states_basis` it must be told what its
    figures count.
    """

    name: str
    zones: tuple[str, ...]
    states_basis: bool = True


def kind_of_file(path: Path) -> FileKind:
    """What a file is, told by its form alone; whether its numbers are whole is found by reading them.

    Raises:
        GridFileError: not readable, or none of these.
    """
    text = read_text(path)
    start = text.lstrip()[:1]
    if start == "<":
        return _kind_of_xml(path, text)
    if start in ("{", "["):
        return _kind_of_json(path, text)
    table = parse_table(path, text)
    if electricity_maps_files.is_electricity_maps_table(table):
        zones = electricity_maps_files.zones_of_table(table)
        return FileKind(name="CSV of the data portal of Electricity Maps", zones=zones)
    if entsoe_files.is_entsoe_table(table):
        return FileKind(name="CSV of ENTSO-E, generation by type", zones=entsoe_files.zones_of_table(table))
    if neso_files.is_neso_table(table):
        return FileKind(name="CSV of NESO, Great Britain", zones=(neso_files.ZONE,))
    line, (when,) = next(table.cells(0))
    Clock(path, UTC).utc(when, line=line)  # a table without times is no series
    return FileKind(name="plain table", zones=table.header[1:], states_basis=False)


def _kind_of_xml(path: Path, text: str) -> FileKind:
    if not entsoe_files.is_entsoe_xml(text):
        raise GridFileError(path, _NO_XML)
    return FileKind(name="XML of ENTSO-E, generation by type (A75)", zones=())


def _kind_of_json(path: Path, text: str) -> FileKind:
    data = _parsed(path, text)
    if electricity_maps_files.is_electricity_maps_json(data):
        zone = data.get("zone")
        return FileKind(name="JSON of the API of Electricity Maps", zones=(str(zone),) if zone else ())
    if neso_files.is_neso_json(data):
        return FileKind(name="JSON of NESO, Great Britain", zones=())
    raise GridFileError(path, _NO_JSON)


def read_intensity_file(
    path: Path,
    *,
    zone: str | None = None,
    counting: Counting | None = None,
    unit: str = "g/kWh",
    time_zone: str | None = None,
) -> IntensitySeries:
    """The hourly series in a file.

    `zone` chooses among several. `counting` (life-cycle or direct) chooses among columns, and must be given
    for a plain table, as must `unit` (g/kWh, kg/MWh, lb/MWh, ...) where it is another. `time_zone` is that
    of times that name none.

    Raises:
        GridFileError: the file is none of these, or not whole; says which line.
    """
    text = read_text(path)
    start = text.lstrip()[:1]
    if start == "<":
        return _of_xml(path, text, zone)
    if start in ("{", "["):
        return _of_json(path, text, zone, counting)
    table = parse_table(path, text)
    if electricity_maps_files.is_electricity_maps_table(table):
        return electricity_maps_files.series_of_table(table, zone=zone, counting=counting or "life-cycle")
    if entsoe_files.is_entsoe_table(table):
        _refuse_counting(path, counting, "life-cycle")
        return entsoe_files.series_of_table(table, zone=zone, time_zone=time_zone)
    if neso_files.is_neso_table(table):
        _refuse_counting(path, counting, "direct")
        return neso_files.series_of_table(table)
    return _of_plain_table(table, zone, counting, unit, time_zone)


def _refuse_counting(path: Path, wanted: Counting | None, there: Counting) -> None:
    if wanted not in (None, there):
        raise GridFileError(path, f"its figures are {there}, not {wanted}")


def _of_xml(path: Path, text: str, zone: str | None) -> IntensitySeries:
    if not entsoe_files.is_entsoe_xml(text):
        raise GridFileError(path, _NO_XML)
    return entsoe_files.series_of_xml(path, text, zone=zone)


def _of_json(path: Path, text: str, zone: str | None, counting: Counting | None) -> IntensitySeries:
    data = _parsed(path, text)
    if electricity_maps_files.is_electricity_maps_json(data):
        return electricity_maps_files.series_of_json(path, data, zone=zone, counting=counting)
    if neso_files.is_neso_json(data):
        _refuse_counting(path, counting, "direct")
        return neso_files.series_of_json(path, data)
    raise GridFileError(path, _NO_JSON)


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GridFileError(path, f"is not JSON: {error}") from error


def _of_plain_table(
    table: Table, zone: str | None, counting: Counting | None, unit: str, time_zone: str | None
) -> IntensitySeries:
    if counting is None:
        raise GridFileError(
            table.path,
            "a plain table does not say what its figures count. Say life-cycle or direct: they differ by "
            "a third",
        )
    column = zone_column(table, zone)
    points: dict[datetime, float | None] = {}
    for line, moment, cell in timed_cells(table, column, time_zone):
        put_once(points, moment, intensity(table.path, line, cell, unit=unit), path=table.path, line=line)
    first_hour, values = hours_of_points(table.path, points)
    return IntensitySeries(
        zone=table.header[column],
        basis=Basis(counting=counting),
        source=f"file {table.path.name}",
        first_hour=first_hour,
        grams_co2e_per_kwh=values,
        notes=holes_note(values.count(None), len(values)),
    )


def read_hourly_prices(
    path: Path, *, zone: str | None = None, time_zone: str | None = None
) -> tuple[datetime, tuple[float | None, ...]]:
    """First hour and hourly prices of a plain table, in its own unit; they may be negative.

    Raises:
        GridFileError: not a table of times and numbers, or several columns and none chosen.
    """
    table = parse_table(path, read_text(path))
    column = zone_column(table, zone)
    points: dict[datetime, float | None] = {}
    for line, moment, cell in timed_cells(table, column, time_zone):
        put_once(points, moment, number(path, line, cell), path=path, line=line)
    return hours_of_points(path, points)


def zone_column(table: Table, zone: str | None) -> int:
    """The column of a zone in a plain table; the only one where none is wanted.

    Raises:
        GridFileError: there is none; names the nearest.
    """
    titles = table.header[1:]
    if zone is None and len(titles) == 1:
        return 1
    for index, title in enumerate(titles, start=1):
        if zone is not None and same_zone(title, zone):
            return index
    near = difflib.get_close_matches((zone or "").upper(), titles, n=2, cutoff=0.5) or titles[:5]
    wanted = "no zone was chosen" if zone is None else f"there is no zone {zone!r}"
    raise GridFileError(table.path, f"{wanted}; there are {len(titles)}, such as {', '.join(near)}")


def timed_cells(table: Table, column: int, time_zone: str | None) -> list[tuple[int, datetime, str]]:
    """Line, moment of UTC and cell of each row of a plain table; times that the clocks skipped are left out.

    Raises:
        GridFileError: not a time, or a local one and nobody says where.
    """
    zone = None if time_zone is None else time_zone_named(table.path, time_zone)
    is_utc = "utc" in table.header[0].lower() or "gmt" in table.header[0].lower()
    clock = Clock(table.path, UTC if zone is None and is_utc else zone)
    moments = ((line, clock.utc(when, line=line), cell) for line, (when, cell) in table.cells(0, column))
    return [(line, moment, cell) for line, moment, cell in moments if moment is not None]


def hours_of_points(
    path: Path, points: dict[datetime, float | None]
) -> tuple[datetime, tuple[float | None, ...]]:
    """First hour and hourly means of values at times.

    Raises:
        GridFileError: coarser than hourly, or nothing.
    """
    try:
        return filled(hourly_means(points, step_of(points)))
    except ValueError as error:
        raise GridFileError(path, f"is not hourly or finer: {error}") from error
