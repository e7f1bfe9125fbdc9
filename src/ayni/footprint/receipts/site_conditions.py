"""What holds at a site: its grid hour by hour, its overhead, water, machines and prices.

A site's conditions become the terms of a receipt when the hours of its energy are known (`terms_for`). A
source of hourly figures that cannot answer then (a network that is down, a token that expired) does not
stop a receipt: the rest of the chain takes over, and the receipt says so.

Not covered: reading them from a job file, which is for whoever owns the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ayni.errors import AyniError
from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.carbon import CarbonIntensity, carbon_intensity
from ayni.footprint.grid.intensity_chain import HourIntensity, intensities_of
from ayni.footprint.grid.intensity_series import HOUR, IntensitySeries, IntensitySource, hour_of
from ayni.footprint.grid.tariffs import Tariff
from ayni.footprint.impacts.embodied import Device
from ayni.footprint.impacts.quantities import correlated_sum
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.impacts.water import water_intensity
from ayni.footprint.receipts.receipt_terms import ReceiptTerms

FREE = Tariff(name="none", flat_microcredits_per_kwh=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteConditions:
    """The conditions of one site; the defaults are those of a place that nobody declared.

    `zone` None is unknown, never guessed. `sources` are asked for hourly carbon in their order; `basis` is
    what figures must count, by default what the first that answers counts. `machine` is what
    jobs share by cores, `accelerators` what they take as a whole.
    """

    zone: str | None = None
    pue: float = 1.0
    pue_factors: tuple[float, float] = (1.0, 1.0)
    sources: tuple[IntensitySource, ...] = ()
    basis: Basis | None = None
    wue_litres_per_kwh: float | None = None
    machine: Device | None = None
    accelerators: tuple[Device, ...] = ()
    tariff: Tariff = FREE
    ask_microcredits_per_core_hour: int = 0

    def terms_for(
        self, hours: Iterable[datetime], *, functional_unit: FunctionalUnit | None = None
    ) -> ReceiptTerms:
        """The terms for energy of these hours.

        Raises:
            UnknownZoneError: no source was given and no table knows the zone.
            BasisMismatchError, MarginalReceiptError: a source gives figures that no receipt adds.
        """
        ordered = sorted(set(hours))
        basis, weights, notes = self._weigh(ordered)
        return ReceiptTerms(
            declared_zone=self.zone,
            basis=basis,
            weights=weights,
            pue=self.pue,
            pue_factors=self.pue_factors,
            wue_litres_per_kwh=self.wue_litres_per_kwh,
            water=water_intensity(self.zone),
            machine=self.machine,
            accelerators=self.accelerators,
            tariff=self.tariff,
            ask_microcredits_per_core_hour=self.ask_microcredits_per_core_hour,
            functional_unit=functional_unit,
            notes=notes,
        )

    def intensity_between(self, start: datetime, end: datetime) -> CarbonIntensity:
        """The mean of the hours of [start, end) as one figure, for plans and limits; ends are means, too.

        Raises:
            UnknownZoneError, BasisMismatchError, MarginalReceiptError: see `terms_for`.
        """
        basis, weights, _ = self._weigh(hours_between(start, end))
        known = [weight.intensity for weight in weights if weight.intensity is not None]
        if not known:
            # Direct figures know no mean of the world: a plan computes with the life-cycle one and says so.
            return carbon_intensity(None)
        mean = correlated_sum(known).times(1 / len(known))
        return CarbonIntensity(
            grams_co2e_per_kwh=mean.value,
            low=mean.low,
            high=mean.high,
            zone="; ".join(dict.fromkeys(weight.zone for weight in weights)),
            basis=str(basis),
            source="; ".join(dict.fromkeys(weight.source for weight in weights)),
            year=None,
        )

    def _weigh(self, hours: list[datetime]) -> tuple[Basis, tuple[HourIntensity, ...], tuple[str, ...]]:
        if not hours:
            return self.basis or Basis(), (), ()
        answers, notes = self._ask_sources(hours)
        basis, weights = intensities_of(self.zone, hours, sources=answers, basis=self.basis)
        return basis, weights, notes

    def _ask_sources(self, hours: list[datetime]) -> tuple[list[IntensitySource], tuple[str, ...]]:
        """Each source is asked once; those that fail are left out and named."""
        if self.zone is None:
            return [], ()
        answers: list[IntensitySource] = []
        notes = []
        for source in self.sources:
            try:
                series = source.hours(self.zone, hours[0], hours[-1] + HOUR)
            except (AyniError, OSError) as error:
                notes.append(str(error))
                series = None
            answers.append(_Answer(series))
        return answers, tuple(notes)


class _Answer:
    """What a source said for the hours that it was asked for. Fulfils `IntensitySource`."""

    def __init__(self, series: IntensitySeries | None) -> None:
        self._series = series

    def hours(self, zone: str, start: datetime, end: datetime) -> IntensitySeries | None:
        """The hours that were asked for before."""
        return self._series


def hours_between(start: datetime, end: datetime) -> list[datetime]:
    """The hours of UTC that [start, end) touches; one at least."""
    hours = [hour_of(start)]
    while hours[-1] + HOUR < end:
        hours.append(hours[-1] + HOUR)
    return hours
