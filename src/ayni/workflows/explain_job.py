"""Why a waiting job gets what it gets in a round over the pool as it is now, and what would change that.

Everything said was tried: the round is cleared again without the job, with a worth beyond any, and with later
deadlines. What such a worth would pay is the least worth that wins (its critical value); who gets something
else in those rounds is who stands in the way, or waits behind.

Not covered: the rounds to come, several changes at once, and whether the member could pay the worth.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ayni.market.bids import Bid
from ayni.market.double_entry import LARGEST_AMOUNT
from ayni.market.offers import Offer
from ayni.market.pool_store import PoolStore, UnknownPoolEntryError
from ayni.market.rounds import Allocation, Clearing
from ayni.workflows.clear_market import (
    TAIL_SECONDS,
    PoolRound,
    RoundRequest,
    Standing,
    clear_values,
    standing_of,
)
from ayni.workflows.offer_machines import PoolOptionError
from ayni.workflows.pool_leases import PoolJob, PoolLeases, lease_json

HOUR = timedelta(hours=1)


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
    return explain_bid(id, bids, offers, request, now=now, standing=standing)


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


def explain_bid(
    id: str,
    bids: Sequence[Bid],
    offers: Sequence[Offer],
    request: RoundRequest,
    *,
    now: datetime,
    standing: Standing | None = None,
) -> Explanation:
    """What the bid with this id gets in a round over the bids and offers given, and why."""
    pool = _Pool(bids=bids, offers=offers, request=request, now=now, standing=standing)
    bid = next(each for each in bids if each.id == id)
    first = pool.round()
    if _place(first.cleared.result, id) is not None:
        changed = pool.round(without=id)
        worth, deadline = None, None
    else:
        eager = replace(bid, worth_microcredits=LARGEST_AMOUNT, budget_microcredits=None)
        changed = pool.round(instead=eager)
        best = _place(changed.cleared.result, id)
        worth = None if best is None else best.payment_microcredits
        deadline = _least_deadline(pool, bid)
    return Explanation(
        job=id,
        round=first,
        least_worth_microcredits=worth,
        least_deadline=deadline,
        others=tuple(each for each in bids if each.id != id and _differs(first, changed, each.id)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """All that a round looks at, to be cleared with one bid changed or gone."""

    bids: Sequence[Bid]
    offers: Sequence[Offer]
    request: RoundRequest
    now: datetime
    standing: Standing | None

    def round(self, *, instead: Bid | None = None, without: str | None = None) -> PoolRound:
        bids = [instead if instead is not None and bid.id == instead.id else bid for bid in self.bids]
        return clear_values(
            [bid for bid in bids if bid.id != without],
            self.offers,
            self.request,
            now=self.now,
            standing=self.standing,
        )


def _least_deadline(pool: _Pool, bid: Bid) -> datetime | None:
    """The earliest deadline by whole hours that was found to win: doubling first, then halving."""
    failed = 0
    for hours in _doubling(pool, bid):
        if _wins_with(pool, bid, hours):
            return bid.deadline + _halved(pool, bid, failed=failed, won=hours) * HOUR
        failed = hours
    return None


def _halved(pool: _Pool, bid: Bid, *, failed: int, won: int) -> int:
    """Hours that win, next to hours that do not."""
    while won - failed > 1:
        middle = (won + failed) // 2
        won, failed = (middle, failed) if _wins_with(pool, bid, middle) else (won, middle)
    return won


def _doubling(pool: _Pool, bid: Bid) -> Iterator[int]:
    """1, 2, 4, ... hours, as far as a round looks ahead."""
    last = pool.now + pool.request.hours * HOUR + timedelta(seconds=TAIL_SECONDS)
    hours = 1
    while bid.deadline + hours * HOUR <= last:
        yield hours
        hours *= 2


def _wins_with(pool: _Pool, bid: Bid, more_hours: int) -> bool:
    later = replace(bid, deadline=bid.deadline + more_hours * HOUR)
    return _place(pool.round(instead=later).cleared.result, bid.id) is not None


def _place(result: Clearing, id: str) -> Allocation | None:
    return next((each for each in result.allocations if each.bid == id), None)


def _differs(before: PoolRound, after: PoolRound, id: str) -> bool:
    """Whether a bid has another place, or none instead of one, or one instead of none."""
    places = [_place(each.cleared.result, id) for each in (before, after)]
    first, second = (None if each is None else (each.option.offer, each.option.pieces) for each in places)
    return first != second
