"""What else there would have been for a job that runs on its owner's machine now, and why it was not taken.

A run works on this machine and at once; the market still looks at the same job as a bid, so that its plan can
say what waiting would have saved and what others ask. Each offer is cleared as a round of its own, those with
the lowest price first, so that what is said is what a bid without rivals would have got.

    price = ask + transfer + expected rerun       the carbon charge orders places and is not part of it

Not covered: taking one of them; `ayni jobs submit` bids for it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Self

from ayni.market.bids import Bid
from ayni.market.clearing import clear
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.double_entry import LARGEST_AMOUNT
from ayni.market.horizon import CarbonForecast, Horizon
from ayni.market.offers import Offer
from ayni.market.option_times import times_of
from ayni.market.options import Option
from ayni.market.rounds import Clearing
from ayni.units import microcredits_to_credits

LEAST_SAVING = 0.03
"""A later start that saves a smaller share of the carbon is not worth a line."""
MOST_PLACES = 8
MOST_OF_A_SITE = 2
MOST_INCOMPARABLE = 3
_POLICY = ClearingPolicy(own_first=False, uses_credits=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A place or an hour that was not taken, with the reason.

    Times, price and grams are None where the job cannot run there at all. source and dated are those of the
    offer: "member", or "cloud:" with the provider's name and the day of its price list.
    """

    site: str
    machine_class: str
    source: str
    dated: date | None
    zone: str | None
    start: datetime | None
    end: datetime | None
    price_microcredits: int | None
    grams_co2e: float | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        texts = {name: None if values[name] is None else values[name].isoformat() for name in _TIMES}
        return {**values, **texts}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The alternative that `to_json` wrote."""
        times = {name: None if data[name] is None else _TIMES[name](data[name]) for name in _TIMES}
        return cls(**{**data, **times})


_TIMES = {
    "dated": date.fromisoformat,
    "start": datetime.fromisoformat,
    "end": datetime.fromisoformat,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """A job as the market sees it: the bid, the machine that it runs on, and offers of the pool.

    own may start at once and stands for the whole horizon. The bid's carbon cap is a limit for the others.
    """

    bid: Bid
    own: Offer
    others: Sequence[Offer]
    horizon: Horizon
    carbon: CarbonForecast


def alternatives_to(considered: Considered) -> tuple[Alternative, ...]:
    """A later start on the own machine if it is greener, and the cheapest places of others; at most eight.

    Cost: a round of one bid and one offer for each of the eight, some milliseconds each.

    Raises:
        MissingExtraError: numpy is not installed.
    """
    now = _option_now(considered)
    found = [*_later(considered, now), *_elsewhere(considered, now)]
    return tuple(found[:MOST_PLACES])


def incomparable(offers: Sequence[Offer], *, reason: str) -> tuple[Alternative, ...]:
    """Offers that cannot be compared with the own machine, all for one reason; the first few of them."""
    return tuple(
        Alternative(
            site=offer.site,
            machine_class=offer.machine_class.name,
            source=offer.source,
            dated=offer.dated,
            zone=offer.zone,
            start=None,
            end=None,
            price_microcredits=None,
            grams_co2e=None,
            reason=reason,
        )
        for offer in offers[:MOST_INCOMPARABLE]
    )


def _option_now(considered: Considered) -> Option:
    """The own machine from the first slot on."""
    horizon, here = considered.horizon, _here(considered.bid)
    hours = _hours(here, considered.own)
    assert hours is not None, "the own machine knows its work"
    # With no time left to wait, the only place is to begin at once.
    deadline = horizon.start + timedelta(hours=hours + horizon.slot_hours / 2)
    found = _clear(considered, replace(here, deadline=deadline), considered.own)
    return found.allocations[0].option


def _later(considered: Considered, now: Option) -> Iterator[Alternative]:
    # The ask is the same at every hour, so that the cheapest start is the greenest.
    for allocation in _clear(considered, _here(considered.bid), considered.own).allocations:
        option = allocation.option
        saved = _saved(option, now)
        is_later = option.start_slot > 0 or len(option.pieces) > 1
        if is_later and saved >= LEAST_SAVING:
            reason = f"waiting would save {saved:.0%} of the CO2e, and a run starts at once"
            yield _alternative(considered, considered.own, option, reason)


def _elsewhere(considered: Considered, now: Option) -> Iterator[Alternative]:
    bid = considered.bid
    places, refused = [], []
    for offer in _cheapest(bid, considered.others):
        found = _clear(considered, bid, offer)
        if found.allocations:
            option = found.allocations[0].option
            places.append((option, _alternative(considered, offer, option, _why_not(option, now))))
        else:
            reason = _why_never(bid, offer, found)
            refused.append(_alternative(considered, offer, None, reason))
    yield from (each for _, each in sorted(places, key=lambda place: place[0].cost_microcredits))
    yield from refused


def _cheapest(bid: Bid, offers: Sequence[Offer]) -> list[Offer]:
    """The offers with the lowest price for the work; of a site with many kinds of machines only two."""
    chosen: list[Offer] = []
    of_site: Counter[str] = Counter()
    for offer in sorted(offers, key=lambda offer: (_least_price(bid, offer), offer.id)):
        of_site[offer.site] += 1
        if of_site[offer.site] <= MOST_OF_A_SITE:
            chosen.append(offer)
    return chosen[:MOST_PLACES]


def _here(bid: Bid) -> Bid:
    """The bid without the limits that hold for others: a run here keeps them by its meter."""
    return replace(bid, carbon_cap_grams=None, residency=None, classes=(), gang=1)


def _hours(bid: Bid, offer: Offer) -> float | None:
    """Wall time on the machines of an offer; None where their throughput is unknown."""
    ratio = offer.machine_class.throughput(bid.work_kind)
    return None if ratio is None else bid.work_reference_hours / (bid.gang * ratio)


def _least_price(bid: Bid, offer: Offer) -> float:
    """What an offer asks for the work at least; infinite where nobody knows."""
    hours = _hours(bid, offer)
    return float("inf") if hours is None else bid.gang * hours * offer.ask_microcredits_per_machine_hour


def _why_not(option: Option, now: Option) -> str:
    difference = _price(option) - _price(now)
    saved = _saved(option, now)
    carbon = f", with {saved:.0%} less CO2e" if saved >= LEAST_SAVING else ""
    if difference > 0:
        return f"{_credits(difference)} dearer{carbon}"
    cheaper = f"{_credits(-difference)} cheaper" if difference < 0 else "as cheap"
    return f"{cheaper}{carbon}, and a run stays on this machine (ayni jobs submit bids for it)"


def _credits(microcredits: int) -> str:
    """Three digits, but never an exponent and never less than a micro-credit."""
    credits_ = microcredits_to_credits(microcredits)
    return f"{credits_:.3g} credits" if credits_ >= 0.001 else f"{credits_:.6f} credits"


def _why_never(bid: Bid, offer: Offer, found: Clearing) -> str:
    if _hours(bid, offer) is None:
        return f"how fast it does work of the kind {bid.work_kind!r} is not known"
    return found.refused[0].reason.rstrip(".")


def _clear(considered: Considered, bid: Bid, offer: Offer) -> Clearing:
    """A round of one offer and a bid that would pay anything."""
    eager = replace(bid, worth_microcredits=LARGEST_AMOUNT, budget_microcredits=None)
    return clear([eager], [offer], horizon=considered.horizon, carbon=considered.carbon, policy=_POLICY)


def _saved(option: Option, now: Option) -> float:
    """Share of the carbon of starting now that an option saves; 0 where either is unknown."""
    if option.grams is None or not now.grams:
        return 0.0
    return 1 - option.grams / now.grams


def _price(option: Option) -> int:
    return option.cost_microcredits - option.carbon_microcredits


def _alternative(considered: Considered, offer: Offer, option: Option | None, reason: str) -> Alternative:
    start, end = (None, None) if option is None else times_of(option, considered.horizon)
    return Alternative(
        site=offer.site,
        machine_class=offer.machine_class.name,
        source=offer.source,
        dated=offer.dated,
        zone=offer.zone,
        start=start,
        end=end,
        price_microcredits=None if option is None else _price(option),
        grams_co2e=None if option is None else option.grams,
        reason=reason,
    )
