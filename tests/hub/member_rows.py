"""Users, organisations and repositories, for tests of who may do what."""

import sqlalchemy as sa
from tests.hub.hub_rows import WHEN

from ayni.hub import catalogue, members
from ayni.hub.members import Namespace
from ayni.hub.repository import Repository


def user(connection: sa.Connection, name: str, *, is_admin: bool = False) -> Namespace:
    return members.add(connection, name, kind="user", now=WHEN, is_admin=is_admin)


def organisation(connection: sa.Connection, name: str, admin: Namespace) -> Namespace:
    made = members.add(connection, name, kind="organisation", now=WHEN)
    members.set_role(connection, made, admin, "admin")
    return made


def repository(
    connection: sa.Connection, name: str, *, visibility: str = "public", gated: str = "no"
) -> Repository:
    return catalogue.create(
        connection,
        "model",
        name,
        visibility=visibility,  # type: ignore[arg-type]
        gated=gated,  # type: ignore[arg-type]
        when=WHEN,
    )
