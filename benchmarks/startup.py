"""How long `import ayni` and `ayni --help` take in a fresh process."""

import statistics
import subprocess
import sys
import time

from benchmarks.registry import Benchmark, Outcome

IMPORT = "import time; t = time.perf_counter(); import ayni; print(time.perf_counter() - t)"


def _import_seconds() -> float:
    answer = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return float(answer.stdout)


def _help_seconds() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "ayni", "--help"], capture_output=True, check=True)
    return time.perf_counter() - started


def measure(quick: bool) -> Outcome:
    """Medians over fresh processes, after one that warms the file cache."""
    repeats = 5 if quick else 15
    _help_seconds()
    import_ms = 1000 * statistics.median(_import_seconds() for _ in range(repeats))
    help_ms = 1000 * statistics.median(_help_seconds() for _ in range(repeats))
    return Outcome(
        values={"import_milliseconds": import_ms, "help_milliseconds": help_ms, "repeats": repeats},
        seeds=(),
        met=import_ms <= 100 and help_ms <= 400,
    )


BENCHMARK = Benchmark(
    name="startup",
    topic="main job",
    bar="import ayni at most 100 ms, ayni --help at most 400 ms (medians)",
    seconds_quick=4,
    seconds_full=12,
    measure=measure,
)
