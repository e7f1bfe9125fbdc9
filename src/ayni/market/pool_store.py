"""Where a pool's offers and submitted jobs are kept until a round clears them.

Nothing is deleted: what is withdrawn keeps its row with the time, so that a round of yesterday can be told
again. Offers are compared with those that stand while the writer's lock is held, so that two members cannot
sell one machine at the same moment; the same holds for a member's jobs and what it can spend. A change may
be tried again after a lost connection: one that turns out to have happened is left as it is.

Not covered: what became of a job that was placed, which `lease_records` reads from its leases.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import sqlalchemy as sa

from ayni.database import Database, metadata
from ayni.errors import AyniError, UserError
from ayni.market.bids import Bid, check_bids
from ayni.market.offers import Offer, check_offers

offers_table = sa.Table(
    "market_offers",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("member", sa.String, nullable=False, index=True),
    sa.Column("site", sa.String, nullable=False),
    # ISO 8601 in UTC, as everywhere in this database.
    sa.Column("offered_at", sa.String, nullable=False),
    sa.Column("withdrawn_at", sa.String, nullable=True),
    sa.Column("content", sa.Text, nullable=False),
)

jobs_table = sa.Table(
    "market_jobs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("member", sa.String, nullable=False, index=True),
    sa.Column("submitted_at", sa.String, nullable=False),
    sa.Column("withdrawn_at", sa.String, nullable=True),
    sa.Column("job_file", sa.String, nullable=True),
    sa.Column("content", sa.Text, nullable=False),
)

OfferState = Literal["open", "over", "withdrawn"]
JobState = Literal["waiting", "late", "withdrawn"]
_NUM_NAMED = 5


class UnknownPoolEntryError(UserError):
    """No offer or submitted job has this id."""

    def __init__(self, *, kind: str, id: str, known: Sequence[str]) -> None:
        self.id = id
        more = f" and {len(known) - _NUM_NAMED} more" if len(known) > _NUM_NAMED else ""
        there = f"There are: {', '.join(known[:_NUM_NAMED])}{more}." if known else "There is none yet."
        super().__init__(f"No {kind} is called {id!r}. {there}")


class UsedPoolIdError(UserError):
    """An offer or job was to be added under an id that was used before."""

    def __init__(self, *, kind: str, id: str) -> None:
        self.id = id
        super().__init__(
            f"The {kind} {id!r} is there already, or was and is withdrawn. Nothing was added. Give it "
            "another id."
        )


class AlreadyWithdrawnError(UserError):
    """An offer or job is withdrawn a second time."""

    def __init__(self, *, kind: str, id: str, at: datetime) -> None:
        self.id = id
        super().__init__(f"The {kind} {id!r} was withdrawn at {at.isoformat(timespec='seconds')}.")


class DamagedPoolEntryError(AyniError):
    """A stored offer or job cannot be read any more."""

    def __init__(self, *, id: str, reason: str) -> None:
        self.id = id
        super().__init__(
            f"What the database holds of {id!r} is no offer or job any more: {reason}. Put the last good "
            "copy of the database back (the file beside it that ends in .backup)."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOffer:
    """An offer, and when it was made and withdrawn."""

    offer: Offer
    offered_at: datetime
    withdrawn_at: datetime | None

    def state(self, *, now: datetime) -> OfferState:
        """Whether a round may still look at it."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        return "open" if any(end > now for _, end in self.offer.windows) else "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedJob:
    """A bid, when it was submitted and withdrawn, and the job file that it came from, if any."""

    bid: Bid
    submitted_at: datetime
    withdrawn_at: datetime | None
    job_file: str | None

    def state(self, *, now: datetime) -> JobState:
        """Whether a round may still look at it."""
        if self.withdrawn_at is not None:
            return "withdrawn"
        return "waiting" if self.bid.deadline > now else "late"


class PoolStore:
    """Offers and submitted jobs in the shared database.

    Raises, from every method: what `Database` raises.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_offers(self, offers: Sequence[Offer], *, now: datetime) -> None:
        """Add offers, all of them or none.

        Raises:
            UsedPoolIdError: an id was used before.
            InvalidOfferError, OverlappingOffersError: an offer stands against another of them, or against one
                that is open.
        """
        rows = [_offer_row(offer, now) for offer in offers]

        def add(connection: sa.Connection) -> None:
            stored = {each.offer.id: each for each in _offers(connection)}
            if rows and all(_is_same(stored.get(offer.id), offer, now) for offer in offers):
                return
            for offer in offers:
                if offer.id in stored:
                    raise UsedPoolIdError(kind="offer", id=offer.id)
            standing = [each.offer for each in stored.values() if each.state(now=now) == "open"]
            check_offers([*standing, *offers])
            if rows:
                connection.execute(offers_table.insert(), rows)

        self._database.run(add)

    def offers(self) -> list[StoredOffer]:
        """All offers, the oldest first."""
        with self._database.reading() as connection:
            return _offers(connection)

    def withdraw_offer(self, id: str, *, now: datetime) -> StoredOffer:
        """Take an offer back; leases that it carries already go on.

        Raises:
            UnknownPoolEntryError: there is none.
            AlreadyWithdrawnError: it was taken back before.
        """

        def withdraw(connection: sa.Connection) -> StoredOffer:
            found = {each.offer.id: each for each in _offers(connection)}
            standing = [key for key, each in found.items() if each.state(now=now) == "open"]
            _check_withdrawal("offer", id, found, now=now, standing=standing)
            _withdraw(connection, offers_table, id, now)
            return replace(found[id], withdrawn_at=now)

        return self._database.run(withdraw)

    def submit(
        self,
        bid: Bid,
        *,
        now: datetime,
        balance_microcredits: int | None = None,
        job_file: str | None = None,
        placed: Collection[str] = (),
    ) -> SubmittedJob:
        """Submit a job; `balance_microcredits` is what its member can spend, None = not looked at.

        `placed` are jobs that wait no longer: what they cost is set aside, or paid, already.

        Raises:
            UsedPoolIdError: the id was used before.
            DeadlinePassedError, BidAboveBalanceError: no round could place it, or its member could not pay it
                beside its other jobs that wait.
        """
        job = SubmittedJob(bid=bid, submitted_at=now, withdrawn_at=None, job_file=job_file)

        def add(connection: sa.Connection) -> SubmittedJob:
            stored = {each.bid.id: each for each in _jobs(connection)}
            if bid.id in stored:
                if stored[bid.id] == job:
                    return job
                raise UsedPoolIdError(kind="job", id=bid.id)
            promised = sum(
                each.bid.limit_microcredits
                for each in stored.values()
                if each.bid.member == bid.member
                and each.state(now=now) == "waiting"
                and each.bid.id not in placed
            )
            left = None if balance_microcredits is None else {bid.member: balance_microcredits - promised}
            check_bids([bid], now=now, balances_microcredits=left)
            connection.execute(jobs_table.insert(), _job_row(job))
            return job

        return self._database.run(add)

    def jobs(self) -> list[SubmittedJob]:
        """All submitted jobs, the oldest first."""
        with self._database.reading() as connection:
            return _jobs(connection)

    def withdraw_job(self, id: str, *, now: datetime) -> SubmittedJob:
        """Take a job back.

        Raises:
            UnknownPoolEntryError: there is none.
            AlreadyWithdrawnError: it was taken back before.
        """

        def withdraw(connection: sa.Connection) -> SubmittedJob:
            found = {each.bid.id: each for each in _jobs(connection)}
            waiting = [key for key, each in found.items() if each.state(now=now) == "waiting"]
            _check_withdrawal("job", id, found, now=now, standing=waiting)
            _withdraw(connection, jobs_table, id, now)
            return replace(found[id], withdrawn_at=now)

        return self._database.run(withdraw)


def _is_same(stored: StoredOffer | None, offer: Offer, now: datetime) -> bool:
    """Whether this very call has stored the offer already."""
    return stored is not None and stored.offer == offer and stored.offered_at == now


def _offers(connection: sa.Connection) -> list[StoredOffer]:
    rows = connection.execute(sa.select(offers_table).order_by(offers_table.c.offered_at, offers_table.c.id))
    return [
        StoredOffer(
            offer=_read(row, Offer.from_json),
            offered_at=datetime.fromisoformat(row.offered_at),
            withdrawn_at=_time(row.withdrawn_at),
        )
        for row in rows
    ]


def _jobs(connection: sa.Connection) -> list[SubmittedJob]:
    rows = connection.execute(sa.select(jobs_table).order_by(jobs_table.c.submitted_at, jobs_table.c.id))
    return [
        SubmittedJob(
            bid=_read(row, Bid.from_json),
            submitted_at=datetime.fromisoformat(row.submitted_at),
            withdrawn_at=_time(row.withdrawn_at),
            job_file=row.job_file,
        )
        for row in rows
    ]


Value = TypeVar("Value")


def _read(row: sa.Row[Any], from_json: Callable[[Mapping[str, Any]], Value]) -> Value:
    try:
        return from_json(json.loads(row.content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedPoolEntryError(id=row.id, reason=f"{type(error).__name__}: {error}") from error


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _offer_row(offer: Offer, now: datetime) -> dict[str, Any]:
    return {
        "id": offer.id,
        "member": offer.member,
        "site": offer.site,
        "offered_at": _text(now),
        "withdrawn_at": None,
        "content": json.dumps(offer.to_json()),
    }


def _job_row(job: SubmittedJob) -> dict[str, Any]:
    return {
        "id": job.bid.id,
        "member": job.bid.member,
        "submitted_at": _text(job.submitted_at),
        "withdrawn_at": None,
        "job_file": job.job_file,
        "content": json.dumps(job.bid.to_json()),
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _check_withdrawal(
    kind: str,
    id: str,
    found: Mapping[str, StoredOffer] | Mapping[str, SubmittedJob],
    *,
    now: datetime,
    standing: Sequence[str],
) -> None:
    if id not in found:
        raise UnknownPoolEntryError(kind=kind, id=id, known=standing)
    before = found[id].withdrawn_at
    # The same call a second time is no second withdrawal.
    if before is not None and before != now:
        raise AlreadyWithdrawnError(kind=kind, id=id, at=before)


def _withdraw(connection: sa.Connection, table: sa.Table, id: str, now: datetime) -> None:
    connection.execute(table.update().where(table.c.id == id).values(withdrawn_at=_text(now)))
