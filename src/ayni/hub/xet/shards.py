"""Shards: which terms make a file, and which chunks are in a xorb.

A shard is records of 48 bytes: a hash and four numbers. Clients upload one after their xorbs, to say what the
files are; the server sends one to say in which xorb a chunk is, so that it need not be uploaded again.

In what the server sends, chunk hashes are keyed with a secret that goes along. Who has a chunk can find it
in there; who has not learns nothing.

Not covered: whether what a shard claims is true (`register.py`). The xorbs that an upload lists are not read,
as the server knows them from their bytes.

Source: Xet protocol specification 1.1.0, page "Shard format".
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ayni.errors import UserError
from ayni.hub.xet.hashes import HASH_BYTES, NO_HASH, from_text, keyed, to_text
from ayni.hub.xet.xorbs import XorbIndex

SHARD_BYTES_AT_MOST = 1 << 26
RECORD_BYTES = 48

_TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
_VERSION = 2
_FOOTER_VERSION = 1
_FOOTER_BYTES = 200
_BOOKEND = b"\xff" * HASH_BYTES + bytes(16)
_HAS_TERM_HASHES, _HAS_SHA256 = 1 << 31, 1 << 30
_RECORD = struct.Struct("<32s4I")


class ShardFormatError(UserError):
    """What was uploaded is no shard."""

    def __init__(self, offset: int, reason: str) -> None:
        self.offset = offset
        super().__init__(f"This is no shard: at byte {offset}, {reason}. Upload it again with hf-xet.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A run of chunks [start, stop) of one xorb, and how many bytes they are."""

    xorb: bytes
    start: int
    stop: int
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileClaim:
    """What an uploader says of a file. Nothing of it is known to be true."""

    file_hash: bytes
    terms: tuple[Term, ...]
    term_hashes: tuple[bytes, ...]
    sha256: str

    @property
    def num_bytes(self) -> int:
        """The length of the file."""
        return sum(term.num_bytes for term in self.terms)


def read_claims(shard: bytes) -> Iterator[FileClaim]:
    """The files of an uploaded shard, one at a time.

    Raises:
        ShardFormatError: it breaks the format, or says no SHA-256 or no hash of a term.
    """
    if len(shard) < RECORD_BYTES or shard[:HASH_BYTES] != _TAG:
        raise ShardFormatError(0, "it does not begin as shards do")
    version, _ = struct.unpack_from("<2Q", shard, HASH_BYTES)
    if version != _VERSION:
        raise ShardFormatError(HASH_BYTES, f"its version is {version}, not {_VERSION}")
    offset = RECORD_BYTES
    while not _is_bookend(shard, offset):
        claim, offset = _read_claim(shard, offset)
        yield claim
    _check_xorbs(shard, offset + RECORD_BYTES)


def write_upload(claims: Sequence[FileClaim], xorbs: Sequence[XorbIndex]) -> bytes:
    """The shard that a client uploads."""
    parts = [_TAG, struct.pack("<2Q", _VERSION, 0)]
    parts += [_claim_records(claim) for claim in claims]
    parts.append(_BOOKEND)
    for index in xorbs:
        hashes = [index.hashes(number, number + 1) for number in range(index.num_chunks)]
        parts.append(_xorb_records(index.xorb_hash, hashes, index, stored_bytes=0))
    parts.append(_BOOKEND)
    return b"".join(parts)


def write_answer(
    xorbs: Sequence[tuple[bytes, XorbIndex]], *, key: bytes, created_at: datetime, expires_at: datetime
) -> bytes:
    """The shard that says which chunks some xorbs have, keyed with `key`."""
    parts = [_TAG, struct.pack("<2Q", _VERSION, _FOOTER_BYTES), _BOOKEND]
    for name, index in xorbs:
        hashes = [keyed(key, index.hashes(number, number + 1)) for number in range(index.num_chunks)]
        parts.append(_xorb_records(name, hashes, index, stored_bytes=index.stored_bytes))
    parts.append(_BOOKEND)
    footer_start = sum(map(len, parts))
    # Without lookup tables clients read the sections; they then find every chunk too.
    tables = (footer_start, 0) * 3
    parts.append(struct.pack("<9Q", _FOOTER_VERSION, RECORD_BYTES, 2 * RECORD_BYTES, *tables))
    parts.append(key)
    parts.append(struct.pack("<2Q", int(created_at.timestamp()), int(expires_at.timestamp())))
    stored = sum(index.stored_bytes for _, index in xorbs)
    unpacked = sum(index.unpacked_bytes for _, index in xorbs)
    parts.append(bytes(48) + struct.pack("<4Q", stored, 0, unpacked, footer_start))
    return b"".join(parts)


def pack_terms(terms: Sequence[Term]) -> bytes:
    """Terms as they are kept in the database: their records in a shard."""
    return b"".join(_term_record(term) for term in terms)


def unpack_terms(packed: bytes) -> tuple[Term, ...]:
    """The inverse of `pack_terms`."""
    return tuple(
        Term(xorb=xorb, start=start, stop=stop, num_bytes=num_bytes)
        for xorb, _, num_bytes, start, stop in _RECORD.iter_unpack(packed)
    )


def _read_claim(shard: bytes, offset: int) -> tuple[FileClaim, int]:
    name, flags, num_terms, _, _ = _record(shard, offset)
    if not flags & _HAS_TERM_HASHES or not flags & _HAS_SHA256:
        raise ShardFormatError(offset, "a file has no hashes of its terms, or no SHA-256")
    if (num_terms == 0) != (name == NO_HASH):
        raise ShardFormatError(offset, f"the file {to_text(name)} has {num_terms} terms")
    terms_start = offset + RECORD_BYTES
    hashes_start = terms_start + num_terms * RECORD_BYTES
    stop = hashes_start + num_terms * RECORD_BYTES
    if stop + RECORD_BYTES > len(shard):
        raise ShardFormatError(offset, f"a file of {num_terms} terms does not fit in {len(shard)} bytes")
    terms = unpack_terms(shard[terms_start:hashes_start])
    for number, term in enumerate(terms):
        if term.start >= term.stop or term.num_bytes == 0:
            raise ShardFormatError(terms_start + number * RECORD_BYTES, "a term has no chunks")
    claim = FileClaim(
        file_hash=name,
        terms=terms,
        term_hashes=tuple(record[0] for record in _RECORD.iter_unpack(shard[hashes_start:stop])),
        sha256=to_text(_record(shard, stop)[0]),
    )
    return claim, stop + RECORD_BYTES


def _check_xorbs(shard: bytes, offset: int) -> None:
    while not _is_bookend(shard, offset):
        num_chunks = _record(shard, offset)[2]
        offset += (1 + num_chunks) * RECORD_BYTES


def _is_bookend(shard: bytes, offset: int) -> bool:
    return _record(shard, offset)[0] == _BOOKEND[:HASH_BYTES]


def _record(shard: bytes, offset: int) -> tuple[bytes, int, int, int, int]:
    if offset + RECORD_BYTES > len(shard):
        raise ShardFormatError(offset, "it is cut off")
    name, first, second, third, fourth = _RECORD.unpack_from(shard, offset)
    return name, first, second, third, fourth


def _claim_records(claim: FileClaim) -> bytes:
    flags = _HAS_TERM_HASHES | _HAS_SHA256
    header = _RECORD.pack(claim.file_hash, flags, len(claim.terms), 0, 0)
    hashes = b"".join(_RECORD.pack(each, 0, 0, 0, 0) for each in claim.term_hashes)
    return header + pack_terms(claim.terms) + hashes + _RECORD.pack(from_text(claim.sha256), 0, 0, 0, 0)


def _term_record(term: Term) -> bytes:
    return _RECORD.pack(term.xorb, 0, term.num_bytes, term.start, term.stop)


def _xorb_records(name: bytes, hashes: Sequence[bytes], index: XorbIndex, *, stored_bytes: int) -> bytes:
    parts = [_RECORD.pack(name, 0, index.num_chunks, index.unpacked_bytes, stored_bytes)]
    start = 0
    for each, end in zip(hashes, index.unpacked_ends, strict=True):
        parts.append(_RECORD.pack(each, start, end - start, 0, 0))
        start = end
    return b"".join(parts)
