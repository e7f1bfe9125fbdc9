"""Why a waiting job gets what it gets in a round over the pool as it is now, and what would change that.

Which jobs wait and what they had before is told here; why a bid got what it got, by
`ayni.market.explanation`, which says what is not covered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ayni.market.bids import Bid
from ayni.market.explanation import explain_bid
from ayni.market.pool_store import PoolStore, UnknownPoolEntryError
from ayni.workflows.clear_market import PoolRound, RoundRequest, clear_values, standing_of
from ayni.workflows.offer_machines import PoolOptionError
from ayni.workflows.pool_leases import PoolJob, PoolLeases, lease_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A round, a job in it, and what other rounds would have given.

    Attributes:
        least_worth_microcredits: with which it would have won; None for a job that won, or if none would.
        least_deadline: by whole hours later, with which it would have won; None likewise.
        others: bids that get something else if this one is gone (a winner) or would pay anything (a loser).
    """

    job: str
    round: PoolRound
    least_worth_microcredits: int | None
    least_deadline: datetime | None
    others: tuple[Bid, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; one of placed and refused is None."""
        found = self.round.to_json()
        deadline = self.least_deadline
        return {
            "job": self.job,
            "state": "waiting",
            "start": found["start"],
            "placed": next((each for each in found["placed"] if each["job"] == self.job), None),
            "refused": next((each for each in found["refused"] if each["job"] == self.job), None),
            "least_worth_microcredits": self.least_worth_microcredits,
            "least_deadline": None if deadline is None else deadline.isoformat(),
            "others": [
                {"job": bid.id, "member": bid.member, "limit_microcredits": bid.limit_microcredits}
                for bid in self.others
            ],
        }


def explain_job(
    store: PoolStore, leases: PoolLeases, id: str, request: RoundRequest, *, now: datetime
) -> dict[str, Any]:
    """What became of a job that has a place, or what a waiting one would get in a round now, and why.

    "leases" are those it has or had.

    Raises:
        UnknownPoolEntryError: no job has this id.
        PoolOptionError: it neither waits nor ever had a place.
    """
    found = _find(leases.jobs(store, now=now), id)
    history = _history(found, leases)
    if found.state != "waiting" and found.leases:
        return {"job": id, "state": found.state, **history}
    return explain_waiting_job(store, leases, id, request, now=now).to_json() | history


def explain_waiting_job(
    store: PoolStore, leases: PoolLeases, id: str, request: RoundRequest, *, now: datetime
) -> Explanation:
    """What a waiting job would get in a round now, and why. Cost: about a dozen rounds.

    Raises:
        UnknownPoolEntryError: no job has this id.
        PoolOptionError: it does not wait.
    """
    jobs = leases.jobs(store, now=now)
    found = _find(jobs, id)
    if found.state == "late":
        over = f"its deadline was {found.bid.deadline:%Y-%m-%d %H:%M} UTC"
        raise PoolOptionError("JOB", f"{id} does not wait any more: {over}. Submit it with more time.")
    if found.state != "waiting":
        raise PoolOptionError("JOB", f"{id} does not wait: it is {found.state}.")
    bids = [each.bid for each in jobs if each.state == "waiting"]
    offers = [each.offer for each in store.offers() if each.state(now=now) == "open"]
    standing = standing_of(leases, leases.records(now=now), offers, now=now)
    return explanation_of(id, clear_values(bids, offers, request, now=now, standing=standing))


def _find(jobs: Sequence[PoolJob], id: str) -> PoolJob:
    found = next((each for each in jobs if each.job.bid.id == id), None)
    if found is None:
        waiting = [each.job.bid.id for each in jobs if each.state == "waiting"]
        raise UnknownPoolEntryError(kind="job", id=id, known=waiting)
    return found


def _history(job: PoolJob, leases: PoolLeases) -> dict[str, Any]:
    """The leases of a job, and what they saved of carbon all together, as far as it is known."""
    told = [lease_json(each, grams_at=leases.grams_at) for each in job.leases]

    def total(name: str) -> float | None:
        known = [each[name] for each in told if each[name] is not None]
        return sum(known) if known else None

    return {
        "leases": told,
        "expected_saving_grams": total("expected_saving_grams"),
        "realised_saving_grams": total("realised_saving_grams"),
    }


def explanation_of(id: str, round: PoolRound) -> Explanation:
    """What the bid with this id got in a round, and what other rounds would have given."""
    found = explain_bid(round.cleared.market, id, cleared=round.cleared)
    return Explanation(
        job=id,
        round=round,
        least_worth_microcredits=found.least_worth_microcredits if found.placed is None else None,
        least_deadline=found.least_deadline,
        others=found.others,
    )
