"""Garbage collection: free what nothing refers to, in a grace period's distance, while the hub works on.

    uploads that were given up -> deleted repositories -> commits and trees that no ref leads to
    -> files made of chunks -> chunks -> objects -> files of processes that died

Each step only makes the next one find more, so it may be broken off anywhere and begun again: what is freed
first are rows, in transactions, then bytes that no row names. A dry run changes nothing and says what a run
now would free; what waits for its grace period, and what hangs on it, is counted apart.

Not covered: snapshots as plain folders, which are copies, and giving space back to the device (SQLite reuses
its own).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from ayni.database import Database
from ayni.hub import garbage, unreachable
from ayni.hub.content import ContentStore
from ayni.hub.garbage import GarbageKind
from ayni.hub.revisions import MAX_VARIABLES
from ayni.hub.tables import commits_table, repositories_table, repository_objects_table
from ayni.hub.uploads import received_table, upload_parts_table, uploads_table
from ayni.hub.xet import garbage as xet_garbage
from ayni.hub.xet.chunk_reader import ChunkReader
from ayni.hub.xet.tables import file_xorbs_table, files_table, xorbs_table

GRACE = timedelta(hours=24)
FREED_ARE_REMEMBERED = timedelta(days=7)
_BATCH = 1_000
# Others wait while objects are removed, so only few at once.
_REMOVED_AT_ONCE = 50


class Listed(Protocol):
    """A store that can be looked through."""

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Names of all objects with the bytes that they take."""
        ...

    def incoming_files(self) -> Sequence[tuple[str, int, datetime | None]]:
        """Files on their way in: name, bytes, time of the last change."""
        ...

    def remove_incoming(self, name: str) -> None:
        """Remove one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One store: how it is looked through, and how an object is removed from it."""

    listed: Listed
    content: ContentStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How many, and how many bytes."""

    count: int = 0
    num_bytes: int = 0

    def plus(self, count: int, num_bytes: int) -> "Amount":
        """Both together."""
        return Amount(count=self.count + count, num_bytes=self.num_bytes + num_bytes)

    def to_json(self) -> dict[str, int]:
        """Plain JSON values."""
        return {"count": self.count, "bytes": self.num_bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What was freed, or would be; `waiting` is what must be seen unused once more, later."""

    is_dry_run: bool
    grace: timedelta
    uploads: int = 0
    repositories: int = 0
    commits: int = 0
    trees: int = 0
    files_of_chunks: int = 0
    chunks: Amount = field(default_factory=Amount)
    objects: Amount = field(default_factory=Amount)
    incoming: Amount = field(default_factory=Amount)
    waiting: Amount = field(default_factory=Amount)

    @property
    def num_bytes(self) -> int:
        """Of everything that was freed."""
        return self.chunks.num_bytes + self.objects.num_bytes + self.incoming.num_bytes

    def freed(self, kind: GarbageKind, amount: Amount) -> "Collected":
        """The same with more objects of a store freed."""
        if kind == "xorb":
            return replace(self, chunks=_plus(self.chunks, amount))
        return replace(self, objects=_plus(self.objects, amount))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "dry_run": self.is_dry_run,
            "grace_hours": self.grace / timedelta(hours=1),
            "freed_bytes": self.num_bytes,
            "uploads": self.uploads,
            "repositories": self.repositories,
            "commits": self.commits,
            "trees": self.trees,
            "files_of_chunks": self.files_of_chunks,
            "chunks": self.chunks.to_json(),
            "objects": self.objects.to_json(),
            "incoming": self.incoming.to_json(),
            "waiting": self.waiting.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Frees what one hub does not need.

    Attributes:
        database: rows.
        objects: whole files.
        xorbs: chunks.
        now: the clock.
        grace: how long something must be unused.
        chunk_grace: the same for chunks, which clients remember and build on.
    """

    database: Database
    objects: Place
    xorbs: Place
    now: Callable[[], datetime]
    grace: timedelta = GRACE
    chunk_grace: timedelta = xet_garbage.CLIENTS_REMEMBER

    def run(self) -> Collected:
        """Free everything that is due."""
        now = self.now()
        before, chunks_before = now - self.grace, now - max(self.grace, self.chunk_grace)
        done = Collected(is_dry_run=False, grace=self.grace)
        with self.database.transaction() as connection:
            done = replace(
                done,
                uploads=_end_uploads(connection, before=before),
                repositories=unreachable.free_deleted_repositories(connection, before=before),
            )
        done = replace(done, commits=unreachable.free_commits(self.database, now=now, before=before))
        done = replace(done, trees=unreachable.free_trees(self.database))
        with self.database.transaction() as connection:
            done = replace(done, files_of_chunks=xet_garbage.free_files(connection, before=before))
        done = replace(done, chunks=self._free_chunks(chunks_before))
        for kind, place in self._places:
            freed, waiting = self._sweep(kind, place, now=now, before=before)
            done = replace(
                done.freed(kind, freed),
                waiting=done.waiting.plus(waiting.count, waiting.num_bytes),
                incoming=_plus(done.incoming, _remove_incoming(place.listed, before=before)),
            )
        with self.database.transaction() as connection:
            garbage.forget_freed(connection, before=now - FREED_ARE_REMEMBERED)
        return done

    def look(self) -> Collected:
        """What `run` would free now, but for what hangs on things that it would free first."""
        now = self.now()
        before, chunks_before = now - self.grace, now - max(self.grace, self.chunk_grace)
        with self.database.reading() as connection:
            found = Collected(
                is_dry_run=True,
                grace=self.grace,
                uploads=_count(connection, uploads_table, uploads_table.c.begun_at < before.isoformat()),
                repositories=_num_deleted(connection, before),
                commits=_due_commits(connection, before),
                trees=len(unreachable.unreachable_trees(connection)),
                files_of_chunks=_unused_files(connection, before),
                chunks=_unused_chunks(connection, chunks_before),
            )
            for kind, place in self._places:
                for names in _batches(place.listed.sizes()):
                    sizes = self._unused(connection, kind, dict(names))
                    due = _due(connection, kind, sizes, before)
                    freed = _amount(sizes, due)
                    left = _amount(sizes, set(sizes) - due)
                    found = replace(
                        found.freed(kind, freed),
                        waiting=_plus(found.waiting, left),
                    )
                old = _old_incoming(place.listed, before=before)
                found = replace(found, incoming=found.incoming.plus(len(old), sum(old.values())))
        return found

    @property
    def _places(self) -> tuple[tuple[GarbageKind, Place], ...]:
        return (("xorb", self.xorbs), ("object", self.objects))

    def _free_chunks(self, before: datetime) -> Amount:
        with self.database.reading() as connection:
            count = _unused_chunks(connection, before).count
        chunks = ChunkReader(self.database, self.xorbs.content)
        num_bytes = xet_garbage.free_xorbs(self.database, self.xorbs.content, chunks, before=before)
        return Amount(count=count, num_bytes=num_bytes)

    def _sweep(
        self, kind: GarbageKind, place: Place, *, now: datetime, before: datetime
    ) -> tuple[Amount, Amount]:
        """Note what is unused, and free what was noted before a moment."""
        freed = waiting = Amount()
        for listed in _batches(place.listed.sizes()):
            with self.database.reading() as connection:
                sizes = self._unused(connection, kind, dict(listed))
                noted = garbage.noted_since(connection, kind, [name for name, _ in listed])
            fresh = {name for name in sizes if noted.get(name) is None}
            used_again = {name for name, since in noted.items() if name not in sizes and since is not None}
            if fresh or used_again:
                with self.database.transaction() as connection:
                    garbage.note(connection, kind, fresh, now=now)
                    garbage.forget(connection, kind, used_again)
            with self.database.reading() as connection:
                due = sorted(_due(connection, kind, sizes, before))
            for start in range(0, len(due), _REMOVED_AT_ONCE):
                removed = self._remove(kind, place, due[start : start + _REMOVED_AT_ONCE], now)
                freed = freed.plus(len(removed), sum(sizes[name] for name in removed))
            left = set(sizes) - set(due)
            waiting = waiting.plus(len(left), sum(sizes[name] for name in left))
        return freed, waiting

    def _remove(self, kind: GarbageKind, place: Place, names: Sequence[str], now: datetime) -> set[str]:
        with self.database.transaction() as connection:
            # Asked once more, with nobody else writing: a commit may have come for it.
            unused = set(self._unused(connection, kind, dict.fromkeys(names, 0)))
            noted = garbage.noted_since(connection, kind, unused)
            gone = {name for name in unused if noted.get(name) is not None}
            for name in sorted(gone):
                place.content.delete(name)
            garbage.note_freed(connection, kind, gone, now=now)
        return gone

    def _unused(self, connection: sa.Connection, kind: GarbageKind, sizes: dict[str, int]) -> dict[str, int]:
        columns = (
            (xorbs_table.c.object_name,)
            if kind == "xorb"
            else (repository_objects_table.c.sha256, received_table.c.sha256, upload_parts_table.c.sha256)
        )
        names = list(sizes)
        used: set[str] = set()
        for column in columns:
            for start in range(0, len(names), MAX_VARIABLES):
                used.update(
                    connection.scalars(
                        sa.select(column).where(column.in_(names[start : start + MAX_VARIABLES]))
                    )
                )
        return {name: size for name, size in sizes.items() if name not in used}


def _end_uploads(connection: sa.Connection, *, before: datetime) -> int:
    """Forget uploads in parts that were given up, and content that came and was never committed."""
    columns = uploads_table.c
    old = list(connection.scalars(sa.select(columns.id).where(columns.begun_at < before.isoformat())))
    for upload in old:
        connection.execute(upload_parts_table.delete().where(upload_parts_table.c.upload_id == upload))
        connection.execute(uploads_table.delete().where(columns.id == upload))
    # What was committed is linked; the note that it came is needed no longer either way.
    connection.execute(received_table.delete().where(received_table.c.received_at < before.isoformat()))
    return len(old)


def _count(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table).where(condition)) or 0


def _num_deleted(connection: sa.Connection, before: datetime) -> int:
    places = repositories_table.c
    holds = sa.exists().where(commits_table.c.repository_id == places.id)
    return _count(connection, repositories_table, sa.and_(places.deleted_at < before.isoformat(), holds))


def _due_commits(connection: sa.Connection, before: datetime) -> int:
    found = unreachable.unreachable_commits(connection)
    names = [f"{number}:{each}" for number, several in found.items() for each in several]
    noted = garbage.noted_since(connection, "commit", names)
    return sum(since is not None and since <= before for since in noted.values())


def _unused_files(connection: sa.Connection, before: datetime) -> int:
    columns = files_table.c
    linked = sa.exists().where(repository_objects_table.c.sha256 == columns.sha256)
    received = sa.exists().where(received_table.c.sha256 == columns.sha256)
    unused = sa.and_(columns.registered_at < before.isoformat(), ~linked, ~received)
    return _count(connection, files_table, unused)


def _unused_chunks(connection: sa.Connection, before: datetime) -> Amount:
    columns = xorbs_table.c
    used = sa.exists().where(file_xorbs_table.c.xorb == columns.xorb)
    total = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(columns.stored_bytes), 0))
    row = connection.execute(
        total.select_from(xorbs_table).where(columns.received_at < before.isoformat(), ~used)
    ).one()
    return Amount(count=row[0], num_bytes=int(row[1]))


def _due(connection: sa.Connection, kind: GarbageKind, sizes: dict[str, int], before: datetime) -> set[str]:
    noted = garbage.noted_since(connection, kind, list(sizes))
    return {name for name, since in noted.items() if since is not None and since <= before}


def _amount(sizes: dict[str, int], names: set[str]) -> Amount:
    return Amount(count=len(names), num_bytes=sum(sizes[name] for name in names))


def _plus(one: Amount, other: Amount) -> Amount:
    return one.plus(other.count, other.num_bytes)


def _old_incoming(listed: Listed, *, before: datetime) -> dict[str, int]:
    return {
        name: size
        for name, size, changed_at in listed.incoming_files()
        if changed_at is not None and changed_at < before
    }


def _remove_incoming(listed: Listed, *, before: datetime) -> Amount:
    old = _old_incoming(listed, before=before)
    for name in old:
        listed.remove_incoming(name)
    return Amount(count=len(old), num_bytes=sum(old.values()))


def _batches(pairs: Iterator[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    several: list[tuple[str, int]] = []
    for pair in pairs:
        several.append(pair)
        if len(several) == _BATCH:
            yield several
            several = []
    if several:
        yield several
