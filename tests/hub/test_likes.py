"""Likes are counted once, and shown as far as a reader may see."""

import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection
from tests.hub.member_rows import repository, user

from ayni.hub import catalogue, likes, members
from ayni.hub.callers import ANONYMOUS
from ayni.hub.permissions import visible

__all__ = ["connection"]


def test_a_like_counts_once(connection: sa.Connection) -> None:
    here = repository(connection, "me/digits")
    for name in ("ada", "ADA", "ben"):
        likes.like(connection, here.id, name, when=WHEN)
    assert catalogue.by_id(connection, here.id).num_likes == 2

    likes.unlike(connection, here.id, "Ada")
    likes.unlike(connection, here.id, "nobody")

    assert catalogue.by_id(connection, here.id).num_likes == 1
    assert [each.user for each in likes.likers(connection, here.id, limit=9)] == ["ben"]


def test_likers_come_in_pages_without_those_who_left(connection: sa.Connection) -> None:
    here = repository(connection, "me/digits")
    people = {name: user(connection, name) for name in ("ada", "ben", "eve")}
    for name in people:
        likes.like(connection, here.id, name, when=WHEN)
    members.remove(connection, people["ben"], now=WHEN)

    first = likes.likers(connection, here.id, limit=1)

    assert [each.user for each in first] == ["ada"]
    assert [each.user for each in likes.likers(connection, here.id, limit=9, after="ada")] == ["eve"]


def test_a_private_repository_is_not_shown_to_who_may_not_see_it(connection: sa.Connection) -> None:
    for name, visibility in (("me/open", "public"), ("me/secret", "private")):
        likes.like(connection, repository(connection, name, visibility=visibility).id, "ada", when=WHEN)

    shown = likes.liked_by(connection, "ADA", visible=visible(ANONYMOUS), limit=9)
    everything = likes.liked_by(connection, "ada", visible=sa.true(), limit=9)

    assert [each.name for each in shown] == ["me/open"]
    assert [each.name for each in everything] == ["me/open", "me/secret"]
