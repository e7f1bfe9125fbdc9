"""Rows of results: one JSON line for each invocation, with everything needed to read it later."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayni.files import append_json_line, read_json_lines
from benchmarks.registry import HERE, Benchmark, Outcome

RESULTS = HERE / "results"
NAMED_VERSIONS = ("ayni", "torch", "dask", "onnxruntime", "torch-pruning", "numpy")


def append_row(benchmark: Benchmark, outcome: Outcome, *, quick: bool, seconds: float) -> dict[str, Any]:
    """Append what was measured, and return the row."""
    row = {
        "name": benchmark.name,
        "topic": benchmark.topic,
        "bar": benchmark.bar,
        "met": outcome.met,
        "values": dict(outcome.values),
        "seeds": list(outcome.seeds),
        "quick": quick,
        "seconds": round(seconds, 1),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "command": f"python -m benchmarks run {benchmark.name}{' --quick' if quick else ''}",
        "machine": _machine(),
        "versions": _versions(),
    }
    append_json_line(RESULTS / f"{benchmark.name}.jsonl", row)
    return row


def rows_of(name: str) -> list[dict[str, Any]]:
    """All rows of one benchmark, oldest first."""
    return read_json_lines(RESULTS / f"{name}.jsonl")


def _commit() -> str:
    """The commit that was measured; "-dirty" when anything but the results themselves was changed since."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "unknown"
    changed = _git("status", "--porcelain", "--", ":/", ":!/benchmarks/results", ":!/docs/benchmarks.md")
    return f"{commit}-dirty" if changed else commit


def _git(*words: str) -> str | None:
    answer = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_1_minute": round(os.getloadavg()[0], 1),
    }


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in NAMED_VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found
