"""Tokens of the chunk store: short-lived, signed, and good for one repository.

The hub decides once who may read or write; the token says what it decided. It carries what the member may
read, so that chunks are found again in what is theirs to read and nowhere else.

The key that hides the hashes of chunks in answers follows from who asks, for what, and the day, so that an
answer tells a member nothing about another's, and an old answer nothing about today's.

Not covered: how the hub decides.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ayni.hub.callers import Caller
from ayni.hub.tickets import Tickets
from ayni.hub.xet.hashes import from_text, to_text

TOKEN_LASTS = timedelta(minutes=15)
LINK_LASTS = timedelta(minutes=15)
ANSWER_KEY_CHANGES_EVERY = timedelta(days=1)

_TOKEN, _LINK = "xet-token", "xet-link"
# A header of a request may have 64 KiB with everything else in it.
_LONGEST_ROLES = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class XetGrant:
    """What a token lets do: read or write chunks of one repository, as this caller."""

    caller: Caller
    repository_id: int
    may_write: bool

    @property
    def user(self) -> str:
        """In whose name."""
        return self.caller.user or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class XorbLink:
    """What a link lets read: the bytes [start, stop) of one xorb, to whom a repository's file was shown."""

    xorb: bytes
    start: int
    stop: int
    repository_id: int
    credential: str | None = None


def issue_token(tickets: Tickets, grant: XetGrant, *, now: datetime) -> tuple[str, datetime]:
    """A token and when it ends."""
    claims = {
        "repository": grant.repository_id,
        "write": grant.may_write,
        "caller": _caller_claims(grant.caller),
    }
    return tickets.issue(_TOKEN, claims, now=now, lifetime=TOKEN_LASTS), now + TOKEN_LASTS


def read_token(tickets: Tickets, token: str, *, now: datetime) -> XetGrant:
    """What a token lets do.

    Raises:
        BadTicketError: it is none, or has expired.
    """
    claims = tickets.read(_TOKEN, token, now=now)
    return XetGrant(
        caller=_caller(claims["caller"]),
        repository_id=claims["repository"],
        may_write=claims["write"],
    )


def issue_link(tickets: Tickets, link: XorbLink, *, now: datetime) -> str:
    """A ticket for a part of a xorb; it needs no token beside it."""
    claims = {
        "xorb": to_text(link.xorb),
        "start": link.start,
        "stop": link.stop,
        "repository": link.repository_id,
        "by": link.credential,
    }
    return tickets.issue(_LINK, claims, now=now, lifetime=LINK_LASTS)


def read_link(tickets: Tickets, ticket: str, *, now: datetime) -> XorbLink:
    """What a ticket lets read.

    Raises:
        BadTicketError: it is none, or has expired.
    """
    claims = tickets.read(_LINK, ticket, now=now)
    return XorbLink(
        xorb=from_text(claims["xorb"]),
        start=claims["start"],
        stop=claims["stop"],
        repository_id=claims["repository"],
        credential=claims["by"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerKey:
    """A key for the chunk hashes of an answer, and its period [begins_at, ends_at)."""

    key: bytes
    begins_at: datetime
    ends_at: datetime


def answer_key(secret: bytes, grant: XetGrant, *, now: datetime) -> AnswerKey:
    """The key of this member, repository and day."""
    period = int(ANSWER_KEY_CHANGES_EVERY.total_seconds())
    begins = int(now.timestamp()) // period * period
    text = json.dumps(["xet-answer", grant.user, grant.repository_id, begins])
    return AnswerKey(
        key=hmac.new(secret, text.encode(), hashlib.sha256).digest(),
        begins_at=datetime.fromtimestamp(begins, UTC),
        ends_at=datetime.fromtimestamp(begins + period, UTC),
    )


def _caller_claims(caller: Caller) -> dict[str, Any]:
    own = {
        "user": caller.user,
        "scope": caller.scope,
        "scoped_to": None if caller.scoped_to is None else sorted(caller.scoped_to),
        "is_admin": caller.is_admin,
        "credential": caller.credential,
    }
    more = {
        "roles": dict(caller.roles),
        "repository_roles": {str(number): role for number, role in caller.repository_roles.items()},
        "granted": sorted(caller.granted),
    }
    # Without them fewer chunks are found again, and nothing else changes.
    return {**own, **more} if len(json.dumps(more)) <= _LONGEST_ROLES else own


def _caller(claims: Mapping[str, Any]) -> Caller:
    scoped_to = claims["scoped_to"]
    return Caller(
        user=claims["user"],
        scope=claims["scope"],
        scoped_to=None if scoped_to is None else frozenset(scoped_to),
        is_admin=claims["is_admin"],
        roles=claims.get("roles", {}),
        repository_roles={int(number): role for number, role in claims.get("repository_roles", {}).items()},
        granted=frozenset(claims.get("granted", ())),
        credential=claims["credential"],
    )
