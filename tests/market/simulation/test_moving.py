"""Running jobs bid for greener machines only where a move is worth it."""

from collections.abc import Sequence
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
    grams: Sequence[float | list[float]],
    *,
    hours: float = 10.0,
    slack_hours: float = 20.0,
    taken: int = 0,
    **pool_changes: Any,
) -> Bid | None:
    """What the job at the first of two sites bids an hour after it began."""
    hourly = [gram if isinstance(gram, list) else [gram] for gram in grams]
    pool = make_pool(make_site("a", 2), make_site("b", 2), grams=hourly, **pool_changes)
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


def test_a_job_bids_for_what_is_left_of_its_lease_where_it_is_greener() -> None:
    bid = bid_of([500.0, 100.0], restart_seconds=360.0)

    assert bid is not None and bid.residency == frozenset({"b"})
    assert bid.work_reference_hours == pytest.approx(9.0 + 0.1)


def test_the_coming_four_hours_decide_whatever_comes_later() -> None:
    # From the sixth hour on it is the other way round; who moved may move back.
    soon_better = bid_of([[500.0] * 6 + [100.0] * 18, [100.0] * 6 + [500.0] * 18], hours=20.0)
    later_better = bid_of([[100.0] * 6 + [500.0] * 18, [500.0] * 6 + [100.0] * 18], hours=20.0)

    assert soon_better is not None and soon_better.work_reference_hours >= 19.0
    assert later_better is None


def test_a_saving_that_is_too_small_is_no_move() -> None:
    assert bid_of([500.0, 455.0]) is None
    assert bid_of([500.0, 445.0]) is not None
    # Half an hour of restart is an eighth of the four hours.
    assert bid_of([500.0, 420.0], restart_seconds=1800.0) is None


def test_nobody_moves_to_machines_that_are_taken() -> None:
    assert bid_of([500.0, 100.0], taken=2) is None


def test_nobody_moves_for_less_than_half_an_hour() -> None:
    assert bid_of([500.0, 100.0], hours=1.4) is None
    assert bid_of([500.0, 100.0], hours=1.6) is not None


def test_nobody_is_late_for_having_moved() -> None:
    assert bid_of([500.0, 100.0], slack_hours=0.2) is None
