"""Two learners against one process with one thread: the same samples, how much less wall time.

Both train the digits example with DiLoCo and the same number of exchanges; the single process takes
twice the steps between two of them. Runs alternate, so that other work on the machine meets both. The
start of the worker processes is not counted, validation is. Not covered: more than one machine.
"""

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.registry import HERE, Benchmark, Outcome

if TYPE_CHECKING:
    from ayni.train.result import TrainResult

JOB = HERE.parent / "examples" / "digits" / "job.yaml"

Strategy = Literal["diloco", "sync"]


def _train(seed: int, *, is_parallel: bool, strategy: Strategy) -> "TrainResult":
    # Imported here, so that listing the benchmarks does not import torch.
    from ayni.jobs.loading import load_job
    from ayni.train.dask_engine import DaskEngine
    from ayni.train.in_process_engine import InProcessEngine
    from ayni.train.result import SilentObserver
    from ayni.train.training import train

    job = load_job(JOB)
    config = replace(job.spec.train, learners=2, strategy=strategy)
    if not is_parallel:
        config = replace(config, learners=1, local_steps=2 * config.local_steps, strategy="diloco")
    with tempfile.TemporaryDirectory() as folder:
        ports: dict[str, Any] = {
            "seed": seed,
            "folder": Path(folder) / "train",
            "spill_folder": Path(folder) / "spill",
            "observer": SilentObserver(),
        }
        if is_parallel:
            with DaskEngine(num_workers=2) as engine:
                return train(job.task, config, engine=engine, **ports)
        return train(job.task, config, engine=InProcessEngine(), **ports)


def measure(quick: bool) -> Outcome:
    """The ratio of wall times, pair by pair; the bar is asked of DiLoCo's median."""
    seeds = (1,) if quick else (1, 2, 3, 4, 5)
    ratios: dict[Strategy, list[float]] = {"diloco": [], "sync": []}
    accuracies: dict[str, list[float]] = {"diloco": [], "sync": [], "one_process": []}
    for seed in seeds:
        single = _train(seed, is_parallel=False, strategy="diloco")
        accuracies["one_process"].append(single.metrics["accuracy"])
        for strategy, found in ratios.items():
            parallel = _train(seed, is_parallel=True, strategy=strategy)
            if parallel.samples != single.samples:
                raise RuntimeError(f"{parallel.samples} samples against {single.samples}: not the same work")
            found.append(parallel.wall_seconds / single.wall_seconds)
            accuracies[strategy].append(parallel.metrics["accuracy"])
    values: dict[str, Any] = {}
    for strategy, found in ratios.items():
        values[f"wall_ratio_{strategy}"] = statistics.median(found)
        values[f"wall_ratio_{strategy}_worst"] = max(found)
    for name, of_name in accuracies.items():
        values[f"validation_accuracy_{name}"] = statistics.median(of_name)
    return Outcome(values=values, seeds=seeds, met=values["wall_ratio_diloco"] <= 0.65)


BENCHMARK = Benchmark(
    name="parallel_training",
    topic="training",
    bar="2 learners on 2 cores take at most 0.65 of the wall time of one process with one thread "
    "(DiLoCo, median)",
    seconds_quick=60,
    seconds_full=240,
    measure=measure,
)
