"""Where the events of leases are kept, so that the lease book survives a crash; and a twin in memory.

An event is written before anything is done about it, and marked once it is done. Whoever comes after a
crash does again what is not marked: every command can bear that.

Not covered: removing the events of settled leases. They are the proof of what was paid for.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from ayni.database import Database, metadata
from ayni.errors import AyniError
from ayni.market.lease_events import Event, event_from_json, event_to_json
from ayni.market.reputation import Reputation

lease_events = sa.Table(
    "lease_events",
    metadata,
    sa.Column("lease_id", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String, nullable=False, index=True),
    sa.Column("at", sa.String, nullable=False),
    sa.Column("content", sa.String, nullable=False),
    sa.Column("is_carried_out", sa.Boolean, nullable=False),
)
_MARK = (
    lease_events.update()
    .where(lease_events.c.lease_id == sa.bindparam("of"), lease_events.c.number == sa.bindparam("with"))
    .values(is_carried_out=True)
)
_SETTLED = "LeaseSettled"
_CHECKS = ("CheckPassed", "CheckFailed")


class LeaseMovedOnError(AyniError):
    """Another process has handled an event of the lease meanwhile."""

    def __init__(self, lease_id: str, number: int) -> None:
        self.lease_id = lease_id
        self.number = number
        super().__init__(
            f"Event {number} of the lease {lease_id} was written by another process. Nothing was changed "
            "here. Only one process may keep the lease book of a pool: end this one, or start it anew."
        )


class DamagedLeaseError(AyniError):
    """A stored event of a lease cannot be read."""

    def __init__(self, lease_id: str, number: int, reason: str) -> None:
        self.lease_id = lease_id
        self.number = number
        super().__init__(
            f"Event {number} of the lease {lease_id} cannot be read: {reason}. Put the last good copy of the "
            "database back; the ledger says what was paid (`ayni ledger check`)."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event, its number among those of its lease from 1, and whether its commands were carried out."""

    number: int
    event: Event
    is_carried_out: bool = False


class LeaseStore(Protocol):
    """Keeps events of leases."""

    def keep(self, new: Sequence[StoredEvent], *, done: Sequence[StoredEvent]) -> None:
        """Write new events, and note that the commands of others were carried out: all of it or nothing.

        Raises:
            LeaseMovedOnError: there is another event with such a number.
        """
        ...

    def unsettled(self) -> list[StoredEvent]:
        """All events of leases that are not settled, each lease's in their order."""
        ...


class InMemoryLeaseStore:
    """The store for tests and simulations: gone with the process."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, int], StoredEvent] = {}

    def keep(self, new: Sequence[StoredEvent], *, done: Sequence[StoredEvent]) -> None:
        """Write new events and note which are done, all of it or nothing."""
        for each in new:
            if _key(each) in self.events:
                raise LeaseMovedOnError(*_key(each))
        self.events |= {_key(each): each for each in new}
        self.events |= {_key(each): replace(each, is_carried_out=True) for each in done}

    def unsettled(self) -> list[StoredEvent]:
        """All events of leases that are not settled, each lease's in their order."""
        settled = {
            each.event.lease_id
            for each in self.events.values()
            if type(each.event).__name__ == _SETTLED and each.is_carried_out
        }
        return [self.events[key] for key in sorted(self.events) if key[0] not in settled]

    def every_event(self) -> list[StoredEvent]:
        """All events, each lease's in their order."""
        return [self.events[key] for key in sorted(self.events)]


class DatabaseLeaseStore:
    """The store in the shared database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, new: Sequence[StoredEvent], *, done: Sequence[StoredEvent]) -> None:
        """Write new events and note which are done, all of it or nothing.

        Events that an attempt with a lost connection has written are left as they are.
        """
        rows = {_key(each): _to_row(each) for each in new}
        marks = [{"of": each.event.lease_id, "with": each.number} for each in done]

        def write(connection: sa.Connection) -> None:
            if rows:
                _insert(connection, rows)
            if marks:
                connection.execute(_MARK, marks)

        if rows or marks:
            self._database.run(write)

    def unsettled(self) -> list[StoredEvent]:
        """All events of leases that are not settled, each lease's in their order."""
        table = lease_events
        settled = sa.select(table.c.lease_id).where(table.c.kind == _SETTLED, table.c.is_carried_out)
        query = (
            sa.select(table)
            .where(table.c.lease_id.not_in(settled))
            .order_by(table.c.lease_id, table.c.number)
        )
        with self._database.reading() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def every_event(self) -> list[StoredEvent]:
        """All events of all leases, settled ones too, each lease's in their order."""
        query = sa.select(lease_events).order_by(lease_events.c.lease_id, lease_events.c.number)
        with self._database.reading() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def settled(self) -> list[str]:
        """The leases that are settled."""
        table = lease_events
        query = sa.select(table.c.lease_id).where(table.c.kind == _SETTLED, table.c.is_carried_out)
        with self._database.reading() as connection:
            return list(connection.scalars(query))

    def events_of(self, lease_id: str) -> list[StoredEvent]:
        """All events of one lease in their order."""
        query = sa.select(lease_events).where(lease_events.c.lease_id == lease_id)
        with self._database.reading() as connection:
            return [_from_row(row) for row in connection.execute(query.order_by(lease_events.c.number))]

    def reputation(self, site: str) -> Reputation:
        """What all checks of a site's work have shown, in the order in which they came."""
        checks, offers = lease_events.alias(), lease_events.alias()
        query = (
            sa.select(checks.c.kind, checks.c.at, offers.c.content)
            .join(offers, sa.and_(offers.c.lease_id == checks.c.lease_id, offers.c.number == 1))
            .where(checks.c.kind.in_(_CHECKS))
        )
        with self._database.reading() as connection:
            found = [
                (datetime.fromisoformat(row.at), row.kind == "CheckPassed")
                for row in connection.execute(query)
                if json.loads(row.content)["terms"]["lease"]["site"] == site
            ]
        reputation = Reputation()
        for _, passed in sorted(found):
            reputation = reputation.after(passed=passed)
        return reputation


def _key(stored: StoredEvent) -> tuple[str, int]:
    return stored.event.lease_id, stored.number


def _insert(connection: sa.Connection, rows: dict[tuple[str, int], dict[str, Any]]) -> None:
    table = lease_events
    leases = {lease_id for lease_id, _ in rows}
    query = sa.select(table).where(table.c.lease_id.in_(leases), table.c.number >= min(n for _, n in rows))
    there = {(row.lease_id, row.number): row for row in connection.execute(query)}
    for key in rows.keys() & there.keys():
        # Ours, when the connection was lost after the commit; else somebody else keeps the same book.
        if there[key].content != rows[key]["content"] or there[key].at != rows[key]["at"]:
            raise LeaseMovedOnError(*key)
    new = [row for key, row in rows.items() if key not in there]
    if new:
        connection.execute(table.insert(), new)


def _to_row(stored: StoredEvent) -> dict[str, Any]:
    event = stored.event
    return {
        "lease_id": event.lease_id,
        "number": stored.number,
        "kind": type(event).__name__,
        "at": event.at.isoformat(),
        "content": json.dumps(event_to_json(event), sort_keys=True),
        "is_carried_out": stored.is_carried_out,
    }


def _from_row(row: sa.Row[Any]) -> StoredEvent:
    try:
        event = event_from_json(row.kind, row.lease_id, row.at, json.loads(row.content))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedLeaseError(row.lease_id, row.number, f"{type(error).__name__}: {error}") from error
    return StoredEvent(number=row.number, event=event, is_carried_out=row.is_carried_out)
