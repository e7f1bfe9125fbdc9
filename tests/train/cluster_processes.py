"""Dask clusters of real processes, as an operator starts them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

DASK = [sys.executable, "-m", "dask"]
# Started again whenever they end, as systemd and Kubernetes do it.
FOR_EVER = "while true; do {command}; sleep 0.3; done"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_true(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds:g} s"
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class ClusterProcesses:
    """A scheduler and workers as children of the test; each in a process group of its own."""

    def __init__(self, folder: Path, *, options: Sequence[str] = (), protocol: str = "tcp") -> None:
        self.port = free_port()
        self.address = f"{protocol}://127.0.0.1:{self.port}"
        self._folder = folder
        self._options = list(options)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self, *, for_ever: bool = False) -> None:
        command = [*DASK, "scheduler", "--host", self.address.rpartition(":")[0], "--port", str(self.port)]
        self._start([*command, "--no-dashboard", *self._options], for_ever=for_ever, name="scheduler")
        await_true(lambda: is_listening(self.port))

    def start_worker(
        self,
        name: str,
        *options: str,
        for_ever: bool = False,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        command = [*DASK, "worker", self.address, "--name", name, "--nthreads", "1", "--memory-limit", "0"]
        command += ["--no-dashboard", "--local-directory", str(self._folder / "scratch"), *self._options]
        return self._start([*command, *options], for_ever=for_ever, name=name, environment=environment)

    def scheduler_process_id(self) -> int:
        """Of the process that listens, which is a child of the shell when it is started for ever."""
        shell = self._processes[0].pid
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        return int(children[0]) if children else shell

    def log_of(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()

    def close(self) -> None:
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(
        self,
        command: list[str],
        *,
        for_ever: bool,
        name: str,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        if for_ever:
            command = ["bash", "-c", FOR_EVER.format(command=" ".join(command))]
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            )
        self._processes.append(process)
        return process


@contextlib.contextmanager
def cluster_of(folder: Path, *, num_workers: int, options: Sequence[str] = ()) -> Iterator[ClusterProcesses]:
    cluster = ClusterProcesses(folder, options=options)
    try:
        cluster.start_scheduler()
        for index in range(num_workers):
            cluster.start_worker(f"w{index}")
        yield cluster
    finally:
        cluster.close()
