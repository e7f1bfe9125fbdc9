"""How many bytes the repositories of a user or organisation may hold.

Counted is each content once for all repositories of a namespace, at its full size, whatever the store saves
by deduplication: what one is charged for must not depend on what others stored before.

    in repositories    the owner pays
    on its way         announced, received, or in chunks that no file uses yet: the owner pays for who may
                       write there, and who only proposes a change pays from the own namespace

Content is counted as soon as it is announced, in the transaction that lets it come, so that many uploads at
once get no more than one after another.

A namespace has a limit of its own or the hub's default; without either there is none, and nothing is counted.

Not covered: numbers of requests, rows of the database, and what an outsider's pull request leaves in the
repository of its owner, who pays for it then and may purge it.
"""

from collections.abc import Mapping
from typing import Protocol

import sqlalchemy as sa

from ayni.errors import UserError
from ayni.hub import catalogue
from ayni.hub.callers import Caller
from ayni.hub.member_tables import quotas_table
from ayni.hub.permissions import allowed
from ayni.hub.repository import Repository
from ayni.hub.revisions import MAX_VARIABLES
from ayni.hub.tables import repositories_table, repository_objects_table
from ayni.hub.uploads import received_table, uploads_table
from ayni.hub.xet.tables import file_xorbs_table, xorbs_table

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


class CheckUpload(Protocol):
    """Whether so much more may come: raises where it is too much."""

    def __call__(
        self,
        connection: sa.Connection,
        caller: Caller,
        repository: Repository,
        more: int | Mapping[str, int],
        /,
        *,
        replaces_chunks: bool = False,
    ) -> None:
        """`more` is bytes, or sizes by SHA-256, of which what is counted already is left out.

        With `replaces_chunks` it is made of chunks that came before, which then no longer count.
        """
        ...


def no_limit(
    _connection: sa.Connection,
    _caller: Caller,
    _repository: Repository,
    _more: int | Mapping[str, int],
    /,
    *,
    replaces_chunks: bool = False,
) -> None:
    """Everything fits. Fulfils CheckUpload."""


def payer_of(caller: Caller, repository: Repository) -> str:
    """The namespace that pays for what this caller sends to a repository, until a commit has it."""
    is_writer = allowed(caller, "content.write", repository) == "yes"
    return repository.namespace if is_writer or caller.user is None else caller.user


def used_bytes(connection: sa.Connection, namespace: str, *, with_chunks: bool = True) -> int:
    """Bytes that a namespace pays for; `with_chunks` also for chunks that no file uses yet."""
    contents = _counted(namespace).subquery()
    query = sa.select(sa.func.coalesce(sa.func.sum(contents.c.size_bytes), 0))
    used = int(connection.scalar(query) or 0)
    return used + _unused_chunks(connection, namespace) if with_chunks else used


def uncounted_bytes(connection: sa.Connection, namespace: str, contents: Mapping[str, int]) -> int:
    """Bytes of those contents that the namespace does not pay for yet."""
    counted, digests = _counted(namespace).subquery(), list(contents)
    known: set[str] = set()
    for start in range(0, len(digests), MAX_VARIABLES):
        part = digests[start : start + MAX_VARIABLES]
        known.update(connection.scalars(sa.select(counted.c.sha256).where(counted.c.sha256.in_(part))))
    return sum(size for digest, size in contents.items() if digest not in known)


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


def check(
    connection: sa.Connection,
    namespace: str,
    more: int | Mapping[str, int],
    *,
    with_chunks: bool = True,
) -> None:
    """Refuse what does not fit. Called before bytes are taken, and again in the transaction of the commit.

    Raises:
        QuotaExceededError: the namespace would hold more than it may.
    """
    most = limit_of(connection, namespace)
    if most is None:
        return
    more_bytes = more if isinstance(more, int) else uncounted_bytes(connection, namespace, more)
    used = used_bytes(connection, namespace, with_chunks=with_chunks)
    if used + more_bytes > most:
        raise QuotaExceededError(namespace=namespace, used_bytes=used, more_bytes=more_bytes, max_bytes=most)


def check_upload(
    connection: sa.Connection,
    caller: Caller,
    repository: Repository,
    more: int | Mapping[str, int],
    /,
    *,
    replaces_chunks: bool = False,
) -> None:
    """`check` for who pays now, and for the owner, who will. Fulfils CheckUpload.

    Raises:
        QuotaExceededError: a namespace would hold more than it may.
    """
    for namespace in {payer_of(caller, repository).lower(), repository.namespace.lower()}:
        check(connection, namespace, more, with_chunks=not replaces_chunks)


def _counted(namespace: str) -> sa.CompoundSelect[tuple[str, int]]:
    """(SHA-256, size) of all content that a namespace pays for, each once."""
    links, owners, key = repository_objects_table.c, repositories_table.c, namespace.lower()
    here = sa.func.lower(owners.name).startswith(f"{key}/", autoescape=True)
    linked = (
        sa.select(links.sha256, links.size_bytes)
        .join(repositories_table, owners.id == links.repository_id)
        .where(owners.deleted_at.is_(None), here)
    )
    came, announced = received_table.c, uploads_table.c
    in_repository = sa.exists().where(links.repository_id == came.repository_id, links.sha256 == came.sha256)
    received = sa.select(came.sha256, came.size_bytes).where(came.payer == key, ~in_repository)
    coming = sa.select(announced.sha256, announced.size_bytes).where(announced.payer == key)
    return sa.union(linked, received, coming)


def _unused_chunks(connection: sa.Connection, namespace: str) -> int:
    columns = xorbs_table.c
    used = sa.exists().where(file_xorbs_table.c.xorb == columns.xorb)
    query = sa.select(sa.func.coalesce(sa.func.sum(columns.stored_bytes), 0))
    return int(connection.scalar(query.where(columns.payer == namespace.lower(), ~used)) or 0)
