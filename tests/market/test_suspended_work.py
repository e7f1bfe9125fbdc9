from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from random import Random

import pytest

pytest.importorskip("numpy")

import numpy as np
from benchmarks.random_rounds import profitable, random_round
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.market.bids import Bid
from ayni.market.clearing import clear_round
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.free_machines import machines_of
from ayni.market.horizon import Horizon
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer
from ayni.market.place_search import no_places
from ayni.market.round_arrays import MAX_PIECES, Facts, Integers, make_round_arrays
from ayni.market.rounds import MarketRound
from ayni.market.suspended_work import divide, find_ways, room_for_ways, slots_needed

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GPU = MachineClass(
    name="gpu", cores=8, memory_bytes=16, accelerator="g", watts=1000.0, reference_throughput={"any": 1.0}
)


def a_round(carbon: list[float], *, hours: float, restart: float = 0.0, first: int = 0) -> MarketRound:
    num_slots = len(carbon)
    return MarketRound(
        bids=[
            Bid(
                id="b",
                member="m",
                work_reference_hours=hours,
                release=NOON + first * HOUR,
                deadline=NOON + num_slots * HOUR,
                worth_microcredits=10**9,
                can_suspend=True,
            )
        ],
        offers=[
            Offer(
                id="o",
                site="s",
                member="owner",
                machine_class=GPU,
                count=1,
                windows=((NOON, NOON + num_slots * HOUR),),
                ask_microcredits_per_machine_hour=1000,
                zone="DE",
            )
        ],
        horizon=Horizon(start=NOON, num_slots=num_slots),
        carbon={"DE": carbon},
        policy=ClearingPolicy(
            own_first=False, uses_credits=False, restart_hours=restart, carbon_microcredits_per_kilogram=10**6
        ),
    )


def pieces(market: MarketRound) -> tuple[tuple[int, int], ...]:
    (placed,) = clear_round(market).result.allocations
    return placed.option.pieces


def test_work_rests_while_the_grid_is_dark() -> None:
    assert pieces(a_round([100, 500, 500, 100, 100, 500], hours=3.0)) == ((0, 1), (3, 5))


def test_a_restart_that_costs_more_than_it_saves_is_left_out() -> None:
    assert pieces(a_round([100, 110, 100, 500], hours=2.0, restart=0.5)) == ((0, 2),)


def test_the_last_slot_counts_for_the_part_that_is_used() -> None:
    # 2.1 hours: a tenth of the dark hour at the end costs less than the whole hour at the start.
    assert pieces(a_round([150, 400, 100, 100, 300], hours=2.1)) == ((2, 5),)


def test_a_narrower_window_never_costs_less_although_the_green_hours_are_taken() -> None:
    wide = a_round([300, 100, 300, 200, 300, 200, 300], hours=2.0)
    taken = replace(
        wide.bids[0], id="rich", member="rich", work_reference_hours=1.0, worth_microcredits=10**12
    )
    wide = replace(wide, bids=[*wide.bids, taken])
    narrow = replace(wide, bids=[replace(wide.bids[0], release=NOON + 2 * HOUR), taken])

    assert clear_round(wide).result.payments["b"] <= clear_round(narrow).result.payments["b"]
    assert {each.bid: each.option.pieces for each in clear_round(wide).result.allocations}["b"] == (
        (3, 4),
        (5, 6),
    )


@given(st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_no_way_to_divide_work_is_cheaper(rng: Random) -> None:
    num_slots = rng.randint(3, 9)
    market = a_round(
        [float(rng.choice([10, 20, 50, 90, 200])) for _ in range(num_slots)],
        hours=rng.choice([0.5, 1.0, 1.7, 2.0, 3.3, 4.0]),
        restart=rng.choice([0.0, 0.3, 1.0]),
        first=rng.randint(0, 1),
    )
    if rng.random() < 0.5:
        market = replace(market, slot_prices=[float(rng.randint(0, 90)) for _ in range(num_slots)])
    facts = make_round_arrays(market).facts
    machines = machines_of(facts.free_RT)
    for slot in range(num_slots):
        machines.free_RT[0, slot] = rng.choice([0, 1, 1, 1])
    hours, ways, place = market.bids[0].work_reference_hours, room_for_ways(facts), no_places(1)

    # What an earlier search left in the room must not matter.
    ways[:] = -1e9
    for_carbon = rng.random() < 0.3
    most_runs = find_ways(facts, machines, 0, 0, hours, ways, for_carbon)

    for num_pieces in range(2, MAX_PIECES + 1):
        expected = _cheapest(market, machines.free_RT[0], hours, num_pieces, facts, for_carbon=for_carbon)
        is_found = num_pieces <= most_runs and divide(
            facts, machines, 0, 0, hours, num_pieces, ways, for_carbon, place[0]
        )
        assert is_found == (expected < np.inf)
        if is_found:
            starts, ends = place[0]["starts"][:num_pieces], place[0]["ends"][:num_pieces]
            chosen = [slot for start, end in zip(starts, ends, strict=True) for slot in range(start, end)]
            assert all(machines.free_RT[0, slot] for slot in chosen)
            assert len(chosen) == slots_needed(facts, hours, num_pieces)
            assert _price(market, chosen, hours, num_pieces, for_carbon) == pytest.approx(expected)


def _cheapest(
    market: MarketRound, free_T: Integers, hours: float, num_pieces: int, facts: Facts, *, for_carbon: bool
) -> float:
    """By trying all sets of slots."""
    needed = slots_needed(facts, hours, num_pieces)
    first = int((market.bids[0].release - NOON) / HOUR)
    free = [slot for slot in range(first, market.horizon.num_slots) if free_T[slot] > 0]
    prices = [
        _price(market, list(chosen), hours, num_pieces, for_carbon)
        for chosen in combinations(free, needed)
        if 1 + sum(after > before + 1 for before, after in pairwise(chosen)) == num_pieces
    ]
    return min(prices, default=float("inf"))


def _price(market: MarketRound, chosen: list[int], hours: float, num_pieces: int, for_carbon: bool) -> float:
    """Micro-credits of carbon and slots, 1 kW and 1,000 micro-credits a gram; or grams alone."""
    worked = hours + market.policy.restart_hours * (num_pieces - 1)
    parts = [*([1.0] * (len(chosen) - 1)), min(1.0, worked - (len(chosen) - 1))]
    carbon = sum(part * market.carbon["DE"][slot] for slot, part in zip(chosen, parts, strict=True))
    if for_carbon:
        return carbon
    return 1000 * carbon + sum(market.slot_prices[slot] for slot in chosen if market.slot_prices)


@given(st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_no_lie_about_the_hours_of_suspended_work_pays(rng: Random) -> None:
    market = random_round(rng, one_bid_each=True)
    liar = rng.randrange(len(market.bids))
    bids = [
        replace(bid, can_suspend=bid.can_suspend or number == liar) for number, bid in enumerate(market.bids)
    ]
    market = replace(market, bids=bids)

    assert not list(profitable(market, clear_round(market).result, liar, rng))
