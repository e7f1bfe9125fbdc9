"""A cgroup of its own for a command, where the system allows to make one.

The kernel then counts the CPU time of everything that the command ever starts: also of what leaves its tree
of processes, and of children that nobody waits for. Version 2 asks for a delegated group (systemd gives one
to `systemd-run --user --scope` and to services with Delegate=), version 1 and containers for the right to
make folders. Where neither is given, the tree of processes is looked at instead.

The command is born in the group: this process enters it, starts the command, and goes back, so that not one
instruction of it runs outside.

Not covered: limits. The group counts and restrains nothing.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ayni.footprint.windows.cpu_time import CGROUP_MOUNT, CgroupCpuClock

_PROCESSES = "cgroup.procs"
_PREFIX = "ayni-"
_ABANDONED_AFTER_SECONDS = 60.0


class JobCgroup:
    """A group below that of this process, made for one command."""

    def __init__(self, folder: Path, parent: Path) -> None:
        self.folder = folder
        self._parent = parent

    def clock(self) -> CgroupCpuClock:
        """CPU time of all that ever ran in it."""
        return CgroupCpuClock(self.folder)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """While this is held, what this process starts is born in the group."""
        _move(os.getpid(), self.folder)
        try:
            yield
        finally:
            _move(os.getpid(), self._parent)

    def process_ids(self) -> set[int]:
        """What lives in it."""
        try:
            return {int(line) for line in (self.folder / _PROCESSES).read_text().split()}
        except (OSError, ValueError):
            return set()

    def remove(self) -> None:
        """Take the group away; what still lives in it goes on in the group of this process."""
        for process_id in self.process_ids():
            with contextlib.suppress(OSError):  # it ended in between
                _move(process_id, self._parent)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def make_job_cgroup(*, proc: Path = Path("/proc"), mount: Path = CGROUP_MOUNT) -> JobCgroup | None:
    """A new group that counts CPU time and that this process can enter and leave; None where it cannot.

    Empty groups that killed processes of ours left are taken away.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return None
    for parent in _possible_parents(lines, mount):
        _remove_abandoned(parent, proc)
        group = JobCgroup(parent / f"{_PREFIX}{os.getpid()}", parent)
        try:
            group.folder.mkdir()
        except OSError:
            continue
        try:
            group.clock()
            # Tried now: a group that lets nobody in, or nobody out, would stop the command.
            with group.entered():
                pass
        except (OSError, ValueError):
            group.remove()
            continue
        return group
    return None


def _remove_abandoned(parent: Path, proc: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        process_id = folder.name.removeprefix(_PREFIX)
        with contextlib.suppress(OSError):  # it is gone, or something lives in it still
            # One that was made just now may belong to a container whose processes have other numbers.
            is_old = time.time() - folder.stat().st_mtime > _ABANDONED_AFTER_SECONDS
            if is_old and process_id.isdigit() and not (proc / process_id).exists():
                folder.rmdir()


def _possible_parents(lines: list[str], mount: Path) -> list[Path]:
    """The groups of this process that may count CPU time, version 2 first."""
    version_2, version_1 = [], []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        group = path.strip("/")
        if ".." in group:
            continue  # lies outside this container
        if number == "0" and not controllers:
            version_2 += [mount / group, mount / "unified" / group]
        elif "cpuacct" in controllers.split(","):
            version_1 += [mount / controllers / group, mount / "cpuacct" / group]
    return [folder for folder in [*version_2, *version_1] if (folder / _PROCESSES).is_file()]


def _move(process_id: int, folder: Path) -> None:
    (folder / _PROCESSES).write_text(f"{process_id}\n")
