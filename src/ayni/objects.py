"""Immutable objects addressed by their SHA-256, on any file system that fsspec knows.

The local folder is the default; `s3://`, `gs://`, `abfs://`, `oss://` and `hdfs://` are the same code
with another URL. An object becomes visible only after its digest was computed from the bytes that
were really written, and in a local folder only after they reached the device.

Not covered: which objects nobody refers to any more, what a killed process left under `incoming/`,
encryption, and checking what is read: who needs that compares the digest.
"""

import contextlib
import hashlib
import os
import re
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

from ayni.errors import AyniError, UserError
from ayni.files import explain_os_errors, flush_folder, write_atomically

_PIECE_BYTES = 1 << 20
_FOLDERS = ("incoming", "keys", "xorbs")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class MissingObjectError(AyniError):
    """No object has this digest."""

    def __init__(self, sha256: str, url: str) -> None:
        self.sha256 = sha256
        super().__init__(f"The object {sha256[:12]}... is not in {url}. Restore the folder from a backup.")


class ContentMismatchError(UserError):
    """The bytes that came are not those that were announced."""

    def __init__(self, *, expected: str, found: str, num_bytes: int) -> None:
        self.expected = expected
        self.found = found
        super().__init__(
            f"The {num_bytes} bytes that came have the SHA-256 {found[:12]}..., announced was "
            f"{expected[:12]}.... Nothing was stored; send the file again."
        )


class ObjectUrlError(UserError):
    """The place for objects cannot be used."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(
            f"Objects cannot be stored at {url}: {reason}. Use a folder, or a URL that fsspec knows and "
            "whose package is installed, as AYNI_OBJECTS_URL."
        )


class ObjectStore:
    """Objects under one URL: `<url>/ab/cdef...`, named by the SHA-256 of their content.

    `suffix` ends the file names. Stores with different suffixes share a URL and do not see each other's
    objects.
    """

    def __init__(self, url: str, *, suffix: str = "") -> None:
        self.url = url
        self._suffix = suffix
        self._file_system, self._root = _open_url(url)

    def put(self, source: BinaryIO) -> str:
        """Store a stream and return its SHA-256; a broken stream leaves nothing visible.

        An object that is there with another size (cut by a power loss, say) is replaced.

        Raises:
            DiskFullError: no space left; nothing is visible.
            NotWritableError: permission denied or read-only file system.
        """
        with self.writer() as writer:
            while piece := source.read(_PIECE_BYTES):
                writer.write(piece)
            return writer.finish().sha256

    def writer(self, *, name: str | None = None) -> "ObjectWriter":
        """A new object that comes in pieces; a context manager that leaves nothing unless it was finished.

        `name`, 64 hexadecimal digits, is for who checks content in another way: it takes the place of the
        SHA-256, which is then not computed. No two objects may have one.

        Raises:
            DiskFullError, NotWritableError: as with `put`.
        """
        return ObjectWriter(self, name=name)

    def incoming(self) -> "IncomingFile":
        """A new file whose name the caller answers for, for content that is not stored as it is.

        Raises:
            DiskFullError, NotWritableError: as with `put`.
        """
        return IncomingFile(self)

    def side_files(self, folder: str) -> "SideFiles":
        """Small files beside the objects, in a folder of this name."""
        return SideFiles(self, folder)

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

    def read(self, sha256: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes [start, stop) of an object in pieces of about 1 MiB; to its end without `stop`.

        The object is opened at once, so that a missing one is noticed before the first piece.

        Raises:
            MissingObjectError: nothing is stored under this digest.
        """
        return _pieces(self.open(sha256), start, stop)

    def size(self, sha256: str) -> int | None:
        """Bytes of an object; None when it is not stored."""
        return self._size_of(sha256)

    def local_path(self, sha256: str) -> Path | None:
        """The file of an object whose bytes are those of the object; None where there is no such file."""
        path = Path(self._path(sha256)) if self._is_local and _SHA256.fullmatch(sha256) else None
        return path if path is not None and path.is_file() else None

    def delete(self, sha256: str) -> bool:
        """Remove an object. Whether it was there; the caller knows that nothing needs it."""
        if self._size_of(sha256) is None:
            return False
        with explain_os_errors(Path(self._root)):
            self._file_system.rm(self._path(sha256))
        return True

    def list(self) -> Iterator[str]:
        """The digests of all stored objects, in no particular order."""
        # find, not glob: the folder's own name may hold brackets or asterisks.
        for path in self._file_system.find(self._root):
            if (digest := self._digest_of(str(path))) is not None:
                yield digest

    def sizes(self) -> Iterator[tuple[str, int]]:
        """The digests of all stored objects with the bytes that their files have."""
        for path, info in self._file_system.find(self._root, detail=True).items():
            if (digest := self._digest_of(str(path))) is not None:
                yield digest, int(info["size"])

    def strangers(self) -> Iterator[str]:
        """Files that nothing of ours put there, by their path below the root.

        Folders below the root belong to others of ours: what comes in, key files, chunks.
        """
        for path in self._file_system.find(self._root):
            inner = self._inner(str(path))
            # An emptied folder of a bucket may be found as a file of no name.
            if inner and self._digest_of(str(path)) is None and inner.partition("/")[0] not in _FOLDERS:
                yield inner

    def incoming_files(self) -> Sequence[tuple[str, int, datetime | None]]:
        """What is on its way in, or was when its process died: name, bytes, time of the last change."""
        found = self._file_system.find(f"{self._root}/incoming", detail=True)
        return [
            (str(path).rsplit("/", 1)[1], int(info["size"]), _changed_at(info))
            for path, info in found.items()
        ]

    def remove_incoming(self, name: str) -> None:
        """Remove what a killed process left on its way in; it may be gone already."""
        if not re.fullmatch("[0-9a-f]{32}", name):
            raise ValueError(f"{name!r} is no name of an incoming file")
        with contextlib.suppress(FileNotFoundError):
            self._file_system.rm(f"{self._root}/incoming/{name}")

    def _inner(self, path: str) -> str:
        # Some file systems give their paths with a slash in front, some without.
        return path.lstrip("/").removeprefix(self._root.lstrip("/")).lstrip("/")

    def _digest_of(self, path: str) -> str | None:
        """The digest of the object in a file; None for other files, such as those of a store below this."""
        folder, _, name = self._inner(path).partition("/")
        digest = (folder + name).removesuffix(self._suffix)
        is_ours = len(folder) == 2 and digest + self._suffix == folder + name
        return digest if is_ours and _SHA256.fullmatch(digest) else None

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
        return f"{self._folder(sha256)}/{sha256[2:]}{self._suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What was stored."""

    sha256: str
    size_bytes: int


class IncomingFile:
    """A file on its way in. It is visible after `place` and gone after everything else."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._files = store._file_system
        self._temporary = f"{store._root}/incoming/{uuid.uuid4().hex}"
        self._is_placed = False
        self.num_bytes = 0
        with explain_os_errors(Path(store._root)):
            self._files.makedirs(f"{store._root}/incoming", exist_ok=True)
            self._target = self._files.open(self._temporary, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The first error is the one to tell of; on a failing device cleaning up may fail as well.
        with contextlib.suppress(OSError):
            self._target.close()
        if not self._is_placed:
            with contextlib.suppress(OSError):
                self._files.rm(self._temporary)

    def write(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            DiskFullError, NotWritableError: the device refuses.
        """
        self.num_bytes += len(piece)
        with explain_os_errors(Path(self._store._root)):
            self._target.write(piece)

    def place(self, sha256: str) -> bool:
        """Make the file visible as this object, once its bytes have reached the device.

        Whether it was needed: an object of the same size is left as it is.

        Raises:
            DiskFullError, NotWritableError: the device refuses; nothing is visible.
        """
        store = self._store
        with explain_os_errors(Path(store._root)):
            if store._is_local:
                self._target.flush()
                os.fsync(self._target.fileno())
            self._target.close()
            is_needed = store._size_of(sha256) != self.num_bytes
            if not is_needed:
                self._files.rm(self._temporary)
            else:
                self._files.makedirs(store._folder(sha256), exist_ok=True)
                self._files.mv(self._temporary, store._path(sha256))
                store._flush_folder(store._folder(sha256))
        self._is_placed = True
        return is_needed


class GivenName:
    """Stands where a digest does, for objects that have their name from elsewhere."""

    def __init__(self, name: str) -> None:
        if not _SHA256.fullmatch(name):
            raise ValueError(f"{name!r} is no name of 64 hexadecimal digits")
        self._name = name

    def update(self, _piece: bytes, /) -> None:
        """Nothing is computed."""

    def hexdigest(self) -> str:
        """The name."""
        return self._name


class ObjectWriter:
    """One object on its way in. It is visible after `finish` and gone after everything else."""

    def __init__(self, store: ObjectStore, *, name: str | None = None) -> None:
        self._digest: hashlib._Hash | GivenName = hashlib.sha256() if name is None else GivenName(name)
        self._file = IncomingFile(store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()

    def write(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            DiskFullError, NotWritableError: the device refuses.
        """
        self._digest.update(piece)
        self._file.write(piece)

    def finish(self, expected_sha256: str | None = None) -> Stored:
        """Make the object visible, once its bytes have reached the device.

        Raises:
            ContentMismatchError: it is not what was expected; nothing is visible.
            DiskFullError, NotWritableError: the device refuses; nothing is visible.
        """
        sha256, num_bytes = self._digest.hexdigest(), self._file.num_bytes
        if expected_sha256 not in (None, sha256):
            raise ContentMismatchError(expected=str(expected_sha256), found=sha256, num_bytes=num_bytes)
        self._file.place(sha256)
        return Stored(sha256=sha256, size_bytes=num_bytes)


class SideFiles:
    """Small files beside the objects of a store, each whole or absent, by names of hexadecimal digits."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        self._store = store
        self._files = store._file_system
        self._folder = f"{store._root}/{folder}"

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file.

        Raises:
            DiskFullError, NotWritableError: the device refuses; what was there stays.
        """
        path = self._path(name)
        if self._store._is_local:
            write_atomically(Path(path), content, mode=0o600)
            return
        with explain_os_errors(Path(path)):
            self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._files.pipe_file(path, content)

    def read(self, name: str) -> bytes | None:
        """The content of a file; None without it."""
        try:
            content: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return content

    def delete(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm(self._path(name))

    def list(self) -> Iterator[str]:
        """All names, in no particular order."""
        for path in self._files.find(self._folder):
            if re.fullmatch("[0-9a-f]+", name := str(path).rsplit("/", 1)[-1]):
                yield name

    def _path(self, name: str) -> str:
        if not re.fullmatch("[0-9a-f]{8,}", name):
            raise ValueError(f"{name!r} is no name of hexadecimal digits")
        return f"{self._folder}/{name[:2]}/{name}"


def _pieces(opened: Any, start: int, stop: int | None) -> Iterator[bytes]:
    with opened:
        opened.seek(start)
        position = start
        while stop is None or position < stop:
            wanted = _PIECE_BYTES if stop is None else min(_PIECE_BYTES, stop - position)
            piece = opened.read(wanted)
            if not piece:
                return
            position += len(piece)
            yield piece


def _changed_at(info: Mapping[str, Any]) -> datetime | None:
    """When a file was changed last; file systems say it in several ways, and some not at all."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    return None


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
