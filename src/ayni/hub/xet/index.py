"""What is known of xorbs and files, as rows; within a transaction of the caller's.

Rows are added where they are missing and never changed, so that a request that is repeated, or two that say
the same at once, do no harm: what a hash names is fixed by the hash.

Not covered: the bytes, and whether what is added is true (`receive.py` and `register.py` see to it).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ayni.hub.revisions import MAX_VARIABLES
from ayni.hub.tables import repositories_table
from ayni.hub.xet.hashes import from_text, is_eligible, to_text
from ayni.hub.xet.shards import Term, pack_terms, unpack_terms
from ayni.hub.xet.tables import (
    eligible_chunks_table,
    file_xorbs_table,
    files_table,
    holders_table,
    xorbs_table,
)
from ayni.hub.xet.xorbs import XorbIndex

SIBLINGS_AT_MOST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """In whose name something is uploaded: into a repository, by a member; `payer` is charged for it."""

    repository_id: int
    user: str
    payer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownXorb:
    """A xorb that is stored: what is in it, and the object that has its records."""

    xorb: bytes
    object_name: str
    index: XorbIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """A file that is made of chunks."""

    file_hash: bytes
    sha256: str
    size_bytes: int
    terms: tuple[Term, ...]


def find_xorb(connection: sa.Connection, xorb: bytes) -> KnownXorb | None:
    """A stored xorb by its hash."""
    query = sa.select(xorbs_table).where(xorbs_table.c.xorb == to_text(xorb))
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return KnownXorb(xorb=xorb, object_name=row.object_name, index=XorbIndex.from_bytes(row.chunks))


def add_xorb(connection: sa.Connection, known: KnownXorb, *, when: datetime, payer: str = "") -> bool:
    """Keep a xorb and its eligible chunks; whether it is new. Of two forms of one xorb the first stays."""
    index = known.index
    row = {
        "xorb": to_text(known.xorb),
        "object_name": known.object_name,
        "stored_bytes": index.stored_bytes,
        "unpacked_bytes": index.unpacked_bytes,
        "chunks": index.to_bytes(),
        "received_at": when.isoformat(),
        "payer": payer.lower(),
    }
    is_new = _add_missing(connection, xorbs_table, [row]) == 1
    hashes = {index.hashes(number, number + 1) for number in range(index.num_chunks)}
    add_eligible(connection, ((each, known.xorb) for each in hashes if is_eligible(each)))
    return is_new


def add_eligible(connection: sa.Connection, chunks: Iterable[tuple[bytes, bytes]]) -> None:
    """Let clients find (chunk, xorb) by the chunk."""
    rows = [{"chunk": to_text(chunk), "xorb": to_text(xorb)} for chunk, xorb in chunks]
    _add_missing(connection, eligible_chunks_table, rows)


def add_holder(connection: sa.Connection, xorbs: Iterable[bytes], holder: Holder) -> None:
    """Note that a repository, and a member, have these xorbs."""
    values = {"repository_id": holder.repository_id, "user": holder.user}
    rows = [{"xorb": to_text(xorb), **values} for xorb in xorbs]
    _add_missing(connection, holders_table, rows)


def usable_xorbs(
    connection: sa.Connection,
    xorbs: Collection[bytes],
    holder: Holder,
    *,
    readable: sa.ColumnElement[bool],
) -> set[bytes]:
    """Those that a holder may build on: of its repository, of one that it may read, or its own.

    Args:
        connection: a transaction.
        xorbs: that are asked for.
        holder: who asks, and for which repository.
        readable: what the member may read, as a condition on `hub_repositories`.
    """
    columns, places = holders_table.c, repositories_table.c
    may_use = sa.or_(
        # Who sent the bytes has them. Nobody is the member without a name.
        sa.and_(columns.user == holder.user, sa.literal(holder.user != "")),
        columns.repository_id == holder.repository_id,
        sa.and_(places.deleted_at.is_(None), readable),
    )
    joined = holders_table.outerjoin(repositories_table, places.id == columns.repository_id)
    found: set[bytes] = set()
    for part in _parts([to_text(xorb) for xorb in xorbs]):
        query = sa.select(columns.xorb).distinct().select_from(joined).where(columns.xorb.in_(part), may_use)
        found |= {from_text(text) for text in connection.scalars(query)}
    return found


def stored_xorbs(connection: sa.Connection, xorbs: Collection[bytes]) -> set[bytes]:
    """Those that are there."""
    found: set[bytes] = set()
    for part in _parts([to_text(xorb) for xorb in xorbs]):
        query = sa.select(xorbs_table.c.xorb).where(xorbs_table.c.xorb.in_(part))
        found |= {from_text(text) for text in connection.scalars(query)}
    return found


def xorbs_with(connection: sa.Connection, chunk: bytes) -> list[bytes]:
    """Xorbs that have a chunk which clients may ask for, then other xorbs of the files that use those.

    Who has the first chunk of a file often has more of it. To name the file's other xorbs at once makes a
    client find what it would else meet by chance, at one chunk in 1024.
    """
    columns, uses = eligible_chunks_table.c, file_xorbs_table.c
    query = sa.select(columns.xorb).where(columns.chunk == to_text(chunk)).order_by(columns.xorb)
    direct = list(connection.scalars(query.limit(SIBLINGS_AT_MOST)))
    files = sa.select(uses.file).where(uses.xorb.in_(direct)).limit(SIBLINGS_AT_MOST)
    others = sa.select(uses.xorb).where(uses.file.in_(files), uses.xorb.not_in(direct)).distinct()
    siblings = connection.scalars(others.order_by(uses.xorb).limit(SIBLINGS_AT_MOST)) if direct else ()
    return [from_text(text) for text in [*direct, *siblings]][:SIBLINGS_AT_MOST]


def find_file(connection: sa.Connection, file_hash: bytes) -> KnownFile | None:
    """A file by its Xet hash."""
    return _one_file(connection, files_table.c.file == to_text(file_hash))


def find_content(connection: sa.Connection, sha256: str) -> KnownFile | None:
    """A file by the SHA-256 of its content; any, where clients cut it in several ways."""
    return _one_file(connection, files_table.c.sha256 == sha256)


def content_sizes(connection: sa.Connection, digests: Sequence[str]) -> dict[str, int]:
    """Sizes of those that are files made of chunks."""
    columns, found = files_table.c, dict[str, int]()
    for part in _parts(digests):
        query = sa.select(columns.sha256, columns.size_bytes).where(columns.sha256.in_(part))
        found |= {row.sha256: row.size_bytes for row in connection.execute(query)}
    return found


def file_hashes(connection: sa.Connection, digests: Sequence[str]) -> dict[str, str]:
    """The Xet hashes, as text, of those that are files made of chunks."""
    columns, found = files_table.c, dict[str, str]()
    for part in _parts(digests):
        query = sa.select(columns.sha256, columns.file).where(columns.sha256.in_(part))
        found |= {row.sha256: row.file for row in connection.execute(query.order_by(columns.file.desc()))}
    return found


def add_file(connection: sa.Connection, known: KnownFile, *, when: datetime) -> bool:
    """Keep a file; whether it is new."""
    name = to_text(known.file_hash)
    row = {
        "file": name,
        "sha256": known.sha256,
        "size_bytes": known.size_bytes,
        "terms": pack_terms(known.terms),
        "registered_at": when.isoformat(),
    }
    if _add_missing(connection, files_table, [row]) == 0:
        return False
    uses = {term.xorb for term in known.terms}
    _add_missing(connection, file_xorbs_table, [{"file": name, "xorb": to_text(xorb)} for xorb in uses])
    return True


def _one_file(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> KnownFile | None:
    query = sa.select(files_table).where(condition).order_by(files_table.c.file).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return KnownFile(
        file_hash=from_text(row.file),
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        terms=unpack_terms(row.terms),
    )


def _add_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows that are not there yet; how many were not."""
    # Both dialects have it, and neither tells the other's by the common name.
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    num_added = 0
    for start in range(0, len(rows), MAX_VARIABLES // 8):
        part = [dict(row) for row in rows[start : start + MAX_VARIABLES // 8]]
        # Without the option the driver of PostgreSQL has forgotten the number when it is asked for.
        statement = insert(table).values(part).on_conflict_do_nothing()
        num_added += connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount
    return num_added


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), MAX_VARIABLES):
        yield list(texts[start : start + MAX_VARIABLES])
