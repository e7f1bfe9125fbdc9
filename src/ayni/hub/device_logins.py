"""Log a device in that has no browser: it shows a short code, and a member types that where they are known.

    begin -> the device polls with its secret code; its user sees the short one
    allow -> a member took the short code for theirs
    collect -> the device gets a token and a refresh token, once
    renew -> a refresh token is exchanged for a new pair; it is good once

What the device holds is kept as a digest. A refresh token that is used takes the token that came with it
back, so that two who have it are noticed by the one that comes second.

Not covered: other grants of OAuth, and clients that must be registered.

Source: RFC 8628 (device authorization grant), RFC 6749 section 6.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from ayni.database import metadata
from ayni.errors import UserError
from ayni.hub import tokens
from ayni.hub.tokens import token_digest

CODE_LASTS = timedelta(minutes=15)
TOKEN_LASTS = timedelta(days=30)
REFRESH_LASTS = timedelta(days=180)
POLL_SECONDS = 3
MOST_OPEN = 10_000
# Neither vowels, so that no words come about, nor what looks like something else (RFC 8628, section 6.1).
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_CODE_LETTERS = 8

Refusal = Literal["authorization_pending", "expired_token", "invalid_grant"]
_REASONS: Mapping[Refusal, str] = {
    "authorization_pending": "Nobody has typed the code yet.",
    "expired_token": "The code is over. Begin the login again.",
    "invalid_grant": "The refresh token is not good, or was used before. Log in again.",
}

logins_table = sa.Table(
    "hub_device_logins",
    metadata,
    sa.Column("device_digest", sa.String, primary_key=True),
    sa.Column("user_code", sa.String, nullable=False, unique=True),
    # NULL until a member allowed it.
    sa.Column("user_id", sa.Integer, nullable=True),
    sa.Column("expires_at", sa.String, nullable=False),
)

refresh_table = sa.Table(
    "hub_refresh_tokens",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("user_id", sa.Integer, nullable=False),
    sa.Column("token_id", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.String, nullable=False),
)


class DeviceLoginError(UserError):
    """A device gets no token (now); `code` is OAuth's word for why."""

    def __init__(self, code: Refusal) -> None:
        self.code = code
        super().__init__(_REASONS[code])


class UnknownUserCodeError(UserError):
    """No device shows this code, or not any more."""

    def __init__(self) -> None:
        super().__init__("No device shows this code, or its time is over. Begin the login again.")


class TooManyLoginsError(UserError):
    """More devices wait to be let in than a hub keeps in mind."""

    def __init__(self) -> None:
        super().__init__(f"{MOST_OPEN} devices wait to be let in. Try again in a few minutes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCodes:
    """What a device is given: a secret for itself, and what it shows."""

    device_code: str
    user_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTokens:
    """What a device that was let in is given."""

    access_token: str
    refresh_token: str


def begin(connection: sa.Connection, *, now: datetime) -> DeviceCodes:
    """A new login.

    Raises:
        TooManyLoginsError: too many wait.
    """
    connection.execute(logins_table.delete().where(logins_table.c.expires_at <= now.isoformat()))
    if (connection.scalar(sa.select(sa.func.count()).select_from(logins_table)) or 0) >= MOST_OPEN:
        raise TooManyLoginsError
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LETTERS))
    codes = DeviceCodes(device_code=secrets.token_urlsafe(32), user_code=f"{letters[:4]}-{letters[4:]}")
    values = {
        "device_digest": token_digest(codes.device_code),
        "user_code": codes.user_code,
        "expires_at": (now + CODE_LASTS).isoformat(),
    }
    connection.execute(logins_table.insert().values(values))
    return codes


def allow(connection: sa.Connection, user_code: str, user_id: int, *, now: datetime) -> None:
    """Let the device that shows a code act for a member.

    Raises:
        UnknownUserCodeError: there is none, or somebody let it in before.
    """
    if "\0" in user_code:  # which PostgreSQL does not compare with
        raise UnknownUserCodeError
    columns = logins_table.c
    query = logins_table.update().where(
        columns.user_code == user_code.strip().upper(),
        columns.user_id.is_(None),
        columns.expires_at > now.isoformat(),
    )
    if connection.execute(query.values(user_id=user_id)).rowcount == 0:
        raise UnknownUserCodeError


def collect(connection: sa.Connection, device_code: str, *, now: datetime) -> DeviceTokens:
    """The tokens of a device that was let in, this once.

    Raises:
        DeviceLoginError: it was not (yet), or its time is over.
    """
    columns = logins_table.c
    here = columns.device_digest == token_digest(device_code)
    row = connection.execute(sa.select(logins_table).where(here)).one_or_none()
    if row is None or row.expires_at <= now.isoformat():
        raise DeviceLoginError("expired_token")
    if row.user_id is None:
        raise DeviceLoginError("authorization_pending")
    connection.execute(logins_table.delete().where(here))
    return _issue(connection, row.user_id, now=now)


def renew(connection: sa.Connection, refresh_token: str, *, now: datetime) -> DeviceTokens:
    """A new pair for a refresh token; the pair that it belongs to ends.

    Raises:
        DeviceLoginError: it is not good, or was used before.
    """
    columns = refresh_table.c
    connection.execute(refresh_table.delete().where(columns.expires_at <= now.isoformat()))
    here = columns.digest == token_digest(refresh_token)
    row = connection.execute(sa.select(refresh_table).where(here)).one_or_none()
    if row is None or row.token_id not in [each.id for each in tokens.of_user(connection, row.user_id)]:
        # A token that was taken back is not to come back by its refresh token.
        raise DeviceLoginError("invalid_grant")
    connection.execute(refresh_table.delete().where(here))
    tokens.revoke(connection, row.user_id, row.token_id, now=now)
    return _issue(connection, row.user_id, now=now)


def _issue(connection: sa.Connection, user_id: int, *, now: datetime) -> DeviceTokens:
    made, text = tokens.issue(
        connection,
        user_id,
        name=f"device of {now:%Y-%m-%d %H:%M} {secrets.token_hex(3)}",
        scope="write",
        now=now,
        expires_at=now + TOKEN_LASTS,
    )
    refresh = f"hfr_{secrets.token_urlsafe(32)}"
    values = {"digest": token_digest(refresh), "user_id": user_id, "token_id": made.id}
    expires_at = (now + REFRESH_LASTS).isoformat()
    connection.execute(refresh_table.insert().values(**values, expires_at=expires_at))
    return DeviceTokens(access_token=text, refresh_token=refresh)
