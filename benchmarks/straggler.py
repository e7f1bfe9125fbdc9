"""One of two learners at a quarter of the speed: how much of the ideal throughput is left.

The slow learner's process is stopped and continued by signals, so that it runs a quarter of the time, as
a machine that is four times slower would. All else is real: the small GPT, two processes, two cores.

    ideal throughput = throughput with nobody slowed * (1 + 1/4) / 2
    share = throughput with one slowed / ideal

Strategy "async" is what the bar asks of; "diloco", which waits for everybody, and "diloco" with rounds
of a fixed time stand beside it.
"""

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from benchmarks.gpt_training import best_loss, recipe_config, train_small_gpt, two_workers
from benchmarks.registry import Benchmark, Outcome

if TYPE_CHECKING:
    from ayni.train.config import TrainConfig

SLOWDOWN = 4
# Short beside a round, long beside the scheduler's time slices.
PERIOD_SECONDS = 0.2
LOCAL_STEPS = 50
NUM_STEPS = 1000
ROUND_SECONDS = 2.0


@contextmanager
def _slowed(process_id: int) -> Iterator[None]:
    """Let a process run 1 / SLOWDOWN of the time inside the block."""
    is_over = threading.Event()

    def stop_and_go() -> None:
        while not is_over.is_set():
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGSTOP)
                time.sleep(PERIOD_SECONDS * (1 - 1 / SLOWDOWN))
                os.kill(process_id, signal.SIGCONT)
            time.sleep(PERIOD_SECONDS / SLOWDOWN)

    thread = threading.Thread(target=stop_and_go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _samples_per_second(config: "TrainConfig", *, seed: int, is_slowed: bool) -> tuple[float, float]:
    """Throughput, and the best validation loss."""
    with two_workers() as engine, _slowed(engine.worker_process_ids()[0]) if is_slowed else nullcontext():
        result = train_small_gpt(config, seed=seed, engine=engine)
    return result.samples / result.wall_seconds, best_loss(result)


def measure(quick: bool) -> Outcome:
    """Medians over the seeds of the share within each seed."""
    seeds, num_steps = ((1,), 600) if quick else ((1, 2, 3), NUM_STEPS)
    ways = {
        "async": recipe_config(local_steps=LOCAL_STEPS, num_steps=num_steps, strategy="async"),
        "diloco": recipe_config(local_steps=LOCAL_STEPS, num_steps=num_steps),
        "diloco_by_seconds": recipe_config(
            local_steps=LOCAL_STEPS, num_steps=num_steps, round_seconds=ROUND_SECONDS
        ),
    }
    shares: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, list[float]] = {name: [] for name in ways}
    for seed in seeds:
        for name, config in ways.items():
            unslowed, _ = _samples_per_second(config, seed=seed, is_slowed=False)
            slowed, loss = _samples_per_second(config, seed=seed, is_slowed=True)
            shares[name].append(slowed / (unslowed * (1 + 1 / SLOWDOWN) / 2))
            losses[name].append(loss)
    values: dict[str, Any] = {}
    for name in ways:
        values |= {
            f"share_of_ideal_{name}": statistics.median(shares[name]),
            f"share_of_ideal_{name}_worst": min(shares[name]),
            f"validation_loss_{name}": statistics.mean(losses[name]),
        }
    return Outcome(values=values, seeds=seeds, met=values["share_of_ideal_async"] >= 0.9)


BENCHMARK = Benchmark(
    name="straggler",
    topic="training: failure",
    bar="one of two learners at a quarter of the speed, strategy async: at least 90 % of the ideal "
    "throughput (median)",
    seconds_quick=120,
    seconds_full=600,
    measure=measure,
)
