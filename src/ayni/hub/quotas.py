"""How many bytes the repositories of a user or organisation may hold.

Counted is each content once for all repositories of a namespace, at its full size, whatever the store saves
by deduplication: what one is charged for must not depend on what others stored before.

A namespace has a limit of its own or the hub's default; without either there is none, and nothing is counted.

Not covered: content that no commit refers to yet, and numbers of requests.
"""

import sqlalchemy as sa

from ayni.errors import UserError
from ayni.hub import catalogue
from ayni.hub.callers import Caller
from ayni.hub.member_tables import quotas_table
from ayni.hub.repository import Repository
from ayni.hub.tables import repositories_table, repository_objects_table

# No namespace has this key.
DEFAULT = ""


class QuotaExceededError(UserError):
    """A namespace would hold more than it may."""

    def __init__(self, *, namespace: str, used_bytes: int, more_bytes: int, max_bytes: int) -> None:
        self.namespace = namespace
        self.used_bytes = used_bytes
        self.more_bytes = more_bytes
        self.max_bytes = max_bytes
        super().__init__(
            f"{namespace} holds {used_bytes} bytes and may hold {max_bytes}; {more_bytes} more do not fit. "
            "Delete what is not needed, or ask an admin of the hub for more."
        )


def set_limit(connection: sa.Connection, namespace: str, max_bytes: int | None) -> None:
    """Limit a namespace, or with `DEFAULT` all that have no limit of their own; None = without a limit.

    Raises:
        ValueError: less than nothing.
    """
    if max_bytes is not None and max_bytes < 0:
        raise ValueError(f"a limit of {max_bytes} bytes is less than nothing")
    drop_limit(connection, namespace)
    values = {"namespace_key": namespace.lower(), "max_bytes": max_bytes}
    connection.execute(quotas_table.insert().values(values))


def drop_limit(connection: sa.Connection, namespace: str) -> None:
    """Let the default count for a namespace again."""
    connection.execute(quotas_table.delete().where(quotas_table.c.namespace_key == namespace.lower()))


def limit_of(connection: sa.Connection, namespace: str) -> int | None:
    """Bytes that a namespace may hold; None = without a limit."""
    columns = quotas_table.c
    query = sa.select(quotas_table).where(columns.namespace_key.in_([namespace.lower(), DEFAULT]))
    found = {row.namespace_key: row.max_bytes for row in connection.execute(query)}
    return found.get(namespace.lower(), found.get(DEFAULT))


def used_bytes(connection: sa.Connection, namespace: str) -> int:
    """Bytes that the repositories of a namespace hold."""
    links, owners = repository_objects_table.c, repositories_table.c
    contents = (
        sa.select(links.sha256, links.size_bytes)
        .join(repositories_table, owners.id == links.repository_id)
        .where(
            owners.deleted_at.is_(None),
            sa.func.lower(owners.name).startswith(f"{namespace.lower()}/", autoescape=True),
        )
        .distinct()
        .subquery()
    )
    return int(connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(contents.c.size_bytes), 0))) or 0)


def used_by_repository(
    connection: sa.Connection, namespace: str, *, visible: sa.ColumnElement[bool], after: int, limit: int
) -> list[tuple[Repository, int]]:
    """Repositories of a namespace, in the order of their numbers, with the bytes that each holds.

    Args:
        connection: a transaction.
        namespace: whose.
        visible: what the caller may see, as a condition on `hub_repositories`.
        after: the number behind which to begin.
        limit: of how many.
    """
    links, owners = repository_objects_table.c, repositories_table.c
    query = (
        sa.select(repositories_table, sa.func.coalesce(sa.func.sum(links.size_bytes), 0).label("used"))
        .outerjoin(repository_objects_table, owners.id == links.repository_id)
        .where(
            owners.id > after,
            owners.deleted_at.is_(None),
            sa.func.lower(owners.name).startswith(f"{namespace.lower()}/", autoescape=True),
            visible,
        )
        .group_by(owners.id)
        .order_by(owners.id)
        .limit(limit)
    )
    return [(catalogue.from_row(row), int(row.used)) for row in connection.execute(query)]


def check(connection: sa.Connection, namespace: str, more_bytes: int) -> None:
    """Refuse what does not fit. Called before bytes are taken, and again in the transaction of the commit.

    Raises:
        QuotaExceededError: the namespace would hold more than it may.
    """
    most = limit_of(connection, namespace)
    if most is None:
        return
    used = used_bytes(connection, namespace)
    if used + more_bytes > most:
        raise QuotaExceededError(namespace=namespace, used_bytes=used, more_bytes=more_bytes, max_bytes=most)


def check_upload(connection: sa.Connection, _caller: Caller, repository: Repository, more_bytes: int) -> None:
    """`check` for the namespace of a repository: it is the owner who pays, whoever uploads.

    Raises:
        QuotaExceededError: the namespace would hold more than it may.
    """
    check(connection, repository.namespace, more_bytes)
