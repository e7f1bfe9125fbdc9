"""A learner, the coordinator and the scheduler are killed in one training: does the result suffer?

A tcp:// cluster of real processes trains the small GPT. SIGKILL meets a learner's process after a
quarter of the rounds, the coordinator's after half of them and the scheduler's after three quarters;
each is started again, the coordinator by the same command, which goes on from its checkpoint. The final
validation loss is compared with that of unharmed trainings, and the list of accepted examples is
searched for gaps and repetitions.

Noticing a death: from the signal to the coordinator's durable notice, in each killed training; the
restart of what was killed comes later and is no part of it.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.gpt_training import TASK_FILE, recipe_config
from benchmarks.kept_cluster import KeptCluster
from benchmarks.registry import HERE, Benchmark, Outcome

LOCAL_STEPS = 50
NUM_STEPS = 1000
TIME_LIMIT_SECONDS = 300.0
NOTICE_LIMIT_SECONDS = 60.0


def measure(quick: bool) -> Outcome:
    """Unharmed trainings of five seeds say what noise is; three seeds are trained again and killed."""
    clean_seeds, killed_seeds = ((1, 2), (1,)) if quick else ((1, 2, 3, 4, 5), (1, 2, 3))
    clean = {seed: _train(seed, with_kills=False) for seed in clean_seeds}
    killed = {seed: _train(seed, with_kills=True) for seed in killed_seeds}
    losses = [run["loss"] for run in clean.values()]
    differences = [run["loss"] - clean[seed]["loss"] for seed, run in killed.items()]
    of_learners, of_schedulers = zip(*(run["seconds_until_noticed"] for run in killed.values()), strict=True)
    problems = [problem for run in (*clean.values(), *killed.values()) for problem in run["problems"]]
    values: dict[str, Any] = {
        "loss_unharmed": statistics.mean(losses),
        "standard_deviation_of_seeds": statistics.stdev(losses),
        "loss_killed": statistics.mean(run["loss"] for run in killed.values()),
        "mean_difference_at_equal_seed": statistics.mean(differences),
        "largest_difference_at_equal_seed": max(differences, key=abs),
        "seconds_until_death_of_learner_noticed": statistics.median(of_learners),
        "seconds_until_death_of_learner_noticed_worst": max(of_learners),
        "seconds_until_death_of_scheduler_noticed_worst": max(of_schedulers),
        "examples_skipped_or_repeated": len(problems),
        "killed_in_each": ["learner", "coordinator", "scheduler"],
    }
    is_within = abs(values["mean_difference_at_equal_seed"]) <= values["standard_deviation_of_seeds"]
    is_met = is_within and max(of_learners) <= 1 and not problems
    return Outcome(values=values, seeds=clean_seeds, met=is_met)


def _train(seed: int, *, with_kills: bool) -> dict[str, Any]:
    """One training on a cluster of its own; with kills, three of them."""
    from ayni.train.accepted import check_samples
    from ayni.train.curve import read_curve

    with tempfile.TemporaryDirectory() as name, KeptCluster(2) as cluster:
        folder = Path(name) / "train"
        coordinator = _start_coordinator(folder, seed, cluster.address)
        noticed: list[float] = []
        try:
            if with_kills:
                rounds = NUM_STEPS // LOCAL_STEPS
                _wait_for_round(folder, rounds // 4, coordinator)
                noticed.append(_kill_and_await_notice(cluster.learner_process_id(0), folder))
                _wait_for_round(folder, rounds // 2, coordinator)
                os.kill(coordinator.pid, signal.SIGKILL)
                coordinator.wait()
                coordinator = _start_coordinator(folder, seed, cluster.address)
                _wait_for_round(folder, rounds * 3 // 4, coordinator)
                noticed.append(_kill_and_await_notice(cluster.scheduler.process_id, folder))
            if coordinator.wait(timeout=TIME_LIMIT_SECONDS):
                raise RuntimeError(f"the coordinator ended with {coordinator.returncode}, seed {seed}")
        finally:
            coordinator.kill()
        return {
            "loss": read_curve(folder)[-1]["metrics"]["loss"],
            "problems": check_samples(folder),
            "seconds_until_noticed": noticed,
        }


def _kill_and_await_notice(process_id: int, folder: Path) -> float:
    """Seconds from SIGKILL to the coordinator's next notice."""
    from ayni.train.curve import read_notices

    before = len(read_notices(folder))
    killed_at = time.time()
    os.kill(process_id, signal.SIGKILL)
    deadline = time.monotonic() + NOTICE_LIMIT_SECONDS
    while len(notices := read_notices(folder)) == before:
        if time.monotonic() > deadline:
            raise RuntimeError(f"a death was not noticed within {NOTICE_LIMIT_SECONDS:g} s")
        time.sleep(0.05)
    return datetime.fromisoformat(notices[before]["at"]).timestamp() - killed_at


def _wait_for_round(folder: Path, round_: int, coordinator: "subprocess.Popen[bytes]") -> None:
    from ayni.train.curve import read_curve

    deadline = time.monotonic() + TIME_LIMIT_SECONDS
    while len(read_curve(folder)) < round_:
        if coordinator.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"round {round_} was not reached (exit code {coordinator.poll()})")
        time.sleep(0.05)


def _start_coordinator(folder: Path, seed: int, address: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "benchmarks.survival", str(folder), str(seed), address]
    return subprocess.Popen(command, cwd=HERE.parent)


def _coordinate(folder: Path, seed: int, address: str) -> None:
    """Train in this process, or go on where the folder's checkpoint ends."""
    from ayni.task import TaskReference
    from ayni.train.dask_engine import make_engine
    from ayni.train.result import SilentObserver
    from ayni.train.training import train

    config = recipe_config(
        local_steps=LOCAL_STEPS, num_steps=NUM_STEPS, codec="int8", download_codec="int8", engine=address
    )
    with make_engine(config) as engine:
        train(
            TaskReference(module_path=TASK_FILE, object_name="SmallGPT"),
            config,
            seed=seed,
            folder=folder,
            spill_folder=folder / "spill",
            engine=engine,
            observer=SilentObserver(),
        )


BENCHMARK = Benchmark(
    name="survival",
    topic="training: failure",
    bar="a learner, then the coordinator, then the scheduler killed in one run on a tcp:// cluster: final "
    "loss within the noise of the seeds, no example skipped or used twice; death noticed within 1 s",
    seconds_quick=120,
    seconds_full=420,
    measure=measure,
)

if __name__ == "__main__":
    _coordinate(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
