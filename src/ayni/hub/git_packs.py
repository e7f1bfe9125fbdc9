"""What `git clone` and `git fetch` get: the objects that a client lacks, as a pack.

Files that git keeps by LFS go as their pointers; git-lfs fetches them from the same address. The pack is made
while it is sent: memory holds the ids of its objects and one file.

Not covered: deltas (each object is compressed alone), and pushing.

Source: git documentation, gitformat-pack (version 2).
"""

import hashlib
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from ayni.hub import revisions
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import Commit, TreeEntry, lfs_pointer, tree_content
from ayni.hub.revisions import MAX_VARIABLES
from ayni.hub.tables import entries_table

_COMMIT, _TREE, _BLOB = 1, 2, 3
_FASTEST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All commits of a repository by id."""

    commits: Mapping[str, Commit]

    @classmethod
    def of(cls, connection: sa.Connection, repository_id: int) -> "History":
        """Read it."""
        found = revisions.history(connection, repository_id)
        return cls(commits={each.revision: each.commit for each in found})

    def reached(
        self, starts: Iterable[str], *, depth: int | None = None, ends: Collection[str] = ()
    ) -> dict[str, int]:
        """Commits that lead back from some, with their distance from 1 on; `ends` have no parents."""
        found: dict[str, int] = {}
        for start in starts:
            at: str | None = start
            distance = 1
            while at is not None and at in self.commits and (depth is None or distance <= depth):
                if at in found and found[at] <= distance:
                    break
                found[at] = distance
                at = None if at in ends else self.commits[at].parent
                distance += 1
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PackList:
    """What goes into a pack."""

    commits: tuple[Commit, ...]
    trees: Mapping[str, tuple[TreeEntry, ...]]
    files: Mapping[str, TreeEntry]

    @property
    def num_objects(self) -> int:
        """How many objects there are."""
        return len(self.commits) + len(self.trees) + len(self.files)


def list_objects(
    connection: sa.Connection, history: History, wanted: Collection[str], known: Collection[str]
) -> PackList:
    """The objects of wanted commits that are not in known ones.

    Args:
        connection: a transaction.
        history: of the repository.
        wanted: commits that the client lacks.
        known: commits that it has, whose trees are not sent again.
    """
    has = _below(connection, [history.commits[each].tree for each in known], seen=set())
    seen = set(has.trees)
    lacks = _below(connection, [history.commits[each].tree for each in wanted], seen=seen)
    return PackList(
        commits=tuple(history.commits[each] for each in wanted),
        trees=lacks.trees,
        files={sha1: entry for sha1, entry in lacks.files.items() if sha1 not in has.files},
    )


def pack(listed: PackList, content: ContentStore) -> Iterator[bytes]:
    """The bytes of a pack.

    Raises:
        MissingObjectError: content is gone, when it is reached.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    for piece in _objects(listed, content):
        digest.update(piece)
        yield piece
    yield digest.digest()


def _objects(listed: PackList, content: ContentStore) -> Iterator[bytes]:
    yield b"PACK" + (2).to_bytes(4, "big") + listed.num_objects.to_bytes(4, "big")
    for made in listed.commits:
        yield _object(_COMMIT, made.content())
    for entries in listed.trees.values():
        yield _object(_TREE, tree_content(entries))
    for entry in listed.files.values():
        sha256, size_bytes = str(entry.sha256), entry.size_bytes or 0
        if entry.is_lfs:
            yield _object(_BLOB, lfs_pointer(sha256, size_bytes))
        else:
            yield from _streamed(size_bytes, content.read(sha256))


def _object(kind: int, data: bytes) -> bytes:
    return _header(kind, len(data)) + zlib.compress(data, _FASTEST)


def _streamed(size_bytes: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield _header(_BLOB, size_bytes)
    stream = zlib.compressobj(_FASTEST)
    for piece in pieces:
        if out := stream.compress(piece):
            yield out
    yield stream.flush()


def _header(kind: int, size: int) -> bytes:
    byte, rest, header = kind << 4 | size & 15, size >> 4, b""
    while rest:
        header += bytes([byte | 128])
        byte, rest = rest & 127, rest >> 7
    return header + bytes([byte])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    trees: dict[str, tuple[TreeEntry, ...]]
    files: dict[str, TreeEntry]


def _below(connection: sa.Connection, roots: Iterable[str], *, seen: set[str]) -> _Found:
    """All trees below some roots that were not seen, and the files in them by their git id."""
    trees: dict[str, tuple[TreeEntry, ...]] = {}
    files: dict[str, TreeEntry] = {}
    waiting = list(dict.fromkeys(root for root in roots if root not in seen))
    while waiting:
        part, waiting = waiting[:MAX_VARIABLES], waiting[MAX_VARIABLES:]
        rows: dict[str, list[TreeEntry]] = {tree: [] for tree in part}
        for row in connection.execute(sa.select(entries_table).where(entries_table.c.tree.in_(part))):
            entry = TreeEntry(
                name=row.name,
                mode=row.mode,
                git_sha1=row.git_sha1,
                sha256=row.sha256,
                size_bytes=row.size_bytes,
            )
            rows[row.tree].append(entry)
            if not entry.is_folder:
                files[entry.git_sha1] = entry
        trees |= {tree: tuple(entries) for tree, entries in rows.items()}
        below = {entry.git_sha1 for entries in rows.values() for entry in entries if entry.is_folder}
        waiting += sorted(below - set(trees) - seen - set(waiting))
    return _Found(trees=trees, files=files)
