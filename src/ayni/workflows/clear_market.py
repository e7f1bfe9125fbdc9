"""A round over all that waits in the pool: open offers and waiting jobs in, a table of places out.

The round begins now, so that its first hour is the next sixty minutes and not the hour of a clock. Members'
bids are taken as they stand; carbon comes from the shipped tables.

Not covered: carrying a round out, Karma credits (nobody has lent anything yet) and carbon budgets of months.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ayni.market.bids import Bid
from ayni.market.clearing import ClearedRound, clear_round
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.horizon import Horizon
from ayni.market.offers import Offer
from ayni.market.option_times import times_of
from ayni.market.options import Option
from ayni.market.pool_store import PoolStore
from ayni.market.rounds import Allocation, CapacityRow, MarketRound
from ayni.workflows.pool_carbon import PoolCarbon, pool_carbon

SLOT_SECONDS = 3600
TAIL_SECONDS = 7 * 86_400
"""Jobs that begin within the horizon may go on for a week after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRequest:
    """How a round is to be cleared. greenest_within None = the cheapest place, else see `ClearingPolicy`."""

    hours: int = 48
    greenest_within: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRound:
    """A cleared round of the pool, and where its carbon figures are from."""

    cleared: ClearedRound
    carbon: PoolCarbon

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: placed, refused, capacity, totals, carbon. Nothing was booked, so is_trial is true."""
        market, result = self.cleared.market, self.cleared.result
        offers = {offer.id: offer for offer in market.offers}
        bids = {bid.id: bid for bid in market.bids}
        return {
            "is_trial": True,
            "start": market.horizon.start.isoformat(),
            "hours": market.horizon.slot_seconds * market.horizon.num_slots / 3600,
            "seed": market.seed,
            "num_jobs": len(bids),
            "num_offers": len(offers),
            "placed": [
                placed_json(each, bids[each.bid], offers[each.option.offer], market.horizon)
                for each in result.allocations
            ],
            "refused": [
                {"job": each.bid, "member": each.member, "code": each.code, "reason": each.reason}
                for each in result.refused
            ],
            "capacity": [_capacity_json(row, market.horizon) for row in result.rows if any(row.used)],
            "welfare_microcredits": result.welfare_microcredits,
            "surplus_microcredits": result.surplus_microcredits,
            "carbon_from": dict(self.carbon.links),
        }


def clear_pool(store: PoolStore, request: RoundRequest, *, now: datetime) -> PoolRound:
    """Clear a round over what is open and waits now. Nothing is booked.

    Raises:
        MissingExtraError: numpy is not installed, or the pool is large and numba is not.
    """
    offers = [each.offer for each in store.offers() if each.state(now=now) == "open"]
    bids = [each.bid for each in store.jobs() if each.state(now=now) == "waiting"]
    return clear_values(bids, offers, request, now=now)


def clear_values(
    bids: Sequence[Bid], offers: Sequence[Offer], request: RoundRequest, *, now: datetime
) -> PoolRound:
    """Clear a round over the bids and offers given."""
    horizon = Horizon(
        start=now, slot_seconds=SLOT_SECONDS, num_slots=request.hours, tail_seconds=TAIL_SECONDS
    )
    carbon = pool_carbon([offer.zone for offer in offers], horizon=horizon)
    market = MarketRound(
        bids=bids,
        offers=offers,
        horizon=horizon,
        carbon=carbon.forecast,
        policy=replace(ClearingPolicy(), greenest_within=request.greenest_within),
        seed=request.seed,
    )
    return PoolRound(cleared=clear_round(market), carbon=carbon)


def placed_json(allocation: Allocation, bid: Bid, offer: Offer, horizon: Horizon) -> dict[str, Any]:
    """A place that a bid got, as plain JSON."""
    return {
        "job": allocation.bid,
        "member": allocation.member,
        "seller": allocation.seller,
        **option_json(allocation.option, offer, horizon),
        "payment_microcredits": allocation.payment_microcredits,
        "limit_microcredits": bid.limit_microcredits,
        "alone_microcredits": allocation.alone_microcredits,
    }


def option_json(option: Option, offer: Offer, horizon: Horizon) -> dict[str, Any]:
    """An option with its times, the parts of its cost, and the date and source of the offer."""
    start, end = times_of(option, horizon)
    return {
        "offer": offer.id,
        "site": option.site,
        "machine_class": option.machine_class,
        "machines": option.machines,
        "source": offer.source,
        "dated": None if offer.dated is None else offer.dated.isoformat(),
        "zone": offer.zone,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "hours": option.hours,
        "num_stops": len(option.pieces) - 1,
        "cost_microcredits": option.cost_microcredits,
        "ask_microcredits": option.ask_microcredits,
        "carbon_microcredits": option.carbon_microcredits,
        "transfer_microcredits": option.transfer_microcredits,
        "rerun_microcredits": option.rerun_microcredits,
        "grams_co2e": option.grams,
    }


def _capacity_json(row: CapacityRow, horizon: Horizon) -> Mapping[str, Any]:
    """How full the machines of a row are, within the horizon."""
    slots = range(horizon.num_slots)
    offered = sum(row.capacity[slot] for slot in slots)
    return {
        "site": row.site,
        "machine_class": row.machine_class,
        "is_cloud": row.is_cloud,
        "offered_machine_hours": offered * horizon.slot_hours,
        "used_machine_hours": sum(row.used[slot] for slot in slots) * horizon.slot_hours,
        "most_machines_at_once": max(row.used[slot] for slot in slots),
    }
