from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest

pytest.importorskip("numpy")

from benchmarks.random_rounds import (
    allocation_of,
    broken_promises,
    non_monotone,
    profitable,
    random_round,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.market.bids import Bid, DeadlinePassedError, InvalidBidError
from ayni.market.clearing import clear, clear_round
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.horizon import Horizon, falling_prices
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer, OverlappingOffersError
from ayni.market.rounds import MarketRound

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CREDIT = 1_000_000
PLAIN = ClearingPolicy(own_first=False, uses_credits=False, carbon_microcredits_per_kilogram=0)
GPU = MachineClass(
    name="gpu",
    cores=8,
    memory_bytes=1 << 36,
    accelerator="g",
    watts=500.0,
    reference_throughput={"any": 1.0},
)


def offer(id: str = "o", **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": id,
        "site": f"site-{id}",
        "member": f"owner-{id}",
        "machine_class": GPU,
        "count": 1,
        "windows": ((NOON, NOON + 4 * HOUR),),
        "ask_microcredits_per_machine_hour": CREDIT,
        "zone": "DE",
    }
    return Offer(**values | changes)


def bid(id: str, worth: float, **changes: Any) -> Bid:
    values: dict[str, Any] = {
        "id": id,
        "member": f"member-{id}",
        "work_reference_hours": 4.0,
        "release": NOON,
        "deadline": NOON + 4 * HOUR,
        "worth_microcredits": int(worth * CREDIT),
    }
    return Bid(**values | changes)


def market(bids: list[Bid], offers: list[Offer], **changes: Any) -> MarketRound:
    values: dict[str, Any] = {
        "horizon": Horizon(start=NOON, num_slots=4),
        "carbon": {"DE": [400.0, 100.0, 400.0, 400.0], "NO": [30.0] * 4},
        "policy": PLAIN,
    }
    return MarketRound(bids=bids, offers=offers, **values | changes)


def test_the_winner_pays_what_the_best_loser_would_have_paid() -> None:
    pool = market([bid("a", 10), bid("b", 7), bid("c", 5)], [offer()])

    result = clear_round(pool).result

    assert result.payments == {"a": 7 * CREDIT}
    assert {each.bid: each.code for each in result.refused} == {"b": "outbid", "c": "outbid"}


def test_nobody_else_there_pays_the_cost_with_carbon_transfer_and_reruns() -> None:
    policy = replace(PLAIN, carbon_microcredits_per_kilogram=CREDIT, transfer_microcredits_per_gigabyte=10)
    wanted = bid("a", 50, data_gigabytes=3.0, work_reference_hours=1.0)
    pool = market([wanted], [offer(reliability=0.9, pue=2.0)], policy=policy)

    (placed,) = clear_round(pool).result.allocations

    # Greenest hour: 0.5 kW * 2 * 1 h * 100 g = 100 g.
    assert placed.option.pieces == ((1, 2),)
    assert placed.option.grams == pytest.approx(100.0)
    assert placed.payment_microcredits == CREDIT + CREDIT // 10 + 30 + CREDIT // 10
    assert placed.seller_microcredits == CREDIT


def test_a_member_keeps_its_own_machines_however_little_it_bids() -> None:
    mine = bid("mine", 4, member="owner-o")

    free = clear_round(market([mine, bid("rich", 1000)], [offer()])).result
    entitled = clear_round(
        market([mine, bid("rich", 1000)], [offer()], policy=replace(PLAIN, own_first=True))
    ).result

    assert [each.bid for each in free.allocations] == ["rich"]
    assert entitled.payments == {"mine": 4 * CREDIT}


def test_a_gang_that_nobody_can_hold_is_told_who_comes_nearest() -> None:
    pool = market([bid("wide", 100, gang=5)], [offer("small", count=2), offer("large", count=3)])

    (refusal,) = clear_round(pool).result.refused

    assert refusal.code == "no place"
    assert "5 machines" in refusal.reason
    assert "3" in refusal.reason
    assert "site-large" in refusal.reason


def test_a_gang_gets_all_of_its_machines_or_none() -> None:
    pool = market([bid("one", 40), bid("wide", 50, gang=3, work_reference_hours=12.0)], [offer(count=3)])

    result = clear_round(pool).result

    assert [each.bid for each in result.allocations] == ["one"]


def test_a_carbon_cap_moves_the_job_to_a_cleaner_grid_at_a_higher_ask() -> None:
    pool = market(
        [bid("a", 50, carbon_cap_grams=100.0)],
        [offer("dirty"), offer("clean", zone="NO", ask_microcredits_per_machine_hour=5 * CREDIT)],
    )

    (placed,) = clear_round(pool).result.allocations

    assert placed.option.site == "site-clean"


def test_credits_bring_a_member_before_one_that_bids_a_little_more() -> None:
    pool = market(
        [bid("a", 10), bid("b", 8)],
        [offer()],
        policy=replace(PLAIN, uses_credits=True),
        credits={"member-b": 100.0},
    )

    result = clear_round(pool).result

    # Twice the weight: b wins with any worth above 10 / 2.
    assert result.payments["b"] in (5 * CREDIT, 5 * CREDIT + 1)  # at 5 the tie decides


def test_a_member_at_its_share_waits_until_others_had_their_turn() -> None:
    hungry = [bid(f"h{index}", 90, member="hungry") for index in range(2)]
    offers = [offer("x"), offer("y")]

    free = clear_round(market([*hungry, bid("late", 10)], offers)).result
    capped = clear_round(
        market([*hungry, bid("late", 10)], offers, policy=replace(PLAIN, share_cap=1.0))
    ).result

    assert {each.member for each in free.allocations} == {"hungry"}
    assert {each.member for each in capped.allocations} == {"hungry", "member-late"}


def test_least_carbon_within_a_share_of_the_cost_saves_carbon_and_costs_at_most_that() -> None:
    offers = [offer("cheap"), offer("green", zone="NO", ask_microcredits_per_machine_hour=int(1.2 * CREDIT))]

    grams, costs = [], []
    for share in (None, 0.1, 0.3):
        policy = replace(PLAIN, greenest_within=share)
        (placed,) = clear_round(market([bid("a", 50)], offers, policy=policy)).result.allocations
        grams.append(placed.option.grams)
        costs.append(placed.option.cost_microcredits)

    assert grams[0] == grams[1] > grams[2]
    assert costs == [4 * CREDIT, 4 * CREDIT, int(4.8 * CREDIT)]


def test_suspended_work_runs_in_the_greenest_hours() -> None:
    policy = replace(PLAIN, carbon_microcredits_per_kilogram=CREDIT, restart_hours=0.0)
    carbon = {"DE": [100.0, 900.0, 900.0, 100.0]}
    wanted = bid("a", 50, work_reference_hours=2.0, can_suspend=True)

    (placed,) = clear_round(market([wanted], [offer()], policy=policy, carbon=carbon)).result.allocations

    assert placed.option.pieces == ((0, 1), (3, 4))
    assert placed.option.grams == pytest.approx(100.0)


def test_a_cloud_is_used_only_by_who_bids_its_price() -> None:
    burst = offer("cloud", source="cloud:any", count=99, ask_microcredits_per_machine_hour=5 * CREDIT)

    result = clear_round(market([bid("a", 30), bid("b", 25), bid("c", 12)], [offer(), burst])).result

    assert {each.bid: each.option.site for each in result.allocations} == {"a": "site-o", "b": "site-cloud"}
    # Nobody pays more than the cloud's price, however many want the one machine.
    assert max(result.payments.values()) <= 20 * CREDIT


def test_prices_of_slots_move_who_can_wait_and_are_paid() -> None:
    flexible = bid("flexible", 50, work_reference_hours=1.0)

    now = clear_round(market([flexible], [offer()])).result
    later = clear_round(market([flexible], [offer()], slot_prices=[9.0, 8.0, 7.0, 5.0])).result
    own = bid("own", 50, member="owner-o", work_reference_hours=1.0)
    at_home = clear_round(market([own], [offer()], slot_prices=[9.0] * 4)).result

    assert (now.allocations[0].option.start_slot, now.payments) == (0, {"flexible": CREDIT})
    assert (later.allocations[0].option.start_slot, later.payments) == (3, {"flexible": CREDIT + 5})
    assert at_home.payments == {"own": CREDIT}
    with pytest.raises(ValueError, match="1 prices for 4 slots"):
        clear_round(market([], [offer()], slot_prices=[1.0]))
    with pytest.raises(ValueError, match=r"-1\.0 micro-credits"):
        clear_round(market([], [offer()], slot_prices=[-1.0] * 4))


def test_bad_bids_and_offers_are_refused_before_anything_is_decided() -> None:
    past = bid("late", 1, release=NOON - 3 * HOUR, deadline=NOON - HOUR)

    with pytest.raises(DeadlinePassedError, match="late"):
        clear_round(market([past], [offer()]))
    with pytest.raises(OverlappingOffersError, match="site-o"):
        clear_round(market([], [offer("o"), offer("p", site="site-o")]))
    with pytest.raises(InvalidBidError, match="used by another"):
        clear_round(market([bid("a", 1), bid("a", 2)], [offer()]))
    with pytest.raises(ValueError, match="3 carbon intensities for 4 slots"):
        clear_round(market([], [offer()], carbon={"DE": [1.0] * 3}))


def test_a_round_of_nothing_is_a_round() -> None:
    result = clear([], [], horizon=Horizon(start=NOON, num_slots=4), carbon={})

    assert (result.allocations, result.refused, result.surplus_microcredits) == ((), (), 0)


def test_prices_that_fall_leave_the_early_hours_to_who_cannot_wait() -> None:
    bids = [
        bid("patient", 30, work_reference_hours=2.0),
        bid("urgent", 10, work_reference_hours=2.0, deadline=NOON + 2 * HOUR),
    ]
    pool = market(bids, [offer()])

    at_once = clear_round(pool).result
    late = clear_round(
        replace(pool, slot_prices=falling_prices(pool.horizon, microcredits_a_slot=1000.0))
    ).result

    assert [each.bid for each in at_once.allocations] == ["patient"]
    assert {each.bid: each.option.start_slot for each in late.allocations} == {"patient": 2, "urgent": 0}


def test_a_lower_exponent_lets_the_large_job_go_before_the_dense_one() -> None:
    bids = [bid("large", 24), bid("dense", 15, work_reference_hours=1.0)]
    root = clear_round(market(bids, [offer()])).result
    flat = clear_round(market(bids, [offer()], policy=replace(PLAIN, size_exponent=0.0))).result

    assert [each.bid for each in root.allocations] == ["dense"]
    assert [each.bid for each in flat.allocations] == ["large"]
    assert flat.payments["large"] >= root.payments["dense"]


def test_the_order_of_bids_and_offers_plays_no_part() -> None:
    pool = random_round(Random(5))
    turned = replace(pool, bids=list(pool.bids)[::-1], offers=list(pool.offers)[::-1])

    assert clear_round(pool).result.payments == clear_round(turned).result.payments


def naive_round(pool: MarketRound) -> dict[str, tuple[str, int]]:
    """Bids in order, each to the cheapest free place: offer and start slot. For unbroken work only."""
    free = {each.id: [each.count] * pool.horizon.num_slots for each in pool.offers}
    placed: dict[str, tuple[str, int]] = {}
    for each in sorted(pool.bids, key=lambda each: -each.limit_microcredits / each.work_reference_hours**0.5):
        choices = []
        for rank, place in enumerate(
            sorted(pool.offers, key=lambda place: place.ask_microcredits_per_machine_hour)
        ):
            hours = each.work_reference_hours / each.gang
            cost = round(each.gang * hours * place.ask_microcredits_per_machine_hour)
            slots = int(-(-hours // 1))
            for start in range(pool.horizon.num_slots - slots + 1):
                is_free = min(free[place.id][start : start + slots]) >= each.gang
                in_time = NOON + start * HOUR >= each.release
                in_time &= NOON + timedelta(hours=start + hours) <= each.deadline
                if is_free and in_time and cost <= each.limit_microcredits:
                    choices.append((cost, rank, start, slots, place.id))
        if choices:
            _, _, start, slots, id = min(choices)
            for slot in range(start, start + slots):
                free[id][slot] -= each.gang
            placed[each.id] = (id, start)
    return placed


def simple_round(rng: Random) -> MarketRound:
    """No ties in keys and asks, no carbon, nothing reserved: what `naive_round` can do."""
    asks = rng.sample(range(1, 60), 4)
    offers = [
        offer(f"o{index}", count=rng.randint(1, 4), ask_microcredits_per_machine_hour=ask * CREDIT // 10)
        for index, ask in enumerate(asks)
    ]
    numbers = count()
    bids = [
        bid(
            f"b{next(numbers)}",
            rng.uniform(0.1, 12.0),
            work_reference_hours=rng.uniform(0.3, 4.0),
            gang=rng.choice([1, 1, 2]),
            release=NOON + rng.choice([0, 0, 1]) * HOUR,
        )
        for _ in range(12)
    ]
    return market(bids, offers)


@pytest.mark.parametrize("seed", range(20))
def test_places_and_payments_are_those_of_a_naive_greedy_rule(seed: int) -> None:
    pool = simple_round(Random(seed))

    result = clear_round(pool).result

    assert {each.bid: (each.option.offer, each.option.start_slot) for each in result.allocations} == (
        naive_round(pool)
    )
    for index, each in enumerate(pool.bids):
        payment = result.payments.get(each.id)
        if payment is not None:
            assert wins_naively(pool, index, payment)
            assert not wins_naively(pool, index, payment - 1)


def wins_naively(pool: MarketRound, index: int, worth: int) -> bool:
    bids = list(pool.bids)
    bids[index] = replace(bids[index], worth_microcredits=worth)
    return bids[index].id in naive_round(replace(pool, bids=bids))


@settings(max_examples=15)
@given(rng=st.randoms(use_true_random=False))
def test_no_promise_is_broken(rng: Random) -> None:
    pool = random_round(rng)

    result = clear_round(pool).result

    assert list(broken_promises(pool, result)) == []
    assert list(non_monotone(pool, result)) == []


@settings(max_examples=8)
@given(rng=st.randoms(use_true_random=False))
def test_no_lie_of_a_member_with_one_bid_pays(rng: Random) -> None:
    pool = random_round(rng, one_bid_each=True)

    assert list(profitable(pool, clear_round(pool).result, 0, rng)) == []


@settings(max_examples=10)
@given(rng=st.randoms(use_true_random=False))
def test_the_least_winning_limit_of_each_bid_is_confirmed_by_clearing_again(rng: Random) -> None:
    pool = random_round(rng)
    cleared = clear_round(pool)

    for index, each in enumerate(pool.bids):
        limit = cleared.auction.winning_limit(index)
        if limit is None:
            continue
        for worth, wins in ((limit, True), (limit - 1, False)):
            if worth >= 0 and allocation_of(cleared.result, each.id) is None:
                bids = [*pool.bids]
                bids[index] = replace(each, worth_microcredits=worth, budget_microcredits=None)
                again = clear_round(replace(pool, bids=bids)).result
                assert (allocation_of(again, each.id) is not None) is wins


@pytest.mark.slow
@settings(max_examples=1000)
@given(rng=st.randoms(use_true_random=False))
def test_no_promise_is_broken_in_a_thousand_rounds(rng: Random) -> None:
    pool = random_round(rng, one_bid_each=True)

    result = clear_round(pool).result

    assert list(broken_promises(pool, result)) == []
    assert list(non_monotone(pool, result)) == []


@pytest.mark.slow
def test_compiled_kernels_decide_and_price_as_uncompiled_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    pools = [random_round(Random(seed)) for seed in range(40)]
    plain = [clear_round(pool).result for pool in pools]

    monkeypatch.setattr("ayni.market.compiled.LARGEST_UNCOMPILED_WORK", -1)

    assert [clear_round(pool).result for pool in pools] == plain
