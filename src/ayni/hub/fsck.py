"""Prove that a hub is whole: every row that names something has it, and everything is what its name says.

    problem    something is missing or is not what it should be; the hub is not sound
    note       something is there that nothing needs: garbage, uploads that wait, files of others

Rows are read in one state of the database while the hub works on; what is then missing in the store is
asked for once more in the newest state, as it may have been freed for good reason. Contents are read only on
request.

Not covered: mending. Restore a backup, or upload again what is missing; garbage is `collection.py`'s.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from ayni.database import Database
from ayni.errors import AyniError
from ayni.hub import audit
from ayni.hub.audit import BrokenAuditLogError
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import Commit, TreeEntry, blob_hasher, tree_sha1
from ayni.hub.revisions import MAX_VARIABLES
from ayni.hub.tables import (
    commits_table,
    entries_table,
    names_table,
    refs_table,
    repositories_table,
    repository_objects_table,
)
from ayni.hub.uploads import UPLOADS_LAST, received_table, upload_parts_table, uploads_table
from ayni.hub.xet.chunk_reader import ChunkReader
from ayni.hub.xet.hashes import from_text
from ayni.hub.xet.tables import file_xorbs_table, files_table, xorbs_table

EMPTY_TREE = tree_sha1(())
_ROWS_AT_ONCE = 5_000


class LookedThrough(Protocol):
    """A store whose folder can be looked through."""

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Names of all objects with the bytes that they take."""
        ...

    def strangers(self) -> Iterator[str]:
        """Files that are no objects."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing: what kind it is, where, and what is wrong or odd."""

    kind: str
    where: str
    text: str

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return {"kind": self.kind, "where": self.where, "text": self.text}


@dataclass(slots=True, kw_only=True)
class Checked:
    """What a check looked at, and what it found."""

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "ok": self.is_sound,
            "counts": dict(self.counts),
            "problems": [each.to_json() for each in self.problems],
            "notes": [each.to_json() for each in self.notes],
        }

    def count(self, what: str, number: int = 1) -> None:
        """So many more were looked at."""
        self.counts[what] = self.counts.get(what, 0) + number

    def wrong(self, kind: str, where: str, text: str) -> None:
        """Something is wrong."""
        self.problems.append(Finding(kind=kind, where=where, text=text))

    def odd(self, kind: str, where: str, text: str) -> None:
        """Something is there that nothing needs."""
        self.notes.append(Finding(kind=kind, where=where, text=text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """Looks at one hub and changes nothing.

    Attributes:
        database: rows.
        objects: whole files, and how their folder is looked through.
        content: the same with files made of chunks.
        xorbs: chunks.
        now: the clock's time.
    """

    database: Database
    objects: LookedThrough
    content: ContentStore
    xorbs: LookedThrough
    xorb_content: ContentStore
    now: datetime

    def check(self, *, with_hashes: bool = False) -> Checked:
        """Look at everything; with `with_hashes` every byte is read."""
        found = Checked()
        with self.database.reading() as connection:
            _check_names(connection, found)
            _check_commits(connection, found)
            blobs = _check_trees(connection, found)
            _check_links(connection, found)
            _check_audit(connection, found)
            _check_chunk_rows(connection, found)
        missing = self._check_objects(found)
        self._check_xorbs(found)
        self._check_uploads(found)
        self._look_for_strangers(found)
        if with_hashes:
            self._check_hashes(found, blobs, missing)
            self._check_chunks(found)
        return found

    def _check_objects(self, found: Checked) -> set[str]:
        """Every content that a repository has, or that came for one, is stored with its size."""
        missing: set[str] = set()
        for table in (repository_objects_table, received_table):
            for part in _pages(self.database, table, (table.c.sha256, table.c.repository_id)):
                for row in part:
                    found.count("links")
                    stored = self.content.size(row.sha256)
                    if stored == row.size_bytes or row.sha256 in missing:
                        continue
                    if self._is_still_linked(table, row.sha256):
                        missing.add(row.sha256)
                        text = "is not stored" if stored is None else f"has {stored} bytes"
                        where = f"repository {row.repository_id}"
                        found.wrong("missing-object", where, f"{row.sha256} of {row.size_bytes} bytes {text}")
        return missing

    def _is_still_linked(self, table: sa.Table, sha256: str) -> bool:
        with self.database.reading() as connection:
            here = sa.select(table.c.sha256).where(table.c.sha256 == sha256).limit(1)
            return connection.scalar(here) is not None

    def _check_xorbs(self, found: Checked) -> None:
        for part in _pages(self.database, xorbs_table, (xorbs_table.c.xorb,)):
            for row in part:
                found.count("chunk_groups")
                if (stored := self.xorb_content.size(row.object_name)) != row.stored_bytes:
                    text = "are not stored" if stored is None else f"take {stored} bytes"
                    found.wrong("missing-chunks", row.xorb, f"{row.stored_bytes} bytes of chunks {text}")

    def _check_uploads(self, found: Checked) -> None:
        with self.database.reading() as connection:
            sessions = connection.execute(sa.select(uploads_table)).all()
            parts = connection.execute(sa.select(upload_parts_table)).all()
        known = {row.id for row in sessions}
        for row in sessions:
            found.count("uploads")
            if self.now - datetime.fromisoformat(row.begun_at) > UPLOADS_LAST:
                found.odd("dangling-upload", row.id, f"{row.size_bytes} bytes, begun {row.begun_at[:16]}")
        for part in parts:
            if part.upload_id not in known:
                found.wrong("upload", part.upload_id, f"part {part.number} belongs to no upload")
            if self.content.size(part.sha256) is None:
                found.wrong("upload", part.upload_id, f"part {part.number} is not stored")

    def _look_for_strangers(self, found: Checked) -> None:
        columns = (
            repository_objects_table.c.sha256,
            received_table.c.sha256,
            upload_parts_table.c.sha256,
        )
        for what, place, used in (
            ("objects", self.objects, columns),
            ("chunk_objects", self.xorbs, (xorbs_table.c.object_name,)),
        ):
            num_unused = num_bytes = 0
            for batch in _batches(place.sizes()):
                found.count(what, len(batch))
                unused = self._unused([name for name, _ in batch], used)
                num_unused += len(unused)
                num_bytes += sum(size for name, size in batch if name in unused)
            if num_unused:
                found.odd("unused", what, f"{num_unused} of {num_bytes} bytes; `ayni hub gc` frees them")
            for path in place.strangers():
                found.odd("stranger", what, f"the file {path} is none of the hub's")

    def _unused(self, names: Sequence[str], columns: Sequence[sa.Column[Any]]) -> set[str]:
        left = set(names)
        with self.database.reading() as connection:
            for column in columns:
                left -= set(connection.scalars(sa.select(column).where(column.in_(sorted(left)))))
        return left

    def _check_hashes(self, found: Checked, blobs: dict[str, set[str]], missing: set[str]) -> None:
        """Read every content that repositories have: its SHA-256, and its git id where git keeps it whole."""
        with self.database.reading() as connection:
            columns = repository_objects_table.c
            query = sa.select(columns.sha256, sa.func.max(columns.size_bytes).label("size_bytes"))
            rows = connection.execute(query.group_by(columns.sha256)).all()
        for row in rows:
            if row.sha256 in missing:
                continue
            digest, blob = hashlib.sha256(), blob_hasher(row.size_bytes)
            try:
                for piece in self.content.read(row.sha256):
                    digest.update(piece)
                    blob.update(piece)
            except AyniError as error:
                found.wrong("damaged-object", row.sha256, str(error))
                continue
            found.count("hashed_bytes", row.size_bytes)
            if digest.hexdigest() != row.sha256:
                found.wrong("damaged-object", row.sha256, f"its content has {digest.hexdigest()}")
            elif (wrong := blobs.get(row.sha256, set()) - {blob.hexdigest()}) and row.size_bytes:
                found.wrong("git-id", row.sha256, f"trees name it {sorted(wrong)[0]}, git {blob.hexdigest()}")

    def _check_chunks(self, found: Checked) -> None:
        chunks = ChunkReader(self.database, self.xorb_content)
        for part in _pages(self.database, xorbs_table, (xorbs_table.c.xorb,)):
            for row in part:
                try:
                    chunks.check(from_text(row.xorb))
                    found.count("hashed_bytes", row.stored_bytes)
                except AyniError as error:
                    found.wrong("damaged-chunks", row.xorb, str(error))


def _check_names(connection: sa.Connection, found: Checked) -> None:
    known = set(connection.scalars(sa.select(repositories_table.c.id)))
    found.count("repositories", len(known))
    for row in connection.execute(sa.select(names_table)):
        if row.repository_id not in known:
            found.wrong("name", f"{row.kind} {row.key}", f"leads to no repository ({row.repository_id})")


def _check_commits(connection: sa.Connection, found: Checked) -> None:
    known: set[tuple[int, str]] = set()
    parents: list[tuple[int, str, str]] = []
    for row in connection.execute(sa.select(commits_table)):
        found.count("commits")
        known.add((row.repository_id, row.revision))
        if row.parent is not None:
            parents.append((row.repository_id, row.revision, row.parent))
        made = Commit(
            tree=row.tree,
            parent=row.parent,
            author=row.author,
            message=row.message,
            when=datetime.fromisoformat(row.committed_at),
        )
        if made.sha1 != row.revision:
            found.wrong("commit", f"repository {row.repository_id}", f"{row.revision} hashes to {made.sha1}")
    for number, revision, parent in parents:
        if (number, parent) not in known:
            found.wrong("commit", f"repository {number}", f"{revision} has a parent that is gone: {parent}")
    for ref in connection.execute(sa.select(refs_table)):
        found.count("refs")
        if (ref.repository_id, ref.revision) not in known:
            where = f"repository {ref.repository_id}"
            found.wrong("ref", where, f"{ref.ref} is at {ref.revision}, which is no commit")


def _check_trees(connection: sa.Connection, found: Checked) -> dict[str, set[str]]:
    """Ids of trees, and that every folder and file of one is known; git ids of whole files by SHA-256."""
    trees: set[str] = {EMPTY_TREE}
    wanted = dict.fromkeys(connection.scalars(sa.select(commits_table.c.tree).distinct()), "a commit")
    blobs: dict[str, set[str]] = {}
    for tree, entries in _trees(connection):
        found.count("trees")
        trees.add(tree)
        if (is_called := tree_sha1(entries)) != tree:
            found.wrong("tree", tree, f"its {len(entries)} entries hash to {is_called}")
        for entry in entries:
            if entry.is_folder:
                wanted.setdefault(entry.git_sha1, f"the tree {tree}")
            elif entry.sha256 is None or entry.size_bytes is None:
                found.wrong("tree", tree, f"the file {entry.name!r} has no content")
            else:
                found.count("files")
                if not entry.is_lfs:
                    blobs.setdefault(entry.sha256, set()).add(entry.git_sha1)
    for tree, by in wanted.items():
        if tree not in trees:
            found.wrong("tree", tree, f"is not here, and {by} has it")
    return blobs


def _trees(connection: sa.Connection) -> Iterator[tuple[str, list[TreeEntry]]]:
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(
        sa.select(entries_table).order_by(entries_table.c.tree)
    )
    at, entries = "", list[TreeEntry]()
    for row in rows:
        if row.tree != at and entries:
            yield at, entries
            entries = []
        at = row.tree
        entries.append(
            TreeEntry(
                name=row.name,
                mode=row.mode,
                git_sha1=row.git_sha1,
                sha256=row.sha256,
                size_bytes=row.size_bytes,
            )
        )
    if entries:
        yield at, entries


def _check_links(connection: sa.Connection, found: Checked) -> None:
    """Every file of a repository's commits is linked to the repository: else nobody may read it."""
    roots: dict[int, set[str]] = {}
    for row in connection.execute(sa.select(commits_table.c.repository_id, commits_table.c.tree).distinct()):
        roots.setdefault(row.repository_id, set()).add(row.tree)
    links = repository_objects_table.c
    for number, trees in roots.items():
        linked = set(connection.scalars(sa.select(links.sha256).where(links.repository_id == number)))
        for sha256, name in _contents_below(connection, trees):
            if sha256 not in linked:
                found.wrong("link", f"repository {number}", f"{name!r} ({sha256}) is not linked to it")
                linked.add(sha256)


def _contents_below(connection: sa.Connection, trees: set[str]) -> Iterator[tuple[str, str]]:
    columns = entries_table.c
    seen, waiting = set[str](), sorted(trees)
    while waiting:
        part, waiting = waiting[:MAX_VARIABLES], waiting[MAX_VARIABLES:]
        seen.update(part)
        below: set[str] = set()
        for row in connection.execute(sa.select(entries_table).where(columns.tree.in_(part))):
            if row.sha256 is not None:
                yield row.sha256, row.name
            else:
                below.add(row.git_sha1)
        waiting += sorted(below - seen)


def _check_audit(connection: sa.Connection, found: Checked) -> None:
    try:
        found.count("audit_lines", audit.verify(connection))
    except BrokenAuditLogError as error:
        found.wrong("audit-log", f"line {error.sequence}", str(error))


def _check_chunk_rows(connection: sa.Connection, found: Checked) -> None:
    uses = file_xorbs_table.c
    known = sa.exists().where(xorbs_table.c.xorb == uses.xorb)
    for row in connection.execute(sa.select(file_xorbs_table).where(~known)):
        found.wrong("chunks", row.file, f"the file is made of chunks {row.xorb} that are not here")
    has_uses = sa.exists().where(uses.file == files_table.c.file)
    query = sa.select(files_table.c.file, files_table.c.size_bytes)
    for row in connection.execute(query.where(~has_uses)):
        if row.size_bytes:
            found.wrong("chunks", row.file, "the file says of no chunks that it is made of them")
    count = connection.scalar(sa.select(sa.func.count()).select_from(files_table)) or 0
    found.count("files_of_chunks", count)


def _pages(
    database: Database, table: sa.Table, key: tuple[sa.Column[Any], ...]
) -> Iterator[Sequence[sa.Row[Any]]]:
    """All rows by pages, each read at once, so that no transaction stays open while stores are asked."""
    last: tuple[Any, ...] | None = None
    while True:
        query = sa.select(table).order_by(*key).limit(_ROWS_AT_ONCE)
        if last is not None:
            query = query.where(sa.tuple_(*key) > sa.tuple_(*map(sa.literal, last)))
        with database.reading() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return
        yield rows
        last = tuple(rows[-1]._mapping[column.name] for column in key)


def _batches(pairs: Iterator[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    several: list[tuple[str, int]] = []
    for pair in pairs:
        several.append(pair)
        if len(several) == _ROWS_AT_ONCE:
            yield several
            several = []
    if several:
        yield several
