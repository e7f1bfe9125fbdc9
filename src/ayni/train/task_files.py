"""A training on its way to machines that do not have its files: modules, and the weights it starts from.

What travels is what Python could import from the job's folder: the `.py` files in it, and packages below
it. A worker that sees the same files under the same path (a shared file system, the same machine) uses
those, so that a task finds its data beside itself; any other worker gets a copy in a folder of its own.
The file of `train.init_from` may be large: it travels in pieces, and only to machines that lack it.

Not covered: data. A task must find its data on each machine by itself.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ayni.errors import AyniError, UserError
from ayni.files import sha256_of_file, write_atomically
from ayni.train.engine import Session

LARGEST_BYTES = 20_000_000
_PIECE_BYTES = 2**24
# A job that was not touched for so long is not resumed.
_KEPT_SECONDS = 30 * 24 * 3600.0


class TaskFilesTooLargeError(UserError):
    """The Python files beside a task are too many to send to each worker."""

    def __init__(self, *, folder: Path, num_bytes: int) -> None:
        super().__init__(
            f"The Python files in {folder} have {num_bytes:,} bytes or more, and at most {LARGEST_BYTES:,} "
            "are sent to the workers. Keep the task in a folder of its own."
        )


class DamagedTransferError(AyniError):
    """The file of the first weights did not arrive as it was sent."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"A copy of {path} arrived damaged on a worker: the file changed while it was sent, or the "
            "worker's disk fails. Start again with `ayni resume RUN`."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFiles:
    """The modules of a job's folder: relative path and content, and a hash of all of them."""

    folder: str
    digest: str
    files: tuple[tuple[str, bytes], ...]
    initial: "InitialFile | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialFile:
    """The file that a training takes its first weights from."""

    path: Path
    sha256: str
    num_bytes: int

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Its content, as (offset, bytes)."""
        with self.path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield file.tell() - len(piece), piece


def pack_task_files(module_path: Path, init_path: Path | None = None) -> TaskFiles:
    """The Python files that a task may import from its folder, and what is to be known of `init_path`.

    Raises:
        TaskFilesTooLargeError: together the Python files exceed LARGEST_BYTES.
    """
    folder = module_path.resolve().parent
    files, num_bytes = [], 0
    for path in sorted(_modules(folder)):
        content = path.read_bytes()
        num_bytes += len(content)
        if num_bytes > LARGEST_BYTES:
            raise TaskFilesTooLargeError(folder=folder, num_bytes=num_bytes)
        files.append((path.relative_to(folder).as_posix(), content))
    initial = None
    if init_path is not None:
        sha256, size = sha256_of_file(init_path), init_path.stat().st_size
        initial = InitialFile(path=init_path.resolve(), sha256=sha256, num_bytes=size)
    return TaskFiles(folder=str(folder), digest=_digest(files), files=tuple(files), initial=initial)


def session_here(session: Session, files: TaskFiles, root: Path) -> Session:
    """The session with paths of this machine; writes the files below `root` unless they are here already.

    Each training spills into a folder of its own below `root`, which outlives the process.
    """
    folder = Path(files.folder) if _is_same(files) else _unpack(files, root)
    spill_folder = root / "spill" / session.fingerprint[:16]
    spill_folder.mkdir(parents=True, exist_ok=True)
    task = replace(session.task, module_path=folder / session.task.module_path.name)
    here = replace(session, task=task, spill_folder=spill_folder)
    return here if files.initial is None else replace(here, init_path=initial_file_here(files.initial, root))


def initial_file_here(initial: InitialFile, root: Path) -> Path | None:
    """Where this machine has the file of the first weights; None when it has none."""
    copy = root / "initial" / f"{initial.sha256[:16]}{initial.path.suffix}"
    if copy.is_file():
        return copy
    is_same = (
        initial.path.is_file()
        and initial.path.stat().st_size == initial.num_bytes
        and sha256_of_file(initial.path) == initial.sha256
    )
    return initial.path if is_same else None


def take_piece(initial: InitialFile, root: Path, offset: int, piece: bytes) -> None:
    """Write a piece of the file of the first weights; the last one, if all is right, makes it appear."""
    copy = root / "initial" / f"{initial.sha256[:16]}{initial.path.suffix}"
    # Several workers of one machine may receive it at once.
    part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        file.write(piece)
    if offset + len(piece) == initial.num_bytes:
        if sha256_of_file(part) != initial.sha256:
            part.unlink()
            raise DamagedTransferError(initial.path)
        part.replace(copy)


def remove_old(root: Path, *, now: float | None = None) -> None:
    """Delete what trainings left in `root` that nobody goes on with any more."""
    now = time.time() if now is None else now
    for path in [*root.glob("spill/*"), *root.glob("tasks/*"), *root.glob("initial/*")]:
        if now - path.stat().st_mtime <= _KEPT_SECONDS:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _modules(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.py")
    for package in folder.iterdir():
        if (package / "__init__.py").is_file():
            yield from _modules(package)


def _digest(files: list[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in files:
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _is_same(files: TaskFiles) -> bool:
    """Whether this machine has the very same files in the same place."""
    folder = Path(files.folder)
    return all(
        (folder / name).is_file() and sha256_of_file(folder / name) == hashlib.sha256(content).hexdigest()
        for name, content in files.files
    )


def _unpack(files: TaskFiles, root: Path) -> Path:
    folder = root / "tasks" / files.digest[:16]
    for name, content in files.files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several workers of one machine unpack into the same folder at once.
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
    if folder.exists():
        os.utime(folder)
    return folder
