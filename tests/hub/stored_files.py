"""The files behind a store, to look at and to damage, wherever the store has them: a folder or a bucket."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni import objects


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file; the names are those of `pathlib.Path`."""

    _files: Any
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def read_bytes(self) -> bytes:
        content: bytes = self._files.cat_file(self.path)
        return content

    def write_bytes(self, content: bytes) -> None:
        self._files.pipe_file(self.path, bytes(content))

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def write_text(self, text: str) -> None:
        self.write_bytes(text.encode())

    def version(self) -> object:
        """Another one after the file was written again."""
        info = self._files.info(self.path)
        return (info["ino"], info["mtime"]) if "ino" in info else info["LastModified"]

    def unlink(self) -> None:
        self._files.rm(self.path)


def files_in(folder: Path | str) -> list[StoredFile]:
    """All files below a folder of a store, by name."""
    files, root = objects._open_url(str(folder))
    # An emptied folder of a bucket may be found as a file of no name below itself.
    return [
        StoredFile(files, path) for path in sorted(files.find(root)) if path.strip("/") != root.strip("/")
    ]


def file_at(folder: Path | str, name: str) -> StoredFile:
    """The file with this name below a folder of a store."""
    files, root = objects._open_url(str(folder))
    return StoredFile(files, f"{root}/{name}")


def object_at(folder: Path | str, sha256: str, suffix: str = "") -> StoredFile:
    """The file of an object."""
    return file_at(folder, f"{sha256[:2]}/{sha256[2:]}{suffix}")
