"""CPU seconds: of the whole node, and of the job with all its processes, the dead ones included.

A job's CPU time is taken from the best source there is:

    cgroup v2    cpu.stat usage_usec of a group that is the job's alone; holds all its dead, whoever they were
    cgroup v1    cpuacct.usage of such a group
    /proc        the tree of its processes, each with what its waited-for dead left to it (cutime, cstime)
    psutil       the same without /proc (macOS)

In the tree, a process that ends and is waited for leaves its CPU time with its parent, so that children
that live shorter than the sampling period are not lost, as they are when only living processes are compared.

Node time leaves out steal (another guest ran, not we) and does not add guest time (it is inside user).

Not covered: in the tree, descendants that leave it before they were ever seen (double fork within one
sampling period) and children that nobody waits for (SIGCHLD ignored); a cgroup has both.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

CGROUP_MOUNT = Path("/sys/fs/cgroup")
# Positions in /proc/PID/stat behind the command's closing parenthesis; man 5 proc counts them from 3.
_PARENT, _USER, _START = 1, 11, 19


class CpuClock(Protocol):
    """CPU seconds since some fixed moment. Both only grow."""

    def node_busy_seconds(self) -> float:
        """Busy CPU seconds of all processors of the node."""
        ...

    def job_busy_seconds(self) -> float:
        """CPU seconds of the job's processes, living and dead."""
        ...


class ScriptedCpuClock:
    """A CPU clock in memory. Fulfils `CpuClock`, for tests and simulation."""

    def __init__(self) -> None:
        self.node_seconds = 0.0
        self.job_seconds = 0.0

    def node_busy_seconds(self) -> float:
        """What was set."""
        return self.node_seconds

    def job_busy_seconds(self) -> float:
        """What was set."""
        return self.job_seconds


class _Process(NamedTuple):
    parent: int
    started: int
    ticks: int


class ProcCpuClock:
    """CPU time from Linux' /proc, for the tree of processes below `root_pid`. Fulfils `CpuClock`.

    Cost: one small read for each process of the machine (about 15 microseconds each).
    """

    def __init__(self, *, root_pid: int | None = None, proc: Path = Path("/proc")) -> None:
        self._root = os.getpid() if root_pid is None else root_pid
        self._proc = str(proc)
        self._ticks_per_second = os.sysconf("SC_CLK_TCK")
        self._members: dict[int, int] = {}
        self._highest_ticks = 0
        self._lost_ticks = 0

    def node_busy_seconds(self) -> float:
        """User, nice, system, irq and softirq of all processors."""
        with open(f"{self._proc}/stat", "rb") as file:  # noqa: PTH123 - read each second, Path costs more
            fields = file.readline().split()
        user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[1:8])
        return (user + nice + system + irq + softirq) / self._ticks_per_second

    def job_busy_seconds(self) -> float:
        """User and system time of the tree, and of its dead that were waited for."""
        processes = self._read_processes()
        self._members = self._tree_of(processes)
        ticks = sum(processes[pid].ticks for pid in self._members)
        # A process that nobody waited for takes its time along. Keep what was already credited, and
        # move the base, so that what the others use from here on is credited in full.
        if ticks + self._lost_ticks < self._highest_ticks:
            self._lost_ticks = self._highest_ticks - ticks
        self._highest_ticks = ticks + self._lost_ticks
        return self._highest_ticks / self._ticks_per_second

    def process_ids(self) -> set[int]:
        """The living processes of the tree."""
        return set(self._tree_of(self._read_processes()))

    def _tree_of(self, processes: dict[int, _Process]) -> dict[int, int]:
        # Members stay members when their parent dies and init adopts them. The start time tells a
        # member from a stranger that was given the same number later.
        members = {
            pid: started
            for pid, started in self._members.items()
            if pid in processes and processes[pid].started == started
        }
        children: dict[int, list[int]] = {}
        for pid, process in processes.items():
            children.setdefault(process.parent, []).append(pid)
        waiting = [self._root, *members] if self._root in processes else list(members)
        seen: set[int] = set()
        while waiting:
            pid = waiting.pop()
            if pid not in seen:
                seen.add(pid)
                waiting.extend(children.get(pid, ()))
        return {pid: processes[pid].started for pid in seen}

    def _read_processes(self) -> dict[int, _Process]:
        processes = {}
        for name in os.listdir(self._proc):  # noqa: PTH208 - names only, no Path for each process
            if name.isdigit() and (process := _read_process(f"{self._proc}/{name}/stat")) is not None:
                processes[int(name)] = process
        return processes


def _read_process(path: str) -> _Process | None:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - read each second, Path costs more
            content = file.read(4096)
    except OSError:
        # It ended since the folder was listed. Its time is with its parent from now on.
        return None
    # The command may hold blanks and parentheses; only the last parenthesis ends it.
    fields = content[content.rfind(b")") + 2 :].split(maxsplit=_START + 1)
    if len(fields) <= _START:
        return None
    ticks = sum(int(field) for field in fields[_USER : _USER + 4])
    return _Process(parent=int(fields[_PARENT]), started=int(fields[_START]), ticks=ticks)


class PsutilCpuClock:
    """CPU time by psutil, for systems without /proc. Fulfils `CpuClock`.

    The dead are those that this process waited for, directly or through its own children
    (getrusage), so short children count as on Linux; a living child's dead children are missed until
    that child ends, where psutil does not report them (macOS).
    """

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._self = psutil.Process()
        self._highest = 0.0
        self._lost = 0.0

    def node_busy_seconds(self) -> float:
        """User, nice and system time of all processors."""
        times = self._psutil.cpu_times()
        names = ("user", "nice", "system", "irq", "softirq")
        return float(sum(getattr(times, name, 0.0) for name in names))

    def job_busy_seconds(self) -> float:
        """This process, its waited-for dead and its living descendants."""
        own = os.times()
        seconds = own.user + own.system + own.children_user + own.children_system
        for child in self._self.children(recursive=True):
            try:
                times = child.cpu_times()
            except self._psutil.Error:
                continue  # it ended since it was listed; getrusage has it once it is waited for
            seconds += times.user + times.system + times.children_user + times.children_system
        if seconds + self._lost < self._highest:
            self._lost = self._highest - seconds
        self._highest = seconds + self._lost
        return self._highest


class CgroupCpuClock:
    """CPU time of the processes of one cgroup and of those below it. Fulfils `CpuClock`.

    `folder` is the group's, of version 2 (cpu.stat) or of version 1's cpuacct (cpuacct.usage).

    Raises:
        ValueError: the folder counts no CPU time.
    """

    def __init__(self, folder: Path, *, proc: Path = Path("/proc")) -> None:
        self._folder = folder
        self._node = ProcCpuClock(proc=proc)
        if _cgroup_seconds(folder) is None:
            raise ValueError(
                f"{folder} counts no CPU time: it is no cgroup of version 2, nor of version 1's cpuacct"
            )
        self._highest = 0.0

    def node_busy_seconds(self) -> float:
        """User, nice, system, irq and softirq of all processors."""
        return self._node.node_busy_seconds()

    def job_busy_seconds(self) -> float:
        """All that ever ran in the group; stands still once the group is gone."""
        self._highest = max(self._highest, _cgroup_seconds(self._folder) or 0.0)
        return self._highest


def _cgroup_seconds(folder: Path) -> float | None:
    try:
        for line in (folder / "cpu.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "usage_usec":
                return int(value) / 1e6
    except (OSError, ValueError):
        pass  # version 1 keeps another cpu.stat, without usage_usec, or none
    try:
        return int((folder / "cpuacct.usage").read_text()) / 1e9
    except (OSError, ValueError):
        return None


def find_job_cgroup(
    *, root_pid: int | None = None, proc: Path = Path("/proc"), mount: Path = CGROUP_MOUNT
) -> Path | None:
    """The cgroup that holds the tree of `root_pid` (this process by default) and nobody else.

    Such groups are made by Slurm, by containers and by `systemd-run --scope`. None when the group is
    shared, as with the shell of a login: its CPU time would be that of strangers as well.
    """
    pid = os.getpid() if root_pid is None else root_pid
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    tree = ProcCpuClock(root_pid=pid, proc=proc).process_ids()
    for folder in _cgroup_folders(lines, mount):
        if _cgroup_seconds(folder) is not None and _is_alone(folder, tree):
            return folder
    return None


def _cgroup_folders(lines: list[str], mount: Path) -> list[Path]:
    """Folders of a process's groups that may count CPU time, version 2 first."""
    version_2, version_1 = [], []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        group = path.strip("/")
        if not group or ".." in group:
            continue  # the root group holds the whole machine, and ".." lies outside this container
        if number == "0" and not controllers:
            version_2 += [mount / group, mount / "unified" / group]
        elif "cpuacct" in controllers.split(","):
            version_1 += [mount / controllers / group, mount / "cpuacct" / group]
    return [*version_2, *version_1]


def _is_alone(folder: Path, tree: set[int]) -> bool:
    """Whether the group and those below it hold members of the tree only, and at least one."""
    members: set[int] = set()
    try:
        for file in [folder / "cgroup.procs", *folder.rglob("*/cgroup.procs")]:
            members.update(int(line) for line in file.read_text().split())
    except (OSError, ValueError):
        return False
    return bool(members) and members <= tree


def choose_cpu_clock(*, cgroup: Path | None = None) -> CpuClock:
    """The CPU clock of this system for the job that runs this: its own cgroup, else its tree of processes.

    `cgroup` names the job's group when somebody knows it.
    """
    if sys.platform != "linux":
        return PsutilCpuClock()
    found = cgroup or find_job_cgroup()
    return ProcCpuClock() if found is None else CgroupCpuClock(found)
