"""Two learners on two cores against what two cores can do, and against torch DDP.

The limit is two independent processes that run the same steps in plain torch and never speak to each
other: the same model, batches, clipping and optimizer. Ours trains the same number of samples with
DiLoCo, int8 both ways, in rounds of 5 s or so, checkpoints and validates after each. The three take
turns within each repeat, so that other work on the machine meets them all. Starts are not counted.
"""

import statistics
from typing import Any

from benchmarks.gpt_training import recipe_config, train_small_gpt, two_workers
from benchmarks.peer_runs import run_pair
from benchmarks.registry import Benchmark, Outcome

LOCAL_STEPS = 500


def measure(quick: bool) -> Outcome:
    """The ratio of wall times within each repeat; the bar is asked of the medians."""
    from benchmarks.small_gpt import RECIPE

    seeds, num_steps = ((1,), 500) if quick else ((1, 2, 3, 4, 5), RECIPE.num_steps)
    config = recipe_config(local_steps=LOCAL_STEPS, num_steps=num_steps, codec="int8", download_codec="int8")
    walls: dict[str, list[float]] = {"ours": [], "independent": [], "ddp": []}
    for seed in seeds:
        for method in ("independent", "ddp"):
            walls[method].append(run_pair("ddp_peer", method=method, seed=seed, steps=num_steps)["seconds"])
        with two_workers() as engine:
            result = train_small_gpt(config, seed=seed, engine=engine)
        if result.samples != RECIPE.num_learners * RECIPE.batch_size * num_steps:
            raise RuntimeError(f"{result.samples} samples are not the work of the others")
        walls["ours"].append(result.wall_seconds)
    values: dict[str, Any] = {
        f"wall_seconds_{name}": statistics.median(found) for name, found in walls.items()
    }
    for name in ("independent", "ddp"):
        ratios = [ours / other for ours, other in zip(walls["ours"], walls[name], strict=True)]
        values |= {
            f"wall_ratio_to_{name}": statistics.median(ratios),
            f"wall_ratio_to_{name}_worst": max(ratios),
        }
    is_met = values["wall_ratio_to_independent"] <= 1.05 and values["wall_ratio_to_ddp"] <= 1
    return Outcome(values=values, seeds=seeds, met=is_met)


BENCHMARK = Benchmark(
    name="two_learners",
    topic="training: time",
    bar="2 learners on 2 cores, same samples: at most 1.05 times the wall time of two independent processes, "
    "and not above torch DDP's in the same run",
    seconds_quick=40,
    seconds_full=450,
    measure=measure,
)
