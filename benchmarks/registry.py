"""What a benchmark is, and the list of them all.

Not covered: judging by statistics. A row keeps what one invocation measured; the bar is compared with
that row's values (medians over its seeds or repeats), and bad rows stay in the file.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INFRASTRUCTURE = {"__main__", "registry", "rows", "document", "commands"} | {
    # What several benchmarks share: tasks, and processes to compare with.
    "digits_arms",
    "small_cnn",
    "small_gpt",
    "trivial_task",
    "gpt_training",
    "peer_runs",
    "kept_cluster",
    "hub_calls",
    "hub_process",
    "postgresql_server",
    "s3_server",
    "compression_runs",
    "philly",
    "pool_rounds",
    "random_rounds",
    "private_digits",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one invocation measured; `met` says whether the values reach the bar."""

    values: Mapping[str, Any]
    seeds: tuple[int, ...]
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A claim, and the function that measures it. `measure(quick)` returns an outcome."""

    name: str
    topic: str
    bar: str
    seconds_quick: int
    seconds_full: int
    measure: Callable[[bool], Outcome]

    def to_json(self) -> dict[str, Any]:
        """What `list --json` prints."""
        return {
            "name": self.name,
            "topic": self.topic,
            "bar": self.bar,
            "seconds": {"quick": self.seconds_quick, "full": self.seconds_full},
        }


class UnknownBenchmarkError(ValueError):
    """No benchmark has this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"There is no benchmark {name!r}. There are: {', '.join(known)}.")


def all_benchmarks() -> dict[str, Benchmark]:
    """Every benchmark by name, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(HERE)]))
    modules = [importlib.import_module(f"benchmarks.{name}") for name in names if name not in INFRASTRUCTURE]
    found: list[Benchmark] = [module.BENCHMARK for module in modules]
    return {benchmark.name: benchmark for benchmark in found}


def find(name: str) -> Benchmark:
    """The benchmark called `name`.

    Raises:
        UnknownBenchmarkError: there is none; the message lists those there are.
    """
    known = all_benchmarks()
    if name not in known:
        raise UnknownBenchmarkError(name, list(known))
    return known[name]
