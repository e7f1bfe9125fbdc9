"""The clairvoyant bound: by hand where the answer is plain, and above every policy on random demands."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.market.baselines.clairvoyant import BoundNotFoundError, clairvoyant_bound
from ayni.market.simulation.engine import replay
from ayni.market.simulation.measures import measure_jobs, measures_of
from ayni.market.simulation.policies import POLICIES, PolicySettings
from ayni.market.simulation.pool import HoursExhaustedError

from ..small_pools import make_demand, make_pool, make_site

pytest.importorskip("scipy")


def test_the_least_carbon_is_at_the_greenest_hours_of_the_greenest_site() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), grams=[[300.0], [400.0, 100.0]])
    demand = make_demand(pool, ("a", 0.0, 3.0, 1), slack_hours=1.0)

    bound = clairvoyant_bound(pool, demand, objective="carbon")

    # One job on one machine at a time, in four hours: two at 100 g and one at 300 g.
    assert bound.value == pytest.approx(2 * 100 + 300)
    assert bound.machine_hours == pytest.approx(3.0)


def test_capacity_pushes_work_to_the_next_best_place() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), grams=[[50.0], [200.0]])
    demand = make_demand(pool, *[("a", 0.0, 2.0, 1)] * 2, slack_hours=0.0)

    assert clairvoyant_bound(pool, demand, objective="carbon").value == pytest.approx(2 * 50 + 2 * 200)


def test_work_that_is_not_worth_its_cost_is_left_undone() -> None:
    pool = make_pool(make_site("a", 1))
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), ("a", 0.0, 1.0, 1))
    demand.worth_microcredits_J[:] = [500_000, 3_000_000]

    bound = clairvoyant_bound(pool, demand, objective="welfare")

    # An hour costs 1 credit of wear and 0.1 of electricity; grouped by thirds of worth, both stay apart.
    assert bound.value == pytest.approx(3_000_000 - 1_100_000)
    assert bound.machine_hours == pytest.approx(1.0)


def test_work_that_cannot_be_done_in_time_has_no_least_cost() -> None:
    pool = make_pool(make_site("a", 1))
    demand = make_demand(pool, *[("a", 0.0, 2.0, 1)] * 2, slack_hours=0.0)

    with pytest.raises(BoundNotFoundError, match="cost"):
        clairvoyant_bound(pool, demand, objective="cost")


def test_deadlines_beyond_the_known_hours_are_said() -> None:
    pool = make_pool(make_site("a", 1), num_hours=5)
    demand = make_demand(pool, ("a", 0.0, 1.0, 1), slack_hours=10.0)

    with pytest.raises(HoursExhaustedError, match="cover 5 hours"):
        clairvoyant_bound(pool, demand, objective="carbon")


@settings(max_examples=15)
@given(
    jobs=st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.floats(0, 20).map(lambda hours: round(hours, 1)),
            st.floats(0.5, 12).map(lambda hours: round(hours, 1)),
            st.integers(1, 2),
        ),
        min_size=1,
        max_size=8,
    )
)
@pytest.mark.parametrize("name", ["market", "easy-backfill", "wait-awhile", "lowest-price"])
def test_no_policy_beats_the_bound(name: str, jobs: list[tuple[str, float, float, int]]) -> None:
    pool = make_pool(make_site("a", 2), make_site("b", 2), grams=[[300.0, 500.0, 100.0], [200.0]])
    demand = make_demand(pool, *jobs, slack_hours=12.0)
    policy = POLICIES[name].make(pool, demand, PolicySettings())
    found = replay(pool, demand, policy, only_own_sites=POLICIES[name].is_local)
    measures = measures_of(found, measure_jobs(found))

    welfare = clairvoyant_bound(
        pool, demand, objective="welfare", carbon_microcredits_per_kilogram=100_000
    ).value

    reached = measures.welfare_microcredits(carbon_microcredits_per_kilogram=100_000)
    assert reached <= welfare + 1e-3 * abs(welfare) + 10
    if measures.jobs_in_time == demand.num_jobs:
        least = clairvoyant_bound(pool, demand, objective="carbon").value
        assert measures.grams >= least * (1 - 1e-4)
