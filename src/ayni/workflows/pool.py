"""The pool of one installation: what `ayni offers`, `ayni jobs` and `ayni market` do.

Offers and jobs wait in the database; a round looks at all of them at once. What comes back is plain JSON.

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
from ayni.workflows.offer_cloud import CloudRequest, offer_cloud
from ayni.workflows.offer_machines import MachinesRequest, offer_json, offer_machines
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
        submitted = submit_job(
            loaded,
            request,
            store=self.store,
            ledger=self.ledger,
            plan=lambda: self.make_plan(loaded),
            now=now,
        )
        return job_json(submitted, now=now)

    def jobs(self) -> list[dict[str, Any]]:
        """All submitted jobs with their state, the oldest first."""
        now = self.now()
        return [job_json(each, now=now) for each in self.store.jobs()]

    def withdraw_job(self, id: str) -> dict[str, Any]:
        """Take a job back."""
        now = self.now()
        return job_json(self.store.withdraw_job(id, now=now), now=now)

    def clear(self, request: "RoundRequest") -> dict[str, Any]:
        """What a round would decide now: {"placed": [...], "refused": [...], ...}. Nothing is booked."""
        from ayni.workflows.clear_market import clear_pool

        return clear_pool(self.store, request, now=self.now()).to_json()

    def explain(self, id: str) -> dict[str, Any]:
        """What a job would get in a round now, why, and what would change that. Nothing is booked.

        Raises:
            UnknownPoolEntryError, PoolOptionError: no such job waits.
        """
        from ayni.workflows.clear_market import RoundRequest
        from ayni.workflows.explain_job import explain_job

        return explain_job(self.store, id, RoundRequest(), now=self.now()).to_json()
