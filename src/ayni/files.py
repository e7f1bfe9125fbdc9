"""Files that are either whole or absent, and appended lines that survive a crash.

Every state that Ayni could not compute again passes through here: temporary file in the same
folder, flush to the device, rename, flush of the folder. A reader sees the old bytes or the new
bytes, never half of them.

Not covered: network file systems that break rename atomicity (old NFS).
"""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ayni.errors import AyniError, UserError


class DiskFullError(AyniError):
    """The device has no room left. Nothing that was already written is lost."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"No space left on the device while writing {path}. What was finished before is kept. "
            "Free some space, then continue with `ayni resume RUN`."
        )


class NotWritableError(UserError):
    """The folder that should hold Ayni's state cannot be written."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"Cannot write {path}: {reason}. Make it writable or choose another folder: "
            "AYNI_HOME=/some/folder ayni ..."
        )


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(path) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise NotWritableError(path, error.strerror or str(error)) from error
        raise


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `content`; a crash leaves either the old file or the new one.

    Raises:
        DiskFullError: no space left; the old file is untouched.
        NotWritableError: permission denied or read-only file system.
    """
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power loss (POSIX asks for an fsync of the folder)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically. NaN and infinity are refused (not JSON)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def append_json_line(path: Path, value: Any, *, durable: bool = True) -> None:
    """Append one JSON object as a line; with `durable` it survives a power loss.

    One `write` call per line, so that a crash can tear at most the last line.
    """
    line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _end_torn_line(descriptor)
            os.write(descriptor, line)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _end_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


def read_json_lines(path: Path) -> list[Any]:
    """The objects of a JSON lines file, in order; a line torn by a crash is skipped.

    Only lines that are not JSON are skipped: a line that was written whole is never lost.
    """
    if not path.exists():
        return []
    values: list[Any] = []
    for line in path.read_bytes().splitlines():
        # A torn line is the expected trace of a crash, not an error.
        with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):
            values.append(json.loads(line))
    return values


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
