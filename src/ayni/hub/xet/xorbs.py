"""Xorbs: containers of chunks, each a header of eight bytes and the chunk, compressed or not.

    0        version = 0                     4        scheme: 0 none, 1 LZ4, 2 bytes in four groups, then LZ4
    1 .. 3   stored length, little-endian    5 .. 7   length, little-endian

An uploaded xorb is read while it arrives: every chunk is unpacked and hashed as soon as its last byte is
there, so that what is kept of a xorb is one chunk and an index of 40 bytes a chunk. A chunk cannot unpack to
more than the 128 KiB that it declares, whatever its LZ4 frame says.

Older writers append a footer that begins with `XETBLOB`. It is cut off: it says nothing that the records do
not say, and is not to be trusted.

Not covered: where xorbs are kept.

Source: Xet protocol specification 1.1.0, page "Xorb format".
"""

import struct
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from ayni.errors import UserError
from ayni.hub.xet.hashes import HASH_BYTES, HashTree, chunk_hash

RECORD_HEADER_BYTES = 8
CHUNK_BYTES_AT_MOST = 1 << 17
STORED_CHUNK_BYTES_AT_MOST = 1 << 18
CHUNKS_AT_MOST = 8192
UNPACKED_BYTES_AT_MOST = 1 << 26
BODY_BYTES_AT_MOST = UNPACKED_BYTES_AT_MOST + RECORD_HEADER_BYTES * CHUNKS_AT_MOST
NO_COMPRESSION, LZ4, GROUPED_LZ4 = 0, 1, 2

_FOOTER_MARK = b"XETBLOB"
_FOOTER_BYTES_AT_MOST = 1 << 20
_GROUPS = 4


class XorbFormatError(UserError):
    """What was uploaded is no xorb."""

    def __init__(self, offset: int, reason: str) -> None:
        self.offset = offset
        super().__init__(f"This is no xorb: at byte {offset}, {reason}. Upload it again with hf-xet.")


class XorbTooLargeError(XorbFormatError):
    """A xorb is over a limit of the protocol."""


@dataclass(frozen=True, kw_only=True)
class XorbIndex:
    """What is where in a xorb: for chunk i its hash, and where its record and its content end."""

    chunk_hashes: bytes
    record_ends: tuple[int, ...]
    unpacked_ends: tuple[int, ...]

    @property
    def num_chunks(self) -> int:
        """Chunks in it."""
        return len(self.record_ends)

    @property
    def stored_bytes(self) -> int:
        """Length of all records."""
        return self.record_ends[-1]

    @property
    def unpacked_bytes(self) -> int:
        """Length of the content of all chunks."""
        return self.unpacked_ends[-1]

    @cached_property
    def xorb_hash(self) -> bytes:
        """The hash of the xorb, which is its name."""
        tree = HashTree()
        for number in range(self.num_chunks):
            tree.add(self.hashes(number, number + 1), self.num_unpacked(number, number + 1))
        return tree.root()

    def hashes(self, start: int, stop: int) -> bytes:
        """The hashes of chunks [start, stop), one after another."""
        return self.chunk_hashes[start * HASH_BYTES : stop * HASH_BYTES]

    def record_start(self, number: int) -> int:
        """Where the record of a chunk begins; of the number of chunks, where the last one ends."""
        return self.record_ends[number - 1] if number else 0

    def num_unpacked(self, start: int, stop: int) -> int:
        """Bytes of the content of chunks [start, stop)."""
        return self.unpacked_ends[stop - 1] - (self.unpacked_ends[start - 1] if start else 0)

    def to_bytes(self) -> bytes:
        """Hashes, ends of records, ends of contents; 40 bytes a chunk."""
        return self.chunk_hashes + struct.pack(
            f"<{2 * self.num_chunks}I", *self.record_ends, *self.unpacked_ends
        )

    @classmethod
    def from_bytes(cls, packed: bytes) -> "XorbIndex":
        """The inverse of `to_bytes`."""
        num_chunks = len(packed) // (HASH_BYTES + 8)
        ends = struct.unpack_from(f"<{2 * num_chunks}I", packed, num_chunks * HASH_BYTES)
        return cls(
            chunk_hashes=packed[: num_chunks * HASH_BYTES],
            record_ends=ends[:num_chunks],
            unpacked_ends=ends[num_chunks:],
        )


class XorbReader:
    """Reads a xorb piece by piece, checking every chunk; `finish` gives its index."""

    def __init__(self) -> None:
        # The beginning of a record, or of a footer, whose rest is still to come.
        self._waiting = bytearray()
        self._chunk_hashes = bytearray()
        self._record_ends: list[int] = []
        self._unpacked_ends: list[int] = []
        self._at_byte = 0
        self._footer_bytes = 0

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes, however many; what of them is to be kept, which is all but a footer.

        Raises:
            XorbFormatError: a record is not valid.
            XorbTooLargeError: more chunks or more bytes than a xorb may have.
        """
        if self._footer_bytes:
            self._skip_footer(piece)
            return b""
        with memoryview(piece) as view:
            used = self._complete(view)
            used += self._read_records(view[used:])
            self._waiting += view[used:]
        if not self._waiting.startswith(_FOOTER_MARK[:1]):
            return piece
        self._skip_footer(piece[used:])
        return piece[:used]

    def finish(self) -> XorbIndex:
        """The index of all records.

        Raises:
            XorbFormatError: there is none, or the last one is cut off.
        """
        if self._waiting and not self._waiting.startswith(_FOOTER_MARK):
            raise XorbFormatError(self._at_byte, f"{len(self._waiting)} bytes are left that are no record")
        if not self._record_ends:
            raise XorbFormatError(0, "there is no chunk")
        return XorbIndex(
            chunk_hashes=bytes(self._chunk_hashes),
            record_ends=tuple(self._record_ends),
            unpacked_ends=tuple(self._unpacked_ends),
        )

    def _complete(self, view: memoryview) -> int:
        """Complete the record whose beginning waits; how many bytes that took."""
        used = 0
        while self._waiting and used < len(view):
            stop = RECORD_HEADER_BYTES
            if len(self._waiting) >= RECORD_HEADER_BYTES:
                stop += self._read_header(self._waiting, 0)[0]
            taken = view[used : used + stop - len(self._waiting)]
            self._waiting += taken
            used += len(taken)
            with memoryview(self._waiting) as record:
                is_complete = self._read_records(record) > 0
            if is_complete:
                self._waiting.clear()
        return used

    def _read_records(self, view: memoryview) -> int:
        """Read all whole records; how many bytes they are."""
        start = 0
        while len(view) - start >= RECORD_HEADER_BYTES and view[start] != _FOOTER_MARK[0]:
            stored, scheme, length = self._read_header(view, start)
            stop = start + RECORD_HEADER_BYTES + stored
            if stop > len(view):
                break
            content = self._unpack(view[start + RECORD_HEADER_BYTES : stop], scheme, length)
            self._add(content, stop - start)
            start = stop
        return start

    def _read_header(self, view: memoryview | bytearray, start: int) -> tuple[int, int, int]:
        version, scheme = view[start], view[start + 4]
        stored = int.from_bytes(view[start + 1 : start + 4], "little")
        length = int.from_bytes(view[start + 5 : start + 8], "little")
        if version != 0 or scheme > GROUPED_LZ4:
            raise self._refusal(f"a chunk has version {version} and compression {scheme}")
        if not 1 <= length <= CHUNK_BYTES_AT_MOST or not 1 <= stored <= STORED_CHUNK_BYTES_AT_MOST:
            raise self._refusal(f"a chunk of {length} bytes is stored in {stored}")
        if scheme == NO_COMPRESSION and stored != length:
            raise self._refusal(f"a chunk of {length} bytes that is not compressed is stored in {stored}")
        return stored, scheme, length

    def _unpack(self, stored: memoryview, scheme: int, length: int) -> bytes | memoryview:
        try:
            return unpack(stored, scheme, length)
        except ChunkFormatError as error:
            raise self._refusal(str(error)) from error

    def _add(self, content: bytes | memoryview, record_bytes: int) -> None:
        unpacked = len(content) + (self._unpacked_ends[-1] if self._unpacked_ends else 0)
        if len(self._record_ends) == CHUNKS_AT_MOST or unpacked > UNPACKED_BYTES_AT_MOST:
            raise XorbTooLargeError(
                self._at_byte,
                f"it goes over {CHUNKS_AT_MOST} chunks or {UNPACKED_BYTES_AT_MOST} bytes of content",
            )
        self._chunk_hashes += chunk_hash(content)
        self._at_byte += record_bytes
        self._record_ends.append(self._at_byte)
        self._unpacked_ends.append(unpacked)

    def _skip_footer(self, piece: bytes) -> None:
        missing = len(_FOOTER_MARK) - len(self._waiting)
        if self._footer_bytes and missing > 0:
            self._waiting += piece[:missing]
        if not (self._waiting.startswith(_FOOTER_MARK) or _FOOTER_MARK.startswith(self._waiting)):
            raise self._refusal("there is neither a chunk nor a footer")
        self._footer_bytes += len(piece)
        if self._footer_bytes > _FOOTER_BYTES_AT_MOST:
            raise XorbTooLargeError(self._at_byte, f"its footer is over {_FOOTER_BYTES_AT_MOST} bytes")

    def _refusal(self, reason: str) -> XorbFormatError:
        return XorbFormatError(self._at_byte, reason)


class ChunkFormatError(UserError):
    """A chunk cannot be unpacked."""

    def __init__(self, length: int, reason: str) -> None:
        self.length = length
        super().__init__(f"a chunk of {length} bytes cannot be unpacked: {reason}")


def unpack(stored: memoryview, scheme: int, length: int) -> bytes | memoryview:
    """The content of one chunk, exactly `length` bytes.

    Raises:
        ChunkFormatError: it is not one whole LZ4 frame of that many bytes.
    """
    if scheme == NO_COMPRESSION:
        if len(stored) != length:
            raise ChunkFormatError(length, f"{len(stored)} bytes are stored of it")
        return stored
    frame = _lz4_frame().LZ4FrameDecompressor()
    try:
        # One byte more than declared, so that a frame that goes on is noticed and never unpacked.
        content: bytes = frame.decompress(stored, max_length=length + 1)
    except RuntimeError as error:
        raise ChunkFormatError(length, str(error)) from error
    if len(content) != length or not frame.eof or frame.unused_data:
        raise ChunkFormatError(length, f"its frame has {len(content)} bytes, or something after it")
    return _ungroup(content) if scheme == GROUPED_LZ4 else content


def unpack_records(records: memoryview) -> list[bytes | memoryview]:
    """The contents of records that were checked when they came in.

    Raises:
        ChunkFormatError: they are not what they were.
    """
    contents, start = [], 0
    while start < len(records):
        stored = int.from_bytes(records[start + 1 : start + 4], "little")
        length = int.from_bytes(records[start + 5 : start + 8], "little")
        stop = start + RECORD_HEADER_BYTES + stored
        payload = records[start + RECORD_HEADER_BYTES : stop]
        if len(payload) != stored or records[start] != 0 or records[start + 4] > GROUPED_LZ4:
            raise ChunkFormatError(length, "its record is cut off or was overwritten")
        contents.append(unpack(payload, records[start + 4], length))
        start = stop
    return contents


def pack(content: bytes, scheme: int = LZ4, *, level: int = 0) -> bytes:
    """The record of one chunk; stored as it is where compression does not make it shorter.

    `level` is that of LZ4: 0 is the fastest, from 3 on it searches longer (up to 12).
    """
    stored = content
    if scheme != NO_COMPRESSION:
        grouped = b"".join(content[group::_GROUPS] for group in range(_GROUPS))
        frame = _lz4_frame()
        source = grouped if scheme == GROUPED_LZ4 else content
        stored = frame.compress(source, compression_level=level, store_size=False)
    if len(stored) >= len(content):
        stored, scheme = content, NO_COMPRESSION
    header = b"\0" + len(stored).to_bytes(3, "little") + bytes([scheme]) + len(content).to_bytes(3, "little")
    return header + stored


def _ungroup(grouped: bytes) -> memoryview:
    """Byte i of group k to place 4 i + k, where the first (n mod 4) groups have one byte more."""
    import numpy as np

    source = np.frombuffer(grouped, np.uint8)
    content = np.empty_like(source)
    start = 0
    for group in range(_GROUPS):
        target = content[group::_GROUPS]
        target[:] = source[start : start + len(target)]
        start += len(target)
    return content.data


@cache
def _lz4_frame() -> Any:
    import lz4.frame

    return lz4.frame
