"""Reads chunks from where xorbs are kept, checking each against its hash.

What was damaged on the disk breaks the reading off; it never reaches a client as a file.

Not covered: which chunks make a file (`reconstruction.py`).
"""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from ayni.database import Database
from ayni.errors import AyniError
from ayni.hub.content import ContentStore
from ayni.hub.xet import index
from ayni.hub.xet.hashes import chunk_hash, to_text
from ayni.hub.xet.index import KnownXorb
from ayni.hub.xet.reconstruction import Stretch
from ayni.hub.xet.xorbs import ChunkFormatError, XorbIndex, unpack_records

KEPT_CHUNKS = 1 << 19
"""Chunks whose place is kept in memory, about 100 bytes each."""

_BATCH_BYTES = 1 << 20


class DamagedXorbError(AyniError):
    """A stored xorb is gone, or is not what its hash promises."""

    def __init__(self, xorb: bytes, reason: str) -> None:
        self.xorb = to_text(xorb)
        super().__init__(
            f"The stored chunks {self.xorb[:12]}... cannot be read: {reason}. Restore the folder of objects "
            "from a backup, or upload the files that use them again."
        )


class ChunkReader:
    """Content of chunks, by the rows in `database` and the records in `xorbs`."""

    def __init__(self, database: Database, xorbs: ContentStore) -> None:
        self._database = database
        self._xorbs = xorbs
        self._known: OrderedDict[bytes, KnownXorb] = OrderedDict()
        self._num_kept = 0
        self._lock = threading.Lock()

    def index_of(self, xorb: bytes) -> XorbIndex:
        """What is in a xorb.

        Raises:
            DamagedXorbError: it is not known.
        """
        return self.find(xorb).index

    def find(self, xorb: bytes) -> KnownXorb:
        """A stored xorb; those used lately are remembered, for they never change.

        Raises:
            DamagedXorbError: it is not known.
        """
        with self._lock:
            if (kept := self._known.get(xorb)) is not None:
                self._known.move_to_end(xorb)
                return kept
        with self._database.reading() as connection:
            known = index.find_xorb(connection, xorb)
        if known is None:
            raise DamagedXorbError(xorb, "it is not in the database")
        self._keep(known)
        return known

    def forget(self, xorb: bytes) -> None:
        """A xorb was deleted, or its bytes were replaced."""
        with self._lock:
            if (kept := self._known.pop(xorb, None)) is not None:
                self._num_kept -= kept.index.num_chunks

    def read(self, stretches: Iterable[Stretch]) -> Iterator[bytes]:
        """The bytes of some stretches, in pieces of about 1 MiB.

        Raises:
            DamagedXorbError: when the damaged chunk is reached, before any byte of it.
        """
        for stretch in stretches:
            yield from self._read(stretch)

    def check(self, xorb: bytes) -> None:
        """Read a whole xorb and compare every chunk with its hash, and all of them with its name.

        Raises:
            DamagedXorbError: something is not what it was.
        """
        known = self.find(xorb)
        if known.index.xorb_hash != xorb:
            raise DamagedXorbError(xorb, "its row says of other chunks")
        stored = self._xorbs.size(known.object_name)
        if stored != known.index.stored_bytes:
            raise DamagedXorbError(xorb, f"{stored} bytes are stored of {known.index.stored_bytes}")
        for number, records in self._batches(known, 0, known.index.num_chunks):
            _check(known, number, _unpack(known, records))

    def read_unchecked(self, xorb: bytes, start: int, stop: int) -> Iterator[list[bytes | memoryview]]:
        """The contents of chunks [start, stop), about 1 MiB of them at a time, for who checks a hash of all.

        Raises:
            DamagedXorbError: a chunk cannot be unpacked.
        """
        known = self.find(xorb)
        for _, records in self._batches(known, start, stop):
            yield _unpack(known, records)

    def read_records(self, xorb: bytes, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop) of a xorb as they are stored."""
        return self._xorbs.read(self.find(xorb).object_name, start, stop)

    def _read(self, stretch: Stretch) -> Iterator[bytes]:
        known = self.find(stretch.xorb)
        skip, left = stretch.skip_bytes, stretch.num_bytes
        for number, records in self._batches(known, stretch.start, stretch.stop):
            contents = _unpack(known, records)
            _check(known, number, contents)
            content = b"".join(contents)
            part = content[skip : skip + left] if skip or len(content) > left else content
            skip, left = 0, left - len(part)
            yield part

    def _batches(self, known: KnownXorb, start: int, stop: int) -> Iterator[tuple[int, memoryview]]:
        """The records of chunks [start, stop), about a MiB at a time, with the number of the first."""
        ends = known.index.record_ends
        at_byte = known.index.record_start(start)
        with self._xorbs.open(known.object_name) as file:
            file.seek(at_byte)
            while start < stop:
                last = max(bisect_right(ends, at_byte + _BATCH_BYTES, start, stop), start + 1) - 1
                records = file.read(ends[last] - at_byte)
                if len(records) != ends[last] - at_byte:
                    raise DamagedXorbError(known.xorb, f"it ends after {at_byte + len(records)} bytes")
                yield start, memoryview(records)
                at_byte, start = ends[last], last + 1

    def _keep(self, known: KnownXorb) -> None:
        with self._lock:
            if known.xorb in self._known:
                return
            self._known[known.xorb] = known
            self._num_kept += known.index.num_chunks
            while self._num_kept > KEPT_CHUNKS and len(self._known) > 1:
                _, dropped = self._known.popitem(last=False)
                self._num_kept -= dropped.index.num_chunks


def _unpack(known: KnownXorb, records: memoryview) -> list[bytes | memoryview]:
    try:
        return unpack_records(records)
    except ChunkFormatError as error:
        raise DamagedXorbError(known.xorb, str(error)) from error


def _check(known: KnownXorb, start: int, contents: list[bytes | memoryview]) -> None:
    for number, content in enumerate(contents, start):
        if chunk_hash(content) != known.index.hashes(number, number + 1):
            raise DamagedXorbError(known.xorb, f"chunk {number} was changed")
