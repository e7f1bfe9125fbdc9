"""A file of 1 GB goes to the hub by the Hugging Face client: by chunks (Xet), its default, and by LFS.

In each turn both ways go to one server, one after the other, each with another file of random bytes (nothing
to compress, nothing to share) and a client that knows nothing yet. Throughput is that of the whole call of
the client, hashing and commit included; the server's processor time and its largest memory are read from the
system.

Every upload is read back once by a plain client, and its SHA-256 compared.

Not covered: compressible files, networks slower than loopback, and several uploads at once.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.hub_process import HubProcess, running_hub
from benchmarks.registry import Benchmark, Outcome

Way = Literal["chunks", "lfs"]
GIGABYTE = 10**9
MOST_MEMORY_BYTES = 350 * 10**6
_PIECE_BYTES = 10**6
_UPLOAD = """
import sys, time
from huggingface_hub import HfApi
repository, path = sys.argv[1:]
api = HfApi()
api.create_repo(repository)
began = time.perf_counter()
api.upload_file(path_or_fileobj=path, path_in_repo="file.bin", repo_id=repository)
print(time.perf_counter() - began)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload: how long, and what it cost the server."""

    seconds: float
    cpu_seconds: float
    memory_bytes: int


def measure(quick: bool) -> Outcome:
    """Turns of both ways against one server."""
    num_bytes, num_turns = (GIGABYTE // 5, 2) if quick else (GIGABYTE, 5)
    found: dict[Way, list[Upload]] = {"chunks": [], "lfs": []}
    for turn in range(num_turns):
        ways: tuple[Way, ...] = ("chunks", "lfs") if turn % 2 == 0 else ("lfs", "chunks")
        with tempfile.TemporaryDirectory() as folder, running_hub(Path(folder) / "hub") as hub:
            for way in ways:
                found[way].append(upload_once(hub, way, Path(folder) / way, num_bytes))
    values: dict[str, Any] = {"file_bytes": num_bytes, "turns": num_turns}
    for way, uploads in found.items():
        values |= {
            f"{way}_mb_per_second": round(num_bytes / 1e6 / median(each.seconds for each in uploads), 1),
            f"{way}_server_cpu_seconds_per_gb": round(
                median(each.cpu_seconds for each in uploads) / (num_bytes / GIGABYTE), 2
            ),
            f"{way}_server_memory_mb": round(max(each.memory_bytes for each in uploads) / 1e6),
        }
    pairs = zip(found["lfs"], found["chunks"], strict=True)
    values["chunks_against_lfs"] = round(median(lfs.seconds / chunks.seconds for lfs, chunks in pairs), 3)
    memory = max(each.memory_bytes for uploads in found.values() for each in uploads)
    is_met = values["chunks_against_lfs"] >= 1 and memory <= MOST_MEMORY_BYTES
    return Outcome(values=values, seeds=tuple(range(num_turns)), met=is_met)


def upload_once(hub: HubProcess, way: Way, work: Path, num_bytes: int) -> Upload:
    """Upload a new file of random bytes, look whether it came whole, and remove it here.

    Raises:
        RuntimeError: the client failed, or what is there is something else.
    """
    work.mkdir(parents=True)
    path, repository = work / "file.bin", f"ada/{work.name}"
    sha256 = write_random(path, num_bytes)
    environment = hub.client_environment(work / "home")
    if way == "lfs":
        environment["HF_HUB_DISABLE_XET"] = "1"
    hub.forget_memory_peak()
    cpu_before = hub.cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-c", _UPLOAD, repository, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    cpu_seconds, memory_bytes = hub.cpu_seconds() - cpu_before, hub.memory_peak_bytes()
    path.unlink()
    if done.returncode:
        raise RuntimeError(f"the upload by {way} failed: {done.stderr[-2000:]}")
    if (found := digest_of(hub, f"{repository}/resolve/main/file.bin")) != sha256:
        raise RuntimeError(f"{found} came back instead of {sha256}")
    return Upload(seconds=float(done.stdout.split()[-1]), cpu_seconds=cpu_seconds, memory_bytes=memory_bytes)


def write_random(path: Path, num_bytes: int) -> str:
    """Write a file of random bytes, flushed to the disk; its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, num_bytes, _PIECE_BYTES):
            piece = os.urandom(min(_PIECE_BYTES, num_bytes - start))
            digest.update(piece)
            file.write(piece)
        file.flush()
        # So that nothing of it is written while an upload is measured.
        os.fsync(file.fileno())
    time.sleep(1)
    return digest.hexdigest()


def digest_of(hub: HubProcess, path: str) -> str:
    """The SHA-256 of what the hub gives for a path."""
    digest = hashlib.sha256()
    headers = {"Authorization": f"Bearer {hub.tokens['ada']}"}
    with urllib.request.urlopen(urllib.request.Request(f"{hub.url}/{path}", headers=headers)) as reply:
        while piece := reply.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


BENCHMARK = Benchmark(
    name="hub_upload",
    topic="hub: transfers",
    bar="1 GB by the default client (chunks) at least as fast as by LFS to the same server, in turns; at "
    "most 350 MB of server memory on both",
    seconds_quick=60,
    seconds_full=360,
    measure=measure,
)
