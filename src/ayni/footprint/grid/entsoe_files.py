"""Carbon intensity of European zones from ENTSO-E's generation per production type.

ENTSO-E publishes megawatts and no grams; `generation_mix` weighs them. Four forms are read:

    CSV, a row a type       "MTU (CET/CEST)", "Area", "Production Type", "Generation (MW)"
    CSV, a column a type    "Area", "MTU", "Biomass  - Actual Aggregated [MW]", ...
    CSV, tabs               DateTime(UTC), AreaMapCode, ProductionType, ActualGenerationOutput[MW]
    XML                     GL_MarketDocument with MktPSRType and Point

in this order: the website, the website until 2025, the file library, the API (document type A75). The
website's times are local; in the night when clocks are set back its rows carry (CET) or (CEST), or simply
stand there twice. What pumps consume is ignored.

Not covered: imports and exports (see `generation_mix`), and forecasts.

Source: transparency.entsoe.eu, article 16.1.B and C; production types B01 to B20 of its code list.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.generation_mix import MIX_FACTORS, intensities_of_mix
from ayni.footprint.grid.grid_files import (
    Clock,
    GridFileError,
    Table,
    holes_note,
    number,
    put_once,
    time_zone_named,
)
from ayni.footprint.grid.intensity_series import (
    HOUR,
    IntensitySeries,
    filled,
    hourly_means,
    same_zone,
    step_of,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SOURCE = "ENTSO-E generation per type, times IPCC AR5 life-cycle medians, without imports"
_LOCAL = "Europe/Brussels"
_FUEL_OF_TYPE: dict[str, str | None] = {
    "Biomass": "biomass",
    "Fossil Brown coal/Lignite": "lignite",
    "Fossil Coal-derived gas": "coal",
    "Fossil Gas": "gas",
    "Fossil Hard coal": "coal",
    "Fossil Oil": "oil",
    "Fossil Oil shale": "lignite",
    "Fossil Peat": "lignite",
    "Geothermal": "geothermal",
    "Hydro Pumped Storage": None,
    "Hydro Run-of-river and poundage": "hydro",
    "Hydro Water Reservoir": "hydro",
    "Marine": "marine",
    "Nuclear": "nuclear",
    "Other renewable": "biomass",
    "Solar": "solar",
    "Waste": "biomass",
    "Wind Offshore": "wind offshore",
    "Wind Onshore": "wind onshore",
    "Other": "other",
    "Energy storage": None,
}
_TYPE_OF_CODE = {f"B{index:02d}": name for index, name in enumerate(list(_FUEL_OF_TYPE)[:20], start=1)} | {
    "B25": "Energy storage"
}
_TIME_FORMATS = ("%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M")
_RESOLUTION = {"PT15M": timedelta(minutes=15), "PT30M": timedelta(minutes=30), "PT60M": HOUR, "PT1H": HOUR}
_Mix = dict[str, dict[datetime, float | None]]
"""Production type -> start -> MW."""


def is_entsoe_table(table: Table) -> bool:
    """Whether a CSV holds generation per production type."""
    has_time = table.find("mtu") is not None or table.find("datetime") is not None
    by_row = table.find("production", "type") is not None
    return has_time and (by_row or table.find("actual aggregated") is not None)


def zones_of_table(table: Table) -> tuple[str, ...]:
    """The areas of a file, in order; none where it does not name them."""
    column = _area_column(table)
    cells = set() if column is None else {cell for _, (cell,) in table.cells(column)}
    return tuple(sorted({_zone_name(cell) for cell in cells}))


def series_of_table(table: Table, *, zone: str | None, time_zone: str | None) -> IntensitySeries:
    """The series of the zone of a file of the website or the file library.

    `time_zone` is needed only where neither title nor rows say it.

    Raises:
        GridFileError: several areas and none chosen, an unknown type, or a cell that is no number.
    """
    time = table.find("mtu")
    time = table.column("datetime") if time is None else time
    clock = Clock(table.path, _zone_of(table, time, time_zone))
    area, rows = _rows_of_area(table, zone)
    by_row = table.find("production", "type")
    mix = _mix_of_columns(rows, time, clock) if by_row is None else _mix_of_rows(rows, time, by_row, clock)
    return _series(table.path, zone or area, mix)


def _zone_of(table: Table, time: int, name: str | None) -> tzinfo | None:
    """The zone that was given, else that of the title or of the first row."""
    if name is not None:
        return time_zone_named(table.path, name)
    (_, (first,)) = next(table.cells(time))
    said = (table.header[time] + first).upper()
    if "CET" in said:
        return time_zone_named(table.path, _LOCAL)
    return UTC if "UTC" in said else None


def _area_column(table: Table) -> int | None:
    column = table.find("areamapcode")
    return table.find("area") if column is None else column


def _rows_of_area(table: Table, zone: str | None) -> tuple[str, Table]:
    column = _area_column(table)
    if column is None:
        return zone or _no_area(table), table
    names = {cell: _zone_name(cell) for _, (cell,) in table.cells(column)}
    wanted = [cell for cell, name in names.items() if zone is None or same_zone(name, zone)]
    if len(wanted) > 1 or (not wanted and len(names) > 1):
        found = ", ".join(sorted(names.values())[:8])
        raise GridFileError(table.path, f"it holds the areas {found}; choose one as the zone")
    # A file of one area may be used under another name: a bidding zone has several.
    area = wanted[0] if wanted else next(iter(names))
    cells = (cell for _, (cell,) in table.cells(column))
    kept = tuple(row for row, cell in zip(table.rows, cells, strict=True) if cell == area)
    return names[area], Table(path=table.path, header=table.header, rows=kept)


def _no_area(table: Table) -> str:
    raise GridFileError(table.path, "there is no column of areas; say which zone the file is of")


def _zone_name(area: str) -> str:
    """`BZN|DE-LU`, `Germany (DE)` and `DE_LU` -> DE-LU, DE, DE-LU."""
    in_brackets = re.search(r"\(([A-Z0-9_-]+)\)\s*$", area)
    name = in_brackets.group(1) if in_brackets else area.rpartition("|")[2]
    return name.strip().replace("_", "-")


def _mix_of_rows(table: Table, time: int, of_type: int, clock: Clock) -> _Mix:
    generation = table.find("actualgenerationoutput")
    generation = table.column("generation") if generation is None else generation
    mix: _Mix = {}
    for line, (when, name, cell) in table.cells(time, of_type, generation):
        moment = clock.utc(_start(when), line=line, formats=_TIME_FORMATS, key=name)
        if moment is not None:
            megawatts = number(table.path, line, cell)
            put_once(mix.setdefault(name, {}), moment, megawatts, path=table.path, line=line)
    return mix


def _mix_of_columns(table: Table, time: int, clock: Clock) -> _Mix:
    columns = {
        index: title.partition(" - ")[0].strip()
        for index, title in enumerate(table.header)
        if "actual aggregated" in title.lower()
    }
    mix: _Mix = {name: {} for name in columns.values()}
    for line, (when, *cells) in table.cells(time, *columns):
        moment = clock.utc(_start(when), line=line, formats=_TIME_FORMATS)
        for name, cell in zip(columns.values(), cells, strict=True):
            if moment is not None:
                put_once(mix[name], moment, number(table.path, line, cell), path=table.path, line=line)
    return mix


def _start(unit: str) -> str:
    """`01.01.2023 00:00 - 01.01.2023 00:15 (CET)` -> its start, with the mark of the zone if there is one."""
    start, _, end = unit.partition(" - ")
    mark = re.search(r"\([A-Z]+\)", start) or re.search(r"\(C?ES?T\)", end)
    return start if mark is None or mark.group() in start else f"{start} {mark.group()}"


def is_entsoe_xml(text: str) -> bool:
    """Whether a text is a market document of generation or load."""
    return "<GL_MarketDocument" in text[:2000]


def series_of_xml(path: Path, text: str, *, zone: str | None) -> IntensitySeries:
    """The series of an answer of the API to document type A75.

    Raises:
        GridFileError: not well-formed, an unknown resolution or type, or no generation.
    """
    from xml.etree import ElementTree

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise GridFileError(path, "declares entities, which no market document does")
    try:
        root = ElementTree.fromstring(re.sub(r'\sxmlns="[^"]+"', "", text, count=1))
    except ElementTree.ParseError as error:
        raise GridFileError(path, f"is not XML: {error}") from error
    mix: _Mix = {}
    domains: set[str] = set()
    for series in root.iter("TimeSeries"):
        domain = series.findtext("inBiddingZone_Domain.mRID")
        if domain is None and series.findtext("outBiddingZone_Domain.mRID"):
            continue  # What pumps and batteries consume.
        domains.add((domain or "").strip())
        name = _type_of_code(path, series.findtext("MktPSRType/psrType"))
        repeats = series.findtext("curveType") != "A01"
        for moment, megawatts in _points_of_xml(path, series.iter("Period"), repeats):
            put_once(mix.setdefault(name, {}), moment, megawatts, path=path, line=None)
    return _series(path, zone or (domains.pop() if len(domains) == 1 else ""), mix)


def _type_of_code(path: Path, code: str | None) -> str:
    if code not in _TYPE_OF_CODE:
        raise GridFileError(path, f"the production type {code!r} is not known")
    return _TYPE_OF_CODE[code]


def _points_of_xml(
    path: Path, periods: "Iterator[Element]", repeats: bool
) -> Iterator[tuple[datetime, float | None]]:
    for period in periods:
        step, first, last = _span_of_xml(path, period)
        known = {
            _position(path, point.findtext("position")): number(path, None, point.findtext("quantity") or "")
            for point in period.iter("Point")
        }
        value: float | None = None
        for position in range(1, (last - first) // step + 1):
            # Curve type A03: a position that is left out repeats the one before. With A01 it is a hole.
            value = known.get(position, value if repeats else None)
            yield first + (position - 1) * step, value


def _span_of_xml(path: Path, period: "Element") -> tuple[timedelta, datetime, datetime]:
    """Step, start and end of a period."""
    step = _RESOLUTION.get(period.findtext("resolution") or "")
    if step is None:
        raise GridFileError(path, f"the resolution {period.findtext('resolution')!r} is none up to an hour")
    clock = Clock(path, UTC)
    ends = (clock.utc(period.findtext(f"timeInterval/{name}") or "", line=None) for name in ("start", "end"))
    first, last = (end for end in ends if end is not None)
    return step, first, last


def _position(path: Path, text: str | None) -> int:
    value = number(path, None, text or "")
    if value is None or value != int(value) or value < 1:
        raise GridFileError(path, f"a point stands at the position {text!r}")
    return int(value)


def _series(path: Path, zone: str, mix: _Mix) -> IntensitySeries:
    if not zone:
        raise GridFileError(path, "it does not say one zone; choose its name")
    if unknown := sorted(set(mix) - set(_FUEL_OF_TYPE)):
        raise GridFileError(path, f"the production type {unknown[0]!r} is not known")
    fuels: _Mix = {}
    for name, values in mix.items():
        fuel = _FUEL_OF_TYPE[name]
        if fuel is not None and any(values.values()):
            _add(fuels.setdefault(fuel, {}), values)
    points = intensities_of_mix(fuels)
    try:
        first_hour, values_of_hours = filled(hourly_means(points, step_of(points)))
    except ValueError as error:
        raise GridFileError(path, f"holds no hourly generation: {error}") from error
    return IntensitySeries(
        zone=zone,
        basis=Basis(),
        source=SOURCE,
        first_hour=first_hour,
        grams_co2e_per_kwh=values_of_hours,
        low_factor=MIX_FACTORS[0],
        high_factor=MIX_FACTORS[1],
        notes=holes_note(values_of_hours.count(None), len(values_of_hours)),
    )


def _add(total: dict[datetime, float | None], more: dict[datetime, float | None]) -> None:
    """Add one production type to its fuel; a blank beside a number counts as nothing."""
    for moment, value in more.items():
        before = total.get(moment)
        total[moment] = value if before is None else before + (value or 0.0)
