"""Each path is told the commit that changed it last."""

from datetime import timedelta

import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, last_commits, revisions

__all__ = ["connection"]


def test_each_path_has_the_commit_that_changed_it_last(connection: sa.Connection) -> None:
    repository = catalogue.create(connection, "model", "me/digits", visibility="public", when=WHEN)
    made = []
    for number, path in enumerate(["old", "folder/a", "folder/b", "folder/a", "new"]):
        request = commits.CommitRequest(
            changes={path: entry(f"{number}".encode())},
            message=f"{number}",
            author="a",
            when=WHEN + timedelta(seconds=number),
        )
        made.append(commits.commit(connection, repository, request).revision)
    commit = revisions.read_commit(connection, repository.id, made[-1])
    assert commit is not None
    ids = {path: each.git_sha1 for path, each in revisions.walk(connection, commit.tree)}

    found = last_commits.find(connection, repository.id, made[-1], ids)

    changed = {path: made.index(each.revision) for path, each in found.items()}
    assert changed == {"old": 0, "folder": 3, "folder/a": 3, "folder/b": 2, "new": 4}


def test_a_history_that_goes_on_longer_than_is_looked_at_leaves_paths_without_an_answer(
    connection: sa.Connection,
) -> None:
    repository = catalogue.create(connection, "model", "me/digits", visibility="public", when=WHEN)
    revision = ""
    for number in range(4):
        request = commits.CommitRequest(
            changes={f"{number}": entry(b"x")},
            message=f"{number}",
            author="a",
            when=WHEN + timedelta(seconds=number),
        )
        revision = commits.commit(connection, repository, request).revision

    found = last_commits.find(
        connection, repository.id, revision, {"3": entry(b"x").git_sha1, "0": entry(b"x").git_sha1}, limit=2
    )

    assert list(found) == ["3"]
