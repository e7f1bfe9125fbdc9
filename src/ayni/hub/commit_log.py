"""The transparency log: every commit of the hub, as a chain of hashes whose newest one the hub signs.

    opening       what happened: repository, ref, revision, parent, tree, and a random salt
    commitment    SHA-256 of the opening
    entry         number, commitment, hash of the entry before -> its own hash

Whoever writes a commit writes its entry in the same transaction; there is one place for it, so that no way
around it exists. Entries are for all members, openings for those who may see the repository: who may not
learns that something was committed somewhere, and not where or what. Yet the hub cannot change it later.

A signature of an entry's hash speaks for all entries before it as well. Two members to whom the hub shows
different logs find out by comparing what it signed.

Not covered: branches and tags that are made, moved or deleted without a commit; commits before the log began.

Source: Laurie et al., "Certificate Transparency", RFC 6962, 2013, for signed heads of a log that is only
added to. Ours is a chain and no tree: who checks it reads all of it.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ayni.database import metadata
from ayni.hub.git_objects import Commit
from ayni.hub.tables import repositories_table
from ayni.signing import FIRST_OF_CHAIN, SigningKey, canonical_json, sha256_hex, sign_record

HEAD_SCHEMA = "ayni/commit-log-head/1"
ENTRY_SCHEMA = "ayni/commit-log/1"
Happened = Literal["commit", "squash", "rewrite", "duplicate"]

commit_log_table = sa.Table(
    "hub_commit_log",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("repository_id", sa.Integer, nullable=False),
    # JSON.
    sa.Column("opening", sa.String, nullable=False),
    sa.Column("commitment", sa.String, nullable=False),
    sa.Column("previous_hash", sa.String, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
    # JSON of the signed head, where the hub had its key at hand.
    sa.Column("signed_head", sa.String, nullable=True),
    sa.Index("ix_hub_commit_log_repository", "repository_id"),
)
_COLUMNS = commit_log_table.c


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry; `opening` is None for who may not see the repository, `signed_head` where nobody signed."""

    sequence: int
    commitment: str
    previous_hash: str
    hash: str
    opening: Mapping[str, Any] | None = None
    signed_head: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "sequence": self.sequence,
            "commitment": self.commitment,
            "previous_hash": self.previous_hash,
            "hash": self.hash,
            "opening": None if self.opening is None else dict(self.opening),
            "signed_head": None if self.signed_head is None else dict(self.signed_head),
        }


def entry_hash(sequence: int, commitment: str, previous_hash: str) -> str:
    """The hash of an entry."""
    said = {
        "schema": ENTRY_SCHEMA,
        "sequence": sequence,
        "commitment": commitment,
        "previous_hash": previous_hash,
    }
    return sha256_hex(canonical_json(said))


def commitment_of(opening: Mapping[str, Any]) -> str:
    """What an entry says of its opening."""
    return sha256_hex(canonical_json(dict(opening)))


def append(
    connection: sa.Connection,
    repository_id: int,
    commit: Commit,
    *,
    revision: str,
    ref: str | None,
    how: Happened,
) -> int:
    """Enter a commit in the transaction that writes it; the number of the entry.

    `ref` is None where no ref was put at the commit.
    """
    opening = {
        # So that nobody finds out by trying what an entry is about.
        "salt": secrets.token_hex(16),
        "repository": repository_id,
        "ref": ref,
        "revision": revision,
        "parent": commit.parent,
        "tree": commit.tree,
        "committed_at": commit.when.isoformat(),
        "how": how,
    }
    sequence, previous_hash = _last(connection)
    commitment = commitment_of(opening)
    values = {
        "sequence": sequence + 1,
        "repository_id": repository_id,
        "opening": canonical_json(opening).decode(),
        "commitment": commitment,
        "previous_hash": previous_hash,
        "hash": entry_hash(sequence + 1, commitment, previous_hash),
    }
    connection.execute(commit_log_table.insert().values(values))
    return sequence + 1


def sign_newest(connection: sa.Connection, key: SigningKey, *, now: datetime) -> None:
    """Sign the newest entry, and with it all before, in the transaction that wrote it."""
    signed = head(connection, key, now=now)
    here = _COLUMNS.sequence == signed["sequence"]
    connection.execute(
        commit_log_table.update().where(here).values(signed_head=canonical_json(signed).decode())
    )


def head(connection: sa.Connection, key: SigningKey, *, now: datetime) -> dict[str, Any]:
    """How long the log is and what its newest hash is, signed now."""
    sequence, newest = _last(connection)
    # Not `hash`: that is the name of the signed record's own.
    body = {"schema": HEAD_SCHEMA, "sequence": sequence, "newest": newest, "at": now.isoformat()}
    return sign_record(body, key)


def entries(
    connection: sa.Connection, *, after: int, limit: int, visible: sa.ColumnElement[bool]
) -> list[LogEntry]:
    """Entries in order from the one after `after` on; with openings of what the reader may see.

    Args:
        connection: to read from.
        after: number of the last entry that the reader has.
        limit: of one page.
        visible: `permissions.visible(caller)`.
    """
    places = repositories_table.c
    is_seen = sa.and_(places.deleted_at.is_(None), visible)
    query = (
        sa.select(commit_log_table, is_seen.label("is_seen"))
        .outerjoin(repositories_table, places.id == _COLUMNS.repository_id)
        .where(_COLUMNS.sequence > after)
        .order_by(_COLUMNS.sequence)
        .limit(limit)
    )
    return [
        LogEntry(
            sequence=row.sequence,
            commitment=row.commitment,
            previous_hash=row.previous_hash,
            hash=row.hash,
            opening=json.loads(row.opening) if row.is_seen else None,
            signed_head=None if row.signed_head is None else json.loads(row.signed_head),
        )
        for row in connection.execute(query)
    ]


def _last(connection: sa.Connection) -> tuple[int, str]:
    query = sa.select(_COLUMNS.sequence, _COLUMNS.hash).order_by(_COLUMNS.sequence.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return (0, FIRST_OF_CHAIN) if row is None else (row.sequence, row.hash)
