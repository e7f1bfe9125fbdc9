"""Running jobs bid for greener machines only where a move is worth it."""

from typing import Any, cast

import pytest

from ayni.market.bids import Bid
from ayni.market.rounds import Allocation
from ayni.market.simulation.bidding import Bidders
from ayni.market.simulation.engine import NOWHERE
from ayni.market.simulation.forecast import RecentHours
from ayni.market.simulation.market_leases import LeaseTable
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.moving import Moving

from ..small_pools import HOUR, make_demand, make_pool, make_site
from .test_bidding import cluster_of

RULES = MarketRules(slot_seconds=1800, move_saving=0.1)


def bid_of(
    grams: list[float], *, hours: float = 10.0, slack_hours: float = 20.0, taken: int = 0, **pool_changes: Any
) -> Bid | None:
    """What the job at the first of two sites bids an hour after it began."""
    pool = make_pool(make_site("a", 2), make_site("b", 2), grams=[[gram] for gram in grams], **pool_changes)
    demand = make_demand(pool, ("a", 0.0, hours, 1), ("b", 0.0, 9.0, 2), slack_hours=slack_hours)
    leases = LeaseTable(pool, demand, slot_seconds=RULES.slot_seconds)
    leases.make(0, 0, [(0, round(2 * hours))], cast(Allocation, None))
    if taken:
        leases.make(1, 1, [(0, 18)], cast(Allocation, None))
    cluster = cluster_of(
        pool, demand, now=HOUR, site_J=[0, 1 if taken else NOWHERE], end_seconds_J=[hours * HOUR, 9 * HOUR]
    )
    bidders = Bidders(pool, demand, rules=RULES, forecast=RecentHours(pool.grams_per_kwh_SH))
    return Moving(pool, demand, bidders=bidders, rules=RULES).bids(cluster, leases, 2).get(0)


def test_a_job_bids_for_what_is_left_with_the_saving_as_its_cap() -> None:
    bid = bid_of([500.0, 100.0], restart_seconds=360.0)

    assert bid is not None and bid.residency == frozenset({"b"})
    assert bid.work_reference_hours == pytest.approx(9.0 + 0.1)
    # Nine hours of a kilowatt at 500 g, less a tenth.
    assert bid.carbon_cap_grams == pytest.approx(0.9 * 9 * 500.0)


def test_a_saving_that_is_too_small_is_no_move() -> None:
    assert bid_of([500.0, 455.0]) is None
    assert bid_of([500.0, 445.0]) is not None
    # Two hours of restart eat it up.
    assert bid_of([500.0, 400.0], restart_seconds=7200.0) is None


def test_nobody_moves_to_machines_that_are_taken() -> None:
    assert bid_of([500.0, 100.0], taken=2) is None


def test_nobody_moves_for_the_last_hour() -> None:
    assert bid_of([500.0, 100.0], hours=1.5) is None


def test_nobody_is_late_for_having_moved() -> None:
    assert bid_of([500.0, 100.0], slack_hours=0.2) is None
