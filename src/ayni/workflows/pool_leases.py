"""Leases of the pool: what rounds awarded, booked with the ledger, and what became of it.

    a round's awards are kept -> each lease is offered -> its escrow and bond are held, or it is refused

A crash between any two of these loses nothing: whoever keeps the book next offers what is kept and was not
offered, and does what was stored and not done.

Orders to sites are not sent by this installation: there is no connection to sites of others yet. A lease that
nobody began ends when its time is over, and its credits go back.

Not covered: ticks, heartbeats and checks, which come with that connection; `market/lease_runner.py` takes
them.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ayni.errors import UserError
from ayni.market.award import Award
from ayni.market.bids import Bid
from ayni.market.carbon_saving import GramsAt
from ayni.market.lease_events import LeaseCancelled, SiteCommand
from ayni.market.lease_records import (
    LeaseRecord,
    PlacedState,
    by_job,
    events_of_overdue,
    offer_of,
    read_leases,
    rest_of_bid,
    state_of_job,
)
from ayni.market.lease_runner import LeaseRunner
from ayni.market.lease_store import DatabaseLeaseStore
from ayni.market.ledger import Lease, Ledger
from ayni.market.policy import LeasePolicy
from ayni.market.pool_store import JobState, PoolStore, SubmittedJob, UnknownPoolEntryError
from ayni.market.round_store import RoundStore
from ayni.workflows.pool_carbon import shipped_grams_at


class ClosedAlreadyError(UserError):
    """A lease is to be released that has ended."""

    def __init__(self, record: LeaseRecord) -> None:
        self.lease_id = record.award.lease_id
        reason = None if record.state is None else record.state.reason
        super().__init__(
            f"The lease {self.lease_id} has ended already ({reason or 'settled'}). Nothing was changed."
        )


class UnsoundLedgerError(UserError):
    """Credits are to be moved in a ledger that was changed behind its back."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__(
            f"The ledger is not sound, so nothing is booked on top of it. {problems[0]} `ayni ledger check` "
            "says what else is wrong. Put the last good copy of the database back (for a file, the one "
            "beside it that ends in .backup)."
        )


class OrderNotSentError(UserError):
    """A site should be told something, and there is no way to reach it."""

    def __init__(self, lease: Lease) -> None:
        self.lease_id = lease.lease_id
        super().__init__(
            f"The lease {lease.lease_id} is at work, and {lease.site} cannot be told anything: this "
            "installation has no connection to sites of others. Nothing was changed. It ends with its "
            "last window."
        )


class NoConnection:
    """Refuses orders to sites, because none would arrive."""

    def order(self, command: SiteCommand) -> None:
        """Say that it cannot be sent."""
        raise OrderNotSentError(command.lease)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolJob:
    """A submitted job, where it stands, what of it is left to do, and its leases from the oldest on."""

    job: SubmittedJob
    state: JobState | PlacedState
    bid: Bid
    leases: tuple[LeaseRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLeases:
    """The leases of one installation."""

    rounds: RoundStore
    events: DatabaseLeaseStore
    ledger: Ledger
    policy: LeasePolicy
    rng: random.Random
    grams_at: GramsAt = shipped_grams_at

    def records(self, *, now: datetime) -> dict[str, LeaseRecord]:
        """What became of all awards, by the id of their lease. Nothing is changed."""
        return read_leases(self.rounds.awards(), self.events.every_event(), policy=self.policy, now=now)

    def jobs(self, store: PoolStore, *, now: datetime) -> list[PoolJob]:
        """All submitted jobs, the oldest first, with what their leases say about them."""
        leases = by_job(self.records(now=now))
        return [_pool_job(each, leases.get(each.bid.id, ()), self.policy, now) for each in store.jobs()]

    def go_on(self, *, now: datetime) -> LeaseRunner:
        """Take up the book: do what a crash left undone, and end what is over. Returns who keeps it.

        Raises:
            LeaseMovedOnError: another process keeps it at this moment.
        """
        runner = LeaseRunner(
            policy=self.policy,
            store=self.events,
            ledger=self.ledger,
            sites=NoConnection(),
            now=lambda: now,
            rng=self.rng,
        )
        runner.recover()
        records = read_leases(self.rounds.awards(), self.events.every_event(), policy=self.policy)
        for record in records.values():
            events = events_of_overdue(record.award, record.state, now)
            unoffered = [offer_of(record.award)] if record.state is None and not events else []
            runner.tell(*unoffered, *events)
        return runner

    def book(self, number: int, awards: Sequence[Award], *, now: datetime) -> dict[str, str]:
        """Keep a round's awards and hold their credits; returns by lease why one was not held.

        Raises:
            UnsoundLedgerError: the ledger was changed behind its back.
            RoundMovedOnError: another round was booked since `number` was read.
        """
        self.refuse_unsound()
        runner = self.go_on(now=now)
        self.rounds.add(number, awards, at=now)
        runner.tell(*map(offer_of, awards))
        records = self.records(now=now)
        return {
            award.lease_id: (state.reason if state is not None else None) or "it could not be held"
            for award in awards
            if (state := records[award.lease_id].state) is None or state.is_closed
        }

    def refuse_unsound(self) -> None:
        """Read the whole ledger; rounds and quarters are rare enough for that.

        Raises:
            UnsoundLedgerError: something is wrong with it.
        """
        if problems := self.ledger.check():
            raise UnsoundLedgerError(problems)

    def release(self, lease_id: str, *, now: datetime) -> LeaseRecord:
        """End a lease for its buyer, and give back what is set aside for it.

        Raises:
            UnknownPoolEntryError: there is none.
            ClosedAlreadyError: it has ended.
            OrderNotSentError: it runs, and its site cannot be told.
        """
        records = self.records(now=now)
        if lease_id not in records:
            known = [id for id, record in records.items() if record.is_open]
            raise UnknownPoolEntryError(kind="lease", id=lease_id, known=known)
        if not records[lease_id].is_open:
            raise ClosedAlreadyError(records[lease_id])
        runner = self.go_on(now=now)
        state = runner.book.states[lease_id]
        if state.phase in ("running", "suspended") or state.asked_at is not None:
            raise OrderNotSentError(state.terms.lease)
        runner.tell(LeaseCancelled(lease_id=lease_id, at=now, reason="released by its buyer"))
        return self.records(now=now)[lease_id]


def lease_json(record: LeaseRecord, *, grams_at: GramsAt) -> dict[str, Any]:
    """A lease as plain JSON: who, where, when, what it costs, and what it saves of carbon."""
    award, state, terms = record.award, record.state, record.award.terms
    at_once = award.at_once
    return {
        "id": award.lease_id,
        "job": award.job,
        "member": terms.lease.member,
        "seller": terms.lease.site_member,
        "state": "awarded" if state is None else state.phase,
        "reason": None if state is None else state.reason,
        "site": award.site,
        "machine_class": award.machine_class,
        "machines": award.machines,
        "windows": [[start.isoformat(), end.isoformat()] for start, end in terms.windows],
        "placed_at": award.placed_at.isoformat(),
        "settled_at": None if record.settled_at is None else record.settled_at.isoformat(),
        "payment_microcredits": terms.price.payment_microcredits,
        "ask_microcredits": terms.price.seller_microcredits,
        "carbon_microcredits": terms.price.climate_microcredits,
        "escrow_microcredits": terms.escrow_microcredits if record.is_open else 0,
        "bond_microcredits": terms.bond_microcredits if record.is_open else 0,
        "check_rate": terms.check_rate,
        "done_share": record.counted_share,
        "at_once": None if at_once is None else at_once.to_json(),
        "expected_grams_co2e": award.grams,
        "expected_saving_grams": record.expected_saving_grams(),
        "realised_grams_co2e": None if record.is_open else record.emitted_grams(grams_at),
        "realised_saving_grams": record.realised_saving_grams(grams_at),
    }


def lease_ids(bids: Sequence[Bid], records: Mapping[str, LeaseRecord]) -> dict[str, str]:
    """The id of each bid's next lease: the job's name and how many it had."""
    taken = by_job(records)
    return {bid.id: f"{bid.id}.{len(taken.get(bid.id, ())) + 1}" for bid in bids}


def _pool_job(
    job: SubmittedJob, leases: Sequence[LeaseRecord], policy: LeasePolicy, now: datetime
) -> PoolJob:
    placed = state_of_job(leases)
    return PoolJob(
        job=job,
        state=job.state(now=now) if placed is None else placed,
        bid=rest_of_bid(job.bid, leases, policy=policy),
        leases=tuple(leases),
    )
