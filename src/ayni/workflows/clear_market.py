"""A round over all that waits in the pool: open offers and waiting jobs in, a table of places out.

    offers, what waits, what earlier rounds left -> cleared -> shown, or booked as leases

The round begins now, so that its first hour is the next sixty minutes and not the hour of a clock. Earlier
rounds leave machines that are taken, Karma credits of who lent, and what is used up of carbon budgets. Carbon
comes from the shipped tables.

Not covered: orders to sites, see `pool_leases`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ayni.market.award import Award, award_round
from ayni.market.bids import Bid
from ayni.market.clearing import ClearedRound, clear_round
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.double_entry import available
from ayni.market.fairness import fairness_of, finish_time_ratios
from ayni.market.horizon import SECONDS_PER_HOUR, Horizon
from ayni.market.lease_records import LeaseRecord, grams_of_month, karma_credits
from ayni.market.offers import Offer
from ayni.market.option_times import times_of
from ayni.market.options import Option
from ayni.market.policy import PeriodPolicy
from ayni.market.pool_store import PoolStore
from ayni.market.rounds import Allocation, CapacityRow, MarketRound, RunningLease
from ayni.workflows.pool_carbon import PoolCarbon, pool_carbon
from ayni.workflows.pool_leases import PoolLeases, lease_ids

SLOT_SECONDS = 3600
POOL_POLICY = ClearingPolicy(share_cap=2.0)
"""The rules of the pool's rounds. Twice a fair share, so that a cap holds back who takes half of a pool of
four members while others wait, and nobody who takes what is left over."""
TAIL_SECONDS = 7 * 86_400
"""Jobs that begin within the horizon may go on for a week after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRequest:
    """How a round is to be cleared. greenest_within None = the cheapest place, else see `ClearingPolicy`.

    share_cap is how many times its fair share a member gets on machines of others before those who wait.
    """

    hours: int = 48
    greenest_within: float | None = None
    share_cap: float | None = POOL_POLICY.share_cap
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What earlier rounds leave: machines taken, Karma credits in reference-hours, grams left of budgets."""

    leases: tuple[RunningLease, ...] = ()
    credits: Mapping[str, float] = field(default_factory=dict)
    carbon_budgets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRound:
    """A cleared round of the pool, where its carbon figures are from, and as what it was booked.

    number None = nothing was. awards are by job; not_held says by job why its lease could not be booked.
    """

    cleared: ClearedRound
    carbon: PoolCarbon
    is_trial: bool = True
    number: int | None = None
    awards: Mapping[str, Award] = field(default_factory=dict)
    not_held: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: placed, not_held, refused, capacity, totals, carbon. is_trial = nothing was booked."""
        market, result = self.cleared.market, self.cleared.result
        offers = {offer.id: offer for offer in market.offers}
        bids = {bid.id: bid for bid in market.bids}
        return {
            "is_trial": self.is_trial,
            "round": self.number,
            "start": market.horizon.start.isoformat(),
            "hours": market.horizon.slot_seconds * market.horizon.num_slots / 3600,
            "seed": market.seed,
            "num_jobs": len(bids),
            "num_offers": len(offers),
            "placed": [
                placed_json(each, bids[each.bid], offers[each.option.offer], market.horizon)
                | self._award_json(each.bid)
                for each in result.allocations
                if each.bid not in self.not_held
            ],
            "not_held": [
                {"job": job, "member": bids[job].member, "reason": reason}
                for job, reason in self.not_held.items()
            ],
            "refused": [
                {"job": each.bid, "member": each.member, "code": each.code, "reason": each.reason}
                for each in result.refused
            ],
            "capacity": [_capacity_json(row, market.horizon) for row in result.rows if any(row.used)],
            "welfare_microcredits": result.welfare_microcredits,
            "surplus_microcredits": result.surplus_microcredits,
            "expected_saving_grams": self.expected_saving_grams(),
            "fairness": self._fairness_json(),
            "karma_credits": {
                member: credits for member, credits in sorted(market.credits.items()) if round(credits, 6)
            },
            "carbon_budgets_left_grams": dict(sorted(market.carbon_budgets.items())),
            "carbon_from": dict(self.carbon.links),
        }

    def expected_saving_grams(self) -> float:
        """What all places together are expected to save beside beginning at once, where that is known."""
        known = [record_of(award).expected_saving_grams() for award in self.awards.values()]
        return sum(each for each in known if each is not None)

    def _fairness_json(self) -> dict[str, Any]:
        """Shares of the pool, and time until the end of jobs over the time on own machines that are free."""
        here: dict[str, float] = {}
        alone: dict[str, float] = {}
        for award in self.awards.values():
            if (at_once := award.at_once) is not None and at_once.is_own:
                member = award.terms.lease.member
                end = award.terms.windows[-1][1]
                hours = (end - at_once.start).total_seconds() / SECONDS_PER_HOUR
                here[member] = here.get(member, 0.0) + hours
                alone[member] = alone.get(member, 0.0) + at_once.hours
        found = asdict(fairness_of(self.cleared.market, self.cleared.result))
        return {**found, "finish_time_ratios": finish_time_ratios(here, alone)}

    def _award_json(self, job: str) -> dict[str, Any]:
        if (award := self.awards.get(job)) is None:
            return {}
        return {
            "lease": None if self.number is None else award.lease_id,
            "at_once": None if award.at_once is None else award.at_once.to_json(),
            "expected_saving_grams": record_of(award).expected_saving_grams(),
        }


def clear_pool(
    store: PoolStore, leases: PoolLeases, request: RoundRequest, *, now: datetime, is_trial: bool = True
) -> PoolRound:
    """Clear a round over what is open and waits now; book it unless it is a trial.

    Raises:
        MissingExtraError: numpy is not installed, or the pool is large and numba is not.
        RoundMovedOnError: another round was booked meanwhile.
    """
    if not is_trial:
        leases.go_on(now=now)
    # Before anything else is read: whoever books a round after this takes the number.
    number = leases.rounds.next_number()
    records = leases.records(now=now)
    offers = [each.offer for each in store.offers() if each.state(now=now) == "open"]
    bids = [each.bid for each in leases.jobs(store, now=now) if each.state == "waiting"]
    cleared = clear_values(
        bids, offers, request, now=now, standing=standing_of(leases, records, offers, now=now)
    )
    awards = _awards(cleared.cleared, leases, lease_ids(bids, records))
    cleared = replace(cleared, awards={award.job: award for award in awards}, is_trial=is_trial)
    if is_trial or not awards:
        return cleared
    not_held = leases.book(number, awards, now=now)
    of_lease = {award.lease_id: award.job for award in awards}
    return replace(cleared, number=number, not_held={of_lease[id]: reason for id, reason in not_held.items()})


def standing_of(
    leases: PoolLeases, records: Mapping[str, LeaseRecord], offers: Sequence[Offer], *, now: datetime
) -> Standing:
    """What earlier rounds leave for one that begins now."""
    month = f"{now.astimezone(UTC):%Y-%m}"
    used = grams_of_month(
        records.values(),
        month,
        grams_at=leases.grams_at,
        grams_where_unknown=POOL_POLICY.grams_per_kwh_where_unknown,
    )
    decay = PeriodPolicy().decay_share
    return Standing(
        leases=tuple(_taken(records.values(), offers)),
        credits=karma_credits(records.values(), now=now, decay_a_quarter=decay),
        carbon_budgets={
            each.member: max(0.0, each.grams - used.get(each.member, 0.0))
            for each in leases.rounds.budgets(month=month)
        },
    )


def clear_values(
    bids: Sequence[Bid],
    offers: Sequence[Offer],
    request: RoundRequest,
    *,
    now: datetime,
    standing: Standing | None = None,
) -> PoolRound:
    """Clear a round over the bids and offers given."""
    horizon = Horizon(
        start=now, slot_seconds=SLOT_SECONDS, num_slots=request.hours, tail_seconds=TAIL_SECONDS
    )
    carbon = pool_carbon([offer.zone for offer in offers], horizon=horizon)
    before = standing or Standing()
    market = MarketRound(
        bids=bids,
        offers=offers,
        horizon=horizon,
        carbon=carbon.forecast,
        policy=replace(POOL_POLICY, greenest_within=request.greenest_within, share_cap=request.share_cap),
        credits=before.credits,
        carbon_budgets=before.carbon_budgets,
        leases=before.leases,
        seed=request.seed,
    )
    return PoolRound(cleared=clear_round(market), carbon=carbon)


def record_of(award: Award) -> LeaseRecord:
    """An award that nothing became of yet."""
    return LeaseRecord(award=award, state=None)


def _awards(cleared: ClearedRound, leases: PoolLeases, ids: Mapping[str, str]) -> tuple[Award, ...]:
    market, result = cleared.market, cleared.result
    sites = {allocation.option.site for allocation in result.allocations}
    return award_round(
        market,
        result,
        lease_ids=ids,
        reputations={site: leases.events.reputation(site) for site in sorted(sites)},
        balances_microcredits={
            member: leases.ledger.balance(available(member)) for member in sorted(_members(market))
        },
        policy=leases.policy,
    )


def _members(market: MarketRound) -> set[str]:
    return {bid.member for bid in market.bids} | {
        offer.member for offer in market.offers if not offer.is_cloud
    }


def _taken(records: Iterable[LeaseRecord], offers: Sequence[Offer]) -> Iterator[RunningLease]:
    """Machines that open leases hold, on the offers of now.

    An offer that was withdrawn and made anew stands for the same machines: a lease of the old one holds them.
    """
    standing = {offer.id for offer in offers}
    of_class = {(offer.site, offer.machine_class.name): offer.id for offer in reversed(offers)}
    for record in records:
        if not record.is_open:
            continue
        heir = of_class.get((record.award.site, record.award.machine_class))
        for lease in record.award.running():
            if lease.offer in standing:
                yield lease
            elif heir is not None:
                yield replace(lease, offer=heir)


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
