"""A file of 1 GB comes from the hub on loopback, against nginx sending the very same file of the disk.

One plain client (`curl`, one connection, everything thrown away) fetches from nginx, from a hub, and from a
hub that keeps its objects encrypted, in turns; the ratio is that of one turn, and the median of turns counts.
The file is in the cache of the operating system for all of them. It was uploaded by LFS, so the hub keeps it
whole; what a hub that was given it by chunks (Xet) sends, and how fast the Hugging Face client's own download
is, stands beside.

Not covered: TLS, cold disks, many clients at once, and ranges.
"""

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.hub_process import HubProcess, free_port, running_hub
from benchmarks.hub_upload import GIGABYTE, upload_once
from benchmarks.registry import Benchmark, Outcome

PLAIN_AT_LEAST, ENCRYPTED_AT_LEAST = 0.8, 0.4
_CLIENT = """
import sys, time
from huggingface_hub import hf_hub_download
began = time.perf_counter()
hf_hub_download(sys.argv[1], "file.bin")
print(time.perf_counter() - began)
"""
_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


class NoNginxError(RuntimeError):
    """There is no nginx to be compared with."""


def measure(quick: bool) -> Outcome:
    """Turns of all senders."""
    num_bytes, num_turns = (GIGABYTE // 4, 5) if quick else (GIGABYTE, 9)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        plain = stack.enter_context(running_hub(Path(folder) / "plain"))
        sealed = stack.enter_context(running_hub(Path(folder) / "sealed", is_encrypted=True))
        for hub in (plain, sealed):
            upload_once(hub, "lfs", Path(folder) / "work" / hub.places.folder[-5:] / "lfs", num_bytes)
        upload_once(plain, "chunks", Path(folder) / "work" / "chunks", num_bytes)
        address = stack.enter_context(nginx(Path(folder) / "nginx", _largest(Path(plain.places.folder))))
        senders: dict[str, Callable[[], float]] = {
            "nginx": lambda: _seconds(address, None),
            "plain": lambda: _hub_seconds(plain, "lfs"),
            "encrypted": lambda: _hub_seconds(sealed, "lfs"),
            "by_chunks": lambda: _hub_seconds(plain, "chunks"),
        }
        for fetch in senders.values():
            fetch()  # the first one fills the cache
        cpu: dict[str, float] = {}
        seconds: dict[str, list[float]] = {name: [] for name in senders}
        for _ in range(num_turns):
            for name, fetch in senders.items():
                hub = sealed if name == "encrypted" else plain
                before = hub.cpu_seconds()
                seconds[name].append(fetch())
                cpu[name] = cpu.get(name, 0.0) + hub.cpu_seconds() - before
        client_seconds = _client_seconds(plain, Path(folder) / "home")
    gigabytes = num_bytes / GIGABYTE
    values: dict[str, Any] = {"file_bytes": num_bytes, "turns": num_turns}
    for name, found in seconds.items():
        values[f"{name}_mb_per_second"] = round(num_bytes / 1e6 / median(found))
        if name != "nginx":
            pairs = zip(seconds["nginx"], found, strict=True)
            values[f"{name}_against_nginx"] = round(median(one / other for one, other in pairs), 3)
            values[f"{name}_server_cpu_seconds_per_gb"] = round(cpu[name] / num_turns / gigabytes, 2)
    values["hugging_face_client_mb_per_second"] = round(num_bytes / 1e6 / client_seconds)
    is_met = values["plain_against_nginx"] >= PLAIN_AT_LEAST
    is_met &= values["encrypted_against_nginx"] >= ENCRYPTED_AT_LEAST
    return Outcome(values=values, seeds=tuple(range(num_turns)), met=is_met)


@contextmanager
def nginx(folder: Path, file: Path) -> Iterator[str]:
    """An nginx with one process that sends a file; the file's address.

    Raises:
        NoNginxError: it is not installed, or does not start.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise NoNginxError("install nginx-light")
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, root=file.parent))
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(config)], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/{file.name}"
    try:
        _wait_for(address)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: str) -> None:
    give_up_at = time.monotonic() + 20
    while time.monotonic() < give_up_at:
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise NoNginxError("it does not answer")


def _hub_seconds(hub: HubProcess, way: str) -> float:
    return _seconds(f"{hub.url}/ada/{way}/resolve/main/file.bin", hub.tokens["ada"])


def _seconds(address: str, token: str | None) -> float:
    words = ["curl", "--silent", "--fail", "--output", "/dev/null", "--write-out", "%{time_total}", address]
    if token is not None:
        words += ["--header", f"Authorization: Bearer {token}"]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def _client_seconds(hub: HubProcess, home: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, "ada/lfs"],
        env=hub.client_environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def _largest(folder: Path) -> Path:
    files = (path for path in (folder / "objects").rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


BENCHMARK = Benchmark(
    name="hub_download",
    topic="hub: transfers",
    bar="1 GB on loopback to a plain client: at least 0.8 of the throughput of nginx sending the same file "
    "unencrypted, 0.4 from encrypted objects",
    seconds_quick=60,
    seconds_full=180,
    measure=measure,
)
