"""Write a revision as a plain folder: its files and nothing else, to be used without Ayni.

The folder is written beside its place and renamed, so that it is whole or absent. Every content is compared
with its digest on the way.

Not covered: history; `git clone` of the hub has it.
"""

import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.errors import UserError
from ayni.files import explain_os_errors, flush_folder
from ayni.hub.names import check_file_paths
from ayni.hub.revision_sources import RevisionSource


class FolderInTheWayError(UserError):
    """Something is already where a folder should be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(
            f"{folder} is there already and was not touched. Name a folder that is not there yet."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written where."""

    repository: str
    revision: str
    folder: Path
    num_files: int
    num_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "folder": str(self.folder),
            "num_files": self.num_files,
            "num_bytes": self.num_bytes,
        }


def export(source: RevisionSource, folder: Path, *, revision: str | None = None) -> Exported:
    """Write the files of a revision into a new folder.

    Raises:
        FolderInTheWayError: the folder is there and not empty.
        UntrueContentError: a content is not what was announced; nothing is left behind.
        DiskFullError, NotWritableError: the device refuses; nothing is left behind.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderInTheWayError(folder)
    wanted = source.resolve(revision)
    files = source.files(wanted)
    check_file_paths([each.path for each in files])
    temporary = folder.absolute().parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    with explain_os_errors(folder):
        try:
            temporary.mkdir(parents=True)
            for file in files:
                target = temporary / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as opened:
                    for piece in source.read(wanted, file):
                        opened.write(piece)
                    opened.flush()
                    os.fsync(opened.fileno())
            if folder.is_dir():
                folder.rmdir()
            temporary.rename(folder)
            flush_folder(folder.absolute().parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Exported(
        repository=source.name,
        revision=wanted,
        folder=folder,
        num_files=len(files),
        num_bytes=sum(each.size_bytes for each in files),
    )
