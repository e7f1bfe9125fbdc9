"""Make, find, rename, change, delete and list repositories; within a transaction of the caller's.

    create   takes a name for ever
    move     gives another name; the old one leads to the new one for ever
    delete   leaves the names taken; content is freed by garbage collection once nothing refers to it
    find     a repository by its name, or by one that it had

Names are compared without case. A listing is in an order that is total (what is sorted by, then the number of
the repository), so that pages neither repeat nor leave out.

Not covered: who may do this (`permissions`), and the content of commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ayni.hub.names import check_repository_name
from ayni.hub.repository import (
    Gated,
    Kind,
    Moved,
    NameTakenError,
    Repository,
    RepositoryGoneError,
    Visibility,
)
from ayni.hub.tables import names_table, refs_table, repositories_table

Sort = Literal["updated_at", "created_at", "num_downloads", "num_likes", "name"]
_COLUMNS = repositories_table.c


def create(
    connection: sa.Connection,
    kind: Kind,
    name: str,
    *,
    visibility: Visibility,
    when: datetime,
    gated: Gated = "no",
) -> Repository:
    """A new repository without commits.

    Raises:
        RepositoryNameError: the name breaks the rules.
        NameTakenError: another has it, or had it.
        RepositoryGoneError: a deleted one had it.
    """
    check_repository_name(name)
    _refuse_taken(connection, kind, name)
    values = {
        "kind": kind,
        "name": name,
        "visibility": visibility,
        "gated": gated,
        "created_at": when.isoformat(),
        "updated_at": when.isoformat(),
    }
    query = repositories_table.insert().values(values).returning(_COLUMNS.id)
    number: int = connection.execute(query).scalar_one()
    _take_name(connection, kind, name, number)
    return by_id(connection, number)


def find(connection: sa.Connection, kind: Kind, name: str) -> Repository | Moved | None:
    """The repository of this name; `Moved` where it has another name now; None without one.

    Raises:
        RepositoryGoneError: it was deleted.
    """
    query = (
        sa.select(repositories_table)
        .join(names_table, names_table.c.repository_id == _COLUMNS.id)
        .where(names_table.c.kind == kind, names_table.c.key == name.lower())
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.deleted_at is not None:
        raise RepositoryGoneError(name)
    repository = from_row(row)
    return repository if repository.name.lower() == name.lower() else Moved(repository=repository)


def by_id(connection: sa.Connection, number: int) -> Repository:
    """The repository of a number, also a deleted one."""
    return from_row(connection.execute(sa.select(repositories_table).where(_COLUMNS.id == number)).one())


def is_deleted(connection: sa.Connection, number: int) -> bool:
    """Whether the repository of a number is there no more."""
    query = sa.select(_COLUMNS.id).where(_COLUMNS.id == number, _COLUMNS.deleted_at.is_(None))
    return connection.scalar(query) is None


def move(connection: sa.Connection, repository: Repository, name: str, *, when: datetime) -> Repository:
    """Give a repository another name.

    Raises:
        RepositoryNameError, NameTakenError, RepositoryGoneError: as with `create`. A name that this
            repository had may be taken back.
    """
    check_repository_name(name)
    taken = connection.execute(
        sa.select(names_table.c.repository_id).where(
            names_table.c.kind == repository.kind, names_table.c.key == name.lower()
        )
    ).scalar()
    if taken is None:
        _take_name(connection, repository.kind, name, repository.id)
    elif taken != repository.id:
        _refuse_taken(connection, repository.kind, name)
    _update(connection, repository.id, name=name, updated_at=when.isoformat())
    return by_id(connection, repository.id)


def change(
    connection: sa.Connection,
    repository: Repository,
    *,
    visibility: Visibility | None = None,
    gated: Gated | None = None,
) -> Repository:
    """Change settings; None leaves one as it is."""
    values = {"visibility": visibility, "gated": gated}
    _update(connection, repository.id, **{name: value for name, value in values.items() if value is not None})
    return by_id(connection, repository.id)


def touch(connection: sa.Connection, repository_id: int, *, when: datetime) -> None:
    """Note that the repository changed."""
    _update(connection, repository_id, updated_at=when.isoformat())


def delete(connection: sa.Connection, repository: Repository, *, when: datetime) -> None:
    """Take a repository away. Its names stay taken, its refs go, so that its content can be freed."""
    _update(connection, repository.id, deleted_at=when.isoformat())
    connection.execute(refs_table.delete().where(refs_table.c.repository_id == repository.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a listing; `cursor` asks for the next part, None at the end."""

    repositories: tuple[Repository, ...]
    cursor: tuple[Any, int] | None


def page(
    connection: sa.Connection,
    kind: Kind,
    *,
    visible: sa.ColumnElement[bool] | None = None,
    search: str = "",
    namespace: str | None = None,
    sort: Sort = "updated_at",
    is_descending: bool = True,
    limit: int = 100,
    cursor: tuple[Any, int] | None = None,
    only: Sequence[int] | None = None,
) -> Page:
    """Repositories in order, `limit` at most.

    Args:
        connection: a transaction.
        kind: of what is listed.
        visible: what the caller may see, as a condition on `hub_repositories`; None = all.
        search: words that the name holds, in any order.
        namespace: of one owner.
        sort: what is sorted by.
        is_descending: largest first.
        limit: of one page.
        cursor: where the page before ended.
        only: numbers that another filter left over.
    """
    conditions = [_COLUMNS.kind == kind, _COLUMNS.deleted_at.is_(None)]
    if visible is not None:
        conditions.append(visible)
    lowered = sa.func.lower(_COLUMNS.name)
    conditions += [lowered.contains(word.lower(), autoescape=True) for word in search.split()]
    if namespace is not None:
        conditions.append(lowered.startswith(f"{namespace.lower()}/", autoescape=True))
    if only is not None:
        conditions.append(_COLUMNS.id.in_(list(only)))
    column = _COLUMNS[sort]
    if cursor is not None:
        value, number = cursor
        after = column < value if is_descending else column > value
        beside = _COLUMNS.id < number if is_descending else _COLUMNS.id > number
        conditions.append(sa.or_(after, sa.and_(column == value, beside)))
    order = [column.desc(), _COLUMNS.id.desc()] if is_descending else [column, _COLUMNS.id]
    query = sa.select(repositories_table).where(*conditions).order_by(*order).limit(limit + 1)
    rows = connection.execute(query).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        repositories=tuple(from_row(row) for row in rows[:limit]),
        cursor=None if last is None else (getattr(last, sort), last.id),
    )


def names(connection: sa.Connection, kind: Kind) -> list[str]:
    """All repositories of a kind as they are spelled, in alphabetical order."""
    query = sa.select(_COLUMNS.name).where(_COLUMNS.kind == kind, _COLUMNS.deleted_at.is_(None))
    return list(connection.scalars(query.order_by(_COLUMNS.name)))


def _refuse_taken(connection: sa.Connection, kind: Kind, name: str) -> None:
    found = find(connection, kind, name)
    if isinstance(found, Moved):
        raise NameTakenError(name, found.repository.name)
    if found is not None:
        raise NameTakenError(name, found.name)


def _take_name(connection: sa.Connection, kind: Kind, name: str, number: int) -> None:
    connection.execute(names_table.insert().values(kind=kind, key=name.lower(), repository_id=number))


def _update(connection: sa.Connection, number: int, **values: object) -> None:
    if values:
        connection.execute(repositories_table.update().where(_COLUMNS.id == number).values(**values))


def from_row(row: sa.Row[Any]) -> Repository:
    """A repository, from a row with all columns of its table."""
    return Repository(
        id=row.id,
        kind=row.kind,
        name=row.name,
        visibility=row.visibility,
        gated=row.gated,
        created_at=datetime.fromisoformat(row.created_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        num_downloads=row.num_downloads,
        num_likes=row.num_likes,
    )
