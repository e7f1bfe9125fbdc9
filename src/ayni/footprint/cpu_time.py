"""CPU seconds: of the whole node, and of the job with all its processes, the dead ones included.

On Linux from /proc. A process that ends and is waited for leaves its CPU time with its parent
(cutime, cstime), so that the sum over the living tree also holds the dead: children that live shorter
than the sampling period are not lost, as they are when only living processes are compared.

Node time leaves out steal (another guest ran, not we) and does not add guest time (it is inside user).

Not covered: cgroups; descendants that leave the tree before they were ever seen (double fork within
one sampling period); children that nobody waits for (SIGCHLD ignored).
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

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


def choose_cpu_clock() -> CpuClock:
    """The CPU clock of this system, for the tree of processes below this one."""
    return ProcCpuClock() if sys.platform == "linux" else PsutilCpuClock()
