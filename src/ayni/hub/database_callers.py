"""Who a token belongs to, looked up in the database at each request, so that a revoked token ends at once.

When a token was used last is written at most once an hour for each: a reader must not become a writer with
every request.

Not covered: limits on guesses. A token has 238 random bits, and one whose checksum is wrong reaches no
database.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from ayni.database import BusyDatabaseError, Database
from ayni.hub import access_requests, members, tokens
from ayni.hub.callers import BadTokenError, Caller
from ayni.hub.tokens import Token

USE_IS_NOTED_EVERY = timedelta(hours=1)


class DatabaseCallers:
    """Members of the hub by their tokens. Fulfils CallerSource."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def caller_of(self, token: str) -> Caller:
        """The caller with this token.

        Raises:
            BadTokenError: not known, revoked or expired, or its owner was removed.
        """
        if not tokens.is_well_formed(token):
            raise BadTokenError
        return self.caller_again(tokens.token_digest(token))

    def caller_again(self, credential: str) -> Caller:
        """The caller with the token of this digest.

        Raises:
            BadTokenError: not known, revoked or expired, or its owner was removed.
        """
        now = self._now()
        with self._database.reading() as connection:
            # Found by a digest: how long the index compares says nothing about the token itself.
            found = tokens.by_digest(connection, credential)
            if found is None or found.has_expired(now):
                raise BadTokenError
            caller = replace(caller_with(connection, found), credential=credential)
        if found.last_used_at is None or now - found.last_used_at >= USE_IS_NOTED_EVERY:
            # A busy hub answers all the same; the next request notes it.
            with contextlib.suppress(BusyDatabaseError), self._database.transaction() as connection:
                tokens.note_use(connection, found.id, now=now)
        return caller


def caller_with(connection: sa.Connection, token: Token) -> Caller:
    """The caller that a token stands for, with all its roles.

    Raises:
        BadTokenError: its owner was removed.
    """
    user = members.by_id(connection, token.user_id)
    if user is None:
        raise BadTokenError
    return Caller(
        user=user.name,
        token=token.name,
        scope=token.scope,
        scoped_to=token.scoped_to,
        is_admin=user.is_admin,
        roles=members.roles_of(connection, user.id),
        repository_roles=members.repository_roles_of(connection, user.id),
        granted=access_requests.granted_to(connection, user.id),
    )
