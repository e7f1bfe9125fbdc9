"""What a place in a round saves of carbon beside beginning at once, as expected and as it turned out.

    saving = grams of the work begun at once - grams of the lease

"At once" is the moment of the round that placed the job: on the member's own machines where they can do the
work, else on the cheapest that are offered, whether they are free or not. That is what the job would have
done without the market's choice of place and hour.

Expected: both sides by the forecast of the round. As it turned out: every metered tick of the lease, those
that were lost and not paid included, against the counted work begun at once; both by what the hours weighed.
So work that must be done again is a loss, as it is for the climate.

Not covered: embodied carbon, and machines that idle because the work went elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from ayni.market.bids import Bid
from ayni.market.horizon import SECONDS_PER_HOUR, CarbonForecast, Horizon
from ayni.market.offers import Offer

HOUR = timedelta(hours=1)
GramsAt = Callable[[str, datetime], float | None]
"""Grams of CO2e per kWh in a zone at a moment; None = nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAtOnce:
    """Where a job would have begun at once, and what that was expected to emit.

    kilowatts is the power of all its machines with PUE. grams None = the zone is unknown.
    """

    site: str
    machine_class: str
    is_own: bool
    zone: str | None
    kilowatts: float
    start: datetime
    hours: float
    grams: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "start": self.start.isoformat()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(**{**data, "start": datetime.fromisoformat(data["start"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredTick:
    """Work that ended at a moment, in machine-seconds of a lease."""

    at: datetime
    unit_seconds: int


def start_at_once(
    bid: Bid, offers: Sequence[Offer], *, horizon: Horizon, carbon: CarbonForecast
) -> StartAtOnce | None:
    """Where a bid would begin at once; None where no offer has machines for it."""
    able = [(offer, hours) for offer in offers if (hours := _hours_on(offer, bid)) is not None]
    own = [each for each in able if each[0].member == bid.member]
    if not able:
        return None
    # By the ask alone, and then by name: what a member would see without the market.
    offer, hours = min(
        own or able,
        key=lambda each: (each[0].ask_microcredits_per_machine_hour * each[1], each[0].id),
    )
    kilowatts = bid.gang * offer.machine_class.watts * offer.pue / 1000
    start = max(bid.release, horizon.start)
    forecast = None if offer.zone is None else carbon.get(offer.zone)
    grams = None if forecast is None else kilowatts * _grams_of_kilowatt(forecast, horizon, start, hours)
    return StartAtOnce(
        site=offer.site,
        machine_class=offer.machine_class.name,
        is_own=bool(own),
        zone=offer.zone,
        kilowatts=kilowatts,
        start=start,
        hours=hours,
        grams=grams,
    )


def emitted_grams(
    ticks: Iterable[MeteredTick], *, machines: int, kilowatts: float, zone: str | None, grams_at: GramsAt
) -> float | None:
    """What metered work has emitted; None where the zone or an hour of it is unknown.

    Args:
        ticks: all of them, those of work that was lost too.
        machines: how many worked at once.
        kilowatts: power of all machines together, with PUE.
        zone: the electricity grid.
        grams_at: what the hours weighed.
    """
    total = 0.0
    for tick in ticks:
        hours = tick.unit_seconds / machines / SECONDS_PER_HOUR
        grams = grams_between(
            tick.at - timedelta(hours=hours), hours, kilowatts=kilowatts, zone=zone, grams_at=grams_at
        )
        if grams is None:
            return None
        total += grams
    return total


def grams_between(
    start: datetime, hours: float, *, kilowatts: float, zone: str | None, grams_at: GramsAt
) -> float | None:
    """What machines of this power emit in so many hours from a moment on, hour by hour of the clock."""
    if zone is None:
        return None
    total, moment, end = 0.0, start.astimezone(UTC), start + timedelta(hours=hours)
    while moment < end:
        next_hour = moment.replace(minute=0, second=0, microsecond=0) + HOUR
        until = min(next_hour, end)
        grams = grams_at(zone, moment)
        if grams is None:
            return None
        total += kilowatts * (until - moment).total_seconds() / SECONDS_PER_HOUR * grams
        moment = until
    return total


def saved_grams(at_once: float | None, lease: float | None) -> float | None:
    """The saving, below zero for a loss; None where one of both is unknown."""
    return None if at_once is None or lease is None else at_once - lease


def _hours_on(offer: Offer, bid: Bid) -> float | None:
    """Hours of the bid's work on machines of the offer; None where they may not or cannot do it."""
    machine_class = offer.machine_class
    throughput = machine_class.throughput(bid.work_kind)
    if throughput is None or offer.count < bid.gang or not bid.may_be_in(offer.zone):
        return None
    if bid.classes and machine_class.name not in bid.classes:
        return None
    return bid.work_reference_hours / (bid.gang * throughput)


def _grams_of_kilowatt(forecast: Sequence[float], horizon: Horizon, start: datetime, hours: float) -> float:
    """Grams of one kilowatt from a moment on; beyond the horizon its mean, as in a round."""
    begin = horizon.seconds_at(start) / horizon.slot_seconds
    end = begin + hours * SECONDS_PER_HOUR / horizon.slot_seconds
    total = sum(
        float(grams) * max(0.0, min(end, slot + 1) - max(begin, slot)) for slot, grams in enumerate(forecast)
    )
    mean = sum(map(float, forecast)) / len(forecast)
    beyond = max(0.0, end - max(begin, horizon.num_slots))
    return (total + beyond * mean) * horizon.slot_hours
