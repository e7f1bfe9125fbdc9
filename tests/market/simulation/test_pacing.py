"""Limits: which hours a job accepts, and when it gives machines back."""

from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from ayni.market.rounds import Allocation
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.forecast import RecentHours
from ayni.market.simulation.market_leases import LeaseTable
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.pacing import Pacing
from ayni.market.simulation.pool import Pool

from ..small_pools import HOUR, make_demand, make_pool, make_site
from .test_bidding import cluster_of

RULES = MarketRules(slot_seconds=1800, cap_share=0.5, last_call_hours=0.0)


def limits_of(pool: Pool, demand: Demand, *, now: float = 0.0, rules: MarketRules = RULES) -> list[float]:
    """The limits of all jobs, of which none runs."""
    pacing = Pacing(pool, demand, rules=rules, forecast=RecentHours(pool.grams_per_kwh_SH))
    cluster = cluster_of(pool, demand, now=now)
    pacing.look(cluster, {})
    return [float(limit) for limit in pacing.limits(cluster, np.arange(demand.num_jobs))]


def four_sites() -> Pool:
    return make_pool(*(make_site(name, 1) for name in "abcd"), grams=[[100.0], [200.0], [300.0], [400.0]])


def test_a_limit_rises_with_the_square_of_the_slack_that_is_used_up() -> None:
    pool = four_sites()
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), slack_hours=10.0)

    limits = [limits_of(pool, demand, now=hours * HOUR)[0] for hours in (0, 5, 9)]

    # The greener half of the machine-hours weighs up to 200 g.
    assert limits == pytest.approx([200.0, 250.0, 362.0])


def test_without_slack_a_job_takes_any_place() -> None:
    pool = four_sites()
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), slack_hours=10.0)

    assert limits_of(pool, demand, now=10 * HOUR) == [float("inf")]
    assert limits_of(pool, demand, now=8 * HOUR, rules=replace(RULES, last_call_hours=2.0)) == [float("inf")]


def test_the_level_holds_what_must_be_done_within_the_day() -> None:
    pool = four_sites()
    # 66 of 96 machine-hours: each of three jobs must compute 22 hours of the coming 24 to be in time.
    demand = make_demand(pool, *[("a", 0.0, 48.0, 1)] * 3, slack_hours=2.0)

    assert limits_of(pool, demand) == pytest.approx([300.0] * 3)


def test_a_faster_machine_weighs_less_for_the_same_work() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1, throughput=4.0), grams=[[100.0], [200.0]])
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), slack_hours=10.0)

    # 50 g a reference-hour on b, which holds four fifths of the work.
    assert limits_of(pool, demand) == pytest.approx([50.0])


def test_slow_machines_are_not_counted_on() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 9, throughput=0.5), grams=[[100.0], [20.0]])
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), slack_hours=10.0)

    # 40 g a reference-hour on b, where most jobs would be late.
    assert limits_of(pool, demand) == pytest.approx([100.0])


def test_a_small_job_does_not_wait() -> None:
    pool = four_sites()
    demand = make_demand(pool, ("a", 0.0, 0.2, 1), slack_hours=10.0)

    assert limits_of(pool, demand) == [float("inf")]


def test_without_a_share_nothing_is_refused() -> None:
    pool = four_sites()
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), slack_hours=10.0)

    assert limits_of(pool, demand, rules=replace(RULES, cap_share=None)) == [float("inf")]


def test_only_jobs_far_above_their_limit_that_can_be_suspended_give_machines_back() -> None:
    pool = make_pool(
        make_site("a", 2), make_site("b", 2), make_site("c", 1), grams=[[100.0], [105.0], [500.0]]
    )
    jobs = [("a", 0.0, 9.0, 1)] * 3
    for can_suspend, expected in ((True, [2]), (False, [])):
        demand = make_demand(pool, *jobs, slack_hours=20.0, can_suspend=can_suspend)
        sites = [0, 1, 2]
        cluster = cluster_of(pool, demand, site_J=sites, end_seconds_J=[9 * HOUR] * 3, waiting={})
        leases = LeaseTable(pool, demand, slot_seconds=1800)
        for job, site in enumerate(sites):
            leases.make(job, site, [(0, 18)], cast(Allocation, None))
        pacing = Pacing(pool, demand, rules=RULES, forecast=RecentHours(pool.grams_per_kwh_SH))
        pacing.look(cluster, leases.by_job)

        assert pacing.too_heavy(cluster, leases.by_job, 0) == expected
        assert pacing.too_heavy(cluster, leases.by_job, 17) == []  # the lease ends with this slot
