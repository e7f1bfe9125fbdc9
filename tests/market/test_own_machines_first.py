from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

pytest.importorskip("numpy")

from benchmarks.random_rounds import broken_promises, owners_round, profitable
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.market.bids import Bid
from ayni.market.clearing import clear_round
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.horizon import Horizon
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer
from ayni.market.rounds import MarketRound

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CREDIT = 1_000_000
OWN_FIRST = ClearingPolicy(uses_credits=False, carbon_microcredits_per_kilogram=0)


def machine(speed: float = 1.0, name: str = "gpu") -> MachineClass:
    return MachineClass(
        name=name,
        cores=8,
        memory_bytes=1 << 36,
        accelerator="g",
        watts=500.0,
        reference_throughput={"any": speed},
    )


def offer(member: str, ask: float, **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": f"offer-{member}",
        "site": f"site-{member}",
        "member": member,
        "machine_class": machine(),
        "count": 1,
        "windows": ((NOON, NOON + 8 * HOUR),),
        "ask_microcredits_per_machine_hour": int(ask * CREDIT),
        "zone": "DE",
    }
    return Offer(**values | changes)


def bid(member: str, worth: float = 100, **changes: Any) -> Bid:
    values: dict[str, Any] = {
        "id": member,
        "member": member,
        "work_reference_hours": 4.0,
        "release": NOON,
        "deadline": NOON + 8 * HOUR,
        "worth_microcredits": int(worth * CREDIT),
    }
    return Bid(**values | changes)


def places(bids: list[Bid], offers: list[Offer], **changes: Any) -> dict[str, tuple[str, int, float]]:
    """Site, first slot and payment in credits of those who got something."""
    values: dict[str, Any] = {
        "horizon": Horizon(start=NOON, num_slots=8),
        "carbon": {"DE": [100.0] * 8},
        "policy": OWN_FIRST,
    }
    result = clear_round(MarketRound(bids=bids, offers=offers, **values | changes)).result
    return {
        each.bid: (each.option.site, each.option.pieces[0][0], each.payment_microcredits / CREDIT)
        for each in result.allocations
    }


def test_an_owner_of_dear_machines_takes_the_hours_that_one_of_cheap_ones_leaves() -> None:
    found = places([bid("dear"), bid("cheap")], [offer("dear", 5), offer("cheap", 1)])

    assert found == {"cheap": ("site-cheap", 0, 4.0), "dear": ("site-cheap", 4, 4.0)}


def test_what_is_left_by_owners_is_free_for_all_after_them() -> None:
    found = places([bid("dear"), bid("guest", 50)], [offer("dear", 5), offer("cheap", 1)])

    assert found["dear"] == ("site-cheap", 0, 4.0)
    assert found["guest"] == ("site-cheap", 4, 4.0)


def test_nobody_takes_machines_whose_owner_has_not_had_its_turn() -> None:
    # The owner of the cheap machine needs it in the only hours in which the other one could use it.
    hurried = bid("dear", deadline=NOON + 4 * HOUR)
    found = places(
        [hurried, bid("cheap", 4, deadline=NOON + 4 * HOUR)], [offer("dear", 5), offer("cheap", 1)]
    )

    assert found == {"cheap": ("site-cheap", 0, 4.0), "dear": ("site-dear", 0, 20.0)}


def test_a_deadline_that_rules_the_own_machines_out_gains_nothing() -> None:
    # The second's machines are its own to use, and it leaves them for the cloud's cheaper ones.
    short = ((NOON, NOON + 4 * HOUR),)
    offers = [
        offer("first", 5, machine_class=machine(0.5, "slow")),
        offer("second", 2, windows=short),
        offer("cloud", 1, source="cloud:x", windows=short),
    ]
    second = bid("second", 1000)

    honest = places([bid("first"), second], offers)
    lying = places([bid("first", deadline=NOON + 4 * HOUR), second], offers)

    assert honest == lying == {"first": ("site-second", 0, 8.0), "second": ("site-cloud", 0, 4.0)}


def test_own_machines_that_are_too_slow_for_the_deadline_still_bring_a_turn() -> None:
    offers = [offer("slow", 5, machine_class=machine(0.5, "slow")), offer("idle", 1)]
    hurried, rich = bid("slow", 30, deadline=NOON + 4 * HOUR), bid("rich", 1000, deadline=NOON + 4 * HOUR)

    assert places([hurried, rich], offers) == {"slow": ("site-idle", 0, 4.0)}


@pytest.mark.parametrize(
    "changes", [{"gang": 2}, {"classes": ("other",)}], ids=["too many machines", "another class"]
)
def test_machines_that_could_never_do_the_work_bring_no_turn(changes: dict[str, Any]) -> None:
    offers = [offer("owner", 5), offer("idle", 1, count=2, machine_class=machine(name="other"))]
    mine = bid("owner", 30, deadline=NOON + 4 * HOUR, **changes)
    rich = bid("rich", 1000, work_reference_hours=8.0, gang=2, deadline=NOON + 4 * HOUR)

    assert set(places([mine, rich], offers)) == {"rich"}


def test_a_member_with_more_jobs_than_machines_has_its_first_deadlines_served_by_right() -> None:
    jobs = [replace(bid("owner", 4), id=f"job-{hours}", deadline=NOON + hours * HOUR) for hours in (4, 8, 7)]
    rich = bid("rich", 1000)

    found = places([*jobs, rich], [offer("owner", 1)])

    # Two fit by their deadlines; the third comes after all members and finds nothing.
    assert set(found) == {"job-4", "job-8"}


def test_a_carbon_budget_that_own_machines_would_use_up_is_whole_in_the_turn() -> None:
    # Half of its budget would go to its own machines; the place that it wants takes all of it.
    offers = [offer("owner", 5), offer("cheap", 1, pue=2.0)]

    found = places([bid("owner")], offers, carbon_budgets={"owner": 400.0})

    assert found["owner"] == ("site-cheap", 0, 4.0)


def test_a_bid_below_the_cost_of_its_own_machines_learns_what_would_do() -> None:
    market = MarketRound(
        bids=[bid("owner", 3)],
        offers=[offer("owner", 1)],
        horizon=Horizon(start=NOON, num_slots=8),
        carbon={"DE": [100.0] * 8},
        policy=OWN_FIRST,
    )

    assert clear_round(market).auction.winning_limit(0) == 4 * CREDIT


@given(st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_owners_are_served_whenever_they_could_pay_for_their_own_machines(rng: Random) -> None:
    market = owners_round(rng, one_bid_each=rng.random() < 0.5)

    cleared = clear_round(market)

    assert not list(broken_promises(market, cleared.result))
    served = {each.bid for each in cleared.result.allocations}
    own_N = cleared.auction.own_N
    for number, own in enumerate(market.bids):
        if own_N[number]["row"] >= 0 and own_N[number]["cost"] <= own.limit_microcredits:
            assert own.id in served


@given(st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_no_lie_of_an_owner_with_one_bid_pays(rng: Random) -> None:
    market = owners_round(rng, one_bid_each=True)

    liar = rng.randrange(len(market.bids))

    assert not list(profitable(market, clear_round(market).result, liar, rng))
