from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import pytest

pytest.importorskip("numpy")

from benchmarks.random_rounds import broken_promises, crowded_round, non_monotone, profitable
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.market.bids import Bid
from ayni.market.clearing import clear_round
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.free_machines import machines_of
from ayni.market.horizon import Horizon
from ayni.market.lanes import NO_BID, NO_SLOT, earliest_end, fits_lane, join_lane
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer
from ayni.market.place_search import make_room
from ayni.market.round_arrays import Facts, make_round_arrays
from ayni.market.rounds import MarketRound

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CREDIT = 1_000_000
GPU = MachineClass(
    name="gpu", cores=8, memory_bytes=1 << 36, accelerator="g", watts=500.0, reference_throughput={"any": 1.0}
)
WAIT = ClearingPolicy(own_first=False, uses_credits=False, wide_gangs_wait=True)


def bid(id: str, worth: float, *, hours: int, first: int = 0, last: int = 8, gang: int = 3) -> Bid:
    return Bid(
        id=id,
        member=f"member-{id}",
        work_reference_hours=float(hours * gang),
        gang=gang,
        release=NOON + first * HOUR,
        deadline=NOON + last * HOUR,
        worth_microcredits=int(worth * CREDIT),
    )


def market(bids: list[Bid], *, policy: ClearingPolicy = WAIT, **changes: Any) -> MarketRound:
    values: dict[str, Any] = {
        "bids": bids,
        "offers": [
            Offer(
                id="o",
                site="s",
                member="owner",
                machine_class=GPU,
                count=4,
                windows=((NOON, NOON + 8 * HOUR),),
                ask_microcredits_per_machine_hour=CREDIT,
                zone="DE",
            )
        ],
        "horizon": Horizon(start=NOON, num_slots=8),
        "carbon": {"DE": [100.0, 100.0, 100.0, 10.0, 10.0, 10.0, 100.0, 100.0]},
        "policy": policy,
    }
    return MarketRound(**values | changes)


def hours_of(pool: MarketRound) -> dict[str, tuple[int, int]]:
    return {each.bid: each.option.pieces[0] for each in clear_round(pool).result.allocations}


def test_a_wide_gang_makes_way_in_time_for_one_that_cannot_wait() -> None:
    # The first to choose likes the green hours in the middle, and then nobody else has four on end.
    pool = market([bid("rich", 90, hours=4), bid("poor", 50, hours=4)])

    waited, at_once = hours_of(pool), hours_of(replace(pool, policy=replace(WAIT, wide_gangs_wait=False)))

    assert sorted(waited.values()) == [(0, 4), (4, 8)]
    assert set(at_once) == {"rich"}


def test_alone_in_its_lane_a_gang_gets_the_greenest_hours() -> None:
    assert hours_of(market([bid("a", 90, hours=3)])) == {"a": (3, 6)}


def test_all_hours_of_a_lane_are_paid_as_the_dearest() -> None:
    wide, narrow = (
        clear_round(market([bid("a", 90, hours=3, first=first, last=last)])).result.allocations[0]
        for first, last in ((0, 8), (3, 6))
    )

    # Else a bid that says it has no time but the green hours would pay less.
    assert wide.payment_microcredits == narrow.payment_microcredits
    assert wide.payment_microcredits >= wide.option.ask_microcredits + wide.option.carbon_microcredits


def test_a_narrow_job_cannot_take_what_was_promised() -> None:
    tight = [bid("a", 90, hours=4), bid("b", 80, hours=4), bid("narrow", 20, hours=1, gang=2)]

    assert set(hours_of(market(tight))) == {"a", "b"}


def test_beside_a_wide_gang_there_is_room_for_a_narrow_job() -> None:
    tight = [bid("a", 90, hours=4), bid("b", 80, hours=4), bid("narrow", 20, hours=1, gang=1)]

    assert set(hours_of(market(tight))) == {"a", "b", "narrow"}


def test_more_wide_gangs_than_a_lane_remembers_still_find_hours() -> None:
    pool = market(
        [bid(f"b{index}", 20 + index, hours=1, last=12) for index in range(12)],
        horizon=Horizon(start=NOON, num_slots=12),
        carbon={"DE": [100.0] * 12},
    )
    pool = replace(pool, offers=[replace(pool.offers[0], windows=((NOON, NOON + 12 * HOUR),))])

    assert sorted(hours_of(pool).values()) == [(slot, slot + 1) for slot in range(12)]


@given(st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_whether_promises_can_be_kept_is_decided_as_by_trying_all_orders(rng: Random) -> None:
    bids = []
    for index in range(rng.randint(1, 5)):
        first, hours = rng.randint(0, 5), rng.randint(1, 3)
        bids.append(bid(f"b{index}", 9, hours=hours, first=first, last=first + hours + rng.randint(0, 6)))
    facts = make_round_arrays(market(bids)).facts
    machines = machines_of(facts.free_RT)
    for _ in range(rng.randint(0, 2)):
        machines.free_RT[0, rng.randrange(8)] -= 2
    for number in range(len(bids) - 1):
        join_lane(machines, 0, number)

    is_kept = fits_lane(facts, machines, 0, len(bids) - 1, make_room(facts).notes_I)

    assert is_kept == any(_fits_in(facts, machines, order) for order in permutations(range(len(bids))))
    assert not is_kept or fits_lane(facts, machines, 0, NO_BID, make_room(facts).notes_I)


def _fits_in(facts: Facts, machines: Any, order: tuple[int, ...]) -> bool:
    end = 0
    for number in order:
        end = earliest_end(facts, machines, number, 0, end)
        if end == NO_SLOT:
            return False
    return True


@given(st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_rounds_with_crowded_lanes_keep_every_promise(rng: Random) -> None:
    _check_promises(rng)


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_no_lie_about_a_wide_gang_pays(rng: Random) -> None:
    _check_lies(rng)


@pytest.mark.slow
@given(st.randoms(use_true_random=False))
@settings(max_examples=1000, deadline=None)
def test_a_thousand_crowded_rounds_keep_every_promise(rng: Random) -> None:
    _check_promises(rng)
    _check_lies(rng)


def _check_promises(rng: Random) -> None:
    pool = crowded_round(rng)
    result = clear_round(pool).result

    assert list(broken_promises(pool, result)) == []
    assert list(non_monotone(pool, result)) == []


def _check_lies(rng: Random) -> None:
    pool = crowded_round(rng, one_bid_each=True)
    # With own machines reserved, a deadline that rules them out can pay, whether gangs wait or not.
    pool = replace(pool, policy=replace(pool.policy, own_first=False))
    liar = rng.randrange(len(pool.bids))

    assert list(profitable(pool, clear_round(pool).result, liar, rng)) == []


def test_compiled_and_uncompiled_rounds_with_lanes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    pools = [crowded_round(Random(seed)) for seed in range(40)]
    plain = [clear_round(pool).result for pool in pools]

    monkeypatch.setattr("ayni.market.compiled.LARGEST_UNCOMPILED_WORK", -1)

    assert [clear_round(pool).result for pool in pools] == plain
