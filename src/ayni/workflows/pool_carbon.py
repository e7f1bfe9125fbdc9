"""What the hours of a round weigh in the zones of its offers, for the market, which knows no grids.

All zones of one forecast are counted on one basis (average, life-cycle), because clearing compares them.
Where no hourly figures are shipped, every hour has the annual mean of the zone or of its country; then
waiting never looks greener, and only place does. A zone that no table knows is left out: the market charges
it as a coal grid and never lets it meet a carbon cap.

Not covered: forecasts of the day, which need a token or a file of the operator.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.carbon import UnknownZoneError, carbon_intensity, country_intensity
from ayni.footprint.grid.intensity_chain import LINKS, UNKNOWN, WORLD, intensities_of
from ayni.footprint.grid.intensity_series import hour_of
from ayni.market.horizon import CarbonForecast, Horizon


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCarbon:
    """Grams per kWh by zone and slot, and for each zone the worst link of the chain that said so."""

    forecast: CarbonForecast
    links: Mapping[str, str]


def pool_carbon(zones: Iterable[str | None], *, horizon: Horizon) -> PoolCarbon:
    """The carbon of all zones that any table knows, in the middle of each slot."""
    half = timedelta(seconds=horizon.slot_seconds / 2)
    moments = [horizon.moment(slot) + half for slot in range(horizon.num_slots)]
    forecast: dict[str, tuple[float, ...]] = {}
    links: dict[str, str] = {}
    for zone in sorted({zone for zone in zones if zone is not None}):
        try:
            _, found = intensities_of(zone, moments, basis=Basis())
        except UnknownZoneError:
            continue
        of_hour = {each.hour: each for each in found}
        slots = [of_hour[hour_of(moment)] for moment in moments]
        worst = max((each.link for each in slots), key=LINKS.index)
        if worst in (WORLD, UNKNOWN):
            continue
        forecast[zone] = tuple(each.intensity.value for each in slots if each.intensity is not None)
        links[zone] = worst
    return PoolCarbon(forecast=forecast, links=links)


def shipped_grams_at(zone: str, moment: datetime) -> float | None:
    """Grams per kWh of an hour by the shipped tables; None where no table knows the zone or its country.

    An hour that is over weighs here what it was expected to: nothing hourly is shipped that came later.
    """
    return _grams_of_hour(zone, hour_of(moment))


@lru_cache(maxsize=10_000)
def _grams_of_hour(zone: str, hour: datetime) -> float | None:
    try:
        _, (found,) = intensities_of(zone, [hour], basis=Basis())
    except UnknownZoneError:
        return None
    return None if found.link in (WORLD, UNKNOWN) or found.intensity is None else found.intensity.value


def checked_zone(zone: str | None) -> str | None:
    """The zone as it is written, when a table knows it or its country; None stays unknown.

    Raises:
        UnknownZoneError: none does; names the nearest.
    """
    if zone is None:
        return None
    if country_intensity(zone) is None:
        carbon_intensity(zone)
    return zone.strip().upper()
