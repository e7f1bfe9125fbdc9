"""From a job's file to a bid: what is said, what the plan says, and what nobody said."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ayni.jobs.runs import Run
from ayni.market.bids import BidAboveBalanceError
from ayni.market.double_entry import available
from ayni.market.planning import Plan
from ayni.market.pool_store import PoolStore, SubmittedJob
from ayni.workflows.house import House
from ayni.workflows.plan_job import plan_job
from ayni.workflows.submit_job import SubmitRequest, UnknownWorkError, UnknownWorthError, submit_job

NewRun = Callable[..., Run]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def submit(house: House, new_run: NewRun) -> Callable[..., SubmittedJob]:
    """Submits the job with overrides and a request."""

    def begin(*overrides: str, plan: Plan | None = None, **said: object) -> SubmittedJob:
        def make_plan() -> Plan:
            assert plan is not None, "nobody should ask for a plan"
            return plan

        return submit_job(
            new_run(*overrides).job,
            SubmitRequest(**said),  # type: ignore[arg-type]
            store=PoolStore(house.database),
            ledger=house.ledger,
            plan=make_plan,
            now=NOW,
        )

    return begin


def test_the_work_is_what_the_plan_takes_here_times_this_machines_throughput(
    house: House, new_run: NewRun, submit: Callable[..., SubmittedJob]
) -> None:
    plan = plan_job(new_run().job, house)
    hours = (plan.rows[-1].end - plan.rows[0].start).total_seconds() / 3600

    job = submit("site.throughput=0.05", plan=plan)

    assert job.bid.work_reference_hours == pytest.approx(hours * 0.05)


def test_work_that_is_said_needs_no_plan_and_worth_no_limit(submit: Callable[..., SubmittedJob]) -> None:
    job = submit("bid.worth=7", "bid.done_within=90m", work_reference_hours=3.0)

    assert (job.bid.work_reference_hours, job.bid.worth_microcredits) == (3.0, 7_000_000)
    assert job.bid.budget_microcredits == 1_000_000
    assert (job.bid.release, job.bid.deadline) == (NOW, NOW + timedelta(minutes=90))
    assert (
        submit("bid.worth=7", work_reference_hours=3.0, worth_credits=9.0).bid.worth_microcredits == 9_000_000
    )


def test_what_nobody_said_must_be_said(submit: Callable[..., SubmittedJob]) -> None:
    with pytest.raises(UnknownWorkError, match=r"--set site\.throughput"):
        submit()
    with pytest.raises(UnknownWorthError, match="--worth 20"):
        submit("limits.credits=null", work_reference_hours=3.0)


def test_a_new_member_has_its_grant_to_bid_with_and_no_more(
    house: House, submit: Callable[..., SubmittedJob]
) -> None:
    submit("member=new", "limits.credits=60", work_reference_hours=1.0)

    with pytest.raises(BidAboveBalanceError, match="new has 40 left beside its other bids"):
        submit("member=new", "limits.credits=60", work_reference_hours=1.0)

    # A bid holds nothing yet; it is looked at again when a round places it.
    assert house.ledger.balance(available("new")) == 100_000_000


def test_names_follow_the_job_and_are_never_used_twice(submit: Callable[..., SubmittedJob]) -> None:
    jobs = [submit(work_reference_hours=1.0) for _ in range(2)]
    jobs.append(submit(work_reference_hours=1.0, id="mine"))

    assert [job.bid.id for job in jobs] == ["points", "points-2", "mine"]
