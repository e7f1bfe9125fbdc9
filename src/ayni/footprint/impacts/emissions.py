"""Grams of CO2e of metered windows, hour by hour: windows x PUE x intensity of their hours.

    grams = sum over hours of (facility energy in the hour) * (intensity of zone and hour)

Energy that does not come evenly meets a grid that is not even: 800 W in an hour of 300 g and 200 W in one
of 100 g, at a PUE of 1.2, weigh 312 g, and 240 g by the mean of both hours.

What an hour weighs is asked of `intensity_chain`. Where no link knows, the grams are None and so is the
sum, never 0.

The interval is that of a product: energy, PUE and intensity in quadrature. The intensity's own ends are
added over the hours, because one source errs in one direction all day.

Not covered: losses of the grid between power plant and socket, which life-cycle figures may or may not
hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ayni.footprint.grid.basis import Basis, one_basis
from ayni.footprint.grid.intensity_chain import LINKS, HourIntensity
from ayni.footprint.grid.intensity_series import HOUR, hour_of
from ayni.footprint.impacts.quantities import Quantity, correlated_sum, product
from ayni.footprint.windows.window_file import Row, job_microjoules, total_of_windows
from ayni.units import microjoules_to_kwh, split_exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyEnergy:
    """IT energy of a job by hour of UTC, in integer microjoules that add up to its windows exactly.

    `low_factor` and `high_factor` are those of the meter. `num_clock_jumps` counts windows that end
    before they begin because the clock was set; their energy is in the hour of their beginning.
    """

    microjoules: Mapping[datetime, int]
    low_factor: float = 1.0
    high_factor: float = 1.0
    num_clock_jumps: int = 0

    @property
    def total_microjoules(self) -> int:
        """All hours together."""
        return sum(self.microjoules.values())


def hourly_energy(rows: Iterable[Row], step: str, *, job: str) -> HourlyEnergy | None:
    """Split the windows of one step at the hours of UTC; None when the energy of any is unknown.

    A window that crosses an hour is split by time and exactly: largest remainder, in microjoules.

    Raises:
        ValueError: the step has no window.
    """
    all_rows = list(rows)
    total = total_of_windows(all_rows, step, job=job)
    energy, low, high = total.job_microjoules, total.low_microjoules, total.high_microjoules
    if energy is None or low is None or high is None:
        return None
    hours: dict[datetime, int] = {}
    num_jumps = 0
    for window in all_rows:
        if window.get("kind") != "window" or window["step"] != step:
            continue
        start, end = _span(window)
        num_jumps += end < start
        for hour, share in split_at_hours(job_microjoules(window, job) or 0, start, end).items():
            hours[hour] = hours.get(hour, 0) + share
    return HourlyEnergy(
        microjoules=dict(sorted(hours.items())),
        low_factor=low / energy if energy else 1.0,
        high_factor=high / energy if energy else 1.0,
        num_clock_jumps=num_jumps,
    )


def _span(window: Row) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(window["started_at"]), datetime.fromisoformat(window["ended_at"])


def split_at_hours(microjoules: int, start: datetime, end: datetime) -> dict[datetime, int]:
    """Energy drawn evenly in [start, end) -> energy in each hour of UTC; the parts add up exactly.

    All of it is in the first hour when the end is not after the start.
    """
    first = hour_of(start)
    if end <= first + HOUR:
        return {first: microjoules}
    hours = [first]
    while hours[-1] + HOUR < end:
        hours.append(hours[-1] + HOUR)
    lasts = [(min(end, hour + HOUR) - max(start, hour)) // timedelta(microseconds=1) for hour in hours]
    return dict(zip(hours, split_exactly(microjoules, lasts), strict=True))


def facility_microjoules(it_microjoules: int | None, pue: float) -> int | None:
    """Energy of the whole facility: IT energy times PUE (power usage effectiveness, at least 1)."""
    if not pue >= 1:
        raise ValueError(f"PUE is facility energy over IT energy, so at least 1, not {pue}")
    return None if it_microjoules is None else round(it_microjoules * pue)


@dataclass(frozen=True, slots=True, kw_only=True)
class HourOfEmissions:
    """One hour of a sum: its energy at the machines and of the facility, and what it weighs."""

    weight: HourIntensity
    it_microjoules: int
    facility_microjoules: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; intensities are in g CO2e per kWh."""
        intensity = self.weight.intensity
        return {
            "hour": self.weight.hour.isoformat(),
            "zone": self.weight.zone,
            "link": self.weight.link,
            "source": self.weight.source,
            "it_microjoules": self.it_microjoules,
            "facility_microjoules": self.facility_microjoules,
            "grams_co2e_per_kwh": None if intensity is None else intensity.value,
            "low_grams_co2e_per_kwh": None if intensity is None else intensity.low,
            "high_grams_co2e_per_kwh": None if intensity is None else intensity.high,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Emissions:
    """Grams of CO2e of a job with their 90 % interval; None when any hour with energy is unknown."""

    grams_co2e: Quantity | None
    basis: Basis
    pue: float
    pue_factors: tuple[float, float]
    hours: tuple[HourOfEmissions, ...]

    @property
    def it_microjoules(self) -> int:
        """Energy of the machines."""
        return sum(hour.it_microjoules for hour in self.hours)

    @property
    def facility_microjoules(self) -> int:
        """Energy of the facility: times PUE."""
        return sum(hour.facility_microjoules for hour in self.hours)

    @property
    def facility_microjoules_by_hour(self) -> dict[datetime, int]:
        """Energy of the facility hour by hour, for a tariff."""
        return {hour.weight.hour: hour.facility_microjoules for hour in self.hours}

    @property
    def facility_microjoules_by_link(self) -> dict[str, int]:
        """Which link of the chain weighed how much of the energy, best link first."""
        by_link: dict[str, int] = {}
        for hour in self.hours:
            link = hour.weight.link
            by_link[link] = by_link.get(link, 0) + hour.facility_microjoules
        return {link: by_link[link] for link in LINKS if link in by_link}

    @property
    def worst_link(self) -> str:
        """The link that the sum is as good as."""
        return max((hour.weight.link for hour in self.hours), key=LINKS.index)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for a receipt: all that is needed to compute it again."""
        grams, kwh = self.grams_co2e, microjoules_to_kwh(self.facility_microjoules)
        return {
            "grams_co2e": None if grams is None else grams.value,
            "low_grams_co2e": None if grams is None else grams.low,
            "high_grams_co2e": None if grams is None else grams.high,
            "basis": str(self.basis),
            "pue": self.pue,
            "pue_factors": list(self.pue_factors),
            "zone": "; ".join(dict.fromkeys(hour.weight.zone for hour in self.hours)),
            "source": "; ".join(dict.fromkeys(hour.weight.source for hour in self.hours)),
            "worst_link": self.worst_link,
            "facility_microjoules_by_link": self.facility_microjoules_by_link,
            "grams_co2e_per_kwh": None if grams is None or kwh == 0 else grams.value / kwh,
            "hours": [hour.to_json() for hour in self.hours],
        }


def emissions_of(
    energy: HourlyEnergy,
    weights: Sequence[HourIntensity],
    *,
    basis: Basis,
    pue: float,
    pue_factors: tuple[float, float] = (1.0, 1.0),
) -> Emissions:
    """Weigh the energy of each hour.

    `pue_factors` enclose the declared PUE where it is not exact. Facility energy is split over the hours
    so that it adds up to IT energy times PUE in whole microjoules.

    Raises:
        ValueError: an hour of the energy has no weight, or PUE is below 1.
    """
    by_hour = {weight.hour: weight for weight in weights}
    ordered = sorted(energy.microjoules)
    if missing := [hour for hour in ordered if hour not in by_hour]:
        raise ValueError(f"no intensity was asked for {missing[0].isoformat()} and {len(missing) - 1} more")
    joules = [energy.microjoules[hour] for hour in ordered]
    facility = split_exactly(facility_microjoules(sum(joules), pue) or 0, joules)
    hours = tuple(
        HourOfEmissions(weight=by_hour[hour], it_microjoules=it, facility_microjoules=whole)
        for hour, it, whole in zip(ordered, joules, facility, strict=True)
    )
    meter = Quantity.within(1.0, low_factor=energy.low_factor, high_factor=energy.high_factor)
    overhead = Quantity.within(1.0, low_factor=pue_factors[0], high_factor=pue_factors[1])
    weighed = _weighed(hours)
    return Emissions(
        grams_co2e=None if weighed is None else product(weighed, meter, overhead),
        basis=basis,
        pue=pue,
        pue_factors=pue_factors,
        hours=hours,
    )


def _weighed(hours: Sequence[HourOfEmissions]) -> Quantity | None:
    """The grams with the ends of the intensities alone; None with energy in an unknown hour."""
    parts = []
    for hour in hours:
        if hour.weight.intensity is not None:
            parts.append((microjoules_to_kwh(hour.facility_microjoules), hour.weight.intensity))
        elif hour.it_microjoules:
            return None
    return correlated_sum(intensity.times(kwh) for kwh, intensity in parts)


def weight_from_json(data: Mapping[str, Any]) -> HourIntensity:
    """What an hour of `Emissions.to_json` weighs.

    Raises:
        KeyError, TypeError, ValueError: the data lack their form.
    """
    value = data["grams_co2e_per_kwh"]
    low, high = data["low_grams_co2e_per_kwh"], data["high_grams_co2e_per_kwh"]
    return HourIntensity(
        hour=datetime.fromisoformat(data["hour"]).astimezone(UTC),
        zone=data["zone"],
        link=data["link"],
        source=data["source"],
        intensity=None if value is None else Quantity(value=value, low=low, high=high),
    )


def add_emissions(parts: Iterable[Emissions]) -> Quantity | None:
    """Grams of several sums, ends added; None when any is unknown.

    Raises:
        BasisMismatchError: they count different things.
        ValueError: none.
    """
    given = list(parts)
    one_basis(part.basis for part in given)
    known = [part.grams_co2e for part in given if part.grams_co2e is not None]
    if len(known) < len(given):
        return None
    return correlated_sum(known)
