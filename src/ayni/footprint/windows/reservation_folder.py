"""The reservations of a node's meters as files that their meters hold locked: no daemon, no sockets.

    /tmp/ayni-node-<uid>/<boot>-<meter>.json    a reservation; its meter holds a lock (flock) on it
    /tmp/ayni-node-<uid>/<boot>-<meter>.left    one that was given up, for windows that are still open

The kernel takes a lock back when its process ends, however it ends: whoever gets the lock of another's file
knows that its meter was killed, and notes that it left. A file has its name only once it is whole and locked.
What left is forgotten after a minute, or at once when nobody else meters.

Why /tmp, not the folder for temporary files that the environment names: batch systems name another one for
each job, and meters that do not see each other count twice.

Not covered: meters of other users (the folder is closed to them), containers with a /tmp of their own, and
windows longer than a minute, in which a meter that came and went may be missed. A process that was forked
other than by Python, and lives on, keeps the lock of a killed meter.
"""

import contextlib
import fcntl
import functools
import json
import os
import stat
import sys
import threading
import time
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path

from ayni.footprint.windows.reservations import Reservation, ReservationsUnavailableError, was_there

_REMEMBERED_SECONDS = 60.0
# Files of earlier starts of the machine, or of other machines that share the folder.
_STRANGERS_KEPT_SECONDS = 86_400.0
_LARGEST_FILE_BYTES = 65_536
_LIVE, _LEFT = ".json", ".left"


@dataclass(slots=True)
class _File:
    """A reservation and its open file: locked by us when it is our own, else not locked."""

    reservation: Reservation
    descriptor: int


@dataclass(slots=True)
class _Known:
    """What one process knows of the folder, by holder."""

    own: dict[str, _File] = field(default_factory=dict)
    live: dict[str, _File] = field(default_factory=dict)
    left: dict[str, Reservation] = field(default_factory=dict)

    def close(self) -> None:
        for file in [*self.own.values(), *self.live.values()]:
            with contextlib.suppress(OSError):
                os.close(file.descriptor)
        self.own, self.live, self.left = {}, {}, {}


class ReservationFolder:
    """The reservations of this node and user, in a folder. Fulfils `Reservations`.

    Cost: one look at the folder and one system call for each other meter, once a window.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        self._name = str(self.folder)
        self._known = _Known()
        self._lock = threading.Lock()
        _FOLDERS.add(self)

    def enter(self, *, job: str, cores: int, has_devices: bool, now_seconds: float) -> Reservation:
        """Publish a reservation, locked by this process.

        Raises:
            ReservationsUnavailableError: the folder cannot be made, or is not this user's alone.
        """
        with self._lock:
            try:
                made = Reservation(
                    holder=f"{_boot()}-{os.getpid()}-{os.urandom(4).hex()}",
                    job=job,
                    cores=cores,
                    has_devices=has_devices,
                    lineage=lineage(),
                    entered_seconds=now_seconds,
                )
                self._make_folder()
                self._known.own[made.holder] = self._publish(made)
            except OSError as error:
                raise ReservationsUnavailableError(
                    f"Meters of this node cannot see each other ({error}): side by side they may count the "
                    f"same idle power. Let {self.folder} be a folder of your own, of mode 0700."
                ) from error
        return made

    def look(
        self, own: Reservation, *, since_seconds: float, until_seconds: float
    ) -> tuple[Reservation, ...]:
        """The others that were there in [since, until); one that was killed, until now."""
        with self._lock:
            if own.holder not in self._known.own:
                return ()  # given up, or the copy of a meter in a forked process
            names = self._names()
            if own.holder + _LIVE not in names:
                self._publish_again(own)
            found = self._read(names, until_seconds)
        return tuple(
            each
            for each in found
            if each.holder != own.holder and was_there(each, since_seconds, until_seconds)
        )

    def leave(self, own: Reservation, *, now_seconds: float) -> None:
        """Note when, where another meter may still have to know, and let the file go."""
        with self._lock:
            file = self._known.own.pop(own.holder, None)
            if file is None:
                return
            self._read(self._names() - {own.holder + _LIVE}, now_seconds)
            if self._known.live or self._known.own:
                self._note_left(own, now_seconds)
            else:
                self._forget(list(self._known.left))
            self._remove(own.holder + _LIVE)
            os.close(file.descriptor)
            if not self._known.own:
                self._known.close()

    def close_copies(self) -> None:
        """In a process that was just forked: the reservations are those of the process it came from."""
        # The lock may have been held by another thread, which does not exist here.
        self._lock = threading.Lock()
        self._known.close()

    def _make_folder(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        found = self.folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(f"{self.folder} is not a folder of this user alone")
        self._sweep_strangers()

    def _sweep_strangers(self) -> None:
        """Remove files of other starts of the machine, and those that were never finished."""
        with os.scandir(self._name) as entries:
            for entry in entries:
                if not entry.name.startswith(f"{_boot()}-"):
                    kept = _REMEMBERED_SECONDS if entry.name.startswith(".") else _STRANGERS_KEPT_SECONDS
                    with contextlib.suppress(OSError):
                        if entry.stat(follow_symlinks=False).st_mtime < time.time() - kept:
                            self._remove(entry.name)

    def _publish(self, reservation: Reservation) -> _File:
        return _File(reservation, self._write(reservation, _LIVE, is_locked=True))

    def _publish_again(self, own: Reservation) -> None:
        """Somebody swept /tmp: the lock lies on a file that nobody can find."""
        with contextlib.suppress(OSError):
            self._make_folder()
            file = self._publish(own)
            os.close(self._known.own[own.holder].descriptor)
            self._known.own[own.holder] = file

    def _write(self, reservation: Reservation, ending: str, *, is_locked: bool) -> int:
        """The open file of a reservation, which has its name only once it is whole and locked."""
        hidden = f".{reservation.holder}-{os.getpid()}{ending}"
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(f"{self._name}/{hidden}", flags, 0o600)
        try:
            if is_locked:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, json.dumps(reservation.to_json()).encode())
            Path(self._name, hidden).rename(Path(self._name, reservation.holder + ending))
        except OSError:
            os.close(descriptor)
            self._remove(hidden)
            raise
        return descriptor

    def _note_left(self, reservation: Reservation, at_seconds: float) -> None:
        left = replace(reservation, left_seconds=max(at_seconds, reservation.entered_seconds))
        self._known.left[left.holder] = left
        # On a full disk others see the file vanish, and take it that it left just now.
        with contextlib.suppress(OSError):
            os.close(self._write(left, _LEFT, is_locked=False))

    def _names(self) -> set[str]:
        try:
            return set(os.listdir(self._name))  # noqa: PTH208 - each second, names only
        except OSError:
            return set()  # swept; the next look publishes again

    def _read(self, names: set[str], now_seconds: float) -> list[Reservation]:
        """Bring what is known up to date; everybody who is there or was lately."""
        known = self._known
        for holder in _holders(names, _LEFT):
            if holder not in known.left:
                self._read_left(holder)
        for holder in _holders(names, _LIVE):
            if holder not in known.own and holder not in known.left:
                self._probe(holder, now_seconds)
        vanished = self._drop_gone(names, now_seconds)
        present = [file.reservation for file in [*known.own.values(), *known.live.values()]]
        found = [*present, *known.left.values(), *vanished]
        self._forget([holder for holder, each in known.left.items() if _is_forgotten(each, now_seconds)])
        return found

    def _read_left(self, holder: str) -> None:
        if (file := self._open(holder + _LEFT)) is not None:
            os.close(file.descriptor)
            self._known.left[holder] = file.reservation

    def _probe(self, holder: str, now_seconds: float) -> None:
        """Whether the meter of a file lives; if not, note that it left."""
        file = self._known.live.get(holder) or self._open(holder + _LIVE)
        if file is None:
            # It may have left since the names were listed. What this window misses, none will count.
            self._read_left(holder)
            return
        self._known.live[holder] = file
        try:
            fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # held: it lives, or somebody else is burying it
        self._note_left(file.reservation, now_seconds)
        self._remove(holder + _LIVE)

    def _drop_gone(self, names: set[str], now_seconds: float) -> list[Reservation]:
        """Close the files of those that left; those that left without a note, as if they left now."""
        known, vanished = self._known, []
        for holder in list(known.live):
            if holder in known.left or holder + _LIVE not in names:
                file = known.live.pop(holder)
                os.close(file.descriptor)
                if holder not in known.left:
                    vanished.append(replace(file.reservation, left_seconds=now_seconds))
        return vanished

    def _forget(self, holders: list[str]) -> None:
        for holder in holders:
            del self._known.left[holder]
            self._remove(holder + _LEFT)

    def _open(self, name: str) -> _File | None:
        """A file of another meter; None when it is gone, or holds no reservation."""
        try:
            descriptor = os.open(f"{self._name}/{name}", os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            return _File(
                Reservation.from_json(json.loads(os.read(descriptor, _LARGEST_FILE_BYTES))), descriptor
            )
        except (OSError, ValueError, RecursionError):
            os.close(descriptor)
            return None

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            Path(self._name, name).unlink()


def default_folder() -> Path:
    """The folder of this user's meters on this node."""
    root = "/tmp"  # see the top of this file
    if not os.access(root, os.W_OK | os.X_OK):
        import tempfile

        root = tempfile.gettempdir()
    return Path(root) / f"ayni-node-{os.getuid()}"


def lineage() -> tuple[str, ...]:
    """This process and those that it descends from, each by a name that no other has had since the start."""
    if sys.platform != "linux":
        import psutil

        own = psutil.Process()
        return tuple(f"{each.pid}:{each.create_time()}" for each in (own, *own.parents()))
    # Process numbers mean something only inside their namespace (containers).
    space = Path("/proc/self/ns/pid").readlink()
    found: list[str] = []
    pid = os.getpid()
    while pid and (fields := _stat_fields(pid)) is not None:
        parent, started = fields
        found.append(f"{space}:{pid}:{started}")
        pid = parent
    return tuple(found) or (f"{space}:{os.getpid()}",)


def _stat_fields(pid: int) -> tuple[int, str] | None:
    """Parent and start (ticks since the machine's start) of a process; None when it does not tell."""
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The command may hold blanks and parentheses; only the last parenthesis ends it.
    fields = content[content.rfind(b")") + 2 :].split()
    return int(fields[1]), fields[19].decode()


@functools.cache
def _boot() -> str:
    """Names this start of the machine: the monotonic clock of another one means something else."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        import psutil

        return str(int(psutil.boot_time()))


def _is_forgotten(reservation: Reservation, now_seconds: float) -> bool:
    left = reservation.left_seconds
    return left is not None and left < now_seconds - _REMEMBERED_SECONDS


def _holders(names: set[str], ending: str) -> list[str]:
    start = f"{_boot()}-"
    return [name[: -len(ending)] for name in names if name.startswith(start) and name.endswith(ending)]


_FOLDERS: "weakref.WeakSet[ReservationFolder]" = weakref.WeakSet()


def _close_copies() -> None:
    for folder in list(_FOLDERS):
        folder.close_copies()


# A forked process shares the open files, and with them the locks, of the one it came from.
os.register_at_fork(after_in_child=_close_copies)
