"""Share of wall time in which two local learners did not compute: DiLoCo with rounds of 5 s and more.

    share = 1 - seconds inside the learners' loops / (wall time * learners)

What is left over is travel, merging, checkpoints and waiting for the slower learner. The number of steps
in a round is set from a short training first, so that a round takes 5 s or more on any machine.
"""

import itertools
import math
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.gpt_training import recipe_config, train_small_gpt, two_workers
from benchmarks.registry import Benchmark, Outcome

if TYPE_CHECKING:
    from ayni.train.result import TrainResult

ROUND_SECONDS = 5.0
NUM_ROUNDS = 6


def measure(quick: bool) -> Outcome:
    """Each repeat is a training of its own; the bar is asked of the median."""
    repeats = 1 if quick else 4
    rounds = 3 if quick else NUM_ROUNDS
    shares: list[float] = []
    shortest = math.inf
    with two_workers() as engine:
        steps = _steps_of_a_round(engine)
        config = recipe_config(
            local_steps=steps, num_steps=rounds * steps, codec="int8", download_codec="int8"
        )
        for seed in range(1, repeats + 1):
            result = train_small_gpt(config, seed=seed, engine=engine)
            assert result.utilisation is not None
            shares.append(1 - result.utilisation)
            shortest = min(shortest, *_round_seconds(result))
    values: dict[str, Any] = {
        "share_not_computing": statistics.median(shares),
        "share_not_computing_worst": max(shares),
        "steps_of_a_round": steps,
        "shortest_round_seconds": shortest,
    }
    is_met = values["share_not_computing"] <= 0.05 and shortest >= ROUND_SECONDS
    return Outcome(values=values, seeds=tuple(range(1, repeats + 1)), met=is_met)


def _steps_of_a_round(engine: Any) -> int:
    """Steps that take a third longer than a round has to: rounds differ by a tenth and more."""
    trial = train_small_gpt(recipe_config(local_steps=100, num_steps=300), seed=0, engine=engine)
    fastest = min(_round_seconds(trial)[1:]) / 100
    return math.ceil(4 / 3 * ROUND_SECONDS / fastest)


def _round_seconds(result: "TrainResult") -> list[float]:
    ends = [0.0, *(line["wall_seconds"] for line in result.curve)]
    return [end - begin for begin, end in itertools.pairwise(ends)]


BENCHMARK = Benchmark(
    name="overhead",
    topic="training: time",
    bar="DiLoCo, 2 local learners, rounds of 5 s or more: at most 5 % of wall time not computing (median)",
    seconds_quick=40,
    seconds_full=180,
    measure=measure,
)
