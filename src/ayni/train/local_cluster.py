"""Worker processes of this machine: a Dask cluster that lives as long as one engine.

Not covered: more than one such cluster at a time in one process (Dask's configuration is global to a
process).
"""

import contextlib
import logging
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker, spawn
from typing import Any

import dask
import distributed

from ayni.errors import AyniError

# What Dask calls the process of a worker.
_WORKER_PROCESS = "Dask Worker process"
SETTINGS: dict[str, Any] = {
    # A worker that dies takes its task with it; the coordinator alone decides about the next attempt.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # A pinned task whose worker is gone would wait for ever.
    "distributed.scheduler.no-workers-timeout": "30s",
    # Only the heartbeat tells that a process hangs; torch releases the GIL, so a busy one still beats.
    "distributed.scheduler.worker-ttl": "60s",
    # After 15 s, a stale timer of the first death would keep Dask from restarting a worker that dies again.
    "distributed.deploy.lost-worker-timeout": "1h",
    # torch's memory is "unmanaged" for Dask: it must not pause or kill a worker that trains.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # Processes that are daemons may not have children, and a task's DataLoader may want some.
    "distributed.worker.daemon": False,
    "distributed.worker.multiprocessing-method": "spawn",
    # Nobody looks at HTTP pages of a cluster that lives for minutes; nothing is served.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.tick.limit": "1h",
    # Watching itself cost a seventh of the learners' time on two cores: a profiler that looks every 10 ms, a
    # tick every 20 ms and a monitor every 500 ms, in each worker, each nanny and the scheduler.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    # This replaces Dask's own list, whose MALLOC_TRIM_THRESHOLD_ makes every large tensor a fresh mapping:
    # page faults then cost as much as the training itself.
    "distributed.nanny.pre-spawn-environ": {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # Threads that spin while they wait steal the core of another learner.
        "OMP_WAIT_POLICY": "PASSIVE",
    },
}


class ClusterStartError(AyniError):
    """The worker processes could not be started."""

    def __init__(self, num_workers: int, cause: BaseException) -> None:
        super().__init__(
            f"{num_workers} worker processes could not be started ({cause}). Check free memory and the "
            "limits of processes and open files (ulimit -u, ulimit -n)."
        )


@contextlib.contextmanager
def local_settings() -> Iterator[None]:
    """Dask as a local cluster wants it, for the time of the block."""
    with dask.config.set(SETTINGS), _workers_without_main():
        yield


async def start_local_cluster(num_workers: int) -> Any:
    """Start the processes, one thread each; they are named 0, 1, ...

    Raises:
        ClusterStartError: the system does not allow so many.
    """
    start: Any = distributed.LocalCluster
    try:
        return await start(
            n_workers=num_workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=None,
            # Any free port: the default one may be taken, and Dask would warn about it.
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
            asynchronous=True,
        )
    except (OSError, RuntimeError, TimeoutError) as error:
        raise ClusterStartError(num_workers, error) from error


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Let no thread or process that is started inside the block ever see Ctrl-C.

    A terminal sends SIGINT to all processes of its group. The coordinator alone shall act on it, by
    ending the workers; they would only print tracebacks. Signal masks are inherited, also by workers
    that Dask's thread starts later, and an interrupt inside the block arrives after it.
    """
    # Python's resource tracker unblocks SIGINT in the thread that starts it, so it must run before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _workers_without_main() -> Iterator[None]:
    """Keep workers from importing the script that started the run: it would start runs of its own.

    multiprocessing has each process that it spawns import the parent's main module, which is why scripts
    are told to guard their last lines. Our workers need nothing of it: tasks are found by their file.
    Other processes that the caller spawns meanwhile are left alone.
    """
    original = spawn.get_preparation_data

    def prepared(name: str) -> dict[str, Any]:
        data: dict[str, Any] = original(name)
        if name.startswith(_WORKER_PROCESS):
            data.pop("init_main_from_name", None)
            data.pop("init_main_from_path", None)
        return data

    spawn.get_preparation_data = prepared
    try:
        yield
    finally:
        spawn.get_preparation_data = original
