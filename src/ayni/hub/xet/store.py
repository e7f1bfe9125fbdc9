"""The chunk store of a hub: what the routes call, with the parts that they need.

Not covered: HTTP.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa

from ayni.database import Database
from ayni.errors import UserError
from ayni.hub.content import ContentStore
from ayni.hub.permissions import readable
from ayni.hub.tables import repository_objects_table
from ayni.hub.uploads import received_table
from ayni.hub.xet import index
from ayni.hub.xet.ahead import DigestsAhead, Session
from ayni.hub.xet.chunk_reader import ChunkReader
from ayni.hub.xet.contents import XetContents
from ayni.hub.xet.hashes import to_text
from ayni.hub.xet.index import Holder, KnownFile
from ayni.hub.xet.receive import XorbUpload
from ayni.hub.xet.reconstruction import LinkTo, reconstruction
from ayni.hub.xet.register import Progress, Registrar
from ayni.hub.xet.shards import read_claims, write_answer
from ayni.hub.xet.tokens import XetGrant, answer_key


class UnknownChunkError(UserError):
    """No xorb that the caller may build on has this chunk."""

    def __init__(self, chunk: bytes) -> None:
        self.chunk = to_text(chunk)
        super().__init__(f"The chunk {self.chunk[:12]}... is not known here. Upload it.")


class UnknownFileError(UserError):
    """The repository has no file with this hash."""

    def __init__(self, file_hash: bytes) -> None:
        self.file_hash = to_text(file_hash)
        super().__init__(f"This repository has no file {self.file_hash[:12]}... made of chunks.")


CheckSize = Callable[[sa.Connection, Mapping[str, int]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class XetStore:
    """Chunks of one hub.

    Attributes:
        database: rows.
        xorbs: where records are, apart from the hub's other content.
        chunks: reads them.
        ahead: hashes files while they come.
        secret: hides the hashes of chunks; shared by all processes of a hub, at least 32 bytes.
        offers_reads: whether clients are told to download by chunks; plain downloads work without.
    """

    database: Database
    xorbs: ContentStore
    chunks: ChunkReader
    ahead: DigestsAhead
    secret: bytes
    offers_reads: bool = False

    @classmethod
    def over(
        cls, database: Database, xorbs: ContentStore, *, secret: bytes, offers_reads: bool = False
    ) -> "XetStore":
        """The chunk store over a database and a place for xorbs."""
        chunks = ChunkReader(database, xorbs)
        return cls(
            database=database,
            xorbs=xorbs,
            chunks=chunks,
            ahead=DigestsAhead(chunks),
            secret=secret,
            offers_reads=offers_reads,
        )

    def contents(self, objects: ContentStore) -> XetContents:
        """The hub's content: objects, and files made of chunks."""
        return XetContents(objects, self.database, self.chunks)

    def upload(
        self,
        grant: XetGrant,
        name: bytes,
        *,
        payer: str = "",
        announced_bytes: int | None = None,
        check_size: Callable[[sa.Connection], None] = lambda _: None,
    ) -> XorbUpload:
        """A xorb that comes in pieces, `announced_bytes` in all; `check_size` is asked once it counts.

        Raises:
            DiskFullError, NotWritableError: the device refuses.
        """
        return XorbUpload(
            self.database,
            self.xorbs,
            name=name,
            holder=_holder(grant, payer),
            readable=readable(grant.caller),
            announced_bytes=announced_bytes,
            check_size=check_size,
        )

    def register(
        self,
        grant: XetGrant,
        shard: bytes,
        *,
        when: datetime,
        payer: str = "",
        session: Session | None = None,
        check_size: CheckSize = lambda *_: None,
        progress: Progress = lambda *_: None,
    ) -> bool:
        """Make the files of a shard known, once they were found true; whether any is new to the repository.

        `session` is that in which the xorbs came, if the caller said to `ahead` which did.

        Raises:
            ShardFormatError, ShardTooLargeError, UnknownXorbError, FalseClaimError: nothing was changed.
            DamagedXorbError: stored chunks cannot be read.
        """
        registrar = Registrar(
            database=self.database,
            chunks=self.chunks,
            holder=_holder(grant, payer),
            readable=readable(grant.caller),
            check_size=check_size,
        )
        if session is not None:
            registrar = replace(registrar, behind=partial(self.ahead.behind, session))
        return registrar.register(read_claims(shard), when=when, progress=progress)

    def answer(self, grant: XetGrant, chunk: bytes, *, now: datetime) -> bytes:
        """The shard that tells where a chunk is, in what the caller may read.

        Raises:
            UnknownChunkError: nowhere there.
        """
        with self.database.reading() as connection:
            found = index.xorbs_with(connection, chunk)
            usable = index.usable_xorbs(connection, found, _holder(grant), readable=readable(grant.caller))
        listed = [(xorb, self.chunks.index_of(xorb)) for xorb in found if xorb in usable]
        if not any(chunk in _hashes(places.chunk_hashes) for _, places in listed):
            raise UnknownChunkError(chunk)
        key = answer_key(self.secret, grant, now=now)
        return write_answer(listed, key=key.key, created_at=key.begins_at, expires_at=key.ends_at)

    def reconstruction(
        self,
        grant: XetGrant,
        file_hash: bytes,
        byte_range: tuple[int, int] | None,
        link_to: LinkTo,
        *,
        version: Literal[1, 2],
    ) -> dict[str, Any]:
        """Where the chunks of a range of a file are.

        Raises:
            UnknownFileError: the repository of the token has no such file.
            RangeNotSatisfiableError: the range begins behind its end.
        """
        with self.database.reading() as connection:
            known = index.find_file(connection, file_hash)
            if known is None or not _has(connection, grant.repository_id, known):
                raise UnknownFileError(file_hash)
        wanted = (0, known.size_bytes) if byte_range is None else byte_range
        return reconstruction(known.terms, wanted, self.chunks.index_of, link_to, version=version)

    def file_hashes(self, connection: sa.Connection, digests: Iterable[str]) -> dict[str, str]:
        """The Xet hashes by SHA-256 of what is made of chunks; none where downloads by chunks are off."""
        return index.file_hashes(connection, list(digests)) if self.offers_reads else {}


def _holder(grant: XetGrant, payer: str = "") -> Holder:
    # A token for named repositories finds nothing of what its owner sent to others.
    user = grant.user if grant.caller.scoped_to is None else ""
    return Holder(repository_id=grant.repository_id, user=user, payer=payer)


def _hashes(joined: bytes) -> set[bytes]:
    return {joined[start : start + 32] for start in range(0, len(joined), 32)}


def _has(connection: sa.Connection, repository_id: int, known: KnownFile) -> bool:
    for table in (repository_objects_table, received_table):
        here = sa.and_(table.c.repository_id == repository_id, table.c.sha256 == known.sha256)
        if connection.scalar(sa.select(sa.func.count()).select_from(table).where(here)):
            return True
    return False
