"""What each hour of a zone weighs, and who says so: the chain from metered hours to the world's mean.

    sources given (metered hours, in their order)  >  month-by-hour climatology  >  annual mean of the zone
      >  annual mean of its country  >  world mean  >  unknown

Each link has a wider interval than the one before, and a receipt names the link of every hour. All links
of one sum have one basis; a link of another basis is passed over. With direct figures there is no world
mean, so what remains is unknown.

Not covered: marginal intensities, which may choose an hour (`scheduling`) and are refused here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ayni.errors import UserError
from ayni.footprint.grid.basis import Basis, BasisMismatchError, one_basis
from ayni.footprint.grid.carbon import CarbonIntensity, UnknownZoneError, carbon_intensity, country_intensity
from ayni.footprint.grid.climatology import ShippedClimatologies
from ayni.footprint.grid.intensity_series import (
    CLIMATOLOGY,
    FORECAST,
    HOUR,
    METERED,
    IntensitySeries,
    IntensitySource,
    hour_of,
)
from ayni.footprint.impacts.quantities import Quantity

ANNUAL, COUNTRY, WORLD = "annual mean", "annual mean of the country", "world mean"
UNKNOWN = "unknown"
LINKS = (METERED, FORECAST, CLIMATOLOGY, ANNUAL, COUNTRY, WORLD, UNKNOWN)
"""Best to worst: a sum is as good as the worst link in it."""


class MarginalReceiptError(UserError):
    """Marginal intensities were to be summed in a receipt."""

    def __init__(self, source: str) -> None:
        self.source = source
        super().__init__(
            f"{source} gives marginal intensities. They can say when to run and cannot be added up: nobody "
            "can observe them. Use average intensities for receipts."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HourIntensity:
    """What a kWh of one hour weighs, and which link of the chain said so; `intensity` None is unknown."""

    hour: datetime
    zone: str
    link: str
    source: str
    intensity: Quantity | None


def intensities_of(
    zone: str | None,
    hours: Iterable[datetime],
    *,
    sources: Sequence[IntensitySource] = (),
    basis: Basis | None = None,
) -> tuple[Basis, tuple[HourIntensity, ...]]:
    """Ask the chain what each hour weighs. The basis is the one given, else that of the first that knows.

    A zone without annual figures of its own (DE-LU) falls back to those of its country.

    Raises:
        UnknownZoneError: no source was given and no table knows the zone.
        BasisMismatchError: a source counts something else than `basis`.
        MarginalReceiptError: a source gives marginal intensities.
    """
    ordered = sorted({hour_of(hour) for hour in hours})
    if not ordered:
        raise ValueError("no hour to weigh")
    series = [] if zone is None else _series_of(zone, ordered, sources, basis)
    annual = _annual_links(zone, is_required=not sources)
    agreed = basis or (series[0].basis if series else Basis.of_text(annual[0][1].basis))
    series = [each for each in series if each.basis == agreed]
    annual = [(link, each) for link, each in annual if Basis.of_text(each.basis) == agreed]
    return agreed, tuple(_weigh(hour, zone, series, annual) for hour in ordered)


def _series_of(
    zone: str, ordered: list[datetime], sources: Sequence[IntensitySource], basis: Basis | None
) -> list[IntensitySeries]:
    start, end = ordered[0], ordered[-1] + HOUR
    given = [found for source in sources if (found := source.hours(zone, start, end)) is not None]
    for each in given:
        if each.basis.signal == "marginal":
            raise MarginalReceiptError(each.source)
        if basis is not None and each.basis != basis:
            raise BasisMismatchError([str(each.basis), str(basis)])
    one_basis([each.basis for each in given] or [Basis()])
    shipped = ShippedClimatologies().hours(zone, start, end)
    return [*given, shipped] if shipped is not None else given


def _annual_links(zone: str | None, *, is_required: bool) -> list[tuple[str, CarbonIntensity]]:
    """Annual figures from near to far. A zone that only a source knows has those of the world alone."""
    world = (WORLD, carbon_intensity(None))
    if zone is None:
        return [world]
    country = country_intensity(zone)
    links = [] if country is None else [(COUNTRY, country)]
    try:
        links = [(ANNUAL, carbon_intensity(zone)), *links]
    except UnknownZoneError:
        if is_required and country is None:
            raise
    return [*links, world]


def _weigh(
    hour: datetime,
    zone: str | None,
    series: list[IntensitySeries],
    annual: list[tuple[str, CarbonIntensity]],
) -> HourIntensity:
    for each in series:
        grams = each.at(hour)
        if grams is not None:
            weight = Quantity.within(grams, low_factor=each.low_factor, high_factor=each.high_factor)
            return HourIntensity(
                hour=hour, zone=each.zone, link=each.link, source=each.source, intensity=weight
            )
    for link, figure in annual:
        weight = Quantity(value=figure.grams_co2e_per_kwh, low=figure.low, high=figure.high)
        return HourIntensity(hour=hour, zone=figure.zone, link=link, source=figure.source, intensity=weight)
    return HourIntensity(hour=hour, zone=zone or UNKNOWN, link=UNKNOWN, source="none", intensity=None)
