"""A duplicate has the commits, branches, tags and content of its source, and none of its pull requests."""

import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, revisions
from ayni.hub.duplication import duplicate
from ayni.hub.tables import repository_objects_table

__all__ = ["connection"]


def test_a_duplicate_has_everything_but_the_pull_requests(connection: sa.Connection) -> None:
    source = catalogue.create(connection, "model", "me/digits", visibility="private", when=WHEN)
    request = commits.CommitRequest(changes={"a": entry(b"1")}, message="m", author="a", when=WHEN)
    made = commits.commit(connection, source, request)
    revisions.add_ref(connection, source.id, "refs/tags/v1", made.revision)
    revisions.add_ref(connection, source.id, "refs/pr/1", made.revision)

    copy = duplicate(connection, source, "you/digits", visibility="public", when=WHEN)

    assert copy.visibility == "public" and copy.id != source.id
    assert revisions.list_refs(connection, copy.id) == {
        "refs/heads/main": made.revision,
        "refs/tags/v1": made.revision,
    }
    assert [each.revision for each in revisions.history(connection, copy.id)] == [made.revision]
    columns = repository_objects_table.c
    query = sa.select(columns.sha256).where(columns.repository_id == copy.id)
    assert list(connection.scalars(query)) == [entry(b"1").sha256]


def test_a_commit_to_the_duplicate_leaves_the_source_as_it_was(connection: sa.Connection) -> None:
    source = catalogue.create(connection, "model", "me/digits", visibility="public", when=WHEN)
    request = commits.CommitRequest(changes={"a": entry(b"1")}, message="m", author="a", when=WHEN)
    made = commits.commit(connection, source, request)
    copy = duplicate(connection, source, "you/digits", visibility="public", when=WHEN)

    request = commits.CommitRequest(changes={"b": entry(b"2")}, message="m", author="a", when=WHEN)
    second = commits.commit(connection, copy, request)

    assert revisions.head(connection, source.id) == made.revision
    assert revisions.head(connection, copy.id) == second.revision
