"""The first start of a hub: its admin and the token to begin with.

A hub without any user gets an admin and a token, in one transaction, so that two processes that start at once
make one of each. The token's text is returned this once; only its digest is kept.

Not covered: who lost it. Whoever may run commands on the machine makes another: `ayni hub token create`.
"""

from datetime import datetime

from ayni.database import Database
from ayni.hub import audit, members, tokens

FIRST_TOKEN = "first"


def make_first_admin(database: Database, name: str, *, now: datetime) -> str | None:
    """The token of a new admin; None where the hub has users already.

    Raises:
        NamespaceNameError, NamespaceTakenError: the admin cannot have this name.
    """
    with database.transaction() as connection:
        if members.everybody(connection, "user"):
            return None
        # What was published in process before, without users, may be under this name.
        admin = members.add(connection, name, kind="user", now=now, is_admin=True, takes_over=True)
        _, text = tokens.issue(connection, admin.id, name=FIRST_TOKEN, scope="write", now=now)
        audit.note(connection, None, "user.add", admin.name, now=now, is_admin=True)
        audit.note(connection, None, "token.issue", admin.name, now=now, scope="write")
    return text
