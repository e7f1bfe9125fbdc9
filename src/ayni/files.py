"""Files that are either whole or absent, and appended lines that survive a crash.

Every state that Ayni could not compute again passes through here: temporary file in the same
folder, flush to the device, rename, flush of the folder. A reader sees the old bytes or the new
bytes, never half of them.

Not covered: network file systems that break rename atomicity (old NFS), and sweeping up the hidden
`.*.tmp` files that a killed process leaves beside its target.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ayni.errors import AyniError, UserError

# How the reason of a `DamagedJsonError` ends when a key is in an object twice.
TWICE = "stands twice"
# EFBIG: the process may not make files this large (ulimit -f), which is as good as a full disk.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The last five: something else stands where a folder or file should be, or the name cannot be one.
_REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
)


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


class DamagedJsonError(AyniError, json.JSONDecodeError):
    """A file that should hold JSON holds something else.

    Also a JSONDecodeError, so that a caller that knows a better remedy can catch it as such.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.msg, self.doc, self.pos, self.lineno, self.colno = reason, "", 0, 1, 1
        AyniError.__init__(
            self, f"{path} is damaged: {reason}. Put it back from a backup, or start a new run."
        )


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFullError(path) from error
        if error.errno in _REFUSED:
            raise NotWritableError(path, error.strerror or str(error)) from error
        raise


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Make a folder and those above it, so that they survive a power loss. It may be there already.

    `mode` is for the folder itself and, like that of every new file here, lessened by the umask.

    Raises:
        NotWritableError: it cannot be made, for instance because a file stands in its place.
    """
    with explain_os_errors(folder):
        if folder.is_dir():
            return
        try:
            missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
        except FileNotFoundError as error:  # /proc and the like: there, and nothing can be made in it
            raise NotWritableError(folder, error.strerror or str(error)) from error
        for made in missing:
            flush_folder(made.parent)


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `content`; a crash leaves either the old file or the new one.

    Raises:
        DiskFullError: no space left; the old file is untouched.
        NotWritableError: permission denied or read-only file system.
    """
    make_folder(path.parent)
    with explain_os_errors(path), _temporary_file(path, content, mode) as temporary:
        temporary.replace(path)
        flush_folder(path.parent)


def create_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> bool:
    """Make `path` with `content` unless it exists; False means that somebody else was first.

    Of two processes at once exactly one gets True, and both find the same bytes afterwards. The file
    system must know hard links.

    Raises:
        DiskFullError: no space left; nothing is made.
        NotWritableError: permission denied, read-only file system, or no hard links there.
    """
    make_folder(path.parent)
    with explain_os_errors(path), _temporary_file(path, content, mode) as temporary:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        flush_folder(path.parent)
    return True


@contextlib.contextmanager
def _temporary_file(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """A flushed file with `content` beside `path`, gone when the block is left (unless moved away)."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    # os.open, not tempfile: only the kernel can lessen the mode by the umask without a race.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


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
    """The value of a JSON file.

    Raises:
        FileNotFoundError: no such file.
        DamagedJsonError: not JSON, or a key stands twice in one object: readers would disagree on
            which of the two counts, and a signature covers only one.
    """
    return parse_json(path.read_bytes(), path=path)


def parse_json(content: bytes, *, path: Path) -> Any:
    """The value of a JSON file's content; `path` is for the error.

    Raises:
        DamagedJsonError: see `read_json`.
    """
    try:
        return json.loads(content.decode(), object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise DamagedJsonError(path, str(error)) from error


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} {TWICE}")
    return value


def append_json_line(path: Path, value: Any, *, durable: bool = True) -> None:
    """Append one JSON object or list as a line; with `durable` it survives a power loss.

    The line appears whole or, after a crash or on a full disk, as a torn line that readers skip.

    Raises:
        ValueError: a bare number, text, truth value or null: half of a number is a number too, so a
            torn line could pass for a whole one. NaN and infinity are refused as well.
        DiskFullError: no space left; the lines before are untouched.
        NotWritableError: permission denied or read-only file system.
    """
    if not isinstance(value, dict | list):
        raise ValueError(f"a JSON line holds an object or a list, not {value!r}")
    line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    make_folder(path.parent)
    with explain_os_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            _write_all(descriptor, b"\n" + line if is_torn else line)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if durable and size == 0:
            flush_folder(path.parent)


def _write_all(descriptor: int, content: bytes) -> None:
    """On a disk that fills up, write(2) takes what fits and reports no error until it is called again."""
    while content:
        content = content[os.write(descriptor, content) :]


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
