"""The pool of one installation: what `ayni offers`, `ayni jobs` and `ayni market` do.

Offers and jobs wait in the database; a round looks at all of them at once and awards leases. What comes back
is plain JSON.

Not covered: the pool of several organisations, which needs a server: here all members share one database, and
nobody is asked who they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.jobs.loading import load_job
from ayni.market.ledger import Ledger
from ayni.market.pool_store import PoolStore
from ayni.workflows.carbon_budgets import budgets_json, checked_budget, month_of
from ayni.workflows.offer_cloud import CloudRequest, offer_cloud
from ayni.workflows.offer_machines import MachinesRequest, PoolOptionError, offer_json, offer_machines
from ayni.workflows.pool_leases import PoolJob, PoolLeases, lease_json
from ayni.workflows.submit_job import SubmitRequest, job_json, submit_job

if TYPE_CHECKING:
    from ayni.jobs.loading import Job
    from ayni.market.planning import Plan
    from ayni.workflows.clear_market import RoundRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Offers and jobs of one installation.

    Attributes:
        make_plan: the plan of a job on this machine, which takes a probe of its training.
        now: the clock, with a time zone.
    """

    store: PoolStore
    leases: PoolLeases
    ledger: Ledger
    make_plan: Callable[["Job"], "Plan"]
    now: Callable[[], datetime]

    def add_offer(self, request: MachinesRequest) -> dict[str, Any]:
        """Offer a member's machines: {"added": [offer], "refused": {}}."""
        now = self.now()
        return offer_machines(self.store, request, now=now).to_json(now=now)

    def add_cloud(self, request: CloudRequest, *, is_trial: bool) -> dict[str, Any]:
        """Offer a cloud's machines: {"added": [offer], "refused": {machine: reason}}; a trial adds none."""
        now = self.now()
        return offer_cloud(self.store, request, now=now, is_trial=is_trial).to_json(now=now)

    def offers(self) -> list[dict[str, Any]]:
        """All offers with their state, the oldest first."""
        now = self.now()
        return [offer_json(each, now=now) for each in self.store.offers()]

    def withdraw_offer(self, id: str) -> dict[str, Any]:
        """Take an offer back."""
        now = self.now()
        return offer_json(self.store.withdraw_offer(id, now=now), now=now)

    def submit(self, job: Path, overrides: Sequence[str], request: SubmitRequest) -> dict[str, Any]:
        """Submit a job from its file."""
        loaded, now = load_job(job, overrides), self.now()
        placed = [each.job.bid.id for each in self._jobs(now) if each.state in ("placed", "running", "done")]
        submitted = submit_job(
            loaded,
            request,
            store=self.store,
            ledger=self.ledger,
            plan=lambda: self.make_plan(loaded),
            now=now,
            placed=placed,
        )
        return job_json(self._job(submitted.bid.id, now))

    def jobs(self) -> list[dict[str, Any]]:
        """All submitted jobs with their state, the oldest first."""
        return [job_json(each) for each in self._jobs(self.now())]

    def withdraw_job(self, id: str) -> dict[str, Any]:
        """Take a job back.

        Raises:
            PoolOptionError: it has a place, which must be released first, or is done.
        """
        now = self.now()
        for each in self._jobs(now):
            if each.job.bid.id == id and each.state in ("placed", "running"):
                lease = each.leases[-1].award.lease_id
                reason = f"{id} has a place. Release it first: ayni market release {lease}"
                raise PoolOptionError("JOB", reason)
            if each.job.bid.id == id and each.state == "done":
                raise PoolOptionError("JOB", f"{id} is done.")
        self.store.withdraw_job(id, now=now)
        return job_json(self._job(id, now))

    def clear(self, request: "RoundRequest", *, is_trial: bool = True) -> dict[str, Any]:
        """What a round decides now: {"placed": [...], "refused": [...], ...}; a trial books nothing."""
        from ayni.workflows.clear_market import clear_pool

        return clear_pool(self.store, self.leases, request, now=self.now(), is_trial=is_trial).to_json()

    def list_leases(self) -> list[dict[str, Any]]:
        """All leases that rounds have booked, the oldest first."""
        records = self.leases.records(now=self.now()).values()
        return [lease_json(each, grams_at=self.leases.grams_at) for each in records]

    def release(self, lease_id: str) -> dict[str, Any]:
        """End a lease for its buyer; its credits go back and its job waits again."""
        record = self.leases.release(lease_id, now=self.now())
        return lease_json(record, grams_at=self.leases.grams_at)

    def set_budget(self, member: str, month: str | None, *, grams: float | None) -> list[dict[str, Any]]:
        """Limit what a member may emit in a month (of now by default); None takes the limit away."""
        now = self.now()
        wanted = checked_budget(member, month or month_of(now), grams=grams)
        self.leases.rounds.set_budget(member, wanted, grams=grams, at=now)
        return self.budgets()

    def budgets(self) -> list[dict[str, Any]]:
        """The carbon budgets that hold, with what is used of them, by month and member."""
        return budgets_json(self.leases, now=self.now())

    def explain(self, id: str) -> dict[str, Any]:
        """What a job would get in a round now or has got, why, and what would change that.

        Raises:
            UnknownPoolEntryError, PoolOptionError: no such job waits or has a place.
        """
        from ayni.workflows.clear_market import RoundRequest
        from ayni.workflows.explain_job import explain_job

        return explain_job(self.store, self.leases, id, RoundRequest(), now=self.now())

    def _jobs(self, now: datetime) -> list[PoolJob]:
        return self.leases.jobs(self.store, now=now)

    def _job(self, id: str, now: datetime) -> PoolJob:
        return next(each for each in self._jobs(now) if each.job.bid.id == id)
