"""How much CPU time of short children is credited to the job that started them: 20 of 0.3 s each.

The truth is what the kernel charged (getrusage of the children that were waited for). Beside our meter,
which samples once a second as in every run, stands the method of comparing living processes from one second
to the next, recomputed as CodeCarbon 3.3.2's process mode does it (a process seen for the first time counts
from then on). Where this user may make a group, the same children are counted
by their cgroup as well; it lacks the milliseconds before each of them has joined.

Not covered: children that nobody waits for.
"""

import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from ayni.files import read_json_lines
from ayni.footprint.counters.cascade import choose_counters
from ayni.footprint.windows.cpu_time import CGROUP_MOUNT, CgroupCpuClock, ProcCpuClock
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.footprint.windows.window_file import total_of_windows
from benchmarks.registry import Benchmark, Outcome

NUM_CHILDREN, CHILD_SECONDS = 20, 0.3
BURN = f"import time\nwhile time.process_time() < {CHILD_SECONDS}: pass"
JOIN = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()))\n"


class LivingProcesses:
    """CPU time by differences of living processes, sampled each second. For comparison only."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last = self._times()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "LivingProcesses":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._advance()

    def _sample(self) -> None:
        while not self._stopping.wait(1.0):
            self._advance()

    def _advance(self) -> None:
        times = self._times()
        # A process that is new counts nothing at first sight; one that is gone never counts again.
        self.seconds += sum(max(0.0, spent - self._last.get(pid, spent)) for pid, spent in times.items())
        self._last = times

    def _times(self) -> dict[int, float]:
        times = {}
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                spent = child.cpu_times()
                times[child.pid] = spent.user + spent.system
        return times


def _waited_for() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _burn(*, group: Path | None = None) -> None:
    command = [sys.executable, "-S", "-c", BURN]
    if group is not None:
        command = [sys.executable, "-S", "-c", JOIN + BURN, str(group / "cgroup.procs")]
    for _ in range(NUM_CHILDREN):
        subprocess.run(command, check=True)


def _shares() -> tuple[float, float, float]:
    """Captured over true: by the meter's windows, by its clock alone, by living processes."""
    clock = ProcCpuClock()
    with tempfile.TemporaryDirectory() as folder, LivingProcesses() as living:
        path = Path(folder) / "windows.jsonl"
        with NodeMeter(path, job="run", counters=choose_counters(), reserved_cores=1) as meter:
            meter.begin_step("burn")
            truth, own, clocked = _waited_for(), time.process_time(), clock.job_busy_seconds()
            _burn()
            truth = _waited_for() - truth
            clocked = clock.job_busy_seconds() - clocked
            meter.end_step()
            own = time.process_time() - own
        metered = total_of_windows(read_json_lines(path), "burn", job="run").cpu_seconds
    # The job is this process with its children; its own time is no child's.
    return (metered - own) / truth, (clocked - own) / truth, living.seconds / truth


@contextlib.contextmanager
def _own_group() -> Iterator[Path | None]:
    """A fresh cgroup that counts CPU time; None where this user may not make one."""
    for mount in (CGROUP_MOUNT, CGROUP_MOUNT / "unified", CGROUP_MOUNT / "cpuacct"):
        folder = mount / f"ayni-benchmark-{time.monotonic_ns()}"
        if not (mount / "cgroup.procs").exists():
            continue
        with contextlib.suppress(OSError, ValueError):
            folder.mkdir()
            try:
                CgroupCpuClock(folder)
                yield folder
                return
            finally:
                folder.rmdir()
    yield None


def _share_by_group() -> float | None:
    with _own_group() as group:
        if group is None:
            return None
        clock = CgroupCpuClock(group)
        truth, counted = _waited_for(), clock.job_busy_seconds()
        _burn(group=group)
        return (clock.job_busy_seconds() - counted) / (_waited_for() - truth)


def measure(quick: bool) -> Outcome:
    """Medians over repeats; too much counts as wrong as too little."""
    repeats = [_shares() for _ in range(1 if quick else 5)]
    metered, clocked, living = (statistics.median(values) for values in zip(*repeats, strict=True))
    return Outcome(
        values={
            "share_captured": metered,
            "share_captured_worst": min(repeat[0] for repeat in repeats),
            "share_captured_by_the_clock_alone": clocked,
            "share_captured_by_the_jobs_cgroup": _share_by_group(),
            "share_captured_comparing_living_processes": living,
            "repeats": len(repeats),
        },
        seeds=(),
        met=metered >= 0.95 and max(repeat[0] for repeat in repeats) <= 1.05,
    )


BENCHMARK = Benchmark(
    name="footprint_children",
    topic="footprint",
    bar="CPU time of 20 subprocesses of 0.3 s each: at least 95 % captured (median), at most 105 % (worst)",
    seconds_quick=20,
    seconds_full=90,
    measure=measure,
)
