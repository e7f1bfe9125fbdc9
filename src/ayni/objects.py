"""Immutable objects addressed by their SHA-256, on any file system that fsspec knows.

The local folder is the default; `s3://`, `gs://`, `abfs://`, `oss://` and `hdfs://` are the same code
with another URL. An object becomes visible only after its digest was computed from the bytes that
were really written.

Not covered: deletion of objects that nobody refers to, and encryption.
"""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ayni.errors import AyniError
from ayni.files import explain_os_errors

_PIECE_BYTES = 1 << 20


class MissingObjectError(AyniError):
    """No object has this digest."""

    def __init__(self, sha256: str, url: str) -> None:
        self.sha256 = sha256
        super().__init__(f"The object {sha256[:12]}... is not in {url}. Restore the folder from a backup.")


class ObjectStore:
    """Objects under one URL: `<url>/ab/cdef...`, named by the SHA-256 of their content."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        self._file_system, self._root = fsspec.url_to_fs(url)

    def put_file(self, path: Path) -> str:
        """Store a file's content and return its SHA-256. Storing the same content twice is free."""
        with path.open("rb") as source:
            return self.put(source)

    def put(self, source: BinaryIO) -> str:
        """Store a stream and return its SHA-256; a broken stream leaves nothing visible."""
        temporary = f"{self._root}/incoming/{uuid.uuid4().hex}"
        digest = hashlib.sha256()
        with explain_os_errors(Path(self._root)):
            self._file_system.makedirs(f"{self._root}/incoming", exist_ok=True)
            try:
                with self._file_system.open(temporary, "wb") as target:
                    while piece := source.read(_PIECE_BYTES):
                        digest.update(piece)
                        target.write(piece)
                sha256 = digest.hexdigest()
                if self.has(sha256):
                    self._file_system.rm(temporary)
                else:
                    self._file_system.makedirs(self._folder(sha256), exist_ok=True)
                    self._file_system.mv(temporary, self._path(sha256))
            except BaseException:
                if self._file_system.exists(temporary):
                    self._file_system.rm(temporary)
                raise
        return sha256

    def has(self, sha256: str) -> bool:
        """Whether an object with this digest is stored."""
        return bool(self._file_system.exists(self._path(sha256)))

    def open(self, sha256: str) -> Any:
        """A readable binary file of the object.

        Raises:
            MissingObjectError: nothing is stored under this digest.
        """
        try:
            return self._file_system.open(self._path(sha256), "rb")
        except FileNotFoundError as error:
            raise MissingObjectError(sha256, self.url) from error

    def list(self) -> Iterator[str]:
        """The digests of all stored objects, in no particular order."""
        for path in self._file_system.glob(f"{self._root}/??/*"):
            folder, name = str(path).rsplit("/", 2)[-2:]
            if len(folder + name) == 64:
                yield folder + name

    def _folder(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}"

    def _path(self, sha256: str) -> str:
        return f"{self._folder(sha256)}/{sha256[2:]}"
