"""What electricity costs hour by hour, in whole micro-credits; prices may be negative.

    cost = sum over hours of (facility energy in the hour) * (price of the hour)

The sum is exact and rounded once, half to even: the costs of jobs before rounding add up to that of their
node. Machine time is another line of the bill (`receipts.cost_of`) and never mixed into this one.

An hour without a price is taken from the flat price if the tariff has one, and counted; otherwise the cost is
unknown, None and never 0.

Not covered: demand charges, taxes by volume, and currencies: whoever makes a tariff says how many
micro-credits a unit of money is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from ayni.footprint.grid.grid_files import GridFileError, time_zone_named
from ayni.footprint.grid.importers import read_hourly_prices
from ayni.footprint.grid.intensity_series import HOUR, hour_of
from ayni.units import MICROJOULES_PER_KWH, split_exactly

KWH_PER_MWH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Prices in micro-credits per kWh of facility energy, one an hour of UTC from `first_hour` on.

    None among the prices is a hole. `flat_microcredits_per_kwh` is for holes and all other hours; None
    leaves them unknown. `name` says where the prices are from.
    """

    name: str
    flat_microcredits_per_kwh: int | None = None
    first_hour: datetime | None = None
    microcredits_per_kwh: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        if self.microcredits_per_kwh and self.first_hour is None:
            raise ValueError("hourly prices need the hour that they begin with")
        if self.first_hour is not None and self.first_hour != hour_of(self.first_hour):
            raise ValueError(f"prices begin at a whole hour of UTC, not at {self.first_hour}")

    def hourly_price(self, moment: datetime) -> int | None:
        """The price of the hour of `moment` itself; None for a hole or outside."""
        if self.first_hour is None:
            return None
        index = (hour_of(moment) - self.first_hour) // HOUR
        return self.microcredits_per_kwh[index] if 0 <= index < len(self.microcredits_per_kwh) else None

    def price_at(self, moment: datetime) -> int | None:
        """The price of the hour, else the flat price; None when there is neither."""
        price = self.hourly_price(moment)
        return self.flat_microcredits_per_kwh if price is None else price


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectricityCost:
    """Cost of electricity in micro-credits, None when an hour with energy has no price.

    `exact_microcredits` is the sum before rounding; `num_flat_hours` hours had no price of their own.
    """

    microcredits: int | None
    exact_microcredits: Fraction | None
    num_hours: int
    num_flat_hours: int
    num_unknown_hours: int
    tariff: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, without the exact sum."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "exact_microcredits"}


def electricity_cost(facility_microjoules: Mapping[datetime, int], tariff: Tariff) -> ElectricityCost:
    """What the facility energy of each hour costs (`Emissions.facility_microjoules_by_hour` has it)."""
    exact = Fraction(0)
    num_flat = num_unknown = 0
    for hour, microjoules in facility_microjoules.items():
        price = tariff.price_at(hour)
        if price is None:
            num_unknown += microjoules != 0
            continue
        num_flat += tariff.hourly_price(hour) is None
        exact += Fraction(microjoules * price, MICROJOULES_PER_KWH)
    is_known = num_unknown == 0
    return ElectricityCost(
        microcredits=round(exact) if is_known else None,
        exact_microcredits=exact if is_known else None,
        num_hours=len(facility_microjoules),
        num_flat_hours=num_flat,
        num_unknown_hours=num_unknown,
        tariff=tariff.name,
    )


def split_cost(microcredits: int, exact_parts: Sequence[Fraction]) -> list[int]:
    """Share one rounded cost among jobs in proportion to their exact ones; adds up, also below zero.

    Parts of both signs keep their own nearest value, and the rest of the rounding goes to the largest.
    """
    if not exact_parts:
        raise ValueError("nobody to share a cost")
    if all(part >= 0 for part in exact_parts) and microcredits >= 0:
        return split_exactly(microcredits, _as_weights(exact_parts))
    if all(part <= 0 for part in exact_parts) and microcredits <= 0:
        return [
            -share for share in split_exactly(-microcredits, _as_weights([-part for part in exact_parts]))
        ]
    shares = [round(part) for part in exact_parts]
    largest = max(range(len(shares)), key=lambda index: abs(exact_parts[index]))
    shares[largest] += microcredits - sum(shares)
    return shares


def _as_weights(parts: Sequence[Fraction]) -> list[int]:
    """The same proportions as integers."""
    denominator = math.lcm(*(part.denominator for part in parts))
    return [int(part * denominator) for part in parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBand:
    """A price for some hours of some days, in the local time of the tariff: [from_hour, to_hour).

    `days` are those of the week, Monday is 0. A band over midnight is two bands.
    """

    from_hour: int
    to_hour: int
    microcredits_per_kwh: int
    days: frozenset[int] = frozenset(range(7))

    def __post_init__(self) -> None:
        if not 0 <= self.from_hour < self.to_hour <= 24 or not self.days <= set(range(7)):
            raise ValueError(f"no day has hours {self.from_hour} to {self.to_hour}, or days {set(self.days)}")


def time_of_use_tariff(
    name: str,
    bands: Sequence[PriceBand],
    *,
    time_zone: str,
    start: datetime,
    end: datetime,
    flat_microcredits_per_kwh: int | None = None,
) -> Tariff:
    """The hours of [start, end) priced by the first band that holds them; clocks move with the time zone.

    Raises:
        GridFileError: no such time zone.
        ValueError: the span is empty.
    """
    zone = time_zone_named(Path(name), time_zone)
    first_hour = hour_of(start)
    num_hours = -((first_hour - end) // HOUR)
    if num_hours <= 0:
        raise ValueError(f"no hour lies between {start} and {end}")
    # Zones a part of an hour off UTC: the middle of the hour decides.
    middles = [first_hour + HOUR * index + timedelta(minutes=30) for index in range(num_hours)]
    return Tariff(
        name=name,
        flat_microcredits_per_kwh=flat_microcredits_per_kwh,
        first_hour=first_hour,
        microcredits_per_kwh=tuple(_price_in(bands, middle.astimezone(zone)) for middle in middles),
    )


def _price_in(bands: Sequence[PriceBand], local: datetime) -> int | None:
    for band in bands:
        if local.weekday() in band.days and band.from_hour <= local.hour < band.to_hour:
            return band.microcredits_per_kwh
    return None


def read_tariff_file(
    path: Path,
    *,
    microcredits_per_unit: float,
    zone: str | None = None,
    time_zone: str | None = None,
    per_mwh: bool = True,
    flat_microcredits_per_kwh: int | None = None,
) -> Tariff:
    """Hourly prices from a plain table, such as a day-ahead market publishes them.

    `microcredits_per_unit` is what one unit of the file's money is worth; prices are per MWh, or per kWh.

    Raises:
        GridFileError: the file is not such a table; says which line.
        ValueError: a rate that is not positive.
    """
    if not microcredits_per_unit > 0:
        raise ValueError(f"{microcredits_per_unit} micro-credits are no rate of exchange")
    first_hour, prices = read_hourly_prices(path, zone=zone, time_zone=time_zone)
    factor = microcredits_per_unit / (KWH_PER_MWH if per_mwh else 1)
    if all(price is None for price in prices):
        raise GridFileError(path, "holds no price")
    return Tariff(
        name=f"file {path.name}",
        flat_microcredits_per_kwh=flat_microcredits_per_kwh,
        first_hour=first_hour,
        microcredits_per_kwh=tuple(None if price is None else round(price * factor) for price in prices),
    )
