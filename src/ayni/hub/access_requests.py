"""Requests for access to gated repositories: asked once, answered by the owners, kept as a record.

    gated "auto"      asking is enough
    gated "manual"    somebody with the role admin answers
    pending -> accepted | rejected | (cancelled: taken back by who asked); an answer may be changed later

What was filled in and the revision whose terms could be read stay with the request: they say what was agreed
to.

Not covered: telling people of answers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ayni.errors import UserError
from ayni.hub.member_tables import access_requests_table, namespaces_table
from ayni.hub.repository import Repository
from ayni.signing import canonical_json

Status = Literal["pending", "accepted", "rejected"]
MOST_FIELD_BYTES = 16_384
_COLUMNS = access_requests_table.c


class AccessRequestError(UserError):
    """Access cannot be asked for or answered like this."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} Nothing was changed.")


class AccessRequestNotFoundError(UserError):
    """Nobody of this name has asked for access."""

    def __init__(self, who: str, repository: str) -> None:
        self.who = who
        super().__init__(f"There is no request for access to {repository} by {who}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """Who asked for access to what, and what was answered."""

    id: int
    repository_id: int
    user_id: int
    user: str
    full_name: str
    email: str | None
    status: Status
    fields: Mapping[str, Any]
    revision: str | None
    asked_at: datetime
    answered_by: str | None
    reason: str | None


def ask(
    connection: sa.Connection,
    repository: Repository,
    user_id: int,
    *,
    fields: Mapping[str, Any],
    revision: str | None,
    now: datetime,
) -> AccessRequest:
    """Ask for access. Whoever asked before gets the request as it stands.

    Raises:
        AccessRequestError: the repository is not gated, or too much was filled in.
    """
    if repository.gated == "no":
        raise AccessRequestError(f"{repository.name} is not gated: its files can be read without asking.")
    try:
        text = canonical_json(dict(fields)).decode()
    except (ValueError, RecursionError) as error:
        raise AccessRequestError(f"The fields cannot be kept: {error}.") from error
    if len(text) > MOST_FIELD_BYTES:
        raise AccessRequestError(f"The fields have {len(text)} bytes, more than {MOST_FIELD_BYTES}.")
    if (found := _of(connection, repository.id, user_id)) is not None:
        return found
    values = {
        "repository_id": repository.id,
        "user_id": user_id,
        "status": "accepted" if repository.gated == "auto" else "pending",
        "fields": text,
        "revision": revision,
        "asked_at": now.isoformat(),
    }
    connection.execute(access_requests_table.insert().values(values))
    return _known(connection, repository.id, user_id)


def answer(
    connection: sa.Connection,
    request: AccessRequest,
    status: Status,
    *,
    by: str,
    now: datetime,
    reason: str | None = None,
) -> AccessRequest:
    """Answer a request, or change the answer.

    Raises:
        AccessRequestError: a reason is given with anything but a rejection.
    """
    if reason is not None and status != "rejected":
        raise AccessRequestError("A reason is given with a rejection only.")
    values = {"status": status, "answered_at": now.isoformat(), "answered_by": by, "reason": reason}
    connection.execute(access_requests_table.update().where(_COLUMNS.id == request.id).values(values))
    return _known(connection, request.repository_id, request.user_id)


def grant(
    connection: sa.Connection, repository: Repository, user_id: int, *, by: str, now: datetime
) -> AccessRequest:
    """Give access to somebody who did not ask.

    Raises:
        AccessRequestError: the repository is not gated, or the user has asked and must be answered.
    """
    if repository.gated == "no":
        raise AccessRequestError(f"{repository.name} is not gated: its files can be read without asking.")
    if (found := _of(connection, repository.id, user_id)) is not None:
        raise AccessRequestError(f"{found.user} has asked already; the request is {found.status}.")
    values = {
        "repository_id": repository.id,
        "user_id": user_id,
        "status": "accepted",
        "fields": "{}",
        "asked_at": now.isoformat(),
        "answered_at": now.isoformat(),
        "answered_by": by,
    }
    connection.execute(access_requests_table.insert().values(values))
    return _known(connection, repository.id, user_id)


def withdraw(connection: sa.Connection, repository: Repository, user_id: int) -> None:
    """Take a request back, and with it the access.

    Raises:
        AccessRequestNotFoundError: there is none.
        AccessRequestError: it was rejected; that stays, or asking again would be a way around the answer.
    """
    if find(connection, repository, user_id=user_id).status == "rejected":
        raise AccessRequestError("The request was rejected and cannot be taken back.")
    mine = sa.and_(_COLUMNS.repository_id == repository.id, _COLUMNS.user_id == user_id)
    connection.execute(access_requests_table.delete().where(mine))


def of_repository(
    connection: sa.Connection, repository_id: int, status: Status, *, limit: int = 1000, after: int = 0
) -> list[AccessRequest]:
    """Requests in this state by their numbers, from the one after `after` on."""
    query = _select().where(
        _COLUMNS.repository_id == repository_id, _COLUMNS.status == status, _COLUMNS.id > after
    )
    return [_from_row(row) for row in connection.execute(query.order_by(_COLUMNS.id).limit(limit)).all()]


def find(
    connection: sa.Connection,
    repository: Repository,
    *,
    user_id: int | None = None,
    number: int | None = None,
) -> AccessRequest:
    """One request of a repository, by who asked or by its number.

    Raises:
        AccessRequestNotFoundError: there is none.
    """
    wanted = _COLUMNS.id == number if user_id is None else _COLUMNS.user_id == user_id
    row = connection.execute(_select().where(_COLUMNS.repository_id == repository.id, wanted)).one_or_none()
    if row is None:
        raise AccessRequestNotFoundError(
            f"number {number}" if user_id is None else "this user", repository.name
        )
    return _from_row(row)


def granted_to(connection: sa.Connection, user_id: int) -> frozenset[int]:
    """The gated repositories, by number, that let a user in."""
    query = sa.select(_COLUMNS.repository_id).where(
        _COLUMNS.user_id == user_id, _COLUMNS.status == "accepted"
    )
    return frozenset(connection.scalars(query))


def _select() -> sa.Select[Any]:
    people = namespaces_table.c
    return sa.select(access_requests_table, people.name, people.full_name, people.email).join(
        namespaces_table, sa.and_(people.id == _COLUMNS.user_id, people.deleted_at.is_(None))
    )


def _of(connection: sa.Connection, repository_id: int, user_id: int) -> AccessRequest | None:
    query = _select().where(_COLUMNS.repository_id == repository_id, _COLUMNS.user_id == user_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _from_row(row)


def _known(connection: sa.Connection, repository_id: int, user_id: int) -> AccessRequest:
    found = _of(connection, repository_id, user_id)
    assert found is not None, "it was written in this transaction"
    return found


def _from_row(row: sa.Row[Any]) -> AccessRequest:
    return AccessRequest(
        id=row.id,
        repository_id=row.repository_id,
        user_id=row.user_id,
        user=row.name,
        full_name=row.full_name,
        email=row.email,
        status=row.status,
        fields=json.loads(row.fields),
        revision=row.revision,
        asked_at=datetime.fromisoformat(row.asked_at),
        answered_by=row.answered_by,
        reason=row.reason,
    )
