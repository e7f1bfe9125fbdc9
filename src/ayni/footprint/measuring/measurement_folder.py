"""The folder of a measurement that no job was made for: `<home>/footprint/<id>/`.

    meter/windows.jsonl       the energy, window by window, as it is metered
    receipts/0001-run.json    one signed receipt for each step, written when the measurement ends
    result.json               what was asked, what became of it, and its footprint
    lock                      held (flock) by the process that measures

The folder is there from the first second, so that a killed process loses no window. Its receipts are then
written by whoever measures next in the same home: `.open/` names what has not ended yet.

Not covered: network file systems without flock.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayni.files import explain_os_errors, make_folder, read_json, write_json

SCHEMA = "ayni/measurement/1"
STATUSES = ("running", "finished", "failed", "interrupted")
_OPEN_FOLDER = ".open"
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was asked of a measurement, and where it ran: what its receipts need beside its windows.

    `program` is the name of a command without its arguments, which may hold secrets; None in Python. `zone`
    None is unknown. `grid_files` are hourly carbon intensities. `functional_unit` is (name, count) or None.
    """

    id: str
    name: str
    program: str | None
    node: str
    zone: str | None
    pue: float
    reserved_cores: int
    grid_files: tuple[str, ...] = ()
    functional_unit: tuple[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Terms":
        """The value that `to_json` wrote; further keys are ignored."""
        known = {name: data[name] for name in cls.__slots__}
        unit = known["functional_unit"]
        known |= {"grid_files": tuple(known["grid_files"]), "functional_unit": unit and tuple(unit)}
        return cls(**known)


def plain_name(name: str) -> str:
    """A name as part of a file's: letters, digits, dots, hyphens and underscores; "val/top 1" -> "val-top-1".

    Raises:
        ValueError: nothing of it remains.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_LONGEST_NAME].rstrip("-.")
    if not plain:
        raise ValueError(f"{name!r} is no name: it needs a letter or a digit")
    return plain


def make_measurement_folder(parent: Path, name: str, *, now: datetime) -> Path:
    """A new folder, named by its moment (UTC) and name; the second of one second ends in -2.

    Raises:
        NotWritableError: it cannot be made.
    """
    make_folder(parent)
    stem = f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{plain_name(name)}"
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        with explain_os_errors(parent):
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1


def write_result(folder: Path, terms: Terms, status: str, **more: Any) -> None:
    """Say what became of a measurement, whole or not at all."""
    if status not in STATUSES:
        raise ValueError(f"a measurement is {', '.join(STATUSES)}, not {status!r}")
    write_json(folder / "result.json", {"schema": SCHEMA, **terms.to_json(), "status": status, **more})


def read_result(folder: Path) -> dict[str, Any]:
    """What `write_result` wrote.

    Raises:
        FileNotFoundError, DamagedJsonError: there is none.
    """
    data: dict[str, Any] = read_json(folder / "result.json")
    return data


class FolderLock:
    """One process measures into a folder; the operating system frees the lock however it dies."""

    def __init__(self, folder: Path) -> None:
        self._mark = folder.parent / _OPEN_FOLDER / folder.name
        make_folder(self._mark.parent)
        with explain_os_errors(folder):
            self._descriptor: int | None = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._mark.touch()

    def release(self) -> None:
        """The measurement ended and its receipts are written. Further calls do nothing."""
        if self._descriptor is not None:
            self._mark.unlink(missing_ok=True)
            self.forget()

    def forget(self) -> None:
        """Close the file and leave the mark: in a forked child, or where the receipts are still owed."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def abandoned_folders(parent: Path) -> Iterator[Path]:
    """Measurements that never ended and that no living process holds; each is locked while it is given."""
    try:
        names = sorted(path.name for path in (parent / _OPEN_FOLDER).iterdir())
    except OSError:
        return
    for name in names:
        folder = parent / name
        try:
            lock = FolderLock(folder)
        except BlockingIOError:
            continue  # it runs
        except OSError:
            # The folder was deleted, and its measurement with it.
            with contextlib.suppress(OSError):
                (parent / _OPEN_FOLDER / name).unlink()
            continue
        try:
            yield folder
        finally:
            lock.forget()


def settle_mark(folder: Path) -> None:
    """The receipts of an abandoned measurement are written now."""
    (folder.parent / _OPEN_FOLDER / folder.name).unlink(missing_ok=True)
