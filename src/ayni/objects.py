"""Immutable objects addressed by their SHA-256, on any file system that fsspec knows.

The local folder is the default; `s3://`, `gs://`, `abfs://`, `oss://` and `hdfs://` are the same code
with another URL. An object becomes visible only after its digest was computed from the bytes that
were really written, and in a local folder only after they reached the device.

Not covered: deletion of objects that nobody refers to (and of what a killed process left under
`incoming/`), encryption, and checking what is read: who needs that compares the digest.
"""

import contextlib
import hashlib
import os
import re
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ayni.errors import AyniError, UserError
from ayni.files import explain_os_errors, flush_folder

_PIECE_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


class MissingObjectError(AyniError):
    """No object has this digest."""

    def __init__(self, sha256: str, url: str) -> None:
        self.sha256 = sha256
        super().__init__(f"The object {sha256[:12]}... is not in {url}. Restore the folder from a backup.")


class ObjectUrlError(UserError):
    """The place for objects cannot be used."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(
            f"Objects cannot be stored at {url}: {reason}. Use a folder, or a URL that fsspec knows and "
            "whose package is installed, as AYNI_OBJECTS_URL."
        )


class ObjectStore:
    """Objects under one URL: `<url>/ab/cdef...`, named by the SHA-256 of their content."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._file_system, self._root = _open_url(url)

    def put(self, source: BinaryIO) -> str:
        """Store a stream and return its SHA-256; a broken stream leaves nothing visible.

        An object that is there with another size (cut by a power loss, say) is replaced.

        Raises:
            DiskFullError: no space left; nothing is visible.
            NotWritableError: permission denied or read-only file system.
        """
        temporary = f"{self._root}/incoming/{uuid.uuid4().hex}"
        with explain_os_errors(Path(self._root)):
            try:
                self._file_system.makedirs(f"{self._root}/incoming", exist_ok=True)
                sha256, num_bytes = self._receive(source, temporary)
                if self._size_of(sha256) == num_bytes:
                    self._file_system.rm(temporary)
                else:
                    self._file_system.makedirs(self._folder(sha256), exist_ok=True)
                    self._file_system.mv(temporary, self._path(sha256))
                    self._flush_folder(self._folder(sha256))
            except BaseException:
                # The first error is the one to tell of; on a failing device cleaning up may fail as well.
                with contextlib.suppress(OSError):
                    self._file_system.rm(temporary)
                raise
        return sha256

    def has(self, sha256: str) -> bool:
        """Whether an object with this digest is stored."""
        return self._size_of(sha256) is not None

    def open(self, sha256: str) -> Any:
        """A readable binary file of the object.

        Raises:
            MissingObjectError: nothing is stored under this digest, or it is no digest.
        """
        if not _SHA256.fullmatch(sha256):
            raise MissingObjectError(sha256, self.url)
        try:
            return self._file_system.open(self._path(sha256), "rb")
        except FileNotFoundError as error:
            raise MissingObjectError(sha256, self.url) from error

    def list(self) -> Iterator[str]:
        """The digests of all stored objects, in no particular order."""
        # find, not glob: the folder's own name may hold brackets or asterisks.
        for path in self._file_system.find(self._root):
            folder, name = str(path).rsplit("/", 2)[-2:]
            if len(folder) == 2 and _SHA256.fullmatch(folder + name):
                yield folder + name

    def _receive(self, source: BinaryIO, temporary: str) -> tuple[str, int]:
        digest, num_bytes = hashlib.sha256(), 0
        with self._file_system.open(temporary, "wb") as target:
            while piece := source.read(_PIECE_BYTES):
                digest.update(piece)
                num_bytes += len(piece)
                target.write(piece)
            if self._is_local:
                target.flush()
                os.fsync(target.fileno())
        return digest.hexdigest(), num_bytes

    def _size_of(self, sha256: str) -> int | None:
        # A digest from elsewhere must not become a path like ab/../../etc.
        if not _SHA256.fullmatch(sha256):
            return None
        try:
            return int(self._file_system.info(self._path(sha256))["size"])
        except FileNotFoundError:
            return None

    def _flush_folder(self, folder: str) -> None:
        if self._is_local:
            flush_folder(Path(folder))
            flush_folder(Path(self._root))

    @property
    def _is_local(self) -> bool:
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self._file_system, LocalFileSystem)

    def _folder(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}"

    def _path(self, sha256: str) -> str:
        return f"{self._folder(sha256)}/{sha256[2:]}"


def _open_url(url: str) -> tuple[Any, str]:
    """The file system and the root of a URL or local folder.

    Local folders do not go through fsspec's reading of URLs: it takes `%20` as it stands (Path.as_uri
    writes it for a blank) and "::" as a chain of file systems.
    """
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    if url.startswith("file://"):
        return LocalFileSystem(), str(Path(urllib.parse.unquote(url.removeprefix("file://"))).absolute())
    if "://" not in url:
        return LocalFileSystem(), str(Path(url).absolute())
    if url.startswith("://"):  # fsspec would take it for the root folder
        raise ObjectUrlError(url, "no protocol before ://")
    try:
        file_system, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ObjectUrlError(url, str(error)) from error
    return file_system, str(root).rstrip("/")
