"""Pull requests: a ref `refs/pr/N` that begins at a revision, takes commits, and becomes one commit on main.

    base      the newest commit that main and the pull request have in common
    diff      from the base to the newest commit of the pull request
    merge     what the pull request changed since the base, as one commit on top of main

What main changed since is kept. A file that both sides changed in different ways is a conflict, and nothing
is merged then; but lines that both sides added to `.gitattributes` are kept: the hub adds them by itself.

Not covered: other targets than main; merging line by line; who may open, add to or merge one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from ayni.errors import UserError
from ayni.hub import commits, discussions, revisions
from ayni.hub.commits import AfterCommit, CommitHooks, CommitRequest, Committed
from ayni.hub.content import ContentStore
from ayni.hub.discussions import Discussion, DiscussionRuleError, DiscussionStatus
from ayni.hub.first_commit import store_gitattributes
from ayni.hub.git_diff import MOST_FILE_BYTES, git_diff
from ayni.hub.git_objects import GITATTRIBUTES, TreeEntry, identity
from ayni.hub.large_files import with_added_lines
from ayni.hub.repository import Repository
from ayni.hub.revisions import PULL_REQUESTS
from ayni.hub.tree_changes import ReadTree
from ayni.hub.tree_differences import Differences, Merged, differences, merged

# Shown in a refusal.
_NAMED_FILES = 5


class MergeConflictError(UserError):
    """Main changed the same files in another way."""

    def __init__(self, number: int, paths: Sequence[str]) -> None:
        self.number = number
        self.paths = tuple(paths)
        more = f" and {len(paths) - _NAMED_FILES} more" if len(paths) > _NAMED_FILES else ""
        super().__init__(
            f"Pull request {number} cannot be merged: since it began, main has changed "
            f"{', '.join(paths[:_NAMED_FILES])}{more} in another way. Nothing was changed. Commit the files "
            f"of main to refs/pr/{number}, or open a new pull request from main as it is now."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a pull request says and where it begins; None = main as it is."""

    title: str
    text: str
    author: str
    start: str | None = None
    status: DiscussionStatus = "open"
    request_key: str | None = None


def ref_of(number: int) -> str:
    """The ref of a pull request."""
    return f"{PULL_REQUESTS}{number}"


def number_of(ref: str) -> int | None:
    """The number of the pull request that a ref belongs to; None of another ref."""
    text = ref.removeprefix(PULL_REQUESTS)
    is_number = ref.startswith(PULL_REQUESTS) and text.isascii() and text.isdecimal() and len(text) < 10
    return int(text) if is_number and text == str(int(text)) else None


def open_pull_request(
    connection: sa.Connection, repository: Repository, proposal: Proposal, *, when: datetime
) -> Discussion:
    """A new pull request with its ref.

    Raises:
        DiscussionRuleError: the repository has no commit yet.
        DiscussionTextError: the title or the text is empty or too long.
        RevisionNotFoundError: it should begin at a revision that is not there.
    """
    start = _start(connection, repository, proposal)
    made = discussions.create(
        connection,
        repository,
        "pull_request",
        title=proposal.title,
        text=proposal.text,
        author=proposal.author,
        when=when,
        status=proposal.status,
        base_revision=start,
        request_key=proposal.request_key,
    )
    revisions.add_ref(connection, repository.id, ref_of(made.number), start)
    return made


def request_for_new(
    connection: sa.Connection, repository: Repository, request: CommitRequest, *, title: str, text: str
) -> CommitRequest:
    """The same request, to the pull request that is opened for it.

    A client that did not hear the answer asks again: as long as the pull request that its first request
    opened is open and has nothing but that commit, it is meant again.
    """
    asked = replace(request, ref=f"{PULL_REQUESTS}new")
    earlier = discussions.of_request(connection, repository.id, asked.request_key, author=request.author)
    if earlier is not None:
        again = replace(request, ref=ref_of(earlier.number))
        here = revisions.head(connection, repository.id, again.ref)
        made = commits.revision_of_key(connection, repository.id, again.request_key)
        # A commit that would change nothing left it where it began.
        if here == (made or earlier.base_revision):
            return again
    proposal = Proposal(
        # A commit says what it likes; a discussion has its limits.
        title=title[: discussions.LONGEST_TITLE],
        text=text[: discussions.LONGEST_COMMENT] or title[: discussions.LONGEST_TITLE],
        author=request.author,
        start=request.parent,
        request_key=asked.request_key,
    )
    opened = open_pull_request(connection, repository, proposal, when=request.when)
    return replace(request, ref=ref_of(opened.number))


def noting_commits() -> AfterCommit:
    """What makes each commit to a pull request one of its events, for `CommitHooks.after`."""

    def follow(
        connection: sa.Connection, repository: Repository, request: CommitRequest, committed: Committed
    ) -> None:
        if (number := number_of(request.ref)) is None:
            return
        discussion = discussions.find(connection, repository, number)
        said = {"subject": request.message.partition("\n")[0], "oid": committed.revision}
        discussions.note(connection, discussion, "commit", said, author=request.author, when=request.when)

    return follow


def changes_of(connection: sa.Connection, repository: Repository, discussion: Discussion) -> Differences:
    """What a pull request changes, file by file."""
    base, here, _ = _three(connection, repository, discussion)
    return differences(base, here, _reader(connection))


def conflicts_of(
    connection: sa.Connection, content: ContentStore, repository: Repository, discussion: Discussion
) -> tuple[str, ...]:
    """The files that keep a pull request from being merged."""
    return _merged(connection, content, repository, discussion)[0].conflicts


def diff_of(
    connection: sa.Connection, content: ContentStore, repository: Repository, discussion: Discussion
) -> str:
    """What a pull request changes, as `git diff` writes it."""

    def read(entry: TreeEntry) -> bytes:
        return b"".join(content.read(str(entry.sha256), 0, MOST_FILE_BYTES))

    return git_diff(changes_of(connection, repository, discussion), read)


def merge(
    connection: sa.Connection,
    content: ContentStore,
    repository: Repository,
    discussion: Discussion,
    *,
    by: str,
    when: datetime,
    hooks: CommitHooks,
) -> str:
    """Make a pull request one commit on main; its id. One that was merged is not merged again.

    Raises:
        DiscussionRuleError: it is no pull request, is closed, or changes nothing.
        MergeConflictError: main has changed the same files.
        UserError: a hook refuses the commit.
    """
    if not discussion.is_pull_request:
        raise DiscussionRuleError(f"Discussion {discussion.number} is no pull request.")
    if discussion.status == "merged":
        return str(discussion.merge_revision)
    if not discussion.is_open:
        raise DiscussionRuleError(f"Pull request {discussion.number} is closed. Open it again first.")
    found, attributes = _merged(connection, content, repository, discussion)
    if found.conflicts:
        raise MergeConflictError(discussion.number, found.conflicts)
    if not found.changes and attributes is None:
        raise DiscussionRuleError(f"Pull request {discussion.number} changes nothing. Close it instead.")
    request = CommitRequest(
        changes=found.changes,
        # Stored inside the transaction, which is rare and short, so that no other commit comes between.
        derived={} if attributes is None else {GITATTRIBUTES: store_gitattributes(content, attributes)},
        message=_message(discussion),
        author=by,
        when=when,
        parent=revisions.head(connection, repository.id),
    )
    committed = commits.commit(connection, repository, request, hooks=hooks)
    discussions.note_merge(connection, discussion, committed.revision, author=by, when=when)
    return committed.revision


def _message(discussion: Discussion) -> str:
    return f"{discussion.title} (#{discussion.number})\n\nCo-authored-by: {identity(discussion.author)}"


def _start(connection: sa.Connection, repository: Repository, proposal: Proposal) -> str:
    if proposal.start is not None:
        return revisions.resolve(connection, repository, proposal.start)
    here = revisions.head(connection, repository.id)
    if here is None:
        raise DiscussionRuleError(f"{repository.name} has no commit yet that a change could begin at.")
    return here


def _merged(
    connection: sa.Connection, content: ContentStore, repository: Repository, discussion: Discussion
) -> tuple[Merged, bytes | None]:
    """What is to be merged; and the `.gitattributes` with the lines of both sides, where both added some."""
    base, theirs, ours = _three(connection, repository, discussion)
    read = _reader(connection)
    our_changes, their_changes = differences(base, ours, read), differences(base, theirs, read)
    found = merged(our_changes, their_changes)
    if GITATTRIBUTES not in found.conflicts:
        return found, None
    before, after = our_changes[GITATTRIBUTES]
    texts = [_text(content, each) for each in (before, after, their_changes[GITATTRIBUTES][1])]
    joined = with_added_lines(*texts)
    if joined is None:
        return found, None
    rest = tuple(path for path in found.conflicts if path != GITATTRIBUTES)
    return replace(found, conflicts=rest), joined


def _text(content: ContentStore, entry: TreeEntry | None) -> bytes | None:
    if entry is None or entry.sha256 is None or (entry.size_bytes or 0) > MOST_FILE_BYTES:
        return None
    return b"".join(content.read(entry.sha256))


def _three(
    connection: sa.Connection, repository: Repository, discussion: Discussion
) -> tuple[str | None, str | None, str | None]:
    """The trees of the base, of the pull request and of main."""
    theirs = revisions.head(connection, repository.id, ref_of(discussion.number))
    ours = revisions.head(connection, repository.id)
    base = _common(connection, repository.id, ours, theirs) or discussion.base_revision
    return (
        _tree(connection, repository.id, base),
        _tree(connection, repository.id, theirs),
        _tree(connection, repository.id, ours),
    )


def _common(
    connection: sa.Connection, repository_id: int, ours: str | None, theirs: str | None
) -> str | None:
    """The newest commit from which both come; None after a history was made one commit."""
    if ours is None or theirs is None:
        return None
    behind = {each.revision for each in revisions.history(connection, repository_id, start=ours)}
    walk = revisions.history(connection, repository_id, start=theirs)
    return next((each.revision for each in walk if each.revision in behind), None)


def _tree(connection: sa.Connection, repository_id: int, revision: str | None) -> str | None:
    found = None if revision is None else revisions.read_commit(connection, repository_id, revision)
    return None if found is None else found.tree


def _reader(connection: sa.Connection) -> ReadTree:
    return lambda tree: revisions.read_tree(connection, tree)
