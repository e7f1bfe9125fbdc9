"""Small random rounds in which everything happens, and what must be true of each of them.

Gangs, several zones, classes and windows, leases, carbon caps and budgets, suspended work, shares,
weights and every mode of the policy are drawn from small sets, so that ties and conflicts are frequent.

Not covered: rounds of realistic size (`pool_rounds`).
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from ayni.market.bids import Bid
from ayni.market.clearing import clear_round
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.horizon import Horizon
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer
from ayni.market.rounds import Allocation, Clearing, MarketRound, RunningLease

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONES = ("DE", "ES", "NO")


def random_round(rng: Random, *, one_bid_each: bool = False) -> MarketRound:
    """A round of 2 to 12 bids and 1 to 5 offers; with one_bid_each no member has two bids."""
    num_slots, num_bids = rng.choice([4, 8, 12]), rng.randint(2, 12)
    members = [f"m{index}" for index in range(rng.randint(1, 5))]
    offers = [_offer(rng, index, num_slots, members) for index in range(rng.randint(1, 5))]
    owners = [f"m{index}" if one_bid_each else rng.choice([*members, "guest"]) for index in range(num_bids)]
    lease = RunningLease(
        id="l", offer="o0", member=members[0], machines=1, start=NOON - HOUR, end=NOON + 2 * HOUR
    )
    return MarketRound(
        bids=[_bid(rng, index, num_slots, owner) for index, owner in enumerate(owners)],
        offers=offers,
        horizon=Horizon(start=NOON, num_slots=num_slots, tail_seconds=rng.choice([0, 0, 4 * 3600])),
        carbon={zone: [rng.choice([50, 100, 300, 500]) for _ in range(num_slots)] for zone in ZONES},
        policy=ClearingPolicy(
            carbon_microcredits_per_kilogram=rng.choice([0, 5, 50]),
            transfer_microcredits_per_gigabyte=rng.choice([0, 3]),
            own_first=rng.choice([True, False]),
            share_cap=rng.choice([None, None, 0.3, 1.0]),
            greenest_within=rng.choice([None, None, 0.1, 0.5]),
            restart_hours=rng.choice([0.0, 0.1, 0.5]),
            credit_scale_reference_hours=10.0,
            size_exponent=rng.choice([0.0, 0.25, 0.5, 1.0]),
            wide_gangs_wait=rng.choice([True, False]),
        ),
        credits={member: float(rng.randint(-15, 15)) for member in members},
        carbon_budgets={members[0]: 500.0} if rng.choice([True, False, False]) else {},
        leases=[lease] if rng.choice([True, False, False]) else [],
        slot_prices=[float(rng.randint(0, 9)) for _ in range(num_slots)] if rng.choice([True, False]) else [],
        seed=rng.randint(0, 1000),
    )


def crowded_round(rng: Random, *, one_bid_each: bool = False) -> MarketRound:
    """A random round of one or two rows where many gangs take more than half of one and wait for hours."""
    market = random_round(rng, one_bid_each=one_bid_each)
    bids = [
        replace(
            bid,
            gang=rng.choice([1, 2, 2, 3, 3, 4]),
            can_suspend=rng.random() < 0.1,
            residency=None,
            classes=(),
            worth_microcredits=bid.worth_microcredits * rng.choice([1, 3, 9]),
        )
        for bid in market.bids
    ]
    return replace(
        market,
        bids=bids,
        offers=[replace(offer, count=rng.randint(2, 5)) for offer in market.offers[:2]],
        policy=replace(market.policy, wide_gangs_wait=True, greenest_within=None),
        carbon_budgets={},
    )


def owners_round(rng: Random, *, one_bid_each: bool = False) -> MarketRound:
    """A random round in which members have their own machines first, and most bidders have some."""
    market = rng.choice([random_round, crowded_round])(rng, one_bid_each=one_bid_each)
    bidders = [bid.member for bid in market.bids]
    return replace(
        market,
        offers=[
            replace(offer, member=rng.choice(bidders) if rng.random() < 0.8 else offer.member)
            for offer in market.offers
        ],
        policy=replace(market.policy, own_first=True),
    )


def _offer(rng: Random, index: int, num_slots: int, members: list[str]) -> Offer:
    ratio = rng.choice([1.0, 1.7, 2.0])
    return Offer(
        id=f"o{index}",
        site=f"s{index}",
        member=rng.choice(members),
        machine_class=MachineClass(
            name=rng.choice(["a", "b"]),
            cores=rng.choice([4, 8]),
            memory_bytes=16,
            accelerator=rng.choice([None, "g"]),
            watts=rng.choice([200.0, 400.0]),
            reference_throughput={"any": ratio},
        ),
        count=rng.randint(1, 4),
        windows=(
            (NOON + rng.choice([0, 0, 2]) * HOUR, NOON + rng.choice([num_slots, num_slots + 6, 3]) * HOUR),
        ),
        ask_microcredits_per_machine_hour=rng.choice([0, 3, 10, 10, 20, 35, 50]),
        zone=rng.choice([*ZONES, None]),
        pue=rng.choice([1.0, 1.3]),
        reliability=rng.choice([1.0, 0.9]),
    )


def _bid(rng: Random, index: int, num_slots: int, member: str) -> Bid:
    release, work = rng.choice([0, 0, 0, 1, 2]), rng.choice([0.5, 1.0, 2.0, 3.0, 4.5, 6.0])
    return Bid(
        id=f"b{index}",
        member=member,
        work_reference_hours=work,
        gang=rng.choice([1, 1, 1, 2, 3]),
        release=NOON + release * HOUR,
        deadline=NOON + (release + rng.randint(1, num_slots + 3)) * HOUR,
        worth_microcredits=int(work * rng.choice([5, 12, 20, 30, 45, 60])) + rng.choice([0, 0, 1, 3]),
        carbon_cap_grams=rng.choice([None, None, None, 400.0, 1000.0]),
        residency=rng.choice([None, None, None, frozenset({"DE", "ES"})]),
        can_suspend=rng.choice([True, False, False, False]),
        data_gigabytes=rng.choice([0.0, 0.0, 1.0]),
        classes=rng.choice([(), (), ("a",)]),
    )


def broken_promises(market: MarketRound, result: Clearing) -> Iterator[str]:
    """What is wrong with the result of a round, by the name of the property that it breaks."""
    bids = {bid.id: bid for bid in market.bids}
    offers = {offer.id: offer for offer in market.offers}
    grams: dict[str, float] = {}
    if len({*(each.bid for each in result.allocations), *(each.bid for each in result.refused)}) != len(bids):
        yield "every bid is placed or refused"
    for each in result.allocations:
        bid, offer = bids[each.bid], offers[each.option.offer]
        if each.payment_microcredits > min(bid.limit_microcredits, each.alone_microcredits or 2**60):
            yield "buyers pay at most their bid, and what it would cost alone"
        metered = each.option.machines * each.option.hours * offer.ask_microcredits_per_machine_hour
        if abs(each.seller_microcredits - metered) > 0.5 + 1e-9:
            yield "sellers get their ask"
        if each.surplus_microcredits < 0:
            yield "payments cover asks and carbon charges"
        if not _is_allowed(bid, offer, each, market):
            yield "caps, deadlines, classes and residency hold"
        grams[bid.member] = grams.get(bid.member, 0.0) + (each.option.grams or 0.0)
    for member, budget in market.carbon_budgets.items():
        if grams.get(member, 0.0) > budget * (1 + 1e-9):
            yield "carbon budgets of members hold"
    if _is_overfull(market, result):
        yield "capacity is never exceeded"


def _is_allowed(bid: Bid, offer: Offer, each: Allocation, market: MarketRound) -> bool:
    option, horizon = each.option, market.horizon
    first, last = option.pieces[0], option.pieces[-1]
    start = horizon.moment(first[0])
    unbroken = start + timedelta(hours=option.hours)
    end = unbroken if len(option.pieces) == 1 else horizon.moment(last[1])
    return (
        start >= bid.release
        and end <= bid.deadline + timedelta(seconds=1)
        and option.machines == bid.gang
        and bid.may_be_in(offer.zone)
        and (not bid.classes or offer.machine_class.name in bid.classes)
        and (
            bid.carbon_cap_grams is None
            or (option.grams is not None and option.grams <= bid.carbon_cap_grams + 1e-9)
        )
        and any(begin <= start and end <= over for begin, over in offer.windows)
    )


def _is_overfull(market: MarketRound, result: Clearing) -> bool:
    """Counts anew from the allocations, machine by machine of each offer's row."""
    used = [[0] * (market.horizon.num_slots + 1) for _ in result.rows]
    for each in result.allocations:
        for start, end in each.option.pieces:
            for slot in range(start, end):
                used[each.option.row][slot] += each.option.machines
    leased = {offer: lease.machines for lease in market.leases for offer in [lease.offer]}
    for row, counts in zip(result.rows, used, strict=True):
        held = sum(leased.get(offer, 0) for offer in row.offers)
        for slot, count in enumerate(counts):
            in_lease = held if slot < 2 else 0
            if count and count + in_lease > row.capacity[slot]:
                return True
    return False


def with_bid(market: MarketRound, index: int, **changes: Any) -> MarketRound:
    """The round in which one bid says something else."""
    bids = list(market.bids)
    bids[index] = replace(bids[index], **changes)
    return replace(market, bids=bids)


def allocation_of(result: Clearing, bid: str) -> Allocation | None:
    """What a bid got."""
    return next((each for each in result.allocations if each.bid == bid), None)


def gain_of(market: MarketRound, result: Clearing, member: str) -> int:
    """What the bids of a member are really worth to it, less what it pays."""
    worths = {bid.id: bid.limit_microcredits for bid in market.bids if bid.member == member}
    return sum(
        worths[each.bid] - each.payment_microcredits for each in result.allocations if each.member == member
    )


def misreports(market: MarketRound, index: int, rng: Random) -> Iterator[MarketRound]:
    """Rounds in which a bid lies in a way that still gets its job done: worth, hours, rest, or more work."""
    bid = market.bids[index]
    for factor in (0.3, 0.7, 0.9, 0.99, 1.01, 1.2, 2.0, 10.0):
        yield with_bid(market, index, worth_microcredits=int(bid.worth_microcredits * factor))
    yield with_bid(market, index, worth_microcredits=max(0, bid.worth_microcredits + rng.randint(-9, 9)))
    yield with_bid(market, index, work_reference_hours=bid.work_reference_hours * 1.1)
    yield from _tighter(market, index, bid, rng)
    if bid.can_suspend:
        yield with_bid(market, index, can_suspend=False)


def _tighter(market: MarketRound, index: int, bid: Bid, rng: Random) -> Iterator[MarketRound]:
    hours = int((bid.deadline - bid.release) / HOUR)
    if hours > 1:
        yield with_bid(market, index, deadline=bid.deadline - HOUR)
        yield with_bid(market, index, release=bid.release + HOUR)
    if hours > 2:
        late, early = rng.randrange(hours - 1), rng.randrange(1, hours)
        yield with_bid(market, index, release=bid.release + late * HOUR)
        yield with_bid(market, index, deadline=bid.release + early * HOUR)
    if bid.carbon_cap_grams is None:
        yield with_bid(market, index, carbon_cap_grams=rng.choice([100.0, 300.0, 600.0]))
    yield with_bid(market, index, residency=frozenset({"DE"}))


def non_monotone(market: MarketRound, result: Clearing) -> Iterator[str]:
    """Winners that lose, or pay something else, when they bid more."""
    limits = {bid.id: index for index, bid in enumerate(market.bids)}
    for each in result.allocations[:3]:
        index = limits[each.bid]
        more = with_bid(market, index, worth_microcredits=market.bids[index].worth_microcredits * 2 + 5)
        again = allocation_of(clear_round(more).result, each.bid)
        if again is None or again.payment_microcredits != each.payment_microcredits:
            yield each.bid


def profitable(market: MarketRound, result: Clearing, index: int, rng: Random) -> Iterator[int]:
    """What each lie of a bid would gain its member, where that is more than nothing."""
    member = market.bids[index].member
    honest = gain_of(market, result, member)
    for lie in misreports(market, index, rng):
        gain = gain_of(market, clear_round(lie).result, member) - honest
        if gain > 0:
            yield gain
