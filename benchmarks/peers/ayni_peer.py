"""Our half of the comparison: Ayni on the small GPT in this process's own network, as one line of JSON.

    python -m benchmarks.peers.ayni_peer --local-steps H --steps N --seed S

A coordinator and two learners, DiLoCo with int8 both ways. The clock runs from the first order to the
last merge, and the bytes on the loopback interface are those of the whole training.
"""

import argparse
import json

from benchmarks.gpt_training import recipe_config, train_small_gpt, two_workers
from benchmarks.peers import loopback


def main() -> None:
    """Train once and report."""
    parser = argparse.ArgumentParser()
    for name in ("--local-steps", "--steps", "--seed"):
        parser.add_argument(name, type=int, required=True)
    arguments = parser.parse_args()
    loopback.bring_up()
    config = recipe_config(
        local_steps=arguments.local_steps, num_steps=arguments.steps, codec="int8", download_codec="int8"
    )
    with two_workers() as engine:
        before = loopback.bytes_sent()
        result = train_small_gpt(config, seed=arguments.seed, engine=engine)
        sent = loopback.bytes_sent() - before
    found = {
        "seconds": result.wall_seconds,
        "bytes_sent": sent,
        "payload_bytes": result.bytes_sent,
        "num_parameters": result.num_parameters,
        "validation_loss": result.metrics["loss"],
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
