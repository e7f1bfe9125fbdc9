"""Content that was taken out is in no revision any more, and everything else is as it was."""

from datetime import timedelta

import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, purge, revisions
from ayni.hub.tables import commits_table, repository_objects_table

__all__ = ["connection"]


def test_content_is_gone_from_every_revision_of_every_branch(connection: sa.Connection) -> None:
    repository = catalogue.create(connection, "model", "me/x", visibility="public", when=WHEN)

    def change(seconds: int, ref: str = "refs/heads/main", **files: bytes) -> str:
        request = commits.CommitRequest(
            changes={path: entry(content) for path, content in files.items()},
            message=f"{seconds}",
            author="a",
            when=WHEN + timedelta(seconds=seconds),
            ref=ref,
        )
        return commits.commit(connection, repository, request).revision

    change(0, kept=b"1")
    second = change(1, secret=b"s", other=b"2")
    revisions.add_ref(connection, repository.id, "refs/heads/dev", second)
    revisions.add_ref(connection, repository.id, "refs/tags/v1", second)
    change(2, more=b"3")
    change(3, ref="refs/heads/dev", renamed=b"s", dev=b"4")

    purge.remove_content(connection, repository, {str(entry(b"s").sha256)})

    found = {}
    for ref, at in revisions.list_refs(connection, repository.id).items():
        walk = list(revisions.history(connection, repository.id, start=at))
        assert all(each.commit.sha1 == each.revision for each in walk)
        found[ref] = [
            (each.commit.message, list(revisions.read_files(connection, each.commit.tree))) for each in walk
        ]
    first_two = [("1", ["kept", "other"]), ("0", ["kept"])]
    assert found == {
        "refs/heads/main": [("2", ["kept", "more", "other"]), *first_two],
        "refs/heads/dev": [("3", ["dev", "kept", "other"]), *first_two],
        "refs/tags/v1": first_two,
    }
    assert connection.scalar(sa.select(sa.func.count()).select_from(commits_table)) == 4
    digests = set(connection.scalars(sa.select(repository_objects_table.c.sha256)))
    assert digests == {entry(content).sha256 for content in (b"1", b"2", b"3", b"4")}
