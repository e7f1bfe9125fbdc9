"""Commits come back as they were written; a request that is repeated is answered, not carried out again."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, revisions
from ayni.hub.commits import CommitRequest, StaleParentError
from ayni.hub.git_objects import TreeEntry
from ayni.hub.repository import Repository
from ayni.hub.tables import entries_table, repository_objects_table
from ayni.signing import sha256_hex

__all__ = ["connection"]


@pytest.fixture
def repository(connection: sa.Connection) -> Repository:
    return catalogue.create(connection, "model", "me/digits", visibility="public", when=WHEN)


def request(parent: str | None = None, seconds: int = 0, **files: bytes | None) -> CommitRequest:
    changes: dict[str, TreeEntry | None] = {
        path.replace("__", "/"): None if content is None else entry(content)
        for path, content in files.items()
    }
    when = WHEN + timedelta(seconds=seconds)
    return CommitRequest(changes=changes, message="Publish", author="Ada", when=when, parent=parent)


def test_files_come_back_as_they_were_committed(connection: sa.Connection, repository: Repository) -> None:
    made = commits.commit(connection, repository, request(task=b"1", receipts__deep__two=b"2"))

    commit = revisions.read_commit(connection, repository.id, made.revision)
    assert commit is not None
    assert commit.sha1 == made.revision
    files = revisions.read_files(connection, commit.tree)
    assert list(files) == ["receipts/deep/two", "task"]
    assert files["receipts/deep/two"].sha256 == sha256_hex(b"2")
    found = revisions.find_entry(connection, commit.tree, "receipts/deep")
    assert found is not None and found.is_folder
    assert revisions.find_entry(connection, commit.tree, "task/deep") is None


def test_a_change_keeps_what_it_does_not_name(connection: sa.Connection, repository: Repository) -> None:
    commits.commit(connection, repository, request(task=b"1", old=b"2"))
    second = commits.commit(connection, repository, request(seconds=1, new=b"3", old=None))

    commit = revisions.read_commit(connection, repository.id, second.revision)
    assert commit is not None
    assert list(revisions.read_files(connection, commit.tree)) == ["new", "task"]


def test_a_request_that_is_repeated_makes_one_commit(
    connection: sa.Connection, repository: Repository
) -> None:
    first = commits.commit(connection, repository, request(task=b"1"))
    again = commits.commit(connection, repository, request(task=b"1", seconds=60))

    assert again == commits.Committed(revision=first.revision, is_new=False)
    second = commits.commit(connection, repository, request(task=b"2", seconds=61, parent=first.revision))
    retried = commits.commit(connection, repository, request(task=b"2", seconds=99, parent=first.revision))
    assert retried == commits.Committed(revision=second.revision, is_new=False)


def test_what_was_taken_back_can_be_done_again(connection: sa.Connection, repository: Repository) -> None:
    first = commits.commit(connection, repository, request(task=b"1"))
    commits.commit(connection, repository, request(task=b"2", seconds=1))

    third = commits.commit(connection, repository, request(task=b"1", seconds=2))

    assert third.is_new
    assert third.revision != first.revision


def test_a_parent_that_is_not_the_newest_is_refused(
    connection: sa.Connection, repository: Repository
) -> None:
    first = commits.commit(connection, repository, request(task=b"1"))
    second = commits.commit(connection, repository, request(task=b"2", seconds=1))

    with pytest.raises(StaleParentError, match="moved on") as caught:
        commits.commit(connection, repository, request(task=b"3", seconds=2, parent=first.revision))

    assert caught.value.found == second.revision


def test_a_commit_that_changes_nothing_is_the_one_before(
    connection: sa.Connection, repository: Repository
) -> None:
    first = commits.commit(connection, repository, request(task=b"1"))

    second = commits.commit(connection, repository, replace(request(task=b"1"), message="Again"))

    assert second == commits.Committed(revision=first.revision, is_new=False)


def test_a_folder_that_did_not_change_is_stored_once(
    connection: sa.Connection, repository: Repository
) -> None:
    commits.commit(connection, repository, request(task=b"1", receipts__one=b"2"))
    commits.commit(connection, repository, request(task=b"9", seconds=1))

    # Two files and a folder for the first root, a file and the same folder for the second, and its content.
    assert connection.scalar(sa.select(sa.func.count()).select_from(entries_table)) == 2 + 2 + 1
    assert connection.scalar(sa.select(sa.func.count()).select_from(repository_objects_table)) == 3


def test_a_branch_other_than_main_must_be_there(connection: sa.Connection, repository: Repository) -> None:
    first = commits.commit(connection, repository, request(task=b"1"))

    with pytest.raises(revisions.RevisionNotFoundError):
        commits.commit(connection, repository, replace(request(task=b"2"), ref="refs/heads/dev"))

    revisions.add_ref(connection, repository.id, "refs/heads/dev", first.revision)
    second = commits.commit(connection, repository, replace(request(task=b"2"), ref="refs/heads/dev"))
    third = commits.commit(connection, repository, request(task=b"2"))
    assert revisions.head(connection, repository.id) == third.revision
    # The same change of the same parent at the same time is the same commit, on both branches.
    assert second.revision == third.revision
