"""How members bid: segments, caps, last calls, and silence where nothing is free."""

from dataclasses import replace
from typing import Any, cast

import pytest

from ayni.market.bids import Bid
from ayni.market.rounds import Allocation
from ayni.market.simulation.bidding import Bidders
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import NOWHERE, Cluster
from ayni.market.simulation.forecast import RecentHours
from ayni.market.simulation.market_leases import LeaseTable
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.pool import Pool

from ..small_pools import HOUR, make_demand, make_pool, make_site

RULES = MarketRules(
    slot_seconds=1800, segment_hours=24.0, lookahead_hours=2.0, cap_share=0.5, last_call_hours=1.0
)


def cluster_of(pool: Pool, demand: Demand, *, now: float = 0.0, **changes: Any) -> Cluster:
    size = demand.num_jobs
    cluster = Cluster(
        now=now,
        pool=pool,
        demand=demand,
        free_S=[site.num_machines for site in pool.sites],
        waiting=dict.fromkeys(range(size)),
        site_J=[NOWHERE] * size,
        remaining_seconds_J=demand.work_seconds_J.tolist(),
        started_seconds_J=[0.0] * size,
        end_seconds_J=[float("inf")] * size,
        data_site_J=pool.home_site_M[demand.member_J].tolist(),
        has_run_J=[False] * size,
        arrived=[],
        ended=[],
    )
    for name, value in changes.items():
        setattr(cluster, name, value)
    return cluster


def bid_of(
    pool: Pool, demand: Demand, *, now: float = 0.0, rules: MarketRules = RULES, **changes: Any
) -> Bid | None:
    """What the first job bids on an empty pool."""
    cluster = cluster_of(pool, demand, now=now, **changes)
    bidders = Bidders(pool, demand, rules=rules, forecast=RecentHours(pool.grams_per_kwh_SH))
    bidders.prepare(cluster, [0])
    leases = LeaseTable(pool, demand, slot_seconds=rules.slot_seconds)
    return bidders.bids(cluster, [0], leases, round(now / rules.slot_seconds)).get(0)


def hours_until_deadline(bid: Bid | None) -> float:
    assert bid is not None
    return (bid.deadline - bid.release).total_seconds() / HOUR


def test_a_short_job_bids_for_all_of_its_work_and_looks_as_far_as_the_rules_say() -> None:
    pool = make_pool(make_site("a", 4))
    demand = make_demand(pool, ("a", 0.0, 3.0, 2), slack_hours=20.0)

    bid = bid_of(pool, demand)

    assert bid is not None and bid.work_reference_hours == pytest.approx(6.0) and bid.gang == 2
    assert hours_until_deadline(bid) == pytest.approx(3.0 + 2.0)
    assert bid.worth_microcredits == 60_000_000


def test_a_long_job_bids_for_a_segment_with_its_part_of_the_worth() -> None:
    pool = make_pool(make_site("a", 4))
    demand = make_demand(pool, ("a", 0.0, 96.0, 1), slack_hours=20.0)

    bid = bid_of(pool, demand)

    assert bid is not None and bid.work_reference_hours == pytest.approx(24.0)
    assert bid.worth_microcredits == 240_000_000


def test_a_long_job_whose_slack_is_too_small_for_moves_is_not_cut() -> None:
    pool = make_pool(make_site("a", 4))
    demand = make_demand(pool, ("a", 0.0, 96.0, 1), slack_hours=1.0)

    bid = bid_of(pool, demand)

    assert bid is not None and bid.work_reference_hours == pytest.approx(96.0)
    assert hours_until_deadline(bid) == pytest.approx(97.0)


def test_an_urgent_job_books_ahead_only_where_nothing_is_free_now() -> None:
    pool = make_pool(make_site("a", 1))
    demand = make_demand(pool, ("a", 0.0, 3.0, 1), ("a", 0.0, 0.5, 1), slack_hours=1.0)
    cluster = cluster_of(pool, demand)
    for is_taken, hours in ((False, 3.5), (True, 4.0)):
        leases = LeaseTable(pool, demand, slot_seconds=RULES.slot_seconds)
        if is_taken:
            leases.make(1, 0, [(0, 1)], cast(Allocation, None))
        bidders = Bidders(
            pool,
            demand,
            rules=replace(RULES, lookahead_hours=0.0),
            forecast=RecentHours(pool.grams_per_kwh_SH),
        )
        bidders.prepare(cluster, [0])

        bid = bidders.bids(cluster, [0], leases, 0).get(0)

        assert hours_until_deadline(bid) == pytest.approx(hours)


def test_a_job_that_cannot_stop_is_not_cut() -> None:
    pool = make_pool(make_site("a", 4))
    demand = make_demand(pool, ("a", 0.0, 96.0, 1), slack_hours=50.0, can_suspend=False)

    bid = bid_of(pool, demand)

    assert bid is not None and bid.work_reference_hours == pytest.approx(96.0) and not bid.can_suspend


def test_with_slack_a_job_names_the_greener_half_and_without_it_any_place() -> None:
    # Half of the machine-hours weigh 100 g, half 500 g.
    pool = make_pool(make_site("a", 2), make_site("b", 2), grams=[[500.0], [100.0]])
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), slack_hours=10.0)

    patient, hurried = bid_of(pool, demand), bid_of(pool, demand, now=9.5 * HOUR)

    assert patient is not None and patient.residency == frozenset({"b"})
    assert hurried is not None and hurried.residency is None
    assert hours_until_deadline(hurried) == pytest.approx(2.5)


def test_a_job_of_weeks_is_cut_though_it_could_not_afford_to_move_after_each_segment() -> None:
    pool = make_pool(make_site("a", 4))
    demand = make_demand(pool, ("a", 0.0, 1000.0, 1), slack_hours=5.0)

    bid = bid_of(pool, demand)

    assert bid is not None and bid.work_reference_hours == pytest.approx(24.0)


def test_a_job_that_can_wait_no_longer_bids_what_would_be_lost_without_the_segment() -> None:
    pool = make_pool(make_site("a", 4))
    demand = make_demand(pool, ("a", 0.0, 72.0, 1), slack_hours=12.0)
    # Two thirds are done, and the slack is used up but for half an hour.
    now, left = 59.5 * HOUR, 24.0 * HOUR

    bid = bid_of(pool, demand, now=now, remaining_seconds_J=[left])

    # All of its worth, for nothing more is to be paid after this segment; not a third of it.
    assert bid is not None and bid.worth_microcredits == 720_000_000


def test_an_overdue_job_bids_no_more_than_any_place_costs() -> None:
    pool = make_pool(make_site("a", 4), make_site("b", 1, ask_microcredits_per_hour=3_000_000))
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), slack_hours=1.0)

    bid = bid_of(pool, demand, now=9 * HOUR)

    # The dearest ask with its charge: 100 g at 190 credits a tonne are 0.019 credits.
    assert bid is not None and bid.worth_microcredits == pytest.approx(2 * 3_019_000, abs=5)
    assert hours_until_deadline(bid) == pytest.approx(2.0 + RULES.overdue_hours)


def test_nobody_bids_while_every_place_in_sight_is_taken() -> None:
    pool = make_pool(make_site("a", 2))
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), ("a", 0.0, 9.0, 2), slack_hours=20.0)
    cluster = cluster_of(pool, demand)
    bidders = Bidders(pool, demand, rules=RULES, forecast=RecentHours(pool.grams_per_kwh_SH))
    bidders.prepare(cluster, [0])
    leases = LeaseTable(pool, demand, slot_seconds=1800)
    leases.make(1, 0, [(0, 18)], cast(Allocation, None))

    assert bidders.bids(cluster, [0], leases, 0) == {}
    assert bidders.bids(cluster, [0], leases, 14) != {}  # a place is free within two hours


def test_nobody_bids_while_only_heavier_places_are_free() -> None:
    pool = make_pool(
        make_site("a", 1), make_site("b", 1), make_site("c", 1), grams=[[500.0], [100.0], [90.0]]
    )
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), ("b", 0.0, 9.0, 1), ("c", 0.0, 9.0, 1), slack_hours=20.0)
    cluster = cluster_of(pool, demand)
    bidders = Bidders(pool, demand, rules=RULES, forecast=RecentHours(pool.grams_per_kwh_SH))
    bidders.prepare(cluster, [0])
    leases = LeaseTable(pool, demand, slot_seconds=1800)
    leases.make(1, 1, [(0, 18)], cast(Allocation, None))
    leases.make(2, 2, [(0, 18)], cast(Allocation, None))

    assert bidders.bids(cluster, [0], leases, 0) == {}


def test_without_caps_and_lookahead_a_job_looks_as_far_as_its_slack() -> None:
    pool = make_pool(make_site("a", 2))
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), slack_hours=20.0)

    bid = bid_of(pool, demand, rules=replace(RULES, lookahead_hours=None, cap_share=None))

    assert (
        bid is not None and bid.carbon_cap_grams is None and hours_until_deadline(bid) == pytest.approx(22.0)
    )


@pytest.mark.parametrize(
    ("hours", "slack_hours", "names"),
    [
        (4.0, 20.0, frozenset({"b"})),  # eight hours there, and in time
        (30.0, 20.0, frozenset({"a", "b"})),  # the first of two segments
        (4.0, -3.0, frozenset({"b"})),  # late anyway: leaves fast machines to others
    ],
)
def test_slow_machines_are_for_jobs_that_end_on_them_in_time_or_are_late(
    hours: float, slack_hours: float, names: frozenset[str]
) -> None:
    pool = make_pool(make_site("a", 2), make_site("b", 2, throughput=0.5), grams=[[100.0], [20.0]])
    demand = make_demand(pool, ("a", 0.0, hours, 1), slack_hours=slack_hours)

    bid = bid_of(pool, demand)

    assert bid is not None and (bid.residency or frozenset({"a", "b"})) == names
    assert hours_until_deadline(bid) >= (2 * hours if names == {"b"} else 24.0)


def test_machines_are_wanted_at_home_by_jobs_that_can_wait_no_longer() -> None:
    pool = make_pool(make_site("a", 2), make_site("b", 2))
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), ("b", 0.0, 2.0, 2), ("b", 0.0, 2.0, 3), slack_hours=0.5)
    cluster = cluster_of(pool, demand)
    bidders = Bidders(pool, demand, rules=RULES, forecast=RecentHours(pool.grams_per_kwh_SH))
    bidders.prepare(cluster, [0, 1, 2])

    # The gang of three fits on no machines of b.
    assert bidders.wanted_at_home(cluster, [0, 1, 2]) == {0: 1, 1: 2}
    assert bidders.wanted_at_home(cluster_of(pool, demand, now=5 * HOUR), [0]) == {}  # overdue
