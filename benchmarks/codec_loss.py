"""What the codec of the updates costs in loss: 4 bits (E3M0) against float32, and the others beside it.

DiLoCo on the small GPT with two learners and H = 50; the model travels down as float32 everywhere, so
that nothing but the updates differs. The coarse codecs run with error feedback, as they always do.
Losses are those of the best validated model, compared seed by seed.
"""

import statistics
from typing import Any

from benchmarks.gpt_training import best_loss, recipe_config, train_small_gpt, two_workers
from benchmarks.registry import Benchmark, Outcome

LOCAL_STEPS, NUM_STEPS = 50, 2000
REFERENCE, JUDGED, OTHERS = "fp32", "e3m0", ("bf16", "int8", "int2", "topk")
NUM_SEEDS_OF_OTHERS = 3


def measure(quick: bool) -> Outcome:
    """Five seeds for the two that the bar names, three for the others."""
    seeds, num_steps = ((1,), 400) if quick else ((1, 2, 3, 4, 5), NUM_STEPS)
    losses: dict[str, dict[int, float]] = {}
    megabytes: dict[str, float] = {}
    with two_workers() as engine:
        for seed in seeds:
            others = OTHERS if not quick and seed <= NUM_SEEDS_OF_OTHERS else ()
            for codec in (REFERENCE, JUDGED, *others):
                config = recipe_config(local_steps=LOCAL_STEPS, num_steps=num_steps, codec=codec)
                result = train_small_gpt(config, seed=seed, engine=engine)
                losses.setdefault(codec, {})[seed] = best_loss(result)
                megabytes[codec] = (result.bytes_up or 0) / 1e6
    values: dict[str, Any] = {"steps_of_a_learner": num_steps, "local_steps": LOCAL_STEPS}
    for codec, of_codec in losses.items():
        mean = statistics.mean(of_codec.values())
        reference = statistics.mean(losses[REFERENCE][seed] for seed in of_codec)
        values |= {
            f"{codec}_loss": mean,
            f"{codec}_loss_above_fp32": mean / reference - 1,
            f"{codec}_megabytes_up": megabytes[codec],
        }
    return Outcome(values=values, seeds=seeds, met=values[f"{JUDGED}_loss_above_fp32"] <= 0.005)


BENCHMARK = Benchmark(
    name="codec_loss",
    topic="training: bytes and loss",
    bar="updates of 4 bits (E3M0) against float32: mean validation loss at most 0.5 % above, 5 seeds",
    seconds_quick=30,
    seconds_full=550,
    measure=measure,
)
