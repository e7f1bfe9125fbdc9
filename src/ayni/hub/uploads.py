"""Bytes that were sent to a repository and are in no commit yet, and uploads in parts.

    received    these bytes came, were hashed, and fit; a commit of this repository may name them
    upload      a session: its parts may come in any order, again, and after a restart

"Already there" is said only of content that is in a repository which the caller may read, or that was
received for this one: to know a digest is no permission.

A part is an object of its own that begins with random bytes, so that no part is ever the same object as
somebody's file and can be removed without asking.

    order of writes: bytes of the object -> row in `hub_received` -> commit, in a transaction of its own

Not covered: freeing what was received and never committed, which garbage collection does.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ayni.database import metadata
from ayni.errors import UserError
from ayni.hub.content import ContentStore
from ayni.hub.revisions import MAX_VARIABLES
from ayni.hub.tables import repositories_table, repository_objects_table
from ayni.objects import Stored

MEBIBYTE = 1 << 20
SINGLE_UP_TO_BYTES = 64 * MEBIBYTE
PART_BYTES = 64 * MEBIBYTE
MAX_PARTS = 1_000
MASK_BYTES = 32
UPLOADS_LAST = timedelta(hours=24)

received_table = sa.Table(
    "hub_received",
    metadata,
    sa.Column("repository_id", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.String, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.String, nullable=False),
    # The namespace, in lower case, that pays until a repository has it.
    sa.Column("payer", sa.String, nullable=False, server_default=""),
    sa.Index("ix_hub_received_payer", "payer"),
)

uploads_table = sa.Table(
    "hub_uploads",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("repository_id", sa.Integer, nullable=False),
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("part_bytes", sa.BigInteger, nullable=False),
    sa.Column("begun_at", sa.String, nullable=False),
    # The namespace, in lower case, that pays until a repository has it.
    sa.Column("payer", sa.String, nullable=False, server_default=""),
    sa.Index("ix_hub_uploads_payer", "payer"),
    sa.UniqueConstraint("repository_id", "sha256", name="uq_hub_uploads_repository_id"),
)

upload_parts_table = sa.Table(
    "hub_upload_parts",
    metadata,
    sa.Column("upload_id", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    # Of the object with its random beginning.
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)


class UploadError(UserError):
    """An upload cannot go on: it is not known, parts are missing, or one has another size than announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A session of one file. Parts are numbered from 1."""

    id: str
    repository_id: int
    sha256: str
    size_bytes: int
    part_bytes: int

    @property
    def num_parts(self) -> int:
        """How many parts there are; only the last may be shorter."""
        return -(-self.size_bytes // self.part_bytes)

    def size_of(self, number: int) -> int:
        """Bytes of a part.

        Raises:
            UploadError: there is no such part.
        """
        if not 1 <= number <= self.num_parts:
            raise UploadError(f"There is no part {number}; this upload has {self.num_parts}.")
        return min(self.part_bytes, self.size_bytes - (number - 1) * self.part_bytes)


def note_received(
    connection: sa.Connection, repository_id: int, stored: Stored, *, when: datetime, payer: str = ""
) -> None:
    """A commit of this repository may name this content from now on; sessions of it end."""
    here = sa.and_(received_table.c.repository_id == repository_id, received_table.c.sha256 == stored.sha256)
    connection.execute(received_table.delete().where(here))
    values = {"repository_id": repository_id, "sha256": stored.sha256, "size_bytes": stored.size_bytes}
    values |= {"received_at": when.isoformat(), "payer": payer.lower()}
    connection.execute(received_table.insert().values(values))
    columns = uploads_table.c
    waiting = sa.and_(columns.repository_id == repository_id, columns.sha256 == stored.sha256)
    for upload_id in connection.scalars(sa.select(columns.id).where(waiting)).all():
        _forget(connection, upload_id)


def received_size(connection: sa.Connection, repository_id: int, sha256: str) -> int | None:
    """Bytes of content that was received for a repository; None when it was not."""
    columns = received_table.c
    query = sa.select(columns.size_bytes).where(
        columns.repository_id == repository_id, columns.sha256 == sha256
    )
    return connection.scalar(query)


def known_sizes(
    connection: sa.Connection,
    repository_id: int,
    digests: Sequence[str],
    *,
    readable: sa.ColumnElement[bool],
) -> dict[str, int]:
    """Sizes of the content that a commit of this repository may name, of those asked for.

    Args:
        connection: a transaction.
        repository_id: of the commit.
        digests: SHA-256 of what is asked for.
        readable: the repositories whose files the caller may read, as a condition on `hub_repositories`.
    """
    found: dict[str, int] = {}
    links, places = repository_objects_table.c, repositories_table.c
    for start in range(0, len(digests), MAX_VARIABLES):
        part = list(digests[start : start + MAX_VARIABLES])
        received = sa.select(received_table.c.sha256, received_table.c.size_bytes).where(
            received_table.c.repository_id == repository_id, received_table.c.sha256.in_(part)
        )
        may_read = sa.or_(places.id == repository_id, sa.and_(places.deleted_at.is_(None), readable))
        linked = (
            sa.select(links.sha256, links.size_bytes)
            .join(repositories_table, places.id == links.repository_id)
            .where(links.sha256.in_(part), may_read)
        )
        for row in connection.execute(received.union(linked)):
            found[row.sha256] = row.size_bytes
    return found


def give_up_old(connection: sa.Connection, *, when: datetime) -> None:
    """Forget sessions of which nothing came for a day; what came in parts garbage collection must free."""
    columns = uploads_table.c
    came = sa.exists().where(upload_parts_table.c.upload_id == columns.id)
    is_over = columns.begun_at < (when - UPLOADS_LAST).isoformat()
    connection.execute(uploads_table.delete().where(is_over, ~came))


def linked_sizes(connection: sa.Connection, repository_id: int, digests: Sequence[str]) -> dict[str, int]:
    """Sizes of the content that commits of a repository name, of those asked for."""
    links, found = repository_objects_table.c, dict[str, int]()
    for start in range(0, len(digests), MAX_VARIABLES):
        part = list(digests[start : start + MAX_VARIABLES])
        query = sa.select(links.sha256, links.size_bytes).where(
            links.repository_id == repository_id, links.sha256.in_(part)
        )
        found |= {row.sha256: row.size_bytes for row in connection.execute(query)}
    return found


def begin(
    connection: sa.Connection,
    repository_id: int,
    *,
    sha256: str,
    size_bytes: int,
    when: datetime,
    payer: str = "",
) -> Upload:
    """The session of a file; the one that is there already goes on, unless its size was another.

    What was announced counts for the payer's quota until it is received or given up.
    """
    columns = uploads_table.c
    here = sa.and_(columns.repository_id == repository_id, columns.sha256 == sha256)
    row = connection.execute(sa.select(uploads_table).where(here)).one_or_none()
    if row is not None and row.size_bytes == size_bytes:
        return _upload(row)
    if row is not None:
        _forget(connection, row.id)
    upload = Upload(
        id=secrets.token_hex(16),
        repository_id=repository_id,
        sha256=sha256,
        size_bytes=size_bytes,
        part_bytes=part_bytes(size_bytes),
    )
    values = {
        "id": upload.id,
        "repository_id": repository_id,
        "sha256": sha256,
        "size_bytes": size_bytes,
        "part_bytes": upload.part_bytes,
        "begun_at": when.isoformat(),
        "payer": payer.lower(),
    }
    connection.execute(uploads_table.insert().values(values))
    return upload


def part_bytes(size_bytes: int) -> int:
    """Bytes of each part but the last: 64 MiB, more where that would be over a thousand parts."""
    smallest = -(-size_bytes // MAX_PARTS)
    return max(PART_BYTES, -(-smallest // MEBIBYTE) * MEBIBYTE)


def find(connection: sa.Connection, upload_id: str) -> Upload:
    """A session by its id.

    Raises:
        UploadError: it was completed, given up, or never begun.
    """
    row = connection.execute(sa.select(uploads_table).where(uploads_table.c.id == upload_id)).one_or_none()
    if row is None:
        raise UploadError("This upload is not known any more: it was completed, or has expired. Begin again.")
    return _upload(row)


def note_part(connection: sa.Connection, upload: Upload, number: int, stored: Stored) -> str | None:
    """Keep a part; the digest of the object that it replaces, None for a new one."""
    here = sa.and_(upload_parts_table.c.upload_id == upload.id, upload_parts_table.c.number == number)
    before = connection.scalar(sa.select(upload_parts_table.c.sha256).where(here))
    connection.execute(upload_parts_table.delete().where(here))
    values = {"upload_id": upload.id, "number": number}
    connection.execute(
        upload_parts_table.insert().values(**values, sha256=stored.sha256, size_bytes=stored.size_bytes)
    )
    return before


def parts(connection: sa.Connection, upload: Upload) -> dict[int, str]:
    """The objects of the parts that came, by number."""
    columns = upload_parts_table.c
    query = sa.select(columns.number, columns.sha256).where(columns.upload_id == upload.id)
    return {row.number: row.sha256 for row in connection.execute(query.order_by(columns.number))}


def joined(content: ContentStore, upload: Upload, objects: dict[int, str]) -> Stored:
    """Make one object of all parts; it is visible only when its SHA-256 is the one that was announced.

    Raises:
        UploadError: parts are missing.
        ContentMismatchError: the whole is something else.
    """
    missing = [number for number in range(1, upload.num_parts + 1) if number not in objects]
    if missing:
        shown = ", ".join(map(str, missing[:10]))
        raise UploadError(
            f"{len(missing)} of {upload.num_parts} parts are missing: {shown}. Send them again."
        )
    with content.writer() as writer:
        for number in range(1, upload.num_parts + 1):
            for piece in _unmasked(content, objects[number]):
                writer.write(piece)
        return writer.finish(upload.sha256)


def complete(
    connection: sa.Connection, upload: Upload, stored: Stored, *, when: datetime, payer: str = ""
) -> None:
    """The file is there: note it and end the session. The objects of the parts may go afterwards."""
    note_received(connection, upload.repository_id, stored, when=when, payer=payer)
    _forget(connection, upload.id)


def mask() -> bytes:
    """What a part's object begins with."""
    return secrets.token_bytes(MASK_BYTES)


def _unmasked(content: ContentStore, sha256: str) -> Iterator[bytes]:
    return content.read(sha256, MASK_BYTES)


def _forget(connection: sa.Connection, upload_id: str) -> None:
    connection.execute(upload_parts_table.delete().where(upload_parts_table.c.upload_id == upload_id))
    connection.execute(uploads_table.delete().where(uploads_table.c.id == upload_id))


def _upload(row: sa.Row[tuple[object, ...]]) -> Upload:
    values = row._mapping
    return Upload(
        id=values["id"],
        repository_id=values["repository_id"],
        sha256=values["sha256"],
        size_bytes=values["size_bytes"],
        part_bytes=values["part_bytes"],
    )
