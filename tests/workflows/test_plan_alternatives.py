"""A plan names what the market would have given elsewhere or later; the run itself stays here and now."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ayni.jobs.runs import Run
from ayni.market.offers import Limits
from ayni.market.own_machine import own_machine_offer
from ayni.market.planning import Plan, StepEstimate, make_plan
from ayni.market.pool_store import PoolStore
from ayni.workflows.house import House
from ayni.workflows.offer_machines import MachinesRequest, PoolOptionError, member_offer, offer_machines
from ayni.workflows.plan_alternatives import UNKNOWN_THROUGHPUT, alternatives_of, with_alternatives
from ayni.workflows.plan_job import plan_job

NewRun = Callable[..., Run]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LAB = MachinesRequest(
    site="lab",
    member="uni",
    num_machines=1,
    num_cores=8,
    memory_gib=64,
    ask_credits_per_hour=0.4,
    seconds=7 * 86_400,
    accelerator="V100",
    zone="NO",
)


class Intensity:
    """The annual mean of nowhere."""

    grams_co2e_per_kwh, low, high = 400.0, 300.0, 500.0


def plan_of(
    *, hours: float = 2.0, now: datetime = NOW, joules: float | None = 3.6e6, zone: str = "US-CAL-CISO"
) -> Plan:
    own = own_machine_offer(
        site="own",
        member="me",
        num_cores=2,
        memory_bytes=8 << 30,
        zone=zone,
        pue=1.0,
        ask_credits_per_core_hour=0.01,
        electricity_credits_per_kwh=0.30,
    )
    step = StepEstimate(
        step="train",
        wall_seconds=hours * 3600,
        num_cores=2,
        energy_joules=joules,
        low_joules=joules,
        high_joules=joules,
        tier="W3" if joules is not None else "W5",
    )
    return make_plan([step], offer=own, limits=Limits(), now=now, carbon_intensity=Intensity())


def test_a_plan_of_a_pool_without_offers_in_a_flat_grid_has_no_alternatives(
    house: House, new_run: NewRun
) -> None:
    assert plan_job(new_run().job, house).alternatives == ()


def test_offers_of_the_pool_are_named_and_without_throughput_cannot_be_compared(
    house: House, new_run: NewRun
) -> None:
    offer_machines(PoolStore(house.database), LAB, now=house.now())

    (unknown,) = plan_job(new_run().job, house).alternatives
    (known,) = plan_job(new_run("site.throughput=0.05").job, house).alternatives

    assert (unknown.site, unknown.reason, unknown.price_microcredits) == ("lab", UNKNOWN_THROUGHPUT, None)
    # A twentieth of the time at 0.4 credits an hour, where this machine asks 1 for each of its cores.
    assert known.reason.endswith("and a run stays on this machine (ayni jobs submit bids for it)")
    assert "credits cheaper" in known.reason


def test_the_plan_itself_is_the_same_with_offers_beside_it(house: House, new_run: NewRun) -> None:
    run = new_run("site.throughput=0.05")
    plan = plan_of(now=house.now())
    offer_machines(PoolStore(house.database), LAB, now=house.now())

    found = with_alternatives(plan, run.job.spec, PoolStore(house.database))

    assert found.alternatives
    assert replace(found, alternatives=()) == plan
    assert Plan.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_greener_hour_is_named_where_hours_are_known(new_run: NewRun) -> None:
    spec = new_run("site.zone=US-CAL-CISO").job.spec

    (later,) = alternatives_of(plan_of(), spec, [], now=NOW)

    assert later.start is not None and later.start > NOW
    # Noon in UTC is before dawn in California; its solar hours are some hours away.
    assert NOW + timedelta(hours=4) < later.start < NOW + timedelta(hours=12)
    assert "waiting would save" in later.reason
    assert later.grams_co2e is not None


def test_energy_that_is_unknown_promises_no_greener_hour(new_run: NewRun) -> None:
    spec = new_run("site.zone=US-CAL-CISO").job.spec

    assert alternatives_of(plan_of(joules=None), spec, [], now=NOW) == ()


def test_limits_of_the_bid_rule_places_out_with_the_reason(new_run: NewRun) -> None:
    lab = member_offer(LAB, taken=[], now=NOW)
    throughput = "site.throughput=0.05"

    def reason(*overrides: str) -> str:
        (found,) = alternatives_of(
            plan_of(zone="DE"), new_run(throughput, *overrides).job.spec, [lab], now=NOW
        )
        return found.reason

    assert "where its data may be (DE)" in reason("bid.residency=[DE]")
    assert "wants machines of a100" in reason("bid.classes=[a100]")
    assert "needs 5 machines" in reason("bid.machines=5")
    assert "carbon cap" in reason("limits.carbon_grams=0.001")


def test_a_wait_of_more_than_a_year_is_refused(new_run: NewRun) -> None:
    spec = new_run("bid.done_within=999d").job.spec

    with pytest.raises(PoolOptionError, match="more than a year"):
        alternatives_of(plan_of(), spec, [], now=NOW)


def test_a_job_of_weeks_has_a_plan_too(new_run: NewRun) -> None:
    lab = member_offer(LAB, taken=[], now=NOW)
    spec = new_run("site.throughput=0.5").job.spec

    (found,) = alternatives_of(plan_of(hours=900, zone="DE"), spec, [lab], now=NOW)

    assert "takes 450.0 hours" in found.reason
