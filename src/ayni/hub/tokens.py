"""Tokens: what they look like, and how they are issued, found, used up and revoked.

    hf_ + 40 random characters + 6 characters of checksum, all of 0-9 A-Z a-z

The beginning is what secret scanners look for; the checksum lets them, and us, tell a token from a typing
error without a database. Only the SHA-256 of a token is kept, so that who reads the database cannot sign in.

    scope          read or write, at most
    fine-grained   good for named repositories only; elsewhere its holder is an outsider who may read what is
                   public

Not covered: passwords, and signing in through a browser.

Source: the shape with its checksum is GitHub's (engineering blog, April 2021, "Behind GitHub's new
authentication token formats"), the beginning is that of the Hugging Face Hub.
"""

import binascii
import hashlib
import re
import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ayni.errors import UserError
from ayni.hub.callers import Scope
from ayni.hub.member_tables import token_repositories_table, tokens_table

BEGINNING = "hf_"
RANDOM_CHARACTERS = 40
CHECKSUM_CHARACTERS = 6
SHOWN_CHARACTERS = 7
LONGEST_NAME = 100
_BASE_62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(rf"{BEGINNING}([0-9A-Za-z]{{{RANDOM_CHARACTERS}}})([0-9A-Za-z]{{{CHECKSUM_CHARACTERS}}})")
_COLUMNS = tokens_table.c


class TokenRequestError(UserError):
    """A token cannot be issued as asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"No token was made: {reason}.")


class TokenNotFoundError(UserError):
    """The member has no such token."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(
            f"You have no token with the number {number}. List your tokens to see their numbers."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as its owner sees it later: everything but the token itself."""

    id: int
    user_id: int
    name: str
    beginning: str
    scope: Scope
    scoped_to: frozenset[int] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    def has_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


def new_token() -> str:
    """A new random token."""
    characters = "".join(secrets.choice(_BASE_62) for _ in range(RANDOM_CHARACTERS))
    return BEGINNING + characters + _checksum(characters)


def is_well_formed(text: str) -> bool:
    """Whether this can be a token at all."""
    found = _SHAPE.fullmatch(text)
    return found is not None and _checksum(found[1]) == found[2]


def token_digest(text: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(text.encode()).hexdigest()


def issue(
    connection: sa.Connection,
    user_id: int,
    *,
    name: str,
    scope: Scope,
    now: datetime,
    scoped_to: Collection[int] | None = None,
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """A new token of a member: what is kept of it, and its text, which is shown this once.

    Raises:
        TokenRequestError: no name, a name that the member has given already, or a time that is over.
    """
    _check_request(connection, user_id, name, expires_at, now)
    text = new_token()
    values = {
        "user_id": user_id,
        "name": name,
        "digest": token_digest(text),
        "beginning": text[:SHOWN_CHARACTERS],
        "scope": scope,
        "is_fine_grained": scoped_to is not None,
        "created_at": now.isoformat(),
        "expires_at": None if expires_at is None else expires_at.isoformat(),
    }
    number: int = connection.execute(tokens_table.insert().values(values).returning(_COLUMNS.id)).scalar_one()
    if scoped_to:
        rows = [{"token_id": number, "repository_id": each} for each in sorted(scoped_to)]
        connection.execute(token_repositories_table.insert(), rows)
    made = by_digest(connection, token_digest(text))
    assert made is not None, "it was inserted above"
    return made, text


def by_digest(connection: sa.Connection, digest: str) -> Token | None:
    """The token with this digest, unless it was revoked."""
    query = sa.select(tokens_table).where(_COLUMNS.digest == digest, _COLUMNS.revoked_at.is_(None))
    row = connection.execute(query).one_or_none()
    return None if row is None else _from_row(connection, row)


def of_user(connection: sa.Connection, user_id: int) -> list[Token]:
    """A member's tokens that were not revoked, oldest first."""
    query = sa.select(tokens_table).where(_COLUMNS.user_id == user_id, _COLUMNS.revoked_at.is_(None))
    return [_from_row(connection, row) for row in connection.execute(query.order_by(_COLUMNS.id)).all()]


def revoke(connection: sa.Connection, user_id: int, number: int, *, now: datetime) -> None:
    """Take a member's token back, at once and for ever.

    Raises:
        TokenNotFoundError: the member has no such token, or revoked it before.
    """
    query = (
        tokens_table.update()
        .where(_COLUMNS.id == number, _COLUMNS.user_id == user_id, _COLUMNS.revoked_at.is_(None))
        .values(revoked_at=now.isoformat())
    )
    if connection.execute(query).rowcount == 0:
        raise TokenNotFoundError(number)


def revoke_all(connection: sa.Connection, user_id: int, *, now: datetime) -> None:
    """Take all tokens of a member back."""
    query = tokens_table.update().where(_COLUMNS.user_id == user_id, _COLUMNS.revoked_at.is_(None))
    connection.execute(query.values(revoked_at=now.isoformat()))


def note_use(connection: sa.Connection, number: int, *, now: datetime) -> None:
    """Remember when a token was used last."""
    connection.execute(
        tokens_table.update().where(_COLUMNS.id == number).values(last_used_at=now.isoformat())
    )


def _check_request(
    connection: sa.Connection, user_id: int, name: str, expires_at: datetime | None, now: datetime
) -> None:
    if not name.strip() or len(name) > LONGEST_NAME:
        raise TokenRequestError(f"it needs a name of 1 to {LONGEST_NAME} characters")
    if expires_at is not None and expires_at <= now:
        raise TokenRequestError(f"it would have expired at {expires_at.isoformat()}, which is over")
    if any(each.name == name for each in of_user(connection, user_id)):
        raise TokenRequestError(f"you have one called {name!r}; choose another name, or revoke that one")


def _checksum(characters: str) -> str:
    number, digits = binascii.crc32(characters.encode()), ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_BASE_62))
        digits = _BASE_62[digit] + digits
    return digits


def _from_row(connection: sa.Connection, row: sa.Row[Any]) -> Token:
    columns = token_repositories_table.c
    query = sa.select(columns.repository_id).where(columns.token_id == row.id)
    return Token(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        beginning=row.beginning,
        scope=row.scope,
        scoped_to=frozenset(connection.scalars(query)) if row.is_fine_grained else None,
        created_at=datetime.fromisoformat(row.created_at),
        expires_at=_time(row.expires_at),
        last_used_at=_time(row.last_used_at),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
