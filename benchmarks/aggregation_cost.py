"""What it costs the coordinator to merge n updates of 25 million parameters, with each rule and n = 2 to 64.

Measured is the coordinator's own path (plan_merge and merge_chunks): fp32 frames, their checksums and all
decoding included, lengths known from the check at arrival. A learner's update is a few chunks that come
again and again until 25 million parameters are full, so that 64 of them fit into memory; no rule can tell.
One core. Not covered: updates that wait on a disk, and other codecs, whose decoding is in the codec's
benchmark.
"""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args, overload

import numpy as np

from ayni.train.strategy_config import AggregationConfig, RuleName
from benchmarks.registry import Benchmark, Outcome

if TYPE_CHECKING:
    from ayni.train.engine import Frame
    from ayni.train.layout import Chunk
    from ayni.train.merge_plan import MergeRules

NUM_PARAMETERS = 25_000_000
CHUNK_ELEMENTS = 2**20
# Distinct chunks of all updates together: more than the caches hold, less than the memory of a small machine.
NUM_DISTINCT = 64
SEED = 1
RULES: tuple[RuleName, ...] = get_args(RuleName)


class _Update(Sequence["Frame"]):
    """An update whose frames come again and again."""

    def __init__(self, frames: list["Frame"], num_chunks: int) -> None:
        self._frames = frames
        self._num_chunks = num_chunks

    def __len__(self) -> int:
        return self._num_chunks

    @overload
    def __getitem__(self, index: int) -> "Frame": ...
    @overload
    def __getitem__(self, index: slice) -> Sequence["Frame"]: ...
    def __getitem__(self, index: int | slice) -> "Frame | Sequence[Frame]":
        assert isinstance(index, int)
        return self._frames[index % len(self._frames)]


def _num_liars(num_updates: int) -> int:
    """As many as Bulyan withstands, at least one."""
    return max(1, (num_updates - 3) // 4)


def _make_updates(num_updates: int, num_liars: int, chunks: tuple["Chunk", ...]) -> list[_Update]:
    """Honest updates have something in common; liars send theirs negated, three times as long."""
    from ayni.train.codec import encode_chunk

    num_distinct = min(len(chunks), max(1, NUM_DISTINCT // num_updates))
    rng = np.random.default_rng(SEED)
    shared = rng.standard_normal((num_distinct, CHUNK_ELEMENTS), np.float32)
    updates = []
    for learner in range(num_updates):
        own = rng.standard_normal(shared.shape, np.float32)
        own += shared
        if learner < num_liars:
            own *= -3
        frames = [encode_chunk(values_E, chunks[0], "fp32") for values_E in own]
        updates.append(_Update(frames, len(chunks)))
    return updates


def _all_rules(num_liars: int) -> "dict[str, MergeRules]":
    from ayni.train.merge_plan import MergeRules

    rules = {"mean": MergeRules(aggregation=AggregationConfig())}
    for rule in RULES:
        if rule != "mean":
            rules[rule] = MergeRules(aggregation=AggregationConfig(rule=rule, num_faulty=num_liars))
    return {**rules, "rda": MergeRules(aggregation=AggregationConfig(), merge="rda")}


def _seconds(updates: list[_Update], chunks: tuple["Chunk", ...], rules: "MergeRules") -> float:
    """Wall time of one merge."""
    from ayni.train.merge import SquaredLengths, merge_chunks, plan_merge

    lengths = [SquaredLengths(trained=1.0, plain=0.0)] * len(updates)
    started = time.perf_counter()
    plan = plan_merge(updates, chunks, [1.0] * len(updates), rules, lengths=lengths)
    for _, merged_E in merge_chunks(updates, chunks, plan):
        assert len(merged_E) == CHUNK_ELEMENTS
    return time.perf_counter() - started


def _slope(num_updates: Sequence[int], seconds: Sequence[float]) -> float:
    """Exponent p of seconds ~ n^p, by least squares in the logarithms."""
    return float(np.polyfit([math.log(n) for n in num_updates], [math.log(t) for t in seconds], 1)[0])


def measure(quick: bool) -> Outcome:
    """Seconds for each rule and number of updates; "-" where the rule withstands nobody among so few."""
    import torch

    from ayni.train.layout import Piece

    torch.set_num_threads(1)
    counts = (2, 4, 8, 16) if quick else (2, 4, 8, 16, 32, 64)
    num_chunks = 4 if quick else math.ceil(NUM_PARAMETERS / CHUNK_ELEMENTS)
    chunks: tuple[Chunk, ...] = ((Piece("w", 0, CHUNK_ELEMENTS),),) * num_chunks
    table: dict[str, list[Any]] = {}
    for count in counts:
        num_liars = _num_liars(count)
        updates = _make_updates(count, num_liars, chunks)
        for name, rules in _all_rules(num_liars).items():
            is_too_small = count < rules.aggregation.smallest_cohort
            repeats = 3 if name == "mean" else 1
            seconds = "-" if is_too_small else min(_seconds(updates, chunks, rules) for _ in range(repeats))
            table.setdefault(name, []).append(seconds)
    slope = _slope(counts, table["mean"])
    values = {
        "parameters": num_chunks * CHUNK_ELEMENTS,
        "num_updates": list(counts),
        "num_faulty": [_num_liars(count) for count in counts],
        **{f"{name}_seconds": row for name, row in table.items()},
        "mean_exponent": slope,
    }
    return Outcome(values=values, seeds=(SEED,), met=slope <= 1.1)


BENCHMARK = Benchmark(
    name="aggregation_cost",
    topic="training",
    bar="merging n = 2..64 updates of 25 million parameters: the plain mean is linear in n "
    "(seconds ~ n^p with p at most 1.1)",
    seconds_quick=15,
    seconds_full=240,
    measure=measure,
)
