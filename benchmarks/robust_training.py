"""One of five learners lies: how much worse does the model get, with each rule?

The small GPT, five learners in one process, DiLoCo. Learner 4 computes honestly and sends something else:

    flipped   its update with the opposite sign, ten times as long
    scaled    its update, a hundred times as long
    random    noise, a hundred times as long
    nan       not a number

The coordinator is the real one; the liar sits between it and the engine. Compared is the loss on the
validation split after the last round with that of the same run without a liar. "mean_unprotected" is the
plain mean without the clipping that Ayni never leaves out, "mean" the default. NaN is refused when it
arrives, with every rule. Not covered: liars who try to stay unseen, more than one of them, and learners
with different data.
"""

import multiprocessing
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ayni.train.config import TrainConfig
from ayni.train.strategy_config import AggregationConfig
from benchmarks.registry import HERE, Benchmark, Outcome

if TYPE_CHECKING:
    from ayni.train.engine import EngineEvent, Frame, FrameStore, MergedPart, Order, Session
    from ayni.train.layout import Chunk

NUM_LEARNERS = 5
LIAR = NUM_LEARNERS - 1
# Longer updates than this are cut; nothing is this long.
NO_CLIP = 1e30
RULES = {
    "mean_unprotected": AggregationConfig(clip_factor=NO_CLIP),
    "mean": AggregationConfig(),
    "multi_krum": AggregationConfig(rule="multi_krum", num_faulty=1),
    "trimmed_mean": AggregationConfig(rule="trimmed_mean", num_faulty=1),
    "median": AggregationConfig(rule="median", num_faulty=1),
    "krum": AggregationConfig(rule="krum", num_faulty=1),
    "geometric_median": AggregationConfig(rule="geometric_median", num_faulty=1),
    "centered_clip": AggregationConfig(rule="centered_clip", num_faulty=1),
}
# The rule that the bar is asked of, and all that are run with every seed; the others with the first.
RECOMMENDED = "multi_krum"
FOR_EVERY_SEED = ("mean_unprotected", "mean", RECOMMENDED)

Lie = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]


def _noise(values_E: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    spread = 100 * float(np.sqrt(np.mean(np.square(values_E))))
    return spread * rng.standard_normal(values_E.shape, np.float32)


LIES: dict[str, Lie] = {
    "flipped": lambda values_E, rng: -10 * values_E,
    "scaled": lambda values_E, rng: 100 * values_E,
    "random": _noise,
    "nan": lambda values_E, rng: np.full_like(values_E, np.nan),
}


class LyingEngine:
    """An engine in which one learner's updates are replaced. Fulfils ayni.train.engine.Engine."""

    def __init__(self, lie: Lie, seed: int) -> None:
        from ayni.train.in_process_engine import InProcessEngine

        self._inner = InProcessEngine()
        self._lie = lie
        self._rng = np.random.default_rng(seed)

    def open(self, session: "Session", store: "FrameStore") -> None:
        self._inner.open(session, store)

    def start(self, order: "Order") -> None:
        self._inner.start(order)

    def send(self, learner: int, part: "MergedPart") -> None:
        self._inner.send(learner, part)

    def wait(self, timeout_seconds: float) -> list["EngineEvent"]:
        return [self._corrupted(event) for event in self._inner.wait(timeout_seconds)]

    def _corrupted(self, event: "EngineEvent") -> "EngineEvent":
        from ayni.train.engine import LearnerUpdate

        if not isinstance(event, LearnerUpdate) or event.learner != LIAR:
            return event
        frames = [self._lied(frame, chunk) for frame, chunk in zip(event.frames, _chunks(), strict=True)]
        return replace(event, frames=frames)

    def _lied(self, frame: "Frame", chunk: "Chunk") -> "Frame":
        from ayni.train.codec import decode_frame, make_frame

        return make_frame([self._lie(decode_frame(frame, chunk), self._rng)], chunk, "fp32")


@cache
def _chunks() -> tuple["Chunk", ...]:
    from ayni.train.layout import make_chunks
    from ayni.train.named_arrays import get_arrays, make_manifest
    from benchmarks.small_gpt import GPT

    return make_chunks(make_manifest(get_arrays(GPT())))


def _loss(config: TrainConfig, lie: str | None, seed: int) -> float:
    """Validation loss after the last round; infinite when training broke down."""
    from ayni.task import TaskReference
    from ayni.train.engine import LearnersLostError
    from ayni.train.in_process_engine import InProcessEngine
    from ayni.train.local import NonFiniteLossError
    from ayni.train.result import SilentObserver
    from ayni.train.training import train

    task = TaskReference(module_path=HERE / "small_gpt.py", object_name="SmallGPT")
    engine = InProcessEngine() if lie is None else LyingEngine(LIES[lie], seed)
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = train(
                task,
                config,
                seed=seed,
                folder=Path(folder) / "train",
                spill_folder=Path(folder) / "spill",
                engine=engine,
                observer=SilentObserver(),
            )
        except (NonFiniteLossError, LearnersLostError):
            return float("inf")
    return result.metrics["loss"]


def _config(rounds: int, local_steps: int) -> TrainConfig:
    from benchmarks.small_gpt import OUTER_LEARNING_RATE, OUTER_MOMENTUM, RECIPE

    return TrainConfig(
        learners=NUM_LEARNERS,
        rounds=rounds,
        local_steps=local_steps,
        batch_size=RECIPE.batch_size,
        learning_rate=RECIPE.learning_rate,
        weight_decay=RECIPE.weight_decay,
        warmup_steps=local_steps,
        outer_learning_rate=OUTER_LEARNING_RATE,
        outer_momentum=OUTER_MOMENTUM,
    )


def _cases(seed: int, *, quick: bool) -> list[tuple[str, str]]:
    """(rule, lie) to run with a seed. NaN is refused before any rule sees it: one rule is enough."""
    if quick:
        return [("mean_unprotected", "flipped"), (RECOMMENDED, "flipped"), (RECOMMENDED, "nan")]
    lies = [lie for lie in LIES if lie != "nan"]
    cases = [(rule, lie) for rule in FOR_EVERY_SEED for lie in lies] + [(RECOMMENDED, "nan")]
    others = [rule for rule in RULES if rule not in FOR_EVERY_SEED]
    return cases if seed > 1 else cases + [(rule, "flipped") for rule in others]


def measure(quick: bool) -> Outcome:
    """Loss with a liar over loss without, each rule and lie; medians over the seeds."""
    seeds = (1,) if quick else (1, 2, 3)
    # Shorter runs differ by more than the bar for reasons of luck: their loss still falls steeply.
    config = _config(rounds=50, local_steps=20)
    # Losses, not times, are compared: all cores may work at once.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        clean = {seed: pool.submit(_loss, config, None, seed) for seed in seeds}
        found: dict[tuple[str, str], list[tuple[int, Future[float]]]] = defaultdict(list)
        for seed in seeds:
            for rule, lie in _cases(seed, quick=quick):
                protected = replace(config, aggregation=RULES[rule])
                found[rule, lie].append((seed, pool.submit(_loss, protected, lie, seed)))
        ratios = {
            case: [loss.result() / clean[seed].result() for seed, loss in runs]
            for case, runs in found.items()
        }
    values: dict[str, Any] = {
        "loss_without_liar": statistics.median(loss.result() for loss in clean.values())
    }
    for (rule, lie), of_case in ratios.items():
        values[f"{rule}_{lie}"] = _shown(statistics.median(of_case))
        if rule == RECOMMENDED:
            values[f"{rule}_{lie}_worst"] = _shown(max(of_case))
    is_needed = statistics.median(ratios["mean_unprotected", "flipped"]) > 2
    is_enough = all(
        statistics.median(of_case) <= 1.02 for (rule, _), of_case in ratios.items() if rule == RECOMMENDED
    )
    return Outcome(values=values, seeds=seeds, met=is_needed and is_enough)


def _shown(value: float) -> float | str:
    # JSON has no infinity.
    return value if np.isfinite(value) else "diverged"


BENCHMARK = Benchmark(
    name="robust_training",
    topic="training",
    bar="1 of 5 learners sends sign-flipped, scaled, random or NaN updates: validation loss with Multi-Krum "
    "at most 1.02 times that without a liar (median), while the unprotected mean diverges",
    seconds_quick=150,
    seconds_full=1300,
    measure=measure,
)
