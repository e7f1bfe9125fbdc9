"""Revisions are found by branch, tag, ref and id; branches and tags have names that git would take."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, revisions
from ayni.hub.commits import CommitRequest
from ayni.hub.repository import Repository

__all__ = ["connection"]


@pytest.fixture
def repository(connection: sa.Connection) -> Repository:
    return catalogue.create(connection, "model", "me/digits", visibility="public", when=WHEN)


@pytest.fixture
def three(connection: sa.Connection, repository: Repository) -> list[str]:
    return [
        commits.commit(
            connection,
            repository,
            CommitRequest(
                changes={"n": entry(bytes([number]))},
                message=f"number {number}",
                author="Ada",
                when=WHEN + timedelta(seconds=number),
            ),
        ).revision
        for number in range(3)
    ]


def test_a_revision_is_found_by_branch_tag_ref_and_the_beginning_of_its_id(
    connection: sa.Connection, repository: Repository, three: list[str]
) -> None:
    revisions.add_ref(connection, repository.id, "refs/heads/feature/x", three[0])
    revisions.add_ref(connection, repository.id, "refs/tags/v1.0", three[1])
    revisions.add_ref(connection, repository.id, "refs/pr/1", three[0])

    def found(revision: str | None) -> str:
        return revisions.resolve(connection, repository, revision)

    assert found(None) == found("main") == found("refs/heads/main") == three[2]
    assert found("feature/x") == found("refs/pr/1") == found(three[0]) == three[0]
    assert found("v1.0") == found(three[1][:8]) == three[1]


@pytest.mark.parametrize("revision", ["nothing", "0" * 40, "refs/heads/../main", "abc", "%", "ffff"])
def test_what_is_no_revision_is_refused_with_the_newest_ones(
    connection: sa.Connection, repository: Repository, three: list[str], revision: str
) -> None:
    with pytest.raises(revisions.RevisionNotFoundError) as caught:
        revisions.resolve(connection, repository, revision)

    assert three[2][:12] in str(caught.value)


def test_history_goes_back_along_the_parents(
    connection: sa.Connection, repository: Repository, three: list[str]
) -> None:
    found = revisions.history(connection, repository.id, start=three[1])

    assert [each.revision for each in found] == [three[1], three[0]]
    assert len(list(revisions.history(connection, repository.id, start=three[2], limit=2))) == 2


@pytest.mark.parametrize(
    "name", ["", "a..b", "a//b", "a.lock", "a.", "/a", "a/", "-a", "a b", "a@{1}", "a~1", "a:b", "a\n"]
)
def test_git_would_refuse_these_names(
    connection: sa.Connection, repository: Repository, three: list[str], name: str
) -> None:
    with pytest.raises(revisions.RefNameError):
        revisions.add_ref(connection, repository.id, f"refs/heads/{name}", three[0])


def test_a_branch_is_made_once_and_main_stays(
    connection: sa.Connection, repository: Repository, three: list[str]
) -> None:
    revisions.add_ref(connection, repository.id, "refs/heads/dev", three[0])

    with pytest.raises(revisions.RefExistsError):
        revisions.add_ref(connection, repository.id, "refs/heads/dev", three[1])
    with pytest.raises(revisions.RefNameError, match="cannot be deleted"):
        revisions.remove_ref(connection, repository.id, "refs/heads/main")
    assert revisions.remove_ref(connection, repository.id, "refs/heads/dev")
    assert not revisions.remove_ref(connection, repository.id, "refs/heads/dev")
    assert list(revisions.list_refs(connection, repository.id)) == ["refs/heads/main"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_parts_of_a_folder_make_the_whole_with_folders_first(
    connection: sa.Connection, repository: Repository, limit: int
) -> None:
    changes = {name: entry(name.encode()) for name in ("a", "c", "z", "b/x", "b/y", "m/x")}
    request = CommitRequest(changes=changes, message="files", author="Ada", when=WHEN)
    made = revisions.read_commit(
        connection, repository.id, commits.commit(connection, repository, request).revision
    )
    assert made is not None

    parts = [
        revisions.read_folder_part(connection, made.tree, start=start, limit=limit)
        for start in range(0, 5 + limit, limit)
    ]

    assert [each.name for part in parts for each in part.entries] == ["b", "m", "a", "c", "z"]
    assert all((part.num_entries, part.num_bytes) == (5, 3) for part in parts)
