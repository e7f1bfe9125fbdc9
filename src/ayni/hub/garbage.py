"""What waits to be freed: nothing goes before it was seen unused twice, a grace period apart.

    seen unused            noted with the time
    seen unused again,     freed: in one transaction the row is asked once more whether anything uses it, the
    long enough after      object is removed, and the row says so
    used meanwhile         the note is removed

An upload may find that its content is stored already while that is about to be freed. So a commit asks for
notes about what it names (`keeping`): the note goes, or, when the object is gone, the commit is refused and
the client sends it again. Freeing and committing are transactions that write, and those take turns; so of the
two one sees the other, and no commit names what was freed.

Not covered: what is unused; `collection.py` finds out.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from ayni.database import metadata
from ayni.errors import AyniError
from ayni.hub.commits import BeforeCommit, CommitRequest
from ayni.hub.content import ContentStore
from ayni.hub.repository import Repository
from ayni.hub.revisions import MAX_VARIABLES

GarbageKind = Literal["object", "xorb", "commit"]

garbage_table = sa.Table(
    "hub_garbage",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("found_at", sa.String, nullable=False),
    # Kept for a while: an upload that began before may still count on it.
    sa.Column("freed_at", sa.String, nullable=True),
)
_COLUMNS = garbage_table.c


class FreedContentError(AyniError):
    """Content was freed while a commit that names it was on its way."""

    def __init__(self, digests: Collection[str]) -> None:
        self.digests = tuple(digests)
        super().__init__(
            f"{len(self.digests)} files of the commit were stored long ago, unused, and freed a moment ago. "
            "Nothing was committed; send the commit again."
        )


def keeping(content: ContentStore) -> BeforeCommit:
    """What keeps the content of a commit from being freed, for `CommitHooks.before`."""

    def keep(connection: sa.Connection, _repository: Repository, request: CommitRequest) -> None:
        entries = [*request.changes.values(), *request.derived.values()]
        digests = sorted({each.sha256 for each in entries if each is not None and each.sha256 is not None})
        noted = noted_since(connection, "object", digests)
        if gone := [digest for digest in noted if not content.has(digest)]:
            raise FreedContentError(gone)
        forget(connection, "object", noted)

    return keep


def noted_since(
    connection: sa.Connection, kind: GarbageKind, names: Collection[str]
) -> dict[str, datetime | None]:
    """Those of some names that are noted: since when, or None for what was freed."""
    found: dict[str, datetime | None] = {}
    wanted = list(names)
    for start in range(0, len(wanted), MAX_VARIABLES):
        part = wanted[start : start + MAX_VARIABLES]
        query = sa.select(garbage_table).where(_COLUMNS.kind == kind, _COLUMNS.name.in_(part))
        for row in connection.execute(query):
            found[row.name] = None if row.freed_at is not None else datetime.fromisoformat(row.found_at)
    return found


def all_noted(connection: sa.Connection, kind: GarbageKind) -> list[str]:
    """Names that wait to be freed."""
    query = sa.select(_COLUMNS.name).where(_COLUMNS.kind == kind, _COLUMNS.freed_at.is_(None))
    return list(connection.scalars(query))


def note(connection: sa.Connection, kind: GarbageKind, names: Iterable[str], *, now: datetime) -> None:
    """Note that names were seen unused; what was freed earlier under one of them begins anew."""
    wanted = sorted(set(names))
    forget(connection, kind, wanted)
    rows = [{"kind": kind, "name": name, "found_at": now.isoformat(), "freed_at": None} for name in wanted]
    if rows:
        connection.execute(garbage_table.insert(), rows)


def note_freed(
    connection: sa.Connection, kind: GarbageKind, names: Collection[str], *, now: datetime
) -> None:
    """Say that names were freed."""
    connection.execute(
        garbage_table.update()
        .where(_COLUMNS.kind == kind, _COLUMNS.name.in_(list(names)))
        .values(freed_at=now.isoformat())
    )


def forget(connection: sa.Connection, kind: GarbageKind, names: Iterable[str]) -> None:
    """Remove notes: what they are about is used, or is nothing any more."""
    wanted = list(names)
    for start in range(0, len(wanted), MAX_VARIABLES):
        part = wanted[start : start + MAX_VARIABLES]
        connection.execute(garbage_table.delete().where(_COLUMNS.kind == kind, _COLUMNS.name.in_(part)))


def forget_freed(connection: sa.Connection, *, before: datetime) -> None:
    """Remove notes of what was freed long ago."""
    connection.execute(garbage_table.delete().where(_COLUMNS.freed_at < before.isoformat()))
