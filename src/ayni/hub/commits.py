"""Add a commit to a branch, within one transaction: all of it is there, or nothing is.

A request names files that come and paths that go. Its key is a digest of all that it asks for: a client that
did not hear the answer and asks again gets the commit that its first request made.

    parent given, and the branch is elsewhere    StaleParentError, unless the request was carried out already
    nothing would change                         the branch's commit is the answer

Not covered: the bytes of the files, which are stored before, and merges.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

import sqlalchemy as sa

from ayni.errors import AyniError, UserError
from ayni.hub import catalogue, commit_log, revisions
from ayni.hub.commit_log import Happened
from ayni.hub.git_objects import Commit, TreeEntry, Trees
from ayni.hub.repository import Kind, Repository
from ayni.hub.revisions import BRANCHES, MAIN
from ayni.hub.tables import commits_table, entries_table, repository_objects_table
from ayni.hub.tree_changes import changed_trees
from ayni.signing import canonical_json, sha256_hex


class StaleParentError(UserError):
    """The branch is not where the request thinks it is."""

    def __init__(self, repository: str, expected: str, found: str | None) -> None:
        self.repository = repository
        self.expected = expected
        self.found = found
        super().__init__(
            f"{repository} has moved on from {expected[:12]} to {(found or 'nothing')[:12]}. Nothing was "
            "changed; look at what is new and commit again."
        )


class CollidingContentError(AyniError):
    """Two different files have the same git id."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"The file {name!r} has the same git id as a different file published before: a SHA-1 "
            "collision made on purpose, or the text of an LFS pointer published as a file. Nothing was "
            "published."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRequest:
    """What a commit should change, who asks for it and when.

    `changes` maps paths to files, or to None for what goes. `derived` are more changes, which the hub adds;
    they say nothing of whether two requests are the same. `parent` is the revision that the branch must be
    at, None = wherever it is. `key` tells that a request is repeated; None takes a digest of what was asked.
    """

    changes: Mapping[str, TreeEntry | None]
    message: str
    author: str
    when: datetime
    parent: str | None = None
    ref: str = MAIN
    key: str | None = None
    derived: Mapping[str, TreeEntry | None] = field(default_factory=dict)

    @property
    def request_key(self) -> str:
        """What a repeated request has in common with its first."""
        if self.key is not None:
            return self.key
        changes = {
            path: None if entry is None else [entry.git_sha1, entry.sha256, entry.mode]
            for path, entry in self.changes.items()
        }
        asked = {"changes": changes, "message": self.message, "author": self.author, "ref": self.ref}
        return sha256_hex(canonical_json({**asked, "parent": self.parent}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Where the branch is now. `is_new` is False when nothing was done again."""

    revision: str
    is_new: bool


BeforeCommit = Callable[[sa.Connection, Repository, CommitRequest], None]
AfterCommit = Callable[[sa.Connection, Repository, CommitRequest, Committed], None]


@runtime_checkable
class LooksAhead(Protocol):
    """What in `CommitHooks.before` can do its work before the transaction, where nobody waits for it."""

    def ahead(self, kind: Kind, name: str, files: Mapping[str, TreeEntry]) -> BeforeCommit:
        """Look at the files that are to be committed; what is left to be asked within the transaction."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitHooks:
    """What looks at commits, in the transaction that makes them.

    `before` may refuse a request by raising; `after` is called for each new commit, and what it writes
    is there if and only if the commit is.
    """

    before: tuple[BeforeCommit, ...] = ()
    after: tuple[AfterCommit, ...] = ()

    def looked_ahead(self, kind: Kind, name: str, files: Mapping[str, TreeEntry]) -> "CommitHooks":
        """The hooks for a commit of these files, after all that takes long was done. Not in a transaction."""
        before = tuple(
            each.ahead(kind, name, files) if isinstance(each, LooksAhead) else each for each in self.before
        )
        return CommitHooks(before=before, after=self.after)


def commit(
    connection: sa.Connection,
    repository: Repository,
    request: CommitRequest,
    *,
    hooks: CommitHooks = CommitHooks(),
) -> Committed:
    """Carry out a request. The branch `main` is made by its first commit; others must be there.

    Raises:
        StaleParentError: the branch is not at the parent.
        RevisionNotFoundError: no such branch.
        FilePathError: a path cannot be.
        NothingToDeleteError: a path is to go and is not there.
        CollidingContentError: a known tree has other content behind the same ids.
    """
    here = revisions.head(connection, repository.id, request.ref)
    if here is None and request.ref != MAIN:
        known = list(revisions.list_refs(connection, repository.id).values())
        name = request.ref.removeprefix(BRANCHES)
        raise revisions.RevisionNotFoundError(repository.name, name, known, 0)
    if (earlier := _carried_out(connection, repository.id, request, here)) is not None:
        return Committed(revision=earlier, is_new=False)
    if request.parent is not None and request.parent != here:
        raise StaleParentError(repository.name, request.parent, here)
    for look in hooks.before:
        look(connection, repository, request)
    before = None if here is None else revisions.read_commit(connection, repository.id, here)
    trees = changed_trees(
        None if before is None else before.tree,
        {**request.changes, **request.derived},
        lambda tree: revisions.read_tree(connection, tree),
    )
    if before is not None and here is not None and trees.root == before.tree:
        return Committed(revision=here, is_new=False)
    made = Commit(
        tree=trees.root, parent=here, author=request.author, message=request.message, when=request.when
    )
    write(connection, repository, made, trees, ref=request.ref, request_key=request.request_key)
    committed = Committed(revision=made.sha1, is_new=True)
    for follow in hooks.after:
        follow(connection, repository, request, committed)
    return committed


def write(
    connection: sa.Connection,
    repository: Repository,
    made: Commit,
    trees: Trees,
    *,
    ref: str = MAIN,
    request_key: str | None = None,
    how: Happened = "commit",
) -> None:
    """Write a commit with its trees, put a ref at it, and enter it in the log of commits.

    Raises:
        CollidingContentError: a known tree has other content behind the same ids.
    """
    _add_trees(connection, trees.entries)
    _link_objects(connection, repository.id, [each for tree in trees.entries.values() for each in tree])
    values = {
        "repository_id": repository.id,
        "revision": made.sha1,
        "parent": made.parent,
        "tree": made.tree,
        "author": made.author,
        "message": made.message,
        "committed_at": made.when.isoformat(),
        "request_key": request_key,
    }
    # Two branches may get the very same commit.
    if revisions.read_commit(connection, repository.id, made.sha1) is None:
        connection.execute(commits_table.insert().values(values))
    revisions.set_ref(connection, repository.id, ref, made.sha1)
    commit_log.append(connection, repository.id, made, revision=made.sha1, ref=ref, how=how)
    catalogue.touch(connection, repository.id, when=made.when)


def squash(
    connection: sa.Connection, repository: Repository, ref: str, *, message: str, author: str, when: datetime
) -> str:
    """Make one commit without parents of all that a branch holds; return its id.

    The earlier commits stay, but the branch no longer leads to them.

    Raises:
        RevisionNotFoundError: there is no such branch.
    """
    here = revisions.head(connection, repository.id, ref)
    before = None if here is None else revisions.read_commit(connection, repository.id, here)
    if before is None:
        raise revisions.RevisionNotFoundError(repository.name, ref.removeprefix(BRANCHES), [], 0)
    made = Commit(tree=before.tree, parent=None, author=author, message=message, when=when)
    write(connection, repository, made, Trees(root=before.tree, entries={}), ref=ref, how="squash")
    return made.sha1


def revision_of_key(connection: sa.Connection, repository_id: int, request_key: str) -> str | None:
    """The revision that a request with this key made; None when there is none."""
    query = (
        sa.select(commits_table.c.revision)
        .where(commits_table.c.repository_id == repository_id, commits_table.c.request_key == request_key)
        .order_by(commits_table.c.sequence.desc())
        .limit(1)
    )
    return connection.scalar(query)


def _carried_out(
    connection: sa.Connection, repository_id: int, request: CommitRequest, here: str | None
) -> str | None:
    """What the same request made: always for a given key, else where it is the branch's newest."""
    earlier = revision_of_key(connection, repository_id, request.request_key)
    return earlier if earlier is not None and (request.key is not None or earlier == here) else None


def _add_trees(connection: sa.Connection, trees: Mapping[str, tuple[TreeEntry, ...]]) -> None:
    rows: list[dict[str, object]] = []
    for tree, entries in trees.items():
        known = {entry.name: entry for entry in revisions.read_tree(connection, tree)}
        for entry in entries:
            if not known:
                rows.append(_entry_to_row(tree, entry))
            elif entry.name not in known or known[entry.name].sha256 != entry.sha256:
                raise CollidingContentError(entry.name)
    if rows:
        connection.execute(entries_table.insert(), rows)


def _link_objects(connection: sa.Connection, repository_id: int, entries: Sequence[TreeEntry]) -> None:
    wanted = {str(each.sha256): each.size_bytes or 0 for each in entries if each.sha256 is not None}
    columns = repository_objects_table.c
    digests = list(wanted)
    known: set[str] = set()
    for start in range(0, len(digests), revisions.MAX_VARIABLES):
        part = digests[start : start + revisions.MAX_VARIABLES]
        query = sa.select(columns.sha256).where(
            columns.repository_id == repository_id, columns.sha256.in_(part)
        )
        known.update(connection.scalars(query))
    rows = [
        {"repository_id": repository_id, "sha256": digest, "size_bytes": size}
        for digest, size in wanted.items()
        if digest not in known
    ]
    if rows:
        connection.execute(repository_objects_table.insert(), rows)


def _entry_to_row(tree: str, entry: TreeEntry) -> dict[str, object]:
    return {
        "tree": tree,
        "name": entry.name,
        "mode": entry.mode,
        "git_sha1": entry.git_sha1,
        "sha256": entry.sha256,
        "size_bytes": entry.size_bytes,
    }
