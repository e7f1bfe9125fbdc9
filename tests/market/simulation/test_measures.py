"""Measures of a replay, worked out by hand: one machine that draws a kilowatt."""

from collections.abc import Sequence

import pytest

from ayni.market.baselines.strict_fcfs import StrictFcfs
from ayni.market.simulation.engine import Cluster, Command, Replay, Start, replay
from ayni.market.simulation.measures import (
    by_member,
    envious_pairs,
    finish_time_ratios,
    measure_jobs,
    measures_of,
    share_ratios,
    utilisation,
)

from ..small_pools import HOUR, make_demand, make_pool, make_site

GRAMS = [[100.0, 200.0, 300.0, 400.0]]


def two_jobs(slack_hours: float = 1.0) -> Replay:
    """Two jobs of two hours released at 0 on one machine: 0-2 and 2-4."""
    pool = make_pool(make_site("a", 1), grams=GRAMS)
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), ("a", 0.0, 2.0, 1), slack_hours=slack_hours)
    return replay(pool, demand, StrictFcfs())


def test_each_job_has_the_grams_and_the_cost_of_its_hours() -> None:
    jobs = measure_jobs(two_jobs())

    assert jobs.grams_J.tolist() == [300.0, 700.0]
    assert jobs.at_once_grams_J.tolist() == [300.0, 300.0]
    assert jobs.cost_microcredits_J.tolist() == pytest.approx([2_200_000] * 2)
    assert jobs.waiting_J.tolist() == [0.0, 2 * HOUR] and jobs.turnaround_J.tolist() == [2 * HOUR, 4 * HOUR]
    assert jobs.is_in_time_J.tolist() == [True, False]


def test_sums_say_what_was_lost_and_not_only_what_was_saved() -> None:
    found = two_jobs()

    measures = measures_of(found, measure_jobs(found))

    assert measures.grams == 1000.0 and measures.at_once_grams == 600.0
    assert measures.realised_saving == pytest.approx(-2 / 3)
    assert (measures.jobs_lost, measures.grams_lost) == (1, 400.0)
    assert measures.jobs_in_time == 1 and measures.reference_hours_in_time == 2.0
    assert measures.waiting_mean_seconds == HOUR and measures.slowdown_p95 == pytest.approx(1.95)


def test_welfare_counts_worth_in_time_less_all_cost_and_the_carbon_charge() -> None:
    found = two_jobs()
    measures = measures_of(found, measure_jobs(found))

    welfare = measures.welfare_microcredits(carbon_microcredits_per_kilogram=500_000)

    # 20 credits of the job in time, 4.4 of machines, 1 kg at half a credit.
    assert welfare == pytest.approx(20_000_000 - 4_400_000 - 500_000)


def test_moved_data_are_paid_by_the_gigabyte() -> None:
    class Away:
        round_seconds = None

        def decide(self, cluster: Cluster) -> Sequence[Command]:
            return [Start(job, 1) for job in cluster.waiting]

    pool = make_pool(make_site("a", 1), make_site("b", 1), transfer_microcredits_per_gigabyte=500)
    found = replay(pool, make_demand(pool, ("a", 0.0, 1.0, 1), data_gigabytes=36.0), Away())

    jobs = measure_jobs(found)

    assert jobs.transfer_microcredits_J.tolist() == [18_000]
    # The machine waits 36 s for them at 1 GB/s.
    assert jobs.machine_hours_J.tolist() == pytest.approx([1.01])


def test_ratios_compare_each_member_with_itself_alone() -> None:
    here = by_member(early := two_jobs(slack_hours=9.0), measure_jobs(early))
    alone = by_member(late := two_jobs(slack_hours=1.0), measure_jobs(late))

    assert share_ratios(here, alone) == {"a": 2.0}
    assert finish_time_ratios(here, alone) == {"a": 1.0}


def test_members_without_work_in_time_alone_have_no_ratio() -> None:
    nothing = by_member(found := two_jobs(slack_hours=-10.0), measure_jobs(found))

    assert share_ratios(nothing, nothing) == {}


def test_who_has_less_than_alone_envies_those_who_have_more() -> None:
    # A envies c and d; b envies a too.
    assert envious_pairs({"a": 0.9, "b": 0.5, "c": 1.0, "d": 1.2}) == 5
    assert envious_pairs({"a": 1.0, "b": 1.3}) == 0


def test_utilisation_counts_until_the_last_release() -> None:
    pool = make_pool(make_site("a", 2))
    demand = make_demand(pool, ("a", 0.0, 3.0, 1), ("a", 4.0, 5.0, 2))

    found = replay(pool, demand, StrictFcfs())

    assert utilisation(found) == pytest.approx(3 / 8)


def test_json_has_what_an_hour_of_work_costs() -> None:
    found = two_jobs()

    data = measures_of(found, measure_jobs(found)).to_json()

    assert data["grams_per_reference_hour"] == 250.0
    assert data["microcredits_per_reference_hour"] == 1_100_000
