"""Every line of the audit log is bound to the one before, so that no change of it goes unnoticed."""

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection

from ayni.hub import audit
from ayni.hub.audit import BrokenAuditLogError
from ayni.hub.callers import Caller
from ayni.hub.member_tables import audit_log_table

__all__ = ["connection"]

ADA = Caller(user="ada", token="laptop")


def write_three(connection: sa.Connection) -> None:
    audit.note(connection, None, "user.add", "ada", now=WHEN)
    audit.note(connection, ADA, "role.set", "lab", now=WHEN, user="ben", role="write")
    audit.note(connection, ADA, "token.revoke", "ada", now=WHEN, number=3)


def test_a_line_says_who_did_what_with_which_token(connection: sa.Connection) -> None:
    write_three(connection)

    newest, middle, oldest = audit.lines(connection)

    assert (middle.actor, middle.token, middle.action, middle.subject) == ("ada", "laptop", "role.set", "lab")
    assert middle.detail == {"user": "ben", "role": "write"}
    assert (oldest.actor, oldest.sequence, newest.sequence) == (None, 1, 3)
    assert newest.previous_hash == middle.hash
    assert middle.to_json()["at"] == WHEN.isoformat()


def test_lines_come_newest_first_in_pages(connection: sa.Connection) -> None:
    write_three(connection)

    first = audit.lines(connection, limit=2)
    rest = audit.lines(connection, before=first[-1].sequence, limit=2)

    assert [line.sequence for line in first + rest] == [3, 2, 1]


def test_a_whole_log_is_found_whole(connection: sa.Connection) -> None:
    assert audit.verify(connection) == 0
    write_three(connection)
    assert audit.verify(connection) == 3


@pytest.mark.parametrize(
    "column", ["at", "actor", "token", "action", "subject", "detail", "previous_hash", "hash"]
)
def test_no_column_can_be_changed(connection: sa.Connection, column: str) -> None:
    write_three(connection)
    other = {"at": "2020-01-01T00:00:00+00:00", "detail": '{"user":"eve"}'}.get(column, "eve")
    rows = audit_log_table.update().where(audit_log_table.c.sequence == 2)
    connection.execute(rows.values({column: other}))

    with pytest.raises(BrokenAuditLogError) as caught:
        audit.verify(connection)
    assert caught.value.sequence == 2


@pytest.mark.parametrize(("removed", "noticed_at"), [(1, 2), (2, 3)])
def test_no_line_can_be_taken_out(connection: sa.Connection, removed: int, noticed_at: int) -> None:
    write_three(connection)
    connection.execute(audit_log_table.delete().where(audit_log_table.c.sequence == removed))

    with pytest.raises(BrokenAuditLogError) as caught:
        audit.verify(connection)
    assert caught.value.sequence == noticed_at
