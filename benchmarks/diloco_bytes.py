"""DiLoCo with int8 both ways against per-step all-reduce: bytes of a learner, and the loss they buy.

Both train the small GPT on the same number of tokens with two learners and one recipe, whose learning
rate is the best one for all-reduce; the outer rate and momentum were tuned once and are the same for
every H. The loss is that of the best validated model: all-reduce is validated every 50 steps, DiLoCo
after each round.

    bytes of a learner, all-reduce:  8 * parameters * steps      (a ring of two sends 4 and receives 4)
    bytes of a learner, DiLoCo:      (bytes up + bytes down) / learners, frames with their headers

Not covered: the headers of TCP and Dask's own messages; against_hivemind_torchft counts those too.
"""

import statistics
from typing import Any

from benchmarks.gpt_training import best_loss, recipe_config, train_small_gpt, two_workers
from benchmarks.registry import Benchmark, Outcome

# H -> (times fewer bytes at least, loss above all-reduce at most)
BARS = {50: (190.0, 0.015), 100: (390.0, 0.025)}
# H -> seeds of the rest of the curve; with H = 1 all of the time goes into 3000 validations.
CURVE = {1: 1, 5: 3, 20: 3, 200: 3}
# At H = 1 a checkpoint each round would be most of the time, and bytes and loss do not depend on it.
CHECKPOINT_EVERY_STEPS = 50


def measure(quick: bool) -> Outcome:
    """Five seeds where a bar is asked, fewer for the rest of the curve; each value says how many."""
    from benchmarks.small_gpt import RECIPE

    seeds, num_steps = ((1,), 400) if quick else ((1, 2, 3, 4, 5), RECIPE.num_steps)
    all_reduce: dict[int, float] = {}
    losses: dict[int, dict[int, float]] = {}
    ratios: dict[int, float] = {}
    with two_workers() as engine:
        for seed in seeds:
            config = recipe_config(strategy="sync", local_steps=50, num_steps=num_steps, codec="fp32")
            result = train_small_gpt(config, seed=seed, engine=engine)
            all_reduce[seed] = best_loss(result)
            for local_steps in _distances(seed, quick=quick):
                config = recipe_config(
                    local_steps=local_steps,
                    num_steps=num_steps,
                    codec="int8",
                    download_codec="int8",
                    checkpoint_every=max(1, CHECKPOINT_EVERY_STEPS // local_steps),
                )
                result = train_small_gpt(config, seed=seed, engine=engine)
                losses.setdefault(local_steps, {})[seed] = best_loss(result)
                ratios[local_steps] = 8 * result.num_parameters * num_steps / _bytes_of_a_learner(result)
    values: dict[str, Any] = {
        "steps_of_a_learner": num_steps,
        "outer_learning_rate": config.outer_learning_rate,
        "outer_momentum": config.outer_momentum,
        "learning_rate": config.learning_rate,
        "loss_all_reduce": statistics.mean(all_reduce.values()),
        "loss_all_reduce_lowest": min(all_reduce.values()),
        "loss_all_reduce_highest": max(all_reduce.values()),
    }
    for local_steps in sorted(losses):
        values |= _compared(local_steps, losses[local_steps], all_reduce, ratios[local_steps])
    return Outcome(values=values, seeds=seeds, met=_reaches_bars(values))


def _distances(seed: int, *, quick: bool) -> tuple[int, ...]:
    if quick:
        return tuple(BARS)
    return (*BARS, *(local_steps for local_steps, num_seeds in CURVE.items() if seed <= num_seeds))


def _bytes_of_a_learner(result: Any) -> float:
    return float((result.bytes_up + result.bytes_down) / result.num_learners)


def _compared(
    local_steps: int, losses: dict[int, float], all_reduce: dict[int, float], ratio: float
) -> dict[str, float]:
    """Means over the seeds that were run with this H, against all-reduce with the same seeds."""
    reference = statistics.mean(all_reduce[seed] for seed in losses)
    mean = statistics.mean(losses.values())
    return {
        f"h{local_steps}_times_fewer_bytes": ratio,
        f"h{local_steps}_loss": mean,
        f"h{local_steps}_loss_above": mean / reference - 1,
        f"h{local_steps}_seeds": len(losses),
    }


def _reaches_bars(values: dict[str, Any]) -> bool:
    return all(
        values[f"h{local_steps}_times_fewer_bytes"] >= fewer and values[f"h{local_steps}_loss_above"] <= above
        for local_steps, (fewer, above) in BARS.items()
    )


BENCHMARK = Benchmark(
    name="diloco_bytes",
    topic="training: bytes and loss",
    bar="int8 both ways against per-step all-reduce at equal tokens, 2 learners, 5 seeds: at least 190 times "
    "fewer bytes at H=50 and 390 at H=100; mean validation loss at most 1.5 % and 2.5 % above",
    seconds_quick=60,
    seconds_full=1400,
    measure=measure,
)
