"""`ayni serve` as a process of its own, as people start it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx


class Served:
    """A running server: what it said, and its address."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []
        self.url = ""
        self._answers = threading.Event()
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (process.stdout, process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: object) -> None:
        for line in stream:  # type: ignore[attr-defined]
            self.said.append(line.rstrip("\n"))
            if "answers at" in line:
                self.url = line.split("answers at ")[1].split(" ")[0]
                self._answers.set()
        self._answers.set()

    def wait_until_it_answers(self) -> None:
        assert self._answers.wait(60) and self.url, self.text
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    @property
    def text(self) -> str:
        return "\n".join(self.said)

    @property
    def token(self) -> str | None:
        lines = [line for line in self.said if line.startswith("export HF_TOKEN=")]
        return lines[0].split("=", 1)[1] if lines else None

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        return self.client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        for reader in self._readers:
            reader.join(timeout=10)
        return code


def start(home: Path, *options: str, **environ: str) -> Served:
    given = {key: value for key, value in os.environ.items() if not key.startswith(("AYNI_", "HF_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "ayni", "serve", "--port", "0", *options],
        env={**given, "AYNI_HOME": str(home), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Served(process)


@contextlib.contextmanager
def serving(home: Path, *options: str, **environ: str) -> Iterator[Served]:
    served = start(home, *options, **environ)
    try:
        served.wait_until_it_answers()
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()
