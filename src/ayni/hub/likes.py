"""Who likes which repository; the count stands in the repository's own row, so that listings sort by it.

Not covered: likes of what was deleted, which are not shown.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ayni.hub.discussion_tables import likes_table
from ayni.hub.member_tables import namespaces_table
from ayni.hub.repository import Kind
from ayni.hub.tables import repositories_table

_COLUMNS = likes_table.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Liker:
    """Somebody who likes a repository."""

    user: str
    full_name: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Liked:
    """A repository that somebody likes."""

    kind: Kind
    name: str
    liked_at: datetime
    repository_id: int


def like(connection: sa.Connection, repository_id: int, user: str, *, when: datetime) -> None:
    """To like something twice is to like it once."""
    if not likes(connection, repository_id, user):
        values = {"repository_id": repository_id, "user_key": user.lower(), "user": user}
        connection.execute(likes_table.insert().values(**values, liked_at=when.isoformat()))
        _count(connection, repository_id)


def unlike(connection: sa.Connection, repository_id: int, user: str) -> None:
    """Take a like back; what was not liked stays so."""
    here = sa.and_(_COLUMNS.repository_id == repository_id, _COLUMNS.user_key == user.lower())
    connection.execute(likes_table.delete().where(here))
    _count(connection, repository_id)


def likes(connection: sa.Connection, repository_id: int, user: str) -> bool:
    """Whether a user likes a repository."""
    here = sa.and_(_COLUMNS.repository_id == repository_id, _COLUMNS.user_key == user.lower())
    return connection.scalar(sa.select(_COLUMNS.user).where(here)) is not None


def likers(connection: sa.Connection, repository_id: int, *, limit: int, after: str = "") -> list[Liker]:
    """Those who like a repository by name, from the one after `after` on; removed users are left out."""
    people = namespaces_table.c
    query = (
        sa.select(_COLUMNS.user, _COLUMNS.user_key, people.full_name)
        .outerjoin(namespaces_table, people.key == _COLUMNS.user_key)
        .where(
            _COLUMNS.repository_id == repository_id, _COLUMNS.user_key > after, people.deleted_at.is_(None)
        )
        .order_by(_COLUMNS.user_key)
        .limit(limit)
    )
    return [
        Liker(user=row.user, full_name=row.full_name or row.user, key=row.user_key)
        for row in connection.execute(query)
    ]


def liked_by(
    connection: sa.Connection, user: str, *, visible: sa.ColumnElement[bool], limit: int, after: int = 0
) -> list[Liked]:
    """What somebody likes, as far as the reader may see it, from the repository after `after` on."""
    places = repositories_table.c
    query = (
        sa.select(places.kind, places.name, places.id, _COLUMNS.liked_at)
        .join(repositories_table, places.id == _COLUMNS.repository_id)
        .where(_COLUMNS.user_key == user.lower(), places.deleted_at.is_(None), places.id > after, visible)
        .order_by(places.id)
        .limit(limit)
    )
    return [
        Liked(
            kind=row.kind,
            name=row.name,
            liked_at=datetime.fromisoformat(row.liked_at),
            repository_id=row.id,
        )
        for row in connection.execute(query)
    ]


def _count(connection: sa.Connection, repository_id: int) -> None:
    number = sa.select(sa.func.count()).where(_COLUMNS.repository_id == repository_id).scalar_subquery()
    here = repositories_table.c.id == repository_id
    connection.execute(repositories_table.update().where(here).values(num_likes=number))
