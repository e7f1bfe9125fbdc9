import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.offers import Limits
from ayni.market.own_machine import own_machine_offer
from ayni.market.planning import (
    BudgetTooSmallError,
    Plan,
    StepEstimate,
    UnwatchableLimitError,
    make_plan,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OFFER = own_machine_offer(
    site="own",
    member="me",
    num_cores=2,
    memory_bytes=8 << 30,
    zone="DE",
    pue=1.2,
    ask_credits_per_core_hour=0.01,
    electricity_credits_per_kwh=0.30,
)


@dataclass(frozen=True)
class Intensity:
    grams_co2e_per_kwh: float = 400.0
    low: float = 300.0
    high: float = 500.0


def estimate(step: str = "train", **changes: Any) -> StepEstimate:
    values: dict[str, Any] = {
        "step": step,
        "wall_seconds": 1800.0,
        "high_seconds": 3600.0,
        "num_cores": 2,
        "energy_joules": 3.6e6,
        "low_joules": 1.8e6,
        "high_joules": 7.2e6,
        "tier": "W3",
    }
    return StepEstimate(**values | changes)


def plan_of(*estimates: StepEstimate, limits: Limits | None = None) -> Plan:
    return make_plan(
        estimates or [estimate()],
        offer=OFFER,
        limits=limits or Limits(),
        now=NOW,
        carbon_intensity=Intensity(),
    )


def test_one_kilowatt_hour_is_planned_with_its_carbon_and_cost() -> None:
    (row,) = plan_of().rows

    assert (row.grams_co2e, row.low_grams_co2e, row.high_grams_co2e) == (480.0, 180.0, 1200.0)
    assert row.machine_microcredits == 10_000
    assert row.electricity_microcredits == 360_000
    assert row.high_cost_microcredits == 20_000 + 720_000
    assert (row.start, row.end) == (NOW, NOW + timedelta(minutes=30))


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e8)), min_size=1, max_size=6))
def test_steps_follow_each_other_and_totals_are_their_sums(steps: list[tuple[float, float]]) -> None:
    estimates = [
        estimate(
            f"s{i}", wall_seconds=s, high_seconds=2 * s, energy_joules=e, low_joules=e / 2, high_joules=2 * e
        )
        for i, (s, e) in enumerate(steps)
    ]

    plan = plan_of(*estimates)

    assert all(before.end == after.start for before, after in zip(plan.rows, plan.rows[1:], strict=False))
    totals = plan.to_json()["totals"]
    assert totals["cost_microcredits"] == sum(row.cost_microcredits for row in plan.rows)
    assert totals["seconds"] == pytest.approx(sum(s for s, _ in steps), abs=1e-5)
    assert totals["low_grams_co2e"] <= totals["grams_co2e"] <= totals["high_grams_co2e"]
    assert totals["cost_microcredits"] <= totals["high_cost_microcredits"] + len(steps)


def test_more_learners_than_cores_do_not_pay_for_cores_that_are_not_there() -> None:
    (row,) = plan_of(estimate(num_cores=16)).rows

    assert row.num_cores == 2
    assert row.machine_microcredits == 10_000


def test_a_plan_within_its_limits_has_no_violation() -> None:
    plan = plan_of(limits=Limits(credits=1, energy_kwh=2, carbon_grams=1200, deadline_seconds=3600))

    assert plan.violations() == []
    assert plan.risks() == []


def test_a_plan_without_limits_violates_none() -> None:
    assert plan_of(estimate(high_joules=1e30, energy_joules=1e29)).violations() == []


def test_every_limit_that_is_exceeded_is_listed_with_its_numbers_and_a_remedy_that_works() -> None:
    plan = plan_of(limits=Limits(credits=0.1, energy_kwh=0.05, carbon_grams=20, deadline_seconds=60))

    error = BudgetTooSmallError(plan.violations())

    text = str(error)
    assert "credits: about 0.37 credits needed (up to 0.74), 0.1 allowed" in text
    assert "energy_kwh: about 1 kWh needed (up to 2), 0.05 allowed" in text
    assert "carbon_grams: about 480 g CO2e needed (up to 1200), 20 allowed" in text
    assert "deadline: about 1800 s needed (up to 3600), 60 allowed" in text
    assert "limits.credits=0.74" in text
    assert "limits.deadline=61m" in text
    assert error.exit_code == 2
    enough = Limits(credits=0.74, energy_kwh=2, carbon_grams=1200, deadline_seconds=61 * 60)
    assert plan.violations(enough) == plan.risks(enough) == []


def test_a_limit_between_the_estimate_and_its_high_end_is_a_risk_and_no_violation() -> None:
    plan = plan_of(limits=Limits(carbon_grams=600))

    assert plan.violations() == []
    assert [risk.limit for risk in plan.risks()] == ["carbon_grams"]


def test_a_limit_of_zero_is_a_limit() -> None:
    assert [found.limit for found in plan_of(limits=Limits(credits=0)).violations()] == ["credits"]


def test_a_plan_survives_json() -> None:
    plan = plan_of(estimate("train"), estimate("compress"), limits=Limits(credits=0.01))

    data = json.loads(json.dumps(plan.to_json()))

    assert Plan.from_json(data) == plan
    assert Plan.from_json(data).to_json() == data
    assert data["rows"][0]["start"] == "2026-03-01T12:00:00+00:00"


UNKNOWN: dict[str, Any] = {"energy_joules": None, "low_joules": None, "high_joules": None, "tier": "W5"}


def test_energy_that_nothing_can_meter_is_unknown_in_row_and_totals_and_machine_time_is_charged() -> None:
    plan = plan_of(estimate("train", **UNKNOWN), estimate("explain"), limits=Limits(credits=1))

    row, totals = plan.rows[0], plan.to_json()["totals"]
    assert (row.tier, row.energy_joules, row.grams_co2e, row.electricity_microcredits) == ("W5", *3 * [None])
    assert row.cost_microcredits == row.machine_microcredits == 10_000
    assert (totals["energy_joules"], totals["grams_co2e"], totals["electricity_microcredits"]) == (
        *3 * [None],
    )
    assert totals["cost_microcredits"] == 10_000 + 370_000
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(("limit", "value"), [("energy_kwh", 1.0), ("carbon_grams", 0.0)])
def test_a_limit_on_what_nothing_can_meter_is_refused(limit: str, value: float) -> None:
    with pytest.raises(UnwatchableLimitError, match=rf"limits\.{limit} cannot be watched") as caught:
        plan_of(estimate("train", **UNKNOWN), estimate("explain"), limits=Limits(**{limit: value}))

    assert f"--set limits.{limit}=null" in str(caught.value)
    assert "in train (tier W5" in str(caught.value)


def test_limits_on_time_and_credits_hold_where_energy_is_unknown() -> None:
    plan = plan_of(estimate(**UNKNOWN), limits=Limits(credits=0.001, deadline_seconds=60))

    assert [found.limit for found in plan.violations()] == ["credits", "deadline"]


@pytest.mark.parametrize(
    "changes",
    [
        {"low_joules": None},
        {"energy_joules": None},
        {"low_joules": 5e6},
        {"high_joules": 1.0},
        {"low_joules": -1.0},
        {"energy_joules": float("nan")},
        {"high_joules": float("inf")},
        {"wall_seconds": -1.0},
        {"high_seconds": 1.0},
        {"num_cores": 0},
    ],
)
def test_an_estimate_outside_its_own_interval_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="train"):
        estimate(**changes)


def test_a_plan_needs_a_time_zone_and_a_step() -> None:
    with pytest.raises(ValueError, match="time zone"):
        make_plan(
            [estimate()],
            offer=OFFER,
            limits=Limits(),
            now=NOW.replace(tzinfo=None),
            carbon_intensity=Intensity(),
        )
    with pytest.raises(ValueError, match="without steps"):
        make_plan([], offer=OFFER, limits=Limits(), now=NOW, carbon_intensity=Intensity())


def test_a_plan_that_was_kept_before_there_were_alternatives_is_still_read() -> None:
    kept = plan_of().to_json()
    del kept["alternatives"]

    assert Plan.from_json(kept) == plan_of()
