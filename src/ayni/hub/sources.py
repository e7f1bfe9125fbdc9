"""Files on their way into the hub: checked, read once, stored under their SHA-256 and given their git ids.

Not covered: files that change without changing their size while they are read; what was read is what is
published.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast

from ayni.errors import UserError
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import (
    FILE_MODE,
    GITATTRIBUTES,
    TreeEntry,
    blob_hasher,
    blob_sha1,
    gitattributes,
    is_lfs,
    lfs_pointer,
)
from ayni.hub.names import FilePathError, check_file_paths


class UnreadableSourceError(UserError):
    """A file that should be published cannot be read, or changed while it was read."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"{path!r} cannot be published: {reason}. Nothing was published; try again.")


def check_sources(files: Mapping[str, Path | bytes]) -> None:
    """Accept the files of a publication before anything is written.

    Raises:
        FilePathError: a path leaves the folder, collides with another or belongs to the hub.
        UnreadableSourceError: a file is not there.
    """
    check_file_paths(files)
    if GITATTRIBUTES in files:
        raise FilePathError(GITATTRIBUTES, "the hub writes this file itself")
    for path, source in files.items():
        if isinstance(source, Path) and not source.is_file():
            raise UnreadableSourceError(path, f"{source} is not a file")


def store_files(objects: ContentStore, files: Mapping[str, Path | bytes]) -> dict[str, TreeEntry]:
    """Store all files and the `.gitattributes` that names those kept by LFS; return their entries by path.

    Raises:
        UnreadableSourceError: a file is gone or changed its size while it was read.
    """
    entries = {path: _store_file(objects, path, source) for path, source in files.items()}
    large = [path for path, entry in entries.items() if is_lfs(path, entry.size_bytes or 0)]
    entries[GITATTRIBUTES] = _store_file(objects, GITATTRIBUTES, gitattributes(large))
    return entries


class _HashingReader(io.RawIOBase):
    """Hands bytes on and keeps their git id and their count, so that a file is read once."""

    def __init__(self, source: BinaryIO, size_bytes: int) -> None:
        self._source = source
        self._blob: hashlib._Hash = blob_hasher(size_bytes)
        self.num_bytes = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self._blob.update(piece)
        self.num_bytes += len(piece)
        return piece

    @property
    def git_sha1(self) -> str:
        return self._blob.hexdigest()


def _store_file(objects: ContentStore, path: str, source: Path | bytes) -> TreeEntry:
    try:
        size_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
        opened: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except OSError as error:
        raise UnreadableSourceError(path, f"{source!s}: {error.strerror or error}") from error
    with opened:
        reader = _HashingReader(opened, size_bytes)
        sha256 = objects.put(cast("BinaryIO", reader))
    if reader.num_bytes != size_bytes:
        raise UnreadableSourceError(
            path, f"it grew or shrank from {size_bytes} to {reader.num_bytes} bytes while being read"
        )
    kept_by_lfs = is_lfs(path, size_bytes)
    git_sha1 = blob_sha1(lfs_pointer(sha256, size_bytes)) if kept_by_lfs else reader.git_sha1
    # Never executable: the Hugging Face Hub keeps no file modes either.
    return TreeEntry(name=path, mode=FILE_MODE, git_sha1=git_sha1, sha256=sha256, size_bytes=size_bytes)
