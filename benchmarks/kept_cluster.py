"""A Dask cluster of real processes on this machine whose members are started again when they die.

What a service manager does on a real site: a scheduler and workers, each in a loop of its own. For
benchmarks that kill them.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

_RESTART_SECONDS = 0.5


class KeptProcess:
    """A command that is started again whenever it ends, until `stop`."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command, self._environment = command, environment
        self._is_over = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    @property
    def process_id(self) -> int:
        """Of the process that runs now."""
        return self._process.pid

    def stop(self) -> None:
        """End it for good."""
        self._is_over.set()
        self._process.terminate()
        self._thread.join()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _keep(self) -> None:
        while True:
            self._process.wait()
            if self._is_over.wait(_RESTART_SECONDS):
                return
            self._process = self._start()


class KeptCluster:
    """A scheduler and workers of one thread each; use it in a `with` block."""

    def __init__(self, num_workers: int) -> None:
        self._num_workers = num_workers
        self.address = f"tcp://127.0.0.1:{_free_port()}"

    def __enter__(self) -> "KeptCluster":
        self._folder = tempfile.TemporaryDirectory()
        words = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
        self.scheduler = KeptProcess([*words, "--host", self.address], self._environment())
        self.workers = [
            KeptProcess(self._worker_command(number), self._environment())
            for number in range(self._num_workers)
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in (*self.workers, self.scheduler):
            process.stop()
        self._folder.cleanup()

    def learner_process_id(self, number: int, *, seconds: float = 30.0) -> int:
        """The process in which a worker's tasks run: the child of its nanny."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            children = _children_of(self.workers[number].process_id)
            if children:
                return children[-1]
            time.sleep(0.1)
        raise RuntimeError(f"worker {number} has no process after {seconds:g} s")

    def _worker_command(self, number: int) -> list[str]:
        folder = Path(self._folder.name) / str(number)
        words = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--no-dashboard"]
        # A worker that lost its scheduler looks for it for ever instead of ending.
        return [*words, "--nthreads", "1", "--name", str(number), "--local-directory", str(folder)]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def _children_of(process_id: int) -> list[int]:
    """Worker processes below a nanny, without multiprocessing's resource tracker."""
    found = []
    # Each thread has its own list.
    for path in Path(f"/proc/{process_id}/task").glob("*/children"):
        for child in path.read_text(encoding="ascii").split():
            command = Path(f"/proc/{child}/cmdline")
            if command.exists() and b"resource_tracker" not in command.read_bytes():
                found.append(int(child))
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
