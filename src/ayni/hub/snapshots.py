"""A revision as plain files: one folder that can be read without Ayni, and the check that it is unchanged.

A snapshot is written beside its place and renamed, so that its folder is whole or absent. The SHA-256 of each
file is known from the database, so that a changed byte is found before the file is used.

Not covered: files changed between the check and their use by somebody who can write the folder.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ayni.errors import AyniError
from ayni.files import explain_os_errors, flush_folder, sha256_of_file
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import TreeEntry

# A folder with this prefix was being written when its process died.
INCOMING = ".incoming-"

# Files that Python would import if they lay beside a task.
_IMPORTABLE = (".py", ".pyc", ".so", ".pyd", ".dylib")
_PIECE_BYTES = 1 << 20


class DamagedFileError(AyniError):
    """A published file is not what was published."""

    def __init__(self, path: Path, reason: str, folder: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} {reason}. Do not use this copy. Move the folder {folder} away: the next use of this "
            "revision writes it again from the stored objects."
        )


class DamagedObjectError(AyniError):
    """A stored object does not have the content that its name promises."""

    def __init__(self, sha256: str, found: str, url: str) -> None:
        self.sha256 = sha256
        super().__init__(
            f"The object {sha256[:12]}... in {url} has the content {found[:12]}...: it was damaged on "
            "disk. Remove it and publish again, or restore the folder from a backup."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One revision of a repository on disk. `files` maps each path to its digest and size."""

    repository: str
    revision: str
    folder: Path
    files: Mapping[str, TreeEntry]

    def verify(self) -> None:
        """Read every file and compare it with what was published.

        Files that were added are tolerated, unless Python could import them: beside a task they could take
        the place of a library.

        Raises:
            DamagedFileError: a file is missing or changed, or an importable one was added.
        """
        for path, entry in self.files.items():
            place = self.folder / path
            if not place.is_file():
                raise DamagedFileError(place, "is missing", self.folder)
            if (found := sha256_of_file(place)) != entry.sha256:
                raise DamagedFileError(
                    place,
                    f"was changed: its SHA-256 is {found[:12]}..., published was {str(entry.sha256)[:12]}...",
                    self.folder,
                )
        for stranger in sorted(self.folder.rglob("*")):
            name = stranger.relative_to(self.folder).as_posix()
            if stranger.suffix in _IMPORTABLE and name not in self.files and "__pycache__" not in name:
                raise DamagedFileError(stranger, "is not part of this revision", self.folder)


def write_snapshot(folder: Path, files: Mapping[str, TreeEntry], objects: ContentStore) -> None:
    """Write all files into a new folder, durably, and put it in the place of `folder`.

    Raises:
        DamagedObjectError: a stored object is not what its digest says; nothing was replaced.
        MissingObjectError: an object is gone; nothing was replaced.
        DiskFullError, NotWritableError: the device refuses; nothing was replaced.
    """
    temporary = folder.parent / f"{INCOMING}{uuid.uuid4().hex}"
    with explain_os_errors(folder):
        try:
            temporary.mkdir(parents=True)
            for path, entry in files.items():
                _write_object(objects, str(entry.sha256), temporary / path)
            for below in [path for path in temporary.rglob("*") if path.is_dir()]:
                flush_folder(below)
            flush_folder(temporary)
            _replace_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_incomplete(folder: Path) -> None:
    """Remove what earlier processes left half written. The caller holds the repository's lock."""
    for leftover in folder.glob(f"{INCOMING}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _write_object(objects: ContentStore, sha256: str, target: Path) -> None:
    # A copy and no hard link: whoever edits a snapshot must not change the stored object.
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with objects.open(sha256) as source, target.open("xb") as file:
        while piece := source.read(_PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != sha256:
        raise DamagedObjectError(sha256, digest.hexdigest(), objects.url)


def _replace_folder(new: Path, place: Path) -> None:
    if place.exists():
        # POSIX renames no folder onto a full one. The short gap is closed by the next use, which writes it
        # again.
        old = place.parent / f"{INCOMING}{uuid.uuid4().hex}"
        place.rename(old)
        new.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.rename(place)
    flush_folder(place.parent)
