"""Month-by-hour climatology: what an hour of a grid usually weighs, for hours that nobody metered.

    climatology[month][hour of UTC] = mean of the known hours of that month and hour

Shipped for eight balancing areas of the United States (2022), because the licence of their data allows
it; `fit_climatology` makes one of any hourly file of your own. It knows the solar dip of a Californian
spring day and nothing of this Tuesday's wind, and its interval says so:

    spread of the fitted year's hours about their cell (5 to 95 %), in quadrature with 0.84 .. 1.19
    between sources

Held out - another source and the year after, four areas - 92 % of the hours lay within (84 to 97 %).

Not covered: weekdays against Sundays, and the trend of a grid over the years.

Source: factors/NOTICE.md; made by dev/make_climatology.py.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.intensity_series import (
    CLIMATOLOGY,
    HOUR,
    PUBLISHED_FACTORS,
    IntensitySeries,
    hour_of,
)

NUM_MONTHS, NUM_HOURS = 12, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Climatology:
    """Grams of CO2e per kWh by month (rows, January first) and hour of UTC (columns); None is a hole.

    `mean` is that of all hours. `low_factor` and `high_factor` times a cell enclose an hour with 90 %.
    """

    zone: str
    name: str
    basis: Basis
    source: str
    years: str
    cells: tuple[tuple[float | None, ...], ...]
    mean: float
    low_factor: float
    high_factor: float

    def __post_init__(self) -> None:
        if len(self.cells) != NUM_MONTHS or {len(row) for row in self.cells} != {NUM_HOURS}:
            raise ValueError(f"a climatology of {self.zone} has {NUM_MONTHS} months of {NUM_HOURS} hours")

    def at(self, moment: datetime) -> float | None:
        """What the hour of `moment` usually weighs; None for a hole."""
        hour = hour_of(moment)
        return self.cells[hour.month - 1][hour.hour]

    def series(self, start: datetime, end: datetime) -> IntensitySeries | None:
        """The hours of [start, end) as a series; None where that is empty."""
        first = hour_of(start)
        num_hours = -((first - end) // HOUR)
        if num_hours <= 0:
            return None
        return IntensitySeries(
            zone=self.zone,
            basis=self.basis,
            source=f"{self.source}; month-by-hour means of {self.years}",
            first_hour=first,
            grams_co2e_per_kwh=tuple(self.at(first + HOUR * index) for index in range(num_hours)),
            link=CLIMATOLOGY,
            low_factor=self.low_factor,
            high_factor=self.high_factor,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        data = {name: getattr(self, name) for name in self.__slots__}
        return {**data, "basis": str(self.basis), "cells": [list(row) for row in self.cells]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Climatology":
        """The value that `to_json` wrote."""
        cells = tuple(tuple(row) for row in data["cells"])
        return cls(**{**data, "basis": Basis.of_text(data["basis"]), "cells": cells})


class ShippedClimatologies:
    """The climatologies that come with the product. Fulfils `IntensitySource`."""

    def hours(self, zone: str, start: datetime, end: datetime) -> IntensitySeries | None:
        """The hours of [start, end) as they usually are; None for a zone without a climatology."""
        found = shipped_climatology(zone)
        return None if found is None else found.series(start, end)


def shipped_climatology(zone: str) -> Climatology | None:
    """The climatology of a zone (`US-CAL-CISO`) or balancing area (`CISO`); None where none is shipped."""
    return shipped_climatologies().get(area_code(zone))


def area_code(zone: str) -> str:
    """The zone's name as the table has it: upper case, and a bare balancing area in full."""
    code = zone.strip().upper()
    by_area = {full.rpartition("-")[2]: full for full in shipped_climatologies()}
    return by_area.get(code, code)


@cache
def shipped_climatologies() -> dict[str, Climatology]:
    """Zone -> climatology, as in factors/us_climatology_2022.json."""
    content = files("ayni.footprint").joinpath("factors/us_climatology_2022.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(content)
    shared = {name: table[name] for name in ("basis", "source", "years")}
    return {
        zone: Climatology.from_json({**shared, "zone": zone, **own}) for zone, own in table["zones"].items()
    }


def fit_climatology(series: IntensitySeries, *, name: str = "", digits: int = 1) -> Climatology:
    """The month-by-hour means of a series, with the factors that its own hours and its source ask for.

    Raises:
        ValueError: fewer than two known hours.
    """
    from statistics import fmean

    known = [
        (series.first_hour + HOUR * index, value)
        for index, value in enumerate(series.grams_co2e_per_kwh)
        if value is not None
    ]
    if len(known) < 2:
        raise ValueError(f"{len(known)} known hours of {series.zone} make no climatology")
    cells = _cell_means(known, digits)
    low, high = _spread(known, cells)
    return Climatology(
        zone=series.zone,
        name=name or series.zone,
        basis=series.basis,
        source=series.source,
        years=_years([hour for hour, _ in known]),
        cells=cells,
        mean=round(fmean(value for _, value in known), digits),
        low_factor=round(math.exp(-math.hypot(math.log(low), math.log(PUBLISHED_FACTORS[0]))), 3),
        high_factor=round(math.exp(math.hypot(math.log(high), math.log(PUBLISHED_FACTORS[1]))), 3),
    )


def _cell_means(known: list[tuple[datetime, float]], digits: int) -> tuple[tuple[float | None, ...], ...]:
    of_cell: dict[tuple[int, int], list[float]] = {}
    for hour, value in known:
        of_cell.setdefault((hour.month - 1, hour.hour), []).append(value)
    return tuple(
        tuple(
            round(sum(values) / len(values), digits) if (values := of_cell.get((month, hour))) else None
            for hour in range(NUM_HOURS)
        )
        for month in range(NUM_MONTHS)
    )


def _spread(
    known: list[tuple[datetime, float]], cells: tuple[tuple[float | None, ...], ...]
) -> tuple[float, float]:
    """5 and 95 % of an hour over its cell, at least enclosing 1."""
    from statistics import quantiles

    ratios = [value / cell for hour, value in known if (cell := cells[hour.month - 1][hour.hour])]
    if len(ratios) < 2:
        return 1.0, 1.0
    cuts = quantiles(ratios, n=20, method="inclusive")
    return min(1.0, max(cuts[0], 1e-3)), max(1.0, cuts[-1])


def _years(hours: list[datetime]) -> str:
    first, last = min(hours).year, max(hours).year
    return str(first) if first == last else f"{first} to {last}"
