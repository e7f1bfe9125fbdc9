"""How many cores this process may use: what a measurement keeps from others unless it says less.

    fewest of    processors it may run on (taskset, Slurm, cpuset)
                 quota of its cgroup and of those above it (docker --cpus, CPUQuota, Kubernetes limits)

A process without either may use the whole machine, and while nobody else is metered it answers for the idle
power of all of it. Where several are metered, their reservations share it.

Not covered: weights (cpu.shares): they bind only while others want the same cores.
"""

import math
import os
from pathlib import Path

from ayni.footprint.windows.cpu_time import CGROUP_MOUNT


def usable_cores(*, proc: Path = Path("/proc"), mount: Path = CGROUP_MOUNT) -> int:
    """Whole cores, at least 1; a quota of 2.5 counts as 3."""
    knows_affinity = hasattr(os, "sched_getaffinity")
    num_cores = len(os.sched_getaffinity(0)) if knows_affinity else os.cpu_count() or 1
    quota = _smallest_quota(proc, mount)
    return num_cores if quota is None else max(1, min(num_cores, math.ceil(quota)))


def _smallest_quota(proc: Path, mount: Path) -> float | None:
    quotas = [_quota_of(folder) for folder in _cpu_folders(proc, mount)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _cpu_folders(proc: Path, mount: Path) -> list[Path]:
    """The groups that may limit this process: its own and those above, in both versions."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if ".." in path:
            continue  # lies outside this container
        if number == "0" and not controllers:
            roots = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            roots = [mount / controllers, mount / "cpu"]
        else:
            continue
        parts = [part for part in path.split("/") if part]
        folders += [root.joinpath(*parts[:depth]) for root in roots for depth in range(len(parts) + 1)]
    return folders


def _quota_of(folder: Path) -> float | None:
    """Cores' worth of time that a group may use; None without a limit."""
    try:
        limit, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        microseconds, every = int(limit), int(period)
    except ValueError:
        return None  # "max"
    return microseconds / every if microseconds > 0 and every > 0 else None
