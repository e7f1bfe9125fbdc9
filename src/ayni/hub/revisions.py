"""What a repository holds at a revision, its history, and its branches and tags.

    refs/heads/NAME    a branch       refs/tags/NAME    a tag       refs/pr/N    a pull request

A revision may be asked for as a branch, a tag, a full ref, or an id of 40 digits (or its first ones).

Not covered: who may ask.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ayni.errors import UserError
from ayni.hub.git_objects import TREE_MODE, Commit, TreeEntry
from ayni.hub.repository import Repository
from ayni.hub.tables import commits_table, entries_table, refs_table

BRANCHES, TAGS, PULL_REQUESTS = "refs/heads/", "refs/tags/", "refs/pr/"
MAIN = f"{BRANCHES}main"
SHORTEST_PREFIX = 4
_COMMIT_ID = re.compile(r"[0-9a-f]{40}")
_ENTRY_COLUMNS = tuple(entries_table.c[name] for name in ("name", "mode", "git_sha1", "sha256", "size_bytes"))
_REF_NAME = re.compile(r"(?!.*(\.\.|//|@\{|\.lock(/|$)))[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,199}(?<![./])")


class RevisionNotFoundError(UserError):
    """The repository has no such revision, or several begin with these digits."""

    def __init__(self, repository: str, revision: str, known: Sequence[str], num_matching: int) -> None:
        self.repository = repository
        self.revision = revision
        found = "no revision" if num_matching == 0 else f"{num_matching} revisions that begin with"
        super().__init__(
            f"{repository} has {found} {revision!r}. Its newest are "
            f"{', '.join(sha[:12] for sha in known[:5])}; give main or at least {SHORTEST_PREFIX} digits "
            "of one revision."
        )


class EntryNotFoundError(UserError):
    """A revision has no file or folder of this path."""

    def __init__(self, repository: str, revision: str, path: str) -> None:
        self.repository = repository
        self.revision = revision
        self.path = path
        super().__init__(f"{repository} has no {path!r} at {revision[:12]}.")


class RefExistsError(UserError):
    """A branch or tag is there already."""

    def __init__(self, ref: str) -> None:
        self.ref = ref
        super().__init__(f"{ref} is there already. Delete it first, or choose another name.")


class RefNameError(UserError):
    """A branch or tag cannot have this name, or must stay."""

    def __init__(self, ref: str, reason: str) -> None:
        self.ref = ref
        super().__init__(f"{ref!r} {reason}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A commit of a repository, with its place in its history."""

    sequence: int
    revision: str
    commit: Commit


def head(connection: sa.Connection, repository_id: int, ref: str = MAIN) -> str | None:
    """The revision that a ref is at; None without the ref."""
    query = sa.select(refs_table.c.revision).where(
        refs_table.c.repository_id == repository_id, refs_table.c.ref == ref
    )
    return connection.scalar(query)


def resolve(connection: sa.Connection, repository: Repository, revision: str | None) -> str:
    """The id of a revision; the newest of main without `revision`.

    Raises:
        RevisionNotFoundError: no such branch, tag, ref or id.
    """
    wanted = "main" if revision is None else revision
    # Who pins a revision gets it, whatever branch was given its id for a name.
    if _COMMIT_ID.fullmatch(wanted) and read_commit(connection, repository.id, wanted) is not None:
        return wanted
    for ref in _candidates(wanted):
        if (found := head(connection, repository.id, ref)) is not None:
            return found
    matching: list[str] = []
    if re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},40}}", wanted):
        query = sa.select(commits_table.c.revision).where(
            commits_table.c.repository_id == repository.id,
            commits_table.c.revision.startswith(wanted),
        )
        matching = list(connection.scalars(query.limit(2)))
    if len(matching) != 1:
        newest = [each.revision for each in history(connection, repository.id, limit=5)]
        raise RevisionNotFoundError(repository.name, wanted, newest, len(matching))
    return matching[0]


def _candidates(revision: str) -> list[str]:
    if revision.startswith("refs/"):
        return [revision]
    return [f"{BRANCHES}{revision}", f"{TAGS}{revision}"]


def read_commit(connection: sa.Connection, repository_id: int, revision: str) -> Commit | None:
    """The commit behind a revision; None when the repository has no such revision."""
    query = sa.select(commits_table).where(
        commits_table.c.repository_id == repository_id, commits_table.c.revision == revision
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _commit(row)


def history(
    connection: sa.Connection, repository_id: int, *, start: str | None = None, limit: int | None = None
) -> Iterator[Recorded]:
    """Commits from `start` back along their parents, newest first; all that were made, without `start`."""
    query = sa.select(commits_table).where(commits_table.c.repository_id == repository_id)
    if start is None:
        for row in connection.execute(query.order_by(commits_table.c.sequence.desc()).limit(limit)):
            yield _recorded(row)
        return
    # One query and a walk: a repository has few commits beside its files.
    rows = {row.revision: row for row in connection.execute(query)}
    revision, num_given = start, 0
    while revision in rows and (limit is None or num_given < limit):
        yield _recorded(rows[revision])
        revision, num_given = rows[revision].parent, num_given + 1


def read_tree(
    connection: sa.Connection, tree: str, *, after: str | None = None, limit: int | None = None
) -> tuple[TreeEntry, ...]:
    """The entries of one folder in the order of their names: all, or some of those behind a name."""
    columns = entries_table.c
    query = sa.select(*_ENTRY_COLUMNS).where(columns.tree == tree).order_by(columns.name).limit(limit)
    if after is not None:
        query = query.where(columns.name > after)
    return _read_entries(connection, query)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPart:
    """Some entries of a folder, folders before files, and what all of its entries are together."""

    entries: tuple[TreeEntry, ...]
    num_entries: int
    num_bytes: int


def read_folder_part(connection: sa.Connection, tree: str, *, start: int, limit: int) -> FolderPart:
    """The entries [start, start + limit) of a folder in the order in which people are shown them."""
    columns = entries_table.c
    is_folder = columns.mode == TREE_MODE
    folders, num_bytes = sa.case((is_folder, 1), else_=0), sa.func.sum(columns.size_bytes)
    summed = sa.select(sa.func.count(), sa.func.sum(folders), num_bytes).where(columns.tree == tree)
    num_entries, num_folders, in_files = connection.execute(summed).one()
    # Two queries by the key, because an order by kind and name would sort the whole folder.
    here = sa.select(*_ENTRY_COLUMNS).where(columns.tree == tree).order_by(columns.name)
    found: tuple[TreeEntry, ...] = ()
    if start < (num_folders or 0):
        found = _read_entries(connection, here.where(is_folder).offset(start).limit(limit))
    if len(found) < limit:
        skipped = max(0, start - (num_folders or 0))
        found += _read_entries(connection, here.where(~is_folder).offset(skipped).limit(limit - len(found)))
    return FolderPart(entries=found, num_entries=num_entries, num_bytes=int(in_files or 0))


def read_files(connection: sa.Connection, tree: str) -> dict[str, TreeEntry]:
    """All files below a tree by path. One query for each level of folders."""
    return {path: entry for path, entry in walk(connection, tree) if not entry.is_folder}


def walk(connection: sa.Connection, tree: str, *, prefix: str = "") -> list[tuple[str, TreeEntry]]:
    """All files and folders below a tree by path, in the order of their paths."""
    found: list[tuple[str, TreeEntry]] = []
    level = [(prefix, tree)]
    while level:
        below: list[tuple[str, str]] = []
        for path, entry in _entries(connection, level):
            found.append((path, entry))
            if entry.is_folder:
                below.append((f"{path}/", entry.git_sha1))
        level = below
    return sorted(found, key=lambda pair: pair[0])


def find_entry(connection: sa.Connection, tree: str, path: str) -> TreeEntry | None:
    """The file or folder at a path below a tree; None where there is none. One query for each part."""
    *folders, name = path.split("/")
    for folder in folders:
        entry = _entry_of(connection, tree, folder)
        if entry is None or not entry.is_folder:
            return None
        tree = entry.git_sha1
    return _entry_of(connection, tree, name)


def list_refs(connection: sa.Connection, repository_id: int) -> dict[str, str]:
    """All refs and where they are, in the order of their names."""
    query = sa.select(refs_table.c.ref, refs_table.c.revision).where(
        refs_table.c.repository_id == repository_id
    )
    return {row.ref: row.revision for row in connection.execute(query.order_by(refs_table.c.ref))}


def add_ref(connection: sa.Connection, repository_id: int, ref: str, revision: str) -> None:
    """A new branch, tag or pull request at a revision.

    Raises:
        RefNameError: git would refuse the name.
        RefExistsError: it is there.
    """
    name = next(
        (ref.removeprefix(each) for each in (BRANCHES, TAGS, PULL_REQUESTS) if ref.startswith(each)), ""
    )
    if not _REF_NAME.fullmatch(name) or _COMMIT_ID.fullmatch(name.lower()):
        raise RefNameError(name or ref, "is no name for a branch or tag: git would refuse it")
    if head(connection, repository_id, ref) is not None:
        raise RefExistsError(name)
    connection.execute(refs_table.insert().values(repository_id=repository_id, ref=ref, revision=revision))


def remove_ref(connection: sa.Connection, repository_id: int, ref: str) -> bool:
    """Take a branch or tag away; its commits stay. Whether it was there.

    Raises:
        RefNameError: the main branch, which every repository has.
    """
    if ref == MAIN:
        raise RefNameError("main", "cannot be deleted: every repository has it")
    here = sa.and_(refs_table.c.repository_id == repository_id, refs_table.c.ref == ref)
    return connection.execute(refs_table.delete().where(here)).rowcount > 0


def set_ref(connection: sa.Connection, repository_id: int, ref: str, revision: str) -> None:
    """Put a ref at a revision, whether it was there or not."""
    here = sa.and_(refs_table.c.repository_id == repository_id, refs_table.c.ref == ref)
    connection.execute(refs_table.delete().where(here))
    connection.execute(refs_table.insert().values(repository_id=repository_id, ref=ref, revision=revision))


def _entries(connection: sa.Connection, trees: Iterable[tuple[str, str]]) -> list[tuple[str, TreeEntry]]:
    # The same tree may hang below several folders, so each prefix gets its own copy.
    prefixes: dict[str, list[str]] = {}
    for prefix, tree in trees:
        prefixes.setdefault(tree, []).append(prefix)
    found = []
    wanted = list(prefixes)
    for start in range(0, len(wanted), MAX_VARIABLES):
        query = sa.select(entries_table).where(
            entries_table.c.tree.in_(wanted[start : start + MAX_VARIABLES])
        )
        for row in connection.execute(query):
            found += [(prefix + row.name, _entry(row)) for prefix in prefixes[row.tree]]
    return found


# SQLite takes 32,766 values in one statement, PostgreSQL 65,535.
MAX_VARIABLES = 10_000


def _entry_of(connection: sa.Connection, tree: str, name: str) -> TreeEntry | None:
    query = sa.select(entries_table).where(entries_table.c.tree == tree, entries_table.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else _entry(row)


def _read_entries(connection: sa.Connection, query: sa.Select[Any]) -> tuple[TreeEntry, ...]:
    """Entries by a query of `_ENTRY_COLUMNS`; unpacking costs half of what asking rows by name does."""
    return tuple(
        TreeEntry(name=name, mode=mode, git_sha1=git_sha1, sha256=sha256, size_bytes=size_bytes)
        for name, mode, git_sha1, sha256, size_bytes in connection.execute(query)
    )


def _entry(row: sa.Row[Any]) -> TreeEntry:
    return TreeEntry(
        name=row.name, mode=row.mode, git_sha1=row.git_sha1, sha256=row.sha256, size_bytes=row.size_bytes
    )


def _recorded(row: sa.Row[Any]) -> Recorded:
    return Recorded(sequence=row.sequence, revision=row.revision, commit=_commit(row))


def _commit(row: sa.Row[Any]) -> Commit:
    return Commit(
        tree=row.tree,
        parent=row.parent,
        author=row.author,
        message=row.message,
        when=datetime.fromisoformat(row.committed_at),
    )
