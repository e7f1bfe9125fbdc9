"""Take shards in: a file is known once everything that its claim says was found to be true.

    xorbs        stored, and the uploader may build on them
    terms        the chunks are there, are that many bytes, and the uploader knows their hashes
    file hash    that of these chunks in this order
    SHA-256      that of the content, read once, ahead of the shard where that was possible (`ahead.py`);
                 a file that is known already is not read again

Nothing is written before all files of a shard are found true. Then one transaction makes them known, and says
that the repository received them, so that a commit may name them.

Not covered: the commit.

Source: Xet protocol specification 1.1.0, page "Upload protocol".
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from ayni.database import Database
from ayni.errors import UserError
from ayni.hub import uploads
from ayni.hub.xet import index
from ayni.hub.xet.chunk_reader import ChunkReader
from ayni.hub.xet.hashes import HASH_BYTES, NO_HASH, HashTree, file_hash, term_hash, to_text
from ayni.hub.xet.index import Holder, KnownFile
from ayni.hub.xet.shards import FileClaim, Term
from ayni.objects import Stored

TERMS_AT_MOST = 1 << 18
BYTES_AT_MOST = 1 << 40
"""Of all files of one shard. A shard of 64 MiB could name 47 TB of content to be hashed."""

Progress = Callable[[int, int], None]
"""(terms that were checked, of how many)."""


class UnknownXorbError(UserError):
    """A shard builds on chunks that are not here, or not here for this uploader."""

    def __init__(self, xorbs: Sequence[str]) -> None:
        self.xorbs = tuple(xorbs)
        super().__init__(
            f"{len(xorbs)} groups of chunks are not known here, or not to you: {xorbs[0][:12]}.... Your "
            "client remembers them from an earlier upload; remove its cache (the folder xet in HF_HOME) and "
            "upload again."
        )


class FalseClaimError(UserError):
    """A shard says of a file what is not true of its chunks."""

    def __init__(self, file: str, reason: str) -> None:
        self.file = file
        super().__init__(f"The file {file[:12]}... is not what its chunks say: {reason}. Upload it again.")


class ShardTooLargeError(UserError):
    """A shard has more terms, or files of more bytes, than one may."""

    def __init__(self, *, num_terms: int, num_bytes: int) -> None:
        self.num_terms = num_terms
        self.num_bytes = num_bytes
        super().__init__(
            f"{num_terms} terms of {num_bytes} bytes are more than one upload may have ({TERMS_AT_MOST} and "
            f"{BYTES_AT_MOST}). Upload the files one after another."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Registrar:
    """Finds claims true and makes their files known, for one holder.

    Attributes:
        database: rows.
        chunks: what is in the xorbs.
        holder: who uploads, and where to.
        readable: what the member may read, as a condition on `hub_repositories`.
        check_size: raises where files, as sizes by SHA-256, are more than the holder may add.
        behind: what was hashed ahead of the first terms of a file, and of how many.
    """

    database: Database
    chunks: ChunkReader
    holder: Holder
    readable: sa.ColumnElement[bool]
    check_size: Callable[[sa.Connection, Mapping[str, int]], None] = lambda *_: None
    behind: Callable[[Sequence[Term]], tuple["hashlib._Hash", int]] = lambda _: (hashlib.sha256(), 0)

    def register(
        self, claims: Iterable[FileClaim], *, when: datetime, progress: Progress = lambda *_: None
    ) -> bool:
        """Make files known; whether any is new to the repository (what others have is not told).

        Raises:
            ShardFormatError: the claims cannot be read.
            ShardTooLargeError: there are too many.
            UnknownXorbError: the holder has no use of a xorb.
            FalseClaimError: a claim is not true.
            DamagedXorbError: stored chunks cannot be read.
        """
        read = self._read(claims)
        self._check_xorbs(read)
        counted = _Count(total=sum(len(claim.terms) for claim in read), tell=progress)
        return self._write([self._checked(claim, counted) for claim in read], when)

    def _read(self, claims: Iterable[FileClaim]) -> list[FileClaim]:
        read, num_terms, num_bytes = [], 0, 0
        for claim in claims:
            num_terms += len(claim.terms)
            num_bytes += claim.num_bytes
            if num_terms > TERMS_AT_MOST or num_bytes > BYTES_AT_MOST:
                raise ShardTooLargeError(num_terms=num_terms, num_bytes=num_bytes)
            read.append(claim)
        with self.database.reading() as connection:
            self.check_size(connection, {claim.sha256: claim.num_bytes for claim in read})
        return read

    def _check_xorbs(self, claims: Sequence[FileClaim]) -> None:
        wanted = {term.xorb for claim in claims for term in claim.terms}
        with self.database.reading() as connection:
            usable = index.usable_xorbs(connection, wanted, self.holder, readable=self.readable)
            missing = wanted - (usable & index.stored_xorbs(connection, usable))
        if missing:
            raise UnknownXorbError(sorted(map(to_text, missing)))

    def _checked(self, claim: FileClaim, counted: "_Count") -> KnownFile:
        name = to_text(claim.file_hash)
        tree = HashTree()
        for number, (term, said) in enumerate(zip(claim.terms, claim.term_hashes, strict=True)):
            self._check_term(name, number, term, said)
            self._add_leaves(tree, term)
        if file_hash(tree.root()) != claim.file_hash:
            raise FalseClaimError(name, "together they have another hash")
        with self.database.reading() as connection:
            known = index.find_file(connection, claim.file_hash)
        sha256 = known.sha256 if known is not None else self._sha256(claim, counted)
        if sha256 != claim.sha256:
            raise FalseClaimError(name, f"the SHA-256 is {sha256[:12]}..., not {claim.sha256[:12]}...")
        if known is not None:
            counted.add(len(claim.terms))
        return KnownFile(
            file_hash=claim.file_hash, sha256=sha256, size_bytes=claim.num_bytes, terms=claim.terms
        )

    def _check_term(self, name: str, number: int, term: Term, said: bytes) -> None:
        places = self.chunks.index_of(term.xorb)
        if term.stop > places.num_chunks:
            raise FalseClaimError(name, f"term {number} ends at chunk {term.stop} of {places.num_chunks}")
        if (num_bytes := places.num_unpacked(term.start, term.stop)) != term.num_bytes:
            raise FalseClaimError(name, f"term {number} has {num_bytes} bytes, not {term.num_bytes}")
        if term_hash(places.hashes(term.start, term.stop)) != said:
            raise FalseClaimError(name, f"the hash over term {number} is another")

    def _add_leaves(self, tree: HashTree, term: Term) -> None:
        places = self.chunks.index_of(term.xorb)
        hashes, ends = places.hashes(term.start, term.stop), places.unpacked_ends
        before = ends[term.start - 1] if term.start else 0
        for number, end in enumerate(ends[term.start : term.stop]):
            tree.add(hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES], end - before)
            before = end

    def _sha256(self, claim: FileClaim, counted: "_Count") -> str:
        digest, num_hashed = self.behind(claim.terms)
        if num_hashed:
            counted.add(num_hashed)
        # One batch is read and unpacked while the one before is hashed; both let other threads run.
        with ThreadPoolExecutor(1) as hashing:
            before: Future[None] | None = None
            for term in claim.terms[num_hashed:]:
                for contents in self.chunks.read_unchecked(term.xorb, term.start, term.stop):
                    if before is not None:
                        before.result()
                    before = hashing.submit(_update, digest, contents)
                counted.add(1)
        return digest.hexdigest()

    def _write(self, files: Sequence[KnownFile], when: datetime) -> bool:
        used = {term.xorb for known in files for term in known.terms}
        # Not the transaction's: what is looked up of a xorb is remembered, and read by itself.
        starts = {
            known.file_hash: self.chunks.index_of(known.terms[0].xorb).hashes(
                known.terms[0].start, known.terms[0].start + 1
            )
            for known in files
            if known.file_hash != NO_HASH
        }

        def record(connection: sa.Connection) -> bool:
            # What nobody used may have been freed while it was read.
            if gone := used - index.stored_xorbs(connection, used):
                raise UnknownXorbError(sorted(map(to_text, gone)))
            # For the repository's readers. Only who sent bytes may build on them elsewhere.
            index.add_holder(connection, used, replace(self.holder, user=""))
            is_new = False
            for known in files:
                if known.file_hash != NO_HASH:
                    is_new |= self._add(connection, known, starts[known.file_hash], when)
            return is_new

        return self.database.run(record)

    def _add(self, connection: sa.Connection, known: KnownFile, start: bytes, when: datetime) -> bool:
        self.check_size(connection, {known.sha256: known.size_bytes})
        here = self.holder.repository_id
        is_new = uploads.received_size(connection, here, known.sha256) is None
        index.add_file(connection, known, when=when)
        index.add_eligible(connection, [(start, known.terms[0].xorb)])
        received = Stored(sha256=known.sha256, size_bytes=known.size_bytes)
        uploads.note_received(connection, here, received, when=when, payer=self.holder.payer)
        return is_new


@dataclass(slots=True, kw_only=True)
class _Count:
    """Terms that were checked, and who wants to hear of it."""

    total: int
    tell: Progress
    done: int = 0

    def add(self, num_terms: int) -> None:
        """So many more were checked."""
        self.done += num_terms
        self.tell(self.done, self.total)


def _update(digest: "hashlib._Hash", contents: Iterable[bytes | memoryview]) -> None:
    for content in contents:
        digest.update(content)
