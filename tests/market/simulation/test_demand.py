"""Demands: what is made up, by which rule and by which seed."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ayni.market.simulation.demand import Assumptions, make_demand
from ayni.market.traces import Trace


def trace_of(size: int = 500) -> Trace:
    return Trace(
        start=datetime(2026, 3, 1, tzinfo=UTC),
        members=("a",),
        member_J=np.zeros(size, dtype=np.int64),
        release_seconds_J=np.arange(size) * 60.0,
        duration_seconds_J=np.full(size, 7200.0),
        gang_J=np.full(size, 2, dtype=np.int64),
    )


def test_the_deadline_is_the_end_of_a_start_at_once_with_slack_and_grace() -> None:
    assumed = Assumptions(slack_hours=6.0, grace_seconds=600.0)

    demand = make_demand(trace_of(), assumptions=assumed, price_microcredits_per_hour=1.0, seed=0)

    expected = demand.release_seconds_J + 7200.0 + 6 * 3600.0 + 600.0
    assert (demand.deadline_seconds_J == expected).all()
    assert demand.machine_hours_J.tolist() == [4.0] * 500


def test_worth_begins_at_the_least_factor_and_has_the_median_above_it() -> None:
    assumed = Assumptions(worth_least_factor=1.5, worth_median_factor=2.0)

    demand = make_demand(trace_of(20_000), assumptions=assumed, price_microcredits_per_hour=1e6, seed=0)

    factors = demand.worth_microcredits_J / (4.0 * 1e6)
    assert factors.min() > 1.5
    assert float(np.median(factors)) == pytest.approx(3.5, rel=0.02)


def test_estimates_are_never_too_short_and_data_never_more_than_a_job_could_read() -> None:
    assumed = Assumptions(longest_estimate_factor=5.0, most_gigabytes_per_machine_hour=2.0)

    demand = make_demand(trace_of(5000), assumptions=assumed, price_microcredits_per_hour=1.0, seed=0)

    ratio = demand.estimate_seconds_J / demand.work_seconds_J
    assert ratio.min() >= 1.0 and ratio.max() <= 5.0 and ratio.mean() == pytest.approx(3.0, rel=0.05)
    assert demand.data_gigabytes_J.max() == pytest.approx(8.0)


def test_the_same_seed_makes_the_same_jobs_whatever_their_slack() -> None:
    def made(slack_hours: float, seed: int) -> np.ndarray:
        assumed = Assumptions(slack_hours=slack_hours)
        demand = make_demand(trace_of(), assumptions=assumed, price_microcredits_per_hour=9.0, seed=seed)
        return np.concatenate([demand.worth_microcredits_J, demand.data_gigabytes_J])

    assert (made(0.0, 1) == made(24.0, 1)).all()
    assert (made(0.0, 1) != made(0.0, 2)).any()


def test_the_share_that_can_be_suspended_is_drawn() -> None:
    assumed = Assumptions(share_suspendable=0.25)

    demand = make_demand(trace_of(8000), assumptions=assumed, price_microcredits_per_hour=1.0, seed=0)

    assert demand.can_suspend_J.mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"slack_hours": -1.0},
        {"grace_seconds": -1.0},
        {"worth_median_factor": -1.0},
        {"longest_estimate_factor": 0.5},
        {"share_suspendable": 1.5},
        {"data_median_gigabytes": -1.0},
    ],
)
def test_impossible_assumptions_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="="):
        Assumptions(**wrong)
