"""Pull requests: where they begin, what they change, and what main becomes."""

import io
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, discussions, pull_requests, revisions
from ayni.hub.commits import CommitHooks, CommitRequest
from ayni.hub.discussions import Discussion, DiscussionRuleError
from ayni.hub.pull_requests import MergeConflictError, Proposal
from ayni.hub.repository import Repository
from ayni.objects import ObjectStore

__all__ = ["connection"]

HOOKS = CommitHooks(after=(pull_requests.noting_commits(),))


def _path(name: str) -> str:
    return name.replace("__", "/").replace("gitattributes", ".gitattributes")


class Place:
    """A repository with one commit, and its content."""

    def __init__(self, connection: sa.Connection, folder: Path) -> None:
        self.connection = connection
        self.content = ObjectStore(str(folder))
        self.repository = catalogue.create(connection, "model", "me/x", visibility="public", when=WHEN)
        self.seconds = 0
        self.commit(a=b"1\n", b=b"1\n", dir__c=b"1\n")

    def request(self, ref: str = revisions.MAIN, **files: bytes | None) -> CommitRequest:
        self.seconds += 1
        for content in files.values():
            if content is not None:
                self.content.put(io.BytesIO(content))
        changes = {
            _path(name): None if content is None else entry(content) for name, content in files.items()
        }
        when = WHEN + timedelta(seconds=self.seconds)
        return CommitRequest(changes=changes, message="Change", author="ada", when=when, ref=ref)

    def commit(self, ref: str = revisions.MAIN, **files: bytes | None) -> str:
        return commits.commit(
            self.connection, self.repository, self.request(ref, **files), hooks=HOOKS
        ).revision

    def propose(self, **files: bytes | None) -> Discussion:
        proposal = Proposal(title="Better", text="Look.", author="ada")
        made = pull_requests.open_pull_request(self.connection, self.repository, proposal, when=WHEN)
        if files:
            self.commit(pull_requests.ref_of(made.number), **files)
        return self.now(made)

    def now(self, made: Discussion) -> Discussion:
        return discussions.find(self.connection, self.repository, made.number)

    def merge(self, made: Discussion) -> str:
        return pull_requests.merge(
            self.connection, self.content, self.repository, self.now(made), by="root", when=WHEN, hooks=HOOKS
        )

    def files(self) -> dict[str, bytes]:
        here = revisions.read_commit(
            self.connection, self.repository.id, str(revisions.head(self.connection, self.repository.id))
        )
        assert here is not None
        found = revisions.read_files(self.connection, here.tree)
        return {path: b"".join(self.content.read(str(each.sha256))) for path, each in found.items()}


@pytest.fixture
def place(connection: sa.Connection, tmp_path: Path) -> Place:
    return Place(connection, tmp_path / "objects")


def test_main_gets_what_the_pull_request_changed_and_keeps_its_own(place: Place) -> None:
    made = place.propose(a=b"2\n", b=None)
    place.commit(dir__c=b"3\n", new=b"4\n")

    revision = place.merge(made)

    assert place.files() == {"a": b"2\n", "dir/c": b"3\n", "new": b"4\n"}
    assert revision == revisions.head(place.connection, place.repository.id)
    newest = next(revisions.history(place.connection, place.repository.id, start=revision))
    assert newest.commit.message.startswith("Better (#1)\n\nCo-authored-by: ada <")
    assert (newest.commit.author, place.now(made).status) == ("root", "merged")
    kinds = [event.kind for event in discussions.events(place.connection, made)]
    assert kinds == ["comment", "commit", "status-change"]


def test_one_that_was_merged_is_not_merged_again(place: Place) -> None:
    made = place.propose(a=b"2\n")

    assert place.merge(made) == place.merge(made)
    assert len(discussions.events(place.connection, made)) == 3


def test_a_conflict_is_named_and_changes_nothing(place: Place) -> None:
    made = place.propose(a=b"2\n", b=b"2\n")
    place.commit(a=b"3\n", b=b"2\n")
    before = revisions.list_refs(place.connection, place.repository.id)

    with pytest.raises(MergeConflictError, match=r"main has changed a in another way.*refs/pr/1") as caught:
        place.merge(made)

    assert caught.value.paths == ("a",)
    assert pull_requests.conflicts_of(place.connection, place.content, place.repository, made) == ("a",)
    assert revisions.list_refs(place.connection, place.repository.id) == before
    place.commit("refs/pr/1", a=b"3\n", more=b"1\n")
    place.merge(made)
    assert place.files()["more"] == b"1\n"


def test_lines_that_both_added_to_gitattributes_are_kept(place: Place) -> None:
    place.commit(gitattributes=b"*.bin x\n")
    made = place.propose(gitattributes=b"*.bin x\n/theirs x\n")
    place.commit(gitattributes=b"*.bin x\n/ours x\n")

    place.merge(made)

    assert place.files()[".gitattributes"] == b"*.bin x\n/ours x\n/theirs x\n"
    other = place.propose(gitattributes=b"")
    place.commit(gitattributes=b"*.bin x\n")
    with pytest.raises(MergeConflictError):
        place.merge(other)


def test_a_history_made_one_commit_does_not_stop_a_merge(place: Place) -> None:
    made = place.propose(a=b"2\n")
    commits.squash(place.connection, place.repository, revisions.MAIN, message="x", author="me", when=WHEN)

    place.merge(made)

    assert place.files()["a"] == b"2\n"


def test_what_changes_nothing_or_is_closed_is_not_merged(place: Place) -> None:
    empty, closed = place.propose(), place.propose(a=b"2\n")
    discussions.change_status(place.connection, closed, "closed", author="ada", when=WHEN)
    talk = discussions.create(
        place.connection, place.repository, "discussion", title="x", text="x", author="ada", when=WHEN
    )

    for made, reason in ((empty, "changes nothing"), (closed, "is closed"), (talk, "no pull request")):
        with pytest.raises(DiscussionRuleError, match=reason):
            place.merge(made)


def test_a_hook_that_refuses_a_commit_refuses_the_merge(place: Place) -> None:
    made = place.propose(a=b"2\n")

    def refuse(*_: object) -> None:
        raise DiscussionRuleError("Not such a file.")

    with pytest.raises(DiscussionRuleError, match="Not such a file"):
        pull_requests.merge(
            place.connection,
            place.content,
            place.repository,
            made,
            by="root",
            when=WHEN,
            hooks=CommitHooks(before=(refuse,)),
        )


def test_the_diff_is_against_where_it_began(place: Place) -> None:
    made = place.propose(a=b"2\n")
    place.commit(b=b"9\n")

    def text() -> str:
        return pull_requests.diff_of(place.connection, place.content, place.repository, place.now(made))

    before = text()
    place.merge(made)

    assert "-1\n+2\n" in before and "b/b" not in before
    assert text() == before


def commit_new(place: Place, request: CommitRequest) -> tuple[str, str]:
    found = pull_requests.request_for_new(place.connection, place.repository, request, title="T", text="")
    return found.ref, commits.commit(place.connection, place.repository, found, hooks=HOOKS).revision


def test_a_request_that_is_sent_again_opens_one_pull_request(place: Place) -> None:
    request = place.request(a=b"2\n")
    first = commit_new(place, request)
    place.commit(b=b"7\n")

    again = commit_new(place, replace(request, when=request.when + timedelta(minutes=5)))

    assert again == first == ("refs/pr/1", first[1])
    other = commit_new(place, replace(request, author="ben"))
    assert other[0] == "refs/pr/2"


def test_a_request_that_changes_nothing_opens_one_as_well(place: Place) -> None:
    request = place.request(a=b"1\n")

    assert commit_new(place, request) == commit_new(place, request)


def test_once_it_went_on_or_was_closed_the_same_request_opens_another(place: Place) -> None:
    request = place.request(a=b"2\n")
    commit_new(place, request)
    place.commit("refs/pr/1", b=b"8\n")

    second = commit_new(place, request)
    discussions.change_status(
        place.connection,
        discussions.find(place.connection, place.repository, 2),
        "closed",
        author="ada",
        when=WHEN,
    )

    assert (second[0], commit_new(place, request)[0]) == ("refs/pr/2", "refs/pr/3")


def test_one_begins_where_its_parent_is(place: Place) -> None:
    parent = str(revisions.head(place.connection, place.repository.id))
    place.commit(b=b"7\n")

    ref, revision = commit_new(place, replace(place.request(a=b"2\n"), parent=parent))

    made = revisions.read_commit(place.connection, place.repository.id, revision)
    assert made is not None and made.parent == parent and ref == "refs/pr/1"


def test_an_empty_repository_has_nothing_to_change(connection: sa.Connection) -> None:
    empty: Repository = catalogue.create(connection, "model", "me/e", visibility="public", when=WHEN)

    with pytest.raises(DiscussionRuleError, match="no commit yet"):
        pull_requests.open_pull_request(
            connection, empty, Proposal(title="x", text="x", author="ada"), when=WHEN
        )


@pytest.mark.parametrize(
    ("ref", "number"),
    [("refs/pr/7", 7), ("refs/pr/07", None), ("refs/pr/x", None), ("refs/heads/7", None), ("7", None)],
)
def test_a_ref_says_whose_it_is(ref: str, number: int | None) -> None:
    assert pull_requests.number_of(ref) == number
