"""Submit a job to the pool: from its file to a bid that waits for a round.

    work    = hours that the plan says * throughput of this machine (`site.throughput`), or what is said
    worth   = `bid.worth`, else `limits.credits`         budget = `limits.credits`
    carbon cap, residency, machines, classes             as the job says

Not covered: sending code and data to whoever runs it. A bid that wins a round is placed on paper.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ayni.errors import UserError
from ayni.jobs.loading import Job
from ayni.jobs.spec import JobSpec
from ayni.market.bids import Bid
from ayni.market.double_entry import LARGEST_AMOUNT, available
from ayni.market.ledger import Ledger
from ayni.market.offers import parse_duration
from ayni.market.planning import Plan
from ayni.market.policy import CreditPolicy
from ayni.market.pool_store import PoolStore, SubmittedJob
from ayni.units import credits_to_microcredits
from ayni.workflows.offer_machines import NAME, PoolOptionError, unused
from ayni.workflows.pool_carbon import checked_zone
from ayni.workflows.pool_leases import PoolJob

SECONDS_PER_HOUR = 3600.0
LONGEST_WAIT_SECONDS = 366 * 86_400.0


class UnknownWorkError(UserError):
    """Nobody said how much work a job is beside the reference machine."""

    def __init__(self) -> None:
        super().__init__(
            "How much work the job is, is not known to others: its plan counts hours of this machine, and "
            "`site.throughput` does not say how those compare with a V100. Say it (`--set "
            "site.throughput=0.05`: this machine does a twentieth), or say the work itself in V100-hours "
            "(`--work 12`)."
        )


class UnknownWorthError(UserError):
    """Nobody said what a job is worth."""

    def __init__(self) -> None:
        super().__init__(
            "What the job is worth to you is not said, and without it no price can be compared. Say it in "
            "credits with `--worth 20`, or in the job as bid.worth or limits.credits. It is paid in full "
            "only if somebody else wants the machines as much."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest:
    """What the command was told beside the job: work in reference-hours, worth in credits, a name.

    None takes what the job or its plan says.
    """

    work_reference_hours: float | None = None
    worth_credits: float | None = None
    id: str | None = None


def submit_job(
    job: Job,
    request: SubmitRequest,
    *,
    store: PoolStore,
    ledger: Ledger,
    plan: Callable[[], Plan],
    now: datetime,
    placed: Collection[str] = (),
) -> SubmittedJob:
    """Submit a job; `plan` is asked only when nobody said how much work it is.

    `placed` are jobs that wait no longer, so that what they may cost is set aside already.

    Raises:
        UnknownWorkError, UnknownWorthError: it must be said.
        InvalidBidError, UsedPoolIdError, BidAboveBalanceError: see there.
    """
    spec = job.spec
    if request.id is not None and not NAME.fullmatch(request.id):
        raise PoolOptionError(
            "--id", f"{request.id!r} is no name; use letters, digits, and . _ - after the first."
        )
    worth = _worth_credits(spec, request)
    work = _work_reference_hours(spec, request, plan)
    taken = [each.bid.id for each in store.jobs()]
    bid = bid_of(
        spec,
        id=request.id or unused(spec.name, taken),
        work_reference_hours=work,
        worth_credits=worth,
        now=now,
    )
    balance = _balance_microcredits(ledger, spec.member)
    return store.submit(bid, now=now, balance_microcredits=balance, job_file=str(job.path), placed=placed)


def bid_of(
    spec: JobSpec, *, id: str, work_reference_hours: float, worth_credits: float, now: datetime
) -> Bid:
    """The job as a bid that begins to wait now.

    Raises:
        InvalidBidError, PoolOptionError: a number cannot be meant.
        UnknownZoneError: residency names a place that no table knows.
    """
    wanted, limits = spec.bid, spec.limits
    seconds = parse_duration(wanted.done_within)
    if seconds > LONGEST_WAIT_SECONDS:
        raise PoolOptionError("bid.done_within", f"{wanted.done_within} is more than a year.")
    residency = None if wanted.residency is None else frozenset(_zones(wanted.residency))
    return Bid(
        id=id,
        member=spec.member,
        work_reference_hours=work_reference_hours,
        release=now,
        deadline=now + timedelta(seconds=seconds),
        worth_microcredits=_microcredits(worth_credits),
        budget_microcredits=None if limits.credits is None else _microcredits(limits.credits),
        gang=wanted.machines,
        work_kind=wanted.kind,
        classes=wanted.classes,
        carbon_cap_grams=limits.carbon_grams,
        residency=residency,
        can_suspend=wanted.can_suspend,
        data_gigabytes=wanted.data_gigabytes,
    )


def job_json(job: PoolJob) -> dict[str, Any]:
    """A submitted job with its state and its leases, as plain JSON."""
    submitted = job.job
    return {
        "id": submitted.bid.id,
        "state": job.state,
        "submitted_at": submitted.submitted_at.isoformat(),
        "withdrawn_at": None if submitted.withdrawn_at is None else submitted.withdrawn_at.isoformat(),
        "job_file": submitted.job_file,
        "bid": submitted.bid.to_json(),
        "left": {
            "work_reference_hours": job.bid.work_reference_hours,
            "limit_microcredits": job.bid.limit_microcredits,
        },
        "leases": [each.award.lease_id for each in job.leases],
    }


def _zones(residency: tuple[str, ...]) -> list[str]:
    return [zone for each in residency if (zone := checked_zone(each)) is not None]


def _worth_credits(spec: JobSpec, request: SubmitRequest) -> float:
    said = (request.worth_credits, spec.bid.worth, spec.limits.credits)
    worth = next((each for each in said if each is not None), None)
    if worth is None:
        raise UnknownWorthError
    return worth


def _microcredits(credits_: float) -> int:
    # An infinite worth is the bid's to refuse, as every other above what a ledger can count.
    return credits_to_microcredits(credits_) if math.isfinite(credits_) else LARGEST_AMOUNT + 1


def _work_reference_hours(spec: JobSpec, request: SubmitRequest, plan: Callable[[], Plan]) -> float:
    if request.work_reference_hours is not None:
        return request.work_reference_hours
    if spec.site.throughput is None:
        raise UnknownWorkError
    rows = plan().rows
    hours = (rows[-1].end - rows[0].start).total_seconds() / SECONDS_PER_HOUR
    return hours * spec.site.throughput


def _balance_microcredits(ledger: Ledger, member: str) -> int:
    """What a member can spend; a new one gets its declared grant first, as it does for a run."""
    policy = CreditPolicy()
    ledger.grant_once(member, amount_microcredits=policy.new_member_grant_microcredits, policy="new-member")
    return ledger.balance(available(member))
