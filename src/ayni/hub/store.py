"""Rows of the hub: repositories, refs, commits and the trees they share.

Trees are stored as git has them, one row for each entry, keyed by the tree's id. A folder that did not change
between two commits is the same rows, so a commit costs only what it changed.

Not covered: deletion. Rows of trees that no commit refers to are never made, because commit and trees are
written in one transaction.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import sqlalchemy as sa

from ayni.database import metadata
from ayni.errors import AyniError
from ayni.hub.git_objects import Commit, TreeEntry, Trees

MAIN = "refs/heads/main"

repositories_table = sa.Table(
    "hub_repositories",
    metadata,
    # Lower case, because folders on macOS and names on the Hugging Face Hub do not tell case apart.
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("created_at", sa.String, nullable=False),
)

refs_table = sa.Table(
    "hub_refs",
    metadata,
    sa.Column("repository", sa.String, primary_key=True),
    sa.Column("ref", sa.String, primary_key=True),
    sa.Column("revision", sa.String, nullable=False),
)

commits_table = sa.Table(
    "hub_commits",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("repository", sa.String, nullable=False),
    sa.Column("revision", sa.String, nullable=False),
    sa.Column("parent", sa.String, nullable=True),
    sa.Column("tree", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("message", sa.String, nullable=False),
    # ISO 8601 with the offset that is part of the commit's id.
    sa.Column("committed_at", sa.String, nullable=False),
    sa.Column("publish_key", sa.String, nullable=True),
    sa.UniqueConstraint("repository", "revision", name="uq_hub_commits_revision"),
    sa.UniqueConstraint("repository", "publish_key", name="uq_hub_commits_publish_key"),
)

entries_table = sa.Table(
    "hub_entries",
    metadata,
    sa.Column("tree", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("mode", sa.String, nullable=False),
    sa.Column("git_sha1", sa.String, nullable=False),
    sa.Column("sha256", sa.String, nullable=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=True),
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


class MovedBranchError(AyniError):
    """Somebody else published between reading and writing the branch."""

    def __init__(self, repository: str, expected: str | None) -> None:
        self.repository = repository
        super().__init__(
            f"{repository} moved on from {expected or 'its empty state'} while this revision was written. "
            "Nothing was overwritten; publish again."
        )


def repository_names(connection: sa.Connection) -> list[str]:
    """All repositories as they are spelled, in alphabetical order."""
    return list(connection.scalars(sa.select(repositories_table.c.name).order_by(repositories_table.c.name)))


def spelling(connection: sa.Connection, name: str) -> str | None:
    """How a repository is spelled whose name differs from `name` at most by case; None without one."""
    query = sa.select(repositories_table.c.name).where(repositories_table.c.key == name.lower())
    return connection.scalar(query)


def head(connection: sa.Connection, repository: str) -> str | None:
    """The newest revision on the main branch; None for a new repository."""
    query = sa.select(refs_table.c.revision).where(
        refs_table.c.repository == repository, refs_table.c.ref == MAIN
    )
    return connection.scalar(query)


def revisions(connection: sa.Connection, repository: str) -> list[str]:
    """All revisions, newest first."""
    query = sa.select(commits_table.c.revision).where(commits_table.c.repository == repository)
    return list(connection.scalars(query.order_by(commits_table.c.sequence.desc())))


def revision_of_key(connection: sa.Connection, repository: str, publish_key: str) -> str | None:
    """The revision that was published under this key; None when there is none."""
    query = sa.select(commits_table.c.revision).where(
        commits_table.c.repository == repository, commits_table.c.publish_key == publish_key
    )
    return connection.scalar(query)


def read_commit(connection: sa.Connection, repository: str, revision: str) -> Commit | None:
    """The commit behind a revision; None when the repository has no such revision."""
    query = sa.select(commits_table).where(
        commits_table.c.repository == repository, commits_table.c.revision == revision
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _commit_from_row(row)


def read_files(connection: sa.Connection, tree: str) -> dict[str, TreeEntry]:
    """All files below a tree by path. One query for each level of folders."""
    files: dict[str, TreeEntry] = {}
    level = [("", tree)]
    while level:
        below: list[tuple[str, str]] = []
        for prefix, entry in _entries(connection, level):
            path = prefix + entry.name
            if entry.is_folder:
                below.append((f"{path}/", entry.git_sha1))
            else:
                files[path] = entry
        level = below
    return dict(sorted(files.items()))


def add_commit(
    connection: sa.Connection, repository: str, commit: Commit, trees: Trees, *, publish_key: str | None
) -> None:
    """Write a commit with its trees and move the main branch from its parent to it.

    Raises:
        MovedBranchError: the branch is not at the commit's parent.
        CollidingContentError: a known tree has other content behind the same ids.
    """
    if head(connection, repository) != commit.parent:
        raise MovedBranchError(repository, commit.parent)
    if spelling(connection, repository) is None:
        connection.execute(
            repositories_table.insert().values(
                key=repository.lower(), name=repository, created_at=commit.when.isoformat()
            )
        )
    _add_trees(connection, trees.entries)
    connection.execute(
        commits_table.insert().values(_commit_to_row(repository, commit) | {"publish_key": publish_key})
    )
    here = sa.and_(refs_table.c.repository == repository, refs_table.c.ref == MAIN)
    connection.execute(refs_table.delete().where(here))
    connection.execute(refs_table.insert().values(repository=repository, ref=MAIN, revision=commit.sha1))


def _add_trees(connection: sa.Connection, trees: Mapping[str, tuple[TreeEntry, ...]]) -> None:
    rows: list[dict[str, object]] = []
    for tree, entries in trees.items():
        known = {entry.name: entry for _, entry in _entries(connection, [("", tree)])}
        for entry in entries:
            if not known:
                rows.append(_entry_to_row(tree, entry))
            elif entry.name not in known or known[entry.name].sha256 != entry.sha256:
                raise CollidingContentError(entry.name)
    if rows:
        connection.execute(entries_table.insert(), rows)


def _entries(connection: sa.Connection, trees: Iterable[tuple[str, str]]) -> list[tuple[str, TreeEntry]]:
    # The same tree may hang below several folders, so each prefix gets its own copy.
    prefixes: dict[str, list[str]] = {}
    for prefix, tree in trees:
        prefixes.setdefault(tree, []).append(prefix)
    query = sa.select(entries_table).where(entries_table.c.tree.in_(list(prefixes)))
    return [
        (prefix, _entry_from_row(row)) for row in connection.execute(query) for prefix in prefixes[row.tree]
    ]


def _entry_to_row(tree: str, entry: TreeEntry) -> dict[str, object]:
    return {
        "tree": tree,
        "name": entry.name,
        "mode": entry.mode,
        "git_sha1": entry.git_sha1,
        "sha256": entry.sha256,
        "size_bytes": entry.size_bytes,
    }


def _entry_from_row(row: sa.Row[tuple[object, ...]]) -> TreeEntry:
    return TreeEntry(
        name=row.name, mode=row.mode, git_sha1=row.git_sha1, sha256=row.sha256, size_bytes=row.size_bytes
    )


def _commit_to_row(repository: str, commit: Commit) -> dict[str, object]:
    return {
        "repository": repository,
        "revision": commit.sha1,
        "parent": commit.parent,
        "tree": commit.tree,
        "author": commit.author,
        "message": commit.message,
        "committed_at": commit.when.isoformat(),
    }


def _commit_from_row(row: sa.Row[tuple[object, ...]]) -> Commit:
    return Commit(
        tree=row.tree,
        parent=row.parent,
        author=row.author,
        message=row.message,
        when=datetime.fromisoformat(row.committed_at),
    )
