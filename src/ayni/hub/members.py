"""Users and organisations, and who is what where; within a transaction of the caller's.

    users share one space of names with organisations, compared without case
    a name is given once: who is removed keeps it, so that nobody inherits another's address
    a user is admin of its own namespace, and has a role in each organisation that it is in
    a role in one repository wins over the role in its namespace

Not covered: renaming, which would have to rename repositories, and invitations that wait for an answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ayni.errors import UserError
from ayni.hub import tokens
from ayni.hub.callers import Role
from ayni.hub.member_tables import memberships_table, namespaces_table, repository_roles_table
from ayni.hub.names import RepositoryNameError, check_repository_name
from ayni.hub.tables import repositories_table

NamespaceKind = Literal["user", "organisation"]

# First parts of addresses that are the hub's own.
RESERVED = """
about api assets audit blog buckets cas collections dashboard datasets device docs health hub join kernels
leaderboard leaderboards lfs login logout member members models new notifications oauth oauth2 operator
organisations organizations pages papers pricing privacy raw register resolve robots.txt search security
settings signin signup space spaces static status storage terms tokens users web webhooks xet
"""
RESERVED_NAMES = frozenset(RESERVED.split())

_COLUMNS = namespaces_table.c


class NamespaceNameError(UserError):
    """A user or organisation cannot have this name."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"{name!r} cannot be the name of a user or organisation: {reason}.")


class NamespaceTakenError(UserError):
    """Somebody has this name, or had it."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(
            f"{name} cannot be made: {reason}. Names are not given again, so that nobody gets another's "
            "address; choose another name."
        )


class UnknownNamespaceError(UserError):
    """No user or organisation has this name."""

    def __init__(self, name: str, kind: NamespaceKind | None) -> None:
        self.name = name
        super().__init__(f"There is no {kind or 'user or organisation'} {name!r} here.")


class LastAdminError(UserError):
    """Nobody would be left who may administer."""

    def __init__(self, place: str) -> None:
        self.place = place
        super().__init__(f"{place} would have no admin left. Make somebody else admin first.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A user or an organisation."""

    id: int
    name: str
    kind: NamespaceKind
    full_name: str
    email: str | None
    is_admin: bool
    created_at: datetime

    @property
    def key(self) -> str:
        """What the name is compared by."""
        return self.name.lower()


def add(
    connection: sa.Connection,
    name: str,
    *,
    kind: NamespaceKind,
    now: datetime,
    full_name: str = "",
    email: str | None = None,
    is_admin: bool = False,
    takes_over: bool = False,
) -> Namespace:
    """A new user or organisation. `takes_over` gives it the repositories that are under this name already.

    Raises:
        NamespaceNameError: the name breaks the rules or is the hub's own.
        NamespaceTakenError: it is or was somebody's, or repositories are under it and are not to be taken
            over.
    """
    _check_name(name)
    _refuse_taken(connection, name, takes_over=takes_over)
    values = {
        "key": name.lower(),
        "name": name,
        "kind": kind,
        "full_name": full_name or name,
        "email": email,
        "is_admin": is_admin,
        "created_at": now.isoformat(),
    }
    connection.execute(namespaces_table.insert().values(values))
    return get(connection, name)


def find(connection: sa.Connection, name: str) -> Namespace | None:
    """The user or organisation of this name; None without one, or when it was removed."""
    query = sa.select(namespaces_table).where(_COLUMNS.key == name.lower(), _COLUMNS.deleted_at.is_(None))
    row = connection.execute(query).one_or_none()
    return None if row is None else _from_row(row)


def get(connection: sa.Connection, name: str, kind: NamespaceKind | None = None) -> Namespace:
    """The user or organisation of this name.

    Raises:
        UnknownNamespaceError: there is none, or it is of the other kind.
    """
    found = find(connection, name)
    if found is None or kind not in (None, found.kind):
        raise UnknownNamespaceError(name, kind)
    return found


def by_id(connection: sa.Connection, number: int) -> Namespace | None:
    """The user or organisation of a number; None when it was removed."""
    query = sa.select(namespaces_table).where(_COLUMNS.id == number, _COLUMNS.deleted_at.is_(None))
    row = connection.execute(query).one_or_none()
    return None if row is None else _from_row(row)


def everybody(connection: sa.Connection, kind: NamespaceKind) -> list[Namespace]:
    """All users or all organisations by name."""
    query = sa.select(namespaces_table).where(_COLUMNS.kind == kind, _COLUMNS.deleted_at.is_(None))
    return [_from_row(row) for row in connection.execute(query.order_by(_COLUMNS.key)).all()]


def remove(connection: sa.Connection, namespace: Namespace, *, now: datetime) -> None:
    """Remove a user or organisation: roles and tokens end, the name stays taken, repositories stay.

    Raises:
        LastAdminError: it is the hub's last admin, or the last one of an organisation.
    """
    if namespace.kind == "user":
        if namespace.is_admin:
            _keep_an_admin_of_the_hub(connection, namespace)
        for organisation, role in organisations_of(connection, namespace):
            if role == "admin":
                _keep_an_admin(connection, organisation, without=namespace)
        tokens.revoke_all(connection, namespace.id, now=now)
        for table in (memberships_table, repository_roles_table):
            connection.execute(table.delete().where(table.c.user_id == namespace.id))
    else:
        gone = memberships_table.c.organisation_id == namespace.id
        connection.execute(memberships_table.delete().where(gone))
    connection.execute(
        namespaces_table.update().where(_COLUMNS.id == namespace.id).values(deleted_at=now.isoformat())
    )


def set_hub_admin(connection: sa.Connection, user: Namespace, is_admin: bool) -> None:
    """Make a user an admin of the hub, or no longer.

    Raises:
        LastAdminError: it is the last one.
    """
    if user.is_admin and not is_admin:
        _keep_an_admin_of_the_hub(connection, user)
    connection.execute(namespaces_table.update().where(_COLUMNS.id == user.id).values(is_admin=is_admin))


def set_role(connection: sa.Connection, organisation: Namespace, user: Namespace, role: Role | None) -> None:
    """Give a user a role in an organisation; None takes it out.

    Raises:
        LastAdminError: nobody would be left who may administer the organisation.
    """
    if role != "admin" and roles_of(connection, user.id).get(organisation.key) == "admin":
        _keep_an_admin(connection, organisation, without=user)
    columns = memberships_table.c
    connection.execute(
        memberships_table.delete().where(
            columns.user_id == user.id, columns.organisation_id == organisation.id
        )
    )
    if role is not None:
        values = {"user_id": user.id, "organisation_id": organisation.id, "role": role}
        connection.execute(memberships_table.insert().values(values))


def set_repository_role(
    connection: sa.Connection, repository_id: int, user: Namespace, role: Role | None
) -> None:
    """Give a user a role in one repository; None leaves the role in its namespace."""
    columns = repository_roles_table.c
    connection.execute(
        repository_roles_table.delete().where(
            columns.user_id == user.id, columns.repository_id == repository_id
        )
    )
    if role is not None:
        values = {"user_id": user.id, "repository_id": repository_id, "role": role}
        connection.execute(repository_roles_table.insert().values(values))


def roles_of(connection: sa.Connection, user_id: int) -> Mapping[str, Role]:
    """A user's roles in organisations, by lower-case name."""
    query = (
        sa.select(_COLUMNS.key, memberships_table.c.role)
        .join(memberships_table, memberships_table.c.organisation_id == _COLUMNS.id)
        .where(memberships_table.c.user_id == user_id, _COLUMNS.deleted_at.is_(None))
    )
    return {row.key: row.role for row in connection.execute(query)}


def repository_roles_of(connection: sa.Connection, user_id: int) -> Mapping[int, Role]:
    """A user's roles in single repositories, by number."""
    columns = repository_roles_table.c
    query = sa.select(columns.repository_id, columns.role).where(columns.user_id == user_id)
    return {row.repository_id: row.role for row in connection.execute(query)}


def organisations_of(connection: sa.Connection, user: Namespace) -> list[tuple[Namespace, Role]]:
    """The organisations that a user is in, by name, and what it is there."""
    query = (
        sa.select(namespaces_table, memberships_table.c.role)
        .join(memberships_table, memberships_table.c.organisation_id == _COLUMNS.id)
        .where(memberships_table.c.user_id == user.id, _COLUMNS.deleted_at.is_(None))
    )
    return [(_from_row(row), row.role) for row in connection.execute(query.order_by(_COLUMNS.key)).all()]


def members_of(connection: sa.Connection, organisation: Namespace) -> list[tuple[Namespace, Role]]:
    """The users in an organisation, by name, and what they are there."""
    query = (
        sa.select(namespaces_table, memberships_table.c.role)
        .join(memberships_table, memberships_table.c.user_id == _COLUMNS.id)
        .where(memberships_table.c.organisation_id == organisation.id, _COLUMNS.deleted_at.is_(None))
    )
    return [(_from_row(row), row.role) for row in connection.execute(query.order_by(_COLUMNS.key)).all()]


def roles_in_repository(connection: sa.Connection, repository_id: int) -> list[tuple[Namespace, Role]]:
    """The users with a role in one repository, by name."""
    query = (
        sa.select(namespaces_table, repository_roles_table.c.role)
        .join(repository_roles_table, repository_roles_table.c.user_id == _COLUMNS.id)
        .where(repository_roles_table.c.repository_id == repository_id, _COLUMNS.deleted_at.is_(None))
    )
    return [(_from_row(row), row.role) for row in connection.execute(query.order_by(_COLUMNS.key)).all()]


def _check_name(name: str) -> None:
    try:
        check_repository_name(f"{name}/name")
    except RepositoryNameError as error:
        reason = "letters, digits, and - _ . inside are allowed, in 96 characters at most"
        raise NamespaceNameError(name, reason) from error
    if name.lower() in RESERVED_NAMES:
        raise NamespaceNameError(name, "addresses of the hub itself begin with it")


def _refuse_taken(connection: sa.Connection, name: str, *, takes_over: bool) -> None:
    query = sa.select(namespaces_table).where(_COLUMNS.key == name.lower())
    if (row := connection.execute(query).one_or_none()) is not None:
        raise NamespaceTakenError(name, "it is there already" if row.deleted_at is None else "it was removed")
    columns = repositories_table.c
    here = sa.func.lower(columns.name).startswith(f"{name.lower()}/", autoescape=True)
    count = connection.scalar(sa.select(sa.func.count()).select_from(repositories_table).where(here)) or 0
    if count and not takes_over:
        raise NamespaceTakenError(
            name, f"{count} repositories are under this name, which the hub itself made"
        )


def _keep_an_admin(connection: sa.Connection, organisation: Namespace, *, without: Namespace) -> None:
    others = [user for user, role in members_of(connection, organisation) if role == "admin"]
    if all(user.id == without.id for user in others):
        raise LastAdminError(organisation.name)


def _keep_an_admin_of_the_hub(connection: sa.Connection, without: Namespace) -> None:
    if not any(user.is_admin and user.id != without.id for user in everybody(connection, "user")):
        raise LastAdminError("The hub")


def _from_row(row: sa.Row[Any]) -> Namespace:
    return Namespace(
        id=row.id,
        name=row.name,
        kind=row.kind,
        full_name=row.full_name,
        email=row.email,
        is_admin=row.is_admin,
        created_at=datetime.fromisoformat(row.created_at),
    )
