"""Carbon intensity hour by hour: a series with its holes, zone, basis and source, and the port for such data.

An hour is a whole hour of UTC. Clocks that are set forward and back exist in files only: importers turn
their times into UTC, where every day has 24 hours. A value is None where the source has none; it is never
interpolated, because the next link of the chain (see `emissions`) can say what it is worth and a guess
cannot.

`low_factor` and `high_factor` times a value enclose the truth with 90 %. For hours as a grid operator or
Electricity Maps publish them they are 0.84 and 1.19: two independent series of four grids of the United
States agreed within them in 89 % of the hours of 2022 (benchmark `footprint_grid`).

Not covered: data finer than an hour (averaged into hours), and regions without a name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Protocol

from ayni.footprint.grid.basis import Basis, one_basis

HOUR = timedelta(hours=1)
PUBLISHED_FACTORS = (0.84, 1.19)
METERED, FORECAST, CLIMATOLOGY = "metered hour", "forecast hour", "month-by-hour climatology"
"""Where a value comes from; a receipt names it. `emissions` adds annual, country and world."""
FORECAST_FACTORS = (0.65, 1.5)
"""Policy, not a measurement: no archive of forecasts was at hand. Wider than a climatology of most grids."""


class IntensitySource(Protocol):
    """Something that knows the intensity of hours. Its in-memory form is `GivenSeries`."""

    def hours(self, zone: str, start: datetime, end: datetime) -> "IntensitySeries | None":
        """The hours of [start, end) in a zone, with None where it does not know; None if it knows none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensitySeries:
    """Grams of CO2e per kWh of one zone, one value an hour from `first_hour` on; None is a hole.

    `link` says what kind of knowledge it is, `notes` what the reader of the file noticed.
    """

    zone: str
    basis: Basis
    source: str
    first_hour: datetime
    grams_co2e_per_kwh: tuple[float | None, ...]
    link: str = METERED
    low_factor: float = PUBLISHED_FACTORS[0]
    high_factor: float = PUBLISHED_FACTORS[1]
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.first_hour != hour_of(self.first_hour):
            raise ValueError(f"a series begins at a whole hour of UTC, not at {self.first_hour}")
        if not 0 < self.low_factor <= 1 <= self.high_factor:
            raise ValueError(f"factors {self.low_factor} .. {self.high_factor} do not enclose 1")
        wrong = [value for value in self.grams_co2e_per_kwh if value is not None and not 0 <= value < 1e5]
        if wrong:
            raise ValueError(f"{wrong[0]} g CO2e per kWh is no intensity of a grid")

    @property
    def end(self) -> datetime:
        """The first hour after the series."""
        return self.first_hour + HOUR * len(self.grams_co2e_per_kwh)

    @property
    def num_holes(self) -> int:
        """How many hours have no value."""
        return sum(value is None for value in self.grams_co2e_per_kwh)

    def at(self, moment: datetime) -> float | None:
        """The value of the hour that `moment` lies in; None for a hole or outside the series."""
        index = (hour_of(moment) - self.first_hour) // HOUR
        return self.grams_co2e_per_kwh[index] if 0 <= index < len(self.grams_co2e_per_kwh) else None

    def between(self, start: datetime, end: datetime) -> "IntensitySeries | None":
        """The part of the series in [start, end); None where that is empty."""
        first = max(0, (hour_of(start) - self.first_hour) // HOUR)
        last = min(len(self.grams_co2e_per_kwh), -((self.first_hour - end) // HOUR))
        if first >= last:
            return None
        return self._with(self.first_hour + HOUR * first, self.grams_co2e_per_kwh[first:last])

    def _with(self, first_hour: datetime, values: tuple[float | None, ...]) -> "IntensitySeries":
        kept = {name: getattr(self, name) for name in self.__slots__}
        return IntensitySeries(**{**kept, "first_hour": first_hour, "grams_co2e_per_kwh": values})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        data = {name: getattr(self, name) for name in self.__slots__}
        return {
            **data,
            "basis": str(self.basis),
            "first_hour": self.first_hour.isoformat(),
            "grams_co2e_per_kwh": list(self.grams_co2e_per_kwh),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "IntensitySeries":
        """The series that `to_json` wrote."""
        parsed = {
            "basis": Basis.of_text(data["basis"]),
            "first_hour": datetime.fromisoformat(data["first_hour"]),
            "grams_co2e_per_kwh": tuple(data["grams_co2e_per_kwh"]),
            "notes": tuple(data["notes"]),
        }
        return cls(**{**data, **parsed})


class GivenSeries:
    """Series in memory, such as those of imported files. Fulfils `IntensitySource`."""

    def __init__(self, *series: IntensitySeries) -> None:
        if series:
            one_basis(each.basis for each in series)
        self._series = series

    def hours(self, zone: str, start: datetime, end: datetime) -> IntensitySeries | None:
        """The hours of [start, end): earlier arguments first where several know an hour."""
        parts = [each.between(start, end) for each in self._series if same_zone(each.zone, zone)]
        there = [part for part in parts if part is not None]
        return join_series(there) if there else None


def join_series(parts: Iterable[IntensitySeries]) -> IntensitySeries:
    """One series of several of a zone, such as one file a year; the first that knows an hour counts.

    Hours that none of them covers become holes. The factors are the widest.

    Raises:
        BasisMismatchError: they count different things.
        ValueError: none, of different zones, or measured ones with forecasts.
    """
    given = list(parts)
    if len({(part.zone, part.link) for part in given}) != 1:
        kinds = ", ".join(sorted({f"{part.zone} ({part.link})" for part in given})) or "nothing"
        raise ValueError(f"one series cannot be made of {kinds}")
    basis = one_basis(part.basis for part in given)
    first_hour = min(part.first_hour for part in given)
    values: list[float | None] = [None] * ((max(part.end for part in given) - first_hour) // HOUR)
    for part in reversed(given):
        offset = (part.first_hour - first_hour) // HOUR
        for index, value in enumerate(part.grams_co2e_per_kwh, start=offset):
            values[index] = values[index] if value is None else value
    return IntensitySeries(
        zone=given[0].zone,
        basis=basis,
        source="; ".join(dict.fromkeys(part.source for part in given)),
        first_hour=first_hour,
        grams_co2e_per_kwh=tuple(values),
        link=given[0].link,
        low_factor=min(part.low_factor for part in given),
        high_factor=max(part.high_factor for part in given),
        notes=tuple(dict.fromkeys(note for part in given for note in part.notes)),
    )


def hourly_means(points: Mapping[datetime, float | None], step: timedelta) -> dict[datetime, float | None]:
    """Values at the starts of steps (an hour or a whole part of one) -> means of hours of UTC.

    An hour with less than half of its steps is a hole: a quarter of an hour does not stand for the whole.

    Raises:
        ValueError: the step does not divide an hour.
    """
    per_hour = HOUR // step if step else 0
    if per_hour < 1 or step * per_hour != HOUR:
        raise ValueError(f"steps of {step} do not divide an hour")
    of_hour: dict[datetime, list[float]] = {}
    for start, value in points.items():
        known = of_hour.setdefault(hour_of(start), [])
        if value is not None:
            known.append(value)
    return {
        hour: sum(known) / len(known) if 2 * len(known) >= per_hour and known else None
        for hour, known in of_hour.items()
    }


def step_of(starts: Iterable[datetime]) -> timedelta:
    """The smallest distance of two times: the step of a file that does not state it; an hour for one."""
    ordered = sorted(set(starts))
    distances = [after - before for before, after in pairwise(ordered)]
    return min(distances, default=HOUR)


def filled(hours: Mapping[datetime, float | None]) -> tuple[datetime, tuple[float | None, ...]]:
    """The first hour, and the values from it to the last, holes for the hours that are not there.

    Raises:
        ValueError: no hour.
    """
    if not hours:
        raise ValueError("no hour")
    ordered = sorted(hours)
    num_hours = (ordered[-1] - ordered[0]) // HOUR + 1
    return ordered[0], tuple(hours.get(ordered[0] + HOUR * index) for index in range(num_hours))


def hour_of(moment: datetime) -> datetime:
    """The whole hour of UTC that a moment lies in.

    Raises:
        ValueError: a time without a zone, which could be any hour of a day.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; times of energy and grids need one")
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def same_zone(one: str, other: str) -> bool:
    """Whether two names are the same zone, whatever the case."""
    return one.strip().upper() == other.strip().upper()
