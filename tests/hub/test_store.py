"""Rows of the hub: commits and trees come back as they were written, and a branch moves only from its end."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from ayni.database import Database
from ayni.hub import store
from ayni.hub.git_objects import FILE_MODE, Commit, TreeEntry, Trees, blob_sha1, build_trees
from ayni.signing import sha256_hex

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
NAME = "me/digits"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.cluster)])
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Connection]:
    is_file = request.param == "sqlite"
    database = Database(
        tmp_path / "state.db" if is_file else request.getfixturevalue("postgresql").new_database()
    )
    with database.transaction() as opened:
        yield opened
    database.close()


def trees_of(**contents: bytes) -> Trees:
    files = {
        name.replace("__", "/"): TreeEntry(
            name=name,
            mode=FILE_MODE,
            git_sha1=blob_sha1(content),
            sha256=sha256_hex(content),
            size_bytes=len(content),
        )
        for name, content in contents.items()
    }
    return build_trees(files)


def commit_of(trees: Trees, parent: str | None = None) -> Commit:
    return Commit(tree=trees.root, parent=parent, author="Ada <ada@x>", message="Publish", when=WHEN)


def test_a_new_hub_has_nothing(connection: sa.Connection) -> None:
    assert store.repository_names(connection) == []
    assert store.head(connection, NAME) is None
    assert store.read_commit(connection, NAME, "0" * 40) is None


def test_a_commit_and_its_files_come_back_as_they_were_written(connection: sa.Connection) -> None:
    trees = trees_of(task=b"1", receipts__one=b"2", receipts__deep__two=b"3")
    commit = commit_of(trees)

    store.add_commit(connection, NAME, commit, trees, publish_key="run-1")

    assert store.read_commit(connection, NAME, commit.sha1) == commit
    files = store.read_files(connection, commit.tree)
    assert list(files) == ["receipts/deep/two", "receipts/one", "task"]
    assert files["receipts/deep/two"].sha256 == sha256_hex(b"3")
    assert store.head(connection, NAME) == commit.sha1
    assert store.revision_of_key(connection, NAME, "run-1") == commit.sha1
    assert store.revision_of_key(connection, NAME, "run-2") is None


def test_the_branch_moves_only_from_its_newest_revision(connection: sa.Connection) -> None:
    trees = trees_of(task=b"1")
    first = commit_of(trees)
    store.add_commit(connection, NAME, first, trees, publish_key=None)

    with pytest.raises(store.MovedBranchError, match="publish again"):
        store.add_commit(connection, NAME, commit_of(trees), trees, publish_key=None)

    second = commit_of(trees, parent=first.sha1)
    store.add_commit(connection, NAME, second, trees, publish_key=None)
    assert store.revisions(connection, NAME) == [second.sha1, first.sha1]


def test_a_folder_that_did_not_change_is_stored_once(connection: sa.Connection) -> None:
    before, after = trees_of(task=b"1", receipts__one=b"2"), trees_of(task=b"9", receipts__one=b"2")
    first = commit_of(before)
    store.add_commit(connection, NAME, first, before, publish_key=None)

    store.add_commit(connection, NAME, commit_of(after, parent=first.sha1), after, publish_key=None)

    num_rows = connection.scalar(sa.select(sa.func.count()).select_from(store.entries_table))
    # Two files and a folder for the first root, a file and the same folder for the second, and its content.
    assert num_rows == 2 + 2 + 1


def test_a_repository_is_known_by_its_own_spelling(connection: sa.Connection) -> None:
    trees = trees_of(task=b"1")
    store.add_commit(connection, "Me/Digits", commit_of(trees), trees, publish_key=None)

    assert store.spelling(connection, "me/DIGITS") == "Me/Digits"
    assert store.repository_names(connection) == ["Me/Digits"]
