"""Where the hub's bytes are: the port that everything above them knows.

Objects are immutable and named by the SHA-256 of what they hold, before any encryption. `ObjectStore` fulfils
the port on a local folder or any URL that fsspec knows; encryption wraps one store in another.

Not covered: who may read what; names of objects are no permission.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from ayni.objects import Stored


class ContentWriter(Protocol):
    """One object on its way in; a context manager that leaves nothing unless it was finished."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *_: object) -> None:
        """Remove what was not finished."""
        ...

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        ...

    def finish(self, expected_sha256: str | None = None) -> Stored:
        """Make the object visible.

        Raises:
            ContentMismatchError: it is not what was expected.
        """
        ...


class ContentStore(Protocol):
    """Immutable bytes by their SHA-256."""

    url: str

    def writer(self, *, name: str | None = None) -> ContentWriter:
        """A new object that comes in pieces.

        `name`, 64 hexadecimal digits, is for who checks content in another way: it takes the place of the
        SHA-256, which is then not computed. No two objects may have one.
        """
        ...

    def put(self, source: BinaryIO) -> str:
        """Store a stream and return its SHA-256."""
        ...

    def has(self, sha256: str) -> bool:
        """Whether it is stored."""
        ...

    def size(self, sha256: str) -> int | None:
        """Bytes that `read` gives; None when it is not stored."""
        ...

    def open(self, sha256: str) -> Any:
        """A readable binary file.

        Raises:
            MissingObjectError: nothing is stored under this digest.
        """
        ...

    def read(self, sha256: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes [start, stop) in pieces of about 1 MiB.

        Raises:
            MissingObjectError: nothing is stored under this digest.
        """
        ...

    def local_path(self, sha256: str) -> Path | None:
        """A file with the very bytes of the object, for fast reading; None where there is none."""
        ...

    def delete(self, sha256: str) -> bool:
        """Remove an object; whether it was there."""
        ...

    def list(self) -> Iterator[str]:
        """All digests, in no particular order."""
        ...
