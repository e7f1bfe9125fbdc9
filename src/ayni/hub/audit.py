"""The audit log: who changed what may be done by whom, as a chain of hashes.

A line is written in the transaction of the change itself: one is there if and only if the other is. Each line
names the hash of the one before, so that none can be changed, removed or put in between unnoticed; that the
newest were cut off shows against a hash that was kept elsewhere.

Not covered: reading of files, and who signs the log (the transparency log of commits is another one).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ayni.errors import AyniError
from ayni.hub.callers import Caller
from ayni.hub.member_tables import audit_log_table
from ayni.signing import FIRST_OF_CHAIN, canonical_json, sha256_hex

_COLUMNS = audit_log_table.c


class BrokenAuditLogError(AyniError):
    """A line of the audit log does not fit the ones around it."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        super().__init__(
            f"Line {sequence} of the audit log was changed, or one before it is missing. Compare the "
            "database with a backup, and find out who could write to it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """Who did what to whom, and when. `actor` is None for the hub's operator at the command line."""

    sequence: int
    at: datetime
    actor: str | None
    token: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    previous_hash: str
    hash: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**self.hashed(), "hash": self.hash}

    def hashed(self) -> dict[str, Any]:
        """What the hash covers."""
        return {
            "sequence": self.sequence,
            "at": self.at.isoformat(),
            "actor": self.actor,
            "token": self.token,
            "action": self.action,
            "subject": self.subject,
            "detail": dict(self.detail),
            "previous_hash": self.previous_hash,
        }


def note(
    connection: sa.Connection,
    caller: Caller | None,
    action: str,
    subject: str,
    *,
    now: datetime,
    **detail: Any,
) -> AuditLine:
    """Write a line in the transaction of the change. `detail` is JSON without secrets.

    Without a caller it is the operator who does it.
    """
    last = connection.execute(
        sa.select(_COLUMNS.sequence, _COLUMNS.hash).order_by(_COLUMNS.sequence.desc()).limit(1)
    ).one_or_none()
    unhashed = AuditLine(
        sequence=1 if last is None else last.sequence + 1,
        at=now,
        actor=None if caller is None else caller.user,
        token="" if caller is None else caller.token,
        action=action,
        subject=subject,
        detail=detail,
        previous_hash=FIRST_OF_CHAIN if last is None else last.hash,
        hash="",
    )
    values = unhashed.hashed()
    values |= {"detail": canonical_json(detail).decode(), "hash": sha256_hex(canonical_json(values))}
    connection.execute(audit_log_table.insert().values(values))
    return _read(connection, unhashed.sequence)


def lines(connection: sa.Connection, *, before: int | None = None, limit: int = 100) -> list[AuditLine]:
    """The newest lines first, older than `before`."""
    query = sa.select(audit_log_table).order_by(_COLUMNS.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(_COLUMNS.sequence < before)
    return [_from_row(row) for row in connection.execute(query).all()]


def verify(connection: sa.Connection) -> int:
    """Check the whole chain; the number of lines.

    Raises:
        BrokenAuditLogError: with the first line that does not fit.
    """
    previous, count = FIRST_OF_CHAIN, 0
    for row in connection.execute(sa.select(audit_log_table).order_by(_COLUMNS.sequence)):
        line, count = _from_row(row), count + 1
        is_whole = sha256_hex(canonical_json(line.hashed())) == line.hash
        if line.sequence != count or line.previous_hash != previous or not is_whole:
            raise BrokenAuditLogError(line.sequence)
        previous = line.hash
    return count


def _read(connection: sa.Connection, sequence: int) -> AuditLine:
    row = connection.execute(sa.select(audit_log_table).where(_COLUMNS.sequence == sequence)).one()
    return _from_row(row)


def _from_row(row: sa.Row[Any]) -> AuditLine:
    return AuditLine(
        sequence=row.sequence,
        at=datetime.fromisoformat(row.at),
        actor=row.actor,
        token=row.token,
        action=row.action,
        subject=row.subject,
        detail=json.loads(row.detail),
        previous_hash=row.previous_hash,
        hash=row.hash,
    )
