"""The hub's content with files made of chunks among it: what was uploaded by Xet is read as any other object.

Not covered: who may read what.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ayni.database import Database
from ayni.hub.content import ContentStore, ContentWriter
from ayni.hub.xet import index
from ayni.hub.xet.chunk_reader import ChunkReader
from ayni.hub.xet.index import KnownFile
from ayni.hub.xet.reconstruction import stretches


class XetContents:
    """Objects of a store, and files made of chunks. Fulfils ContentStore.

    What is written, listed and deleted are the store's own objects. Chunks are freed when no file uses them
    any more, which garbage collection finds out.
    """

    def __init__(self, objects: ContentStore, database: Database, chunks: ChunkReader) -> None:
        self.url = objects.url
        self._objects = objects
        self._database = database
        self._chunks = chunks

    def writer(self, *, name: str | None = None) -> ContentWriter:
        """A new object that comes in pieces."""
        return self._objects.writer(name=name)

    def put(self, source: BinaryIO) -> str:
        """Store a stream and return its SHA-256."""
        return self._objects.put(source)

    def has(self, sha256: str) -> bool:
        """Whether it can be read."""
        return self.size(sha256) is not None

    def size(self, sha256: str) -> int | None:
        """Bytes that `read` gives; None when it is not stored."""
        if (size_bytes := self._objects.size(sha256)) is not None:
            return size_bytes
        known = self._find(sha256)
        return None if known is None else known.size_bytes

    def open(self, sha256: str) -> Any:
        """A readable and seekable binary file.

        Raises:
            MissingObjectError: nothing is stored under this digest.
        """
        known = self._made_of_chunks(sha256)
        if known is None:
            return self._objects.open(sha256)
        return io.BufferedReader(_ChunkedFile(known, self._chunks), 1 << 20)

    def read(self, sha256: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes [start, stop) in pieces of about 1 MiB.

        Raises:
            MissingObjectError: nothing is stored under this digest.
            DamagedXorbError: a chunk was changed; when it is reached, before any byte of it.
        """
        known = self._made_of_chunks(sha256)
        if known is None:
            return self._objects.read(sha256, start, stop)
        end = known.size_bytes if stop is None else stop
        return self._chunks.read(stretches(known.terms, start, end, self._chunks.index_of))

    def local_path(self, sha256: str) -> Path | None:
        """A file with the very bytes of an object; None for what is made of chunks."""
        return self._objects.local_path(sha256)

    def delete(self, sha256: str) -> bool:
        """Remove an object; whether it was there."""
        return self._objects.delete(sha256)

    def list(self) -> Iterator[str]:
        """The digests of all objects that are not made of chunks."""
        return self._objects.list()

    def _made_of_chunks(self, sha256: str) -> KnownFile | None:
        # A whole object needs no unpacking, so it comes first.
        return None if self._objects.has(sha256) else self._find(sha256)

    def _find(self, sha256: str) -> KnownFile | None:
        with self._database.reading() as connection:
            return index.find_content(connection, sha256)


class _ChunkedFile(io.RawIOBase):
    """A file made of chunks, as a file."""

    def __init__(self, known: KnownFile, chunks: ChunkReader) -> None:
        super().__init__()
        self._known = known
        self._chunks = chunks
        self._position = 0
        self._pieces: Iterator[bytes] = iter(())
        self._waiting = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._known.size_bytes}[whence]
        if begin + offset < 0:
            raise ValueError(f"position {begin + offset} lies before the beginning")
        self._position = begin + offset
        self._waiting = memoryview(b"")
        wanted = stretches(self._known.terms, self._position, self._known.size_bytes, self._chunks.index_of)
        self._pieces = self._chunks.read(wanted)
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position == 0 and not self._waiting:
            self.seek(0)
        if not self._waiting:
            self._waiting = memoryview(next(self._pieces, b""))
        num_bytes = min(len(buffer), len(self._waiting))
        buffer[:num_bytes] = self._waiting[:num_bytes]
        self._waiting = self._waiting[num_bytes:]
        self._position += num_bytes
        return num_bytes
