"""A tree that was walked is not walked again, and the oldest walks go first."""

import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, revisions
from ayni.hub.tables import entries_table
from ayni.hub.tree_cache import TreeCache

__all__ = ["connection"]


def _tree(connection: sa.Connection, name: str, num_files: int) -> str:
    repository = catalogue.create(connection, "model", f"me/{name}", visibility="public", when=WHEN)
    changes = {f"{name}/{number}": entry(b"x") for number in range(num_files)}
    request = commits.CommitRequest(changes=changes, message="m", author="a", when=WHEN)
    made = commits.commit(connection, repository, request)
    commit = revisions.read_commit(connection, repository.id, made.revision)
    assert commit is not None
    return commit.tree


def test_what_was_walked_is_kept_until_there_is_no_room(connection: sa.Connection) -> None:
    first, second, large = (_tree(connection, name, size) for name, size in (("a", 3), ("b", 4), ("c", 20)))
    cache = TreeCache(max_entries=9)
    walked = cache.walk(connection, first)
    assert [path for path, _ in walked] == ["a", "a/0", "a/1", "a/2"]
    assert list(cache.files(connection, first)) == ["a/0", "a/1", "a/2"]
    assert len(cache.walk(connection, large)) == 21

    connection.execute(entries_table.delete().where(entries_table.c.tree.in_([first, large])))

    assert cache.walk(connection, first) == walked
    assert cache.walk(connection, large) == ()
    cache.walk(connection, second)
    assert cache.walk(connection, first) == walked
    third = _tree(connection, "d", 7)
    cache.walk(connection, third)
    assert cache.walk(connection, first) == ()
