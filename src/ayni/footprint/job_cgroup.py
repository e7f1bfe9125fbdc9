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
from collections.abc import Iterator
from pathlib import Path

from ayni.footprint.cpu_time import CGROUP_MOUNT, CgroupCpuClock

_PROCESSES = "cgroup.procs"


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


def make_job_cgroup(name: str, *, proc: Path = Path("/proc"), mount: Path = CGROUP_MOUNT) -> JobCgroup | None:
    """A new group that counts CPU time and that this process can enter and leave; None where it cannot."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return None
    for parent in _possible_parents(lines, mount):
        group = JobCgroup(parent / name, parent)
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
