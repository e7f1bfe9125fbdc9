"""Run other systems, and Ayni, as processes in a private network each, and read what they measured.

Each system has an environment of its own with the same torch, made on first use under the user's cache
(AYNI_BENCHMARK_ENVIRONMENTS names another folder); they take about 1 GB each. In a network namespace
of its own (`unshare --net`) the loopback interface counts the bytes of one system and of nobody else.
Where namespaces are not allowed, runs share the machine's loopback, and the row says so.

`python_beside` is for measurements of Ayni itself that need more packages than it was installed with: an
environment that sees everything of this one, and some packages more.

Not covered: operating systems other than Linux.
"""

import functools
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.registry import HERE

# Their modules import nothing but what every system's environment has.
PEERS = "benchmarks.peers"
# Pinned, so that a row can be measured again; torch is the one that Ayni runs with.
REQUIREMENTS = {
    "flower": ("flwr[simulation]==1.41.0",),
    "hivemind": ("hivemind==1.1.12", "setuptools"),
    "torchft": ("torchft==0.2.0",),
}

NEWEST_FOR_SECONDS = 7 * 86_400


class PeerFailedError(RuntimeError):
    """A system's process ended with an error, or an environment could not be made."""


def own_python(_: str = "") -> Path:
    """The interpreter that runs Ayni, for torch's own DistributedDataParallel and for our half."""
    return Path(sys.executable)


@functools.cache
def python_of(system: str) -> Path:
    """The interpreter of a system's environment, which is made when it is not there.

    Raises:
        PeerFailedError: it could not be installed.
    """
    folder = _environments() / system
    marker = folder / "ayni-benchmark-installed"
    wanted = " ".join((_torch(), "numpy", *REQUIREMENTS[system]))
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        _call([sys.executable, "-m", "venv", "--clear", str(folder)], seconds=120)
        _call([str(folder / "bin" / "pip"), "install", "--quiet", *wanted.split()], seconds=1200)
        marker.write_text(wanted, encoding="utf-8")
    return folder / "bin" / "python"


@functools.cache
def python_with(name: str, *packages: str) -> Path:
    """An interpreter that has these packages and nothing else; made when it is not there.

    A package without a version is looked for anew a week later: its newest one is meant.

    Raises:
        PeerFailedError: it could not be installed.
    """
    folder = _environments() / name
    marker = folder / "ayni-benchmark-installed"
    is_fresh = marker.exists() and time.time() - marker.stat().st_mtime < NEWEST_FOR_SECONDS
    is_pinned = all("==" in package for package in packages)
    wanted = " ".join(packages)
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted or not (is_fresh or is_pinned):
        _call([sys.executable, "-m", "venv", "--clear", str(folder)], seconds=120)
        _call([str(folder / "bin" / "pip"), "install", "--quiet", *packages], seconds=1200)
        marker.write_text(wanted, encoding="utf-8")
    return folder / "bin" / "python"


@functools.cache
def python_beside(name: str, *, packages: tuple[str, ...], alone: tuple[str, ...] = ()) -> Path:
    """An interpreter that has all that this one has, and these packages; made when it is not there.

    Args:
        name: of its folder.
        packages: requirements that are installed with what they need.
        alone: requirements that are installed without, such as a package that is there for a file in it.

    Raises:
        PeerFailedError: it could not be installed.
    """
    folder = _environments() / name
    marker = folder / "ayni-benchmark-installed"
    own = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    wanted = " ".join((*packages, *alone, *own))
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        _call([sys.executable, "-m", "venv", "--clear", str(folder)], seconds=120)
        python = str(folder / "bin" / "python")
        where = _call([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], seconds=60)
        (Path(where.strip()) / "own.pth").write_text("\n".join(dict.fromkeys(own)), encoding="utf-8")
        install = [python, "-m", "pip", "install", "--quiet"]
        _call([*install, *packages], seconds=1200)
        if alone:
            _call([*install, "--no-deps", *alone], seconds=1200)
        marker.write_text(wanted, encoding="utf-8")
    return folder / "bin" / "python"


def versions_of(system: str) -> str:
    """Name and version of the compared package, as pip knows it."""
    package = REQUIREMENTS[system][0].split("[")[0].split("==")[0]
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return f"{package} {_call([str(python_of(system)), '-c', code], seconds=60).strip()}"


def run_pair(
    module: str, *, system: str | None = None, seconds: float = 600, **options: Any
) -> dict[str, Any]:
    """Two processes of a module in `peers/`, measured by pair.py: seconds, bytes_sent and their results."""
    python = str(python_of(system) if system else own_python())
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return run_alone([python, "-m", f"{PEERS}.pair", f"{PEERS}.{module}", *words], seconds=seconds)


def run_alone(
    command: list[str], *, seconds: float = 600, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """One command in a private network; its last line of output is the result.

    Raises:
        PeerFailedError: it ended with an error or took too long.
    """
    return run_here([*private_network(), *command], seconds=seconds, environment=environment)


def run_here(
    command: list[str], *, seconds: float = 600, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """One command in the network of this machine; its last line of output is the result.

    Raises:
        PeerFailedError: it ended with an error or took too long.
    """
    output = _call(command, seconds=seconds, environment=environment)
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


@functools.cache
def private_network() -> tuple[str, ...]:
    """The words before a command that give it a network of its own; none where that is not allowed."""
    words = ("unshare", "--map-root-user", "--net")
    try:
        answer = subprocess.run([*words, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return words if answer.returncode == 0 else ()


def _environments() -> Path:
    chosen = os.environ.get("AYNI_BENCHMARK_ENVIRONMENTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(chosen) if chosen else cache / "ayni-benchmarks"


def _torch() -> str:
    import torch

    return f"torch=={torch.__version__.split('+')[0]}"


def _call(command: list[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> str:
    try:
        answer = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(HERE.parent), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerFailedError(f"{' '.join(command)} took more than {seconds:g} s") from error
    if answer.returncode:
        raise PeerFailedError(f"{' '.join(command)} ended with {answer.returncode}: {answer.stderr[-2000:]}")
    return answer.stdout
