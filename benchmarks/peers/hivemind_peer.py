"""One of two peers of hivemind: local steps, and parameters averaged every so many of them.

Runs in hivemind's own environment. Methods `local-fp16` and `local-uint8` average parameters after
`--local-steps` steps of both peers (hivemind's use_local_updates) and differ in how those travel. Time
constants are set for two peers on one machine, far below hivemind's defaults for the internet, and a
group forms as soon as both are there.
"""

import time
from typing import Any

import hivemind
from benchmarks.peers import gpt_peer
from benchmarks.small_gpt import RECIPE
from hivemind.compression import Float16Compression, Uniform8BitQuantization
from torch import nn

COMPRESSIONS = {
    "local-fp16": Float16Compression(),
    "local-uint8": Uniform8BitQuantization(),
}


def main() -> None:
    """Meet in the hash table, train, report."""
    arguments = gpt_peer.parse_arguments()
    dht = _join(arguments)
    model = gpt_peer.build_model(arguments.seed)
    optimizer = hivemind.Optimizer(
        dht=dht,
        run_id="small_gpt",
        batch_size_per_step=RECIPE.batch_size,
        target_batch_size=RECIPE.num_learners * RECIPE.batch_size * arguments.local_steps,
        optimizer=gpt_peer.make_optimizer(model),
        use_local_updates=True,
        delay_state_averaging=False,
        matchmaking_time=1.0,
        averaging_timeout=20.0,
        state_averaging_compression=COMPRESSIONS[arguments.method],
        averager_opts={"target_group_size": 2, "min_group_size": 2, "request_timeout": 0.5},
        tracker_opts={"min_refresh_period": 0.1, "default_refresh_period": 0.3, "max_refresh_period": 1.0},
    )

    def step(_: nn.Module, batch: Any, learning_rate: float) -> None:
        gpt_peer.backward_and_clip(model, batch, optimizer, learning_rate)
        optimizer.step()

    _wait_for_other(optimizer)
    gpt_peer.train(arguments, model, step)
    gpt_peer.report(model, epochs=optimizer.local_epoch)
    # The other one may still average with this one.
    gpt_peer.publish(arguments.meeting / f"over{arguments.rank}", "over")
    gpt_peer.wait_for_file(arguments.meeting / f"over{1 - arguments.rank}")
    optimizer.shutdown()
    dht.shutdown()


def _join(arguments: Any) -> Any:
    """A node of the distributed hash table; the first one tells its address by a file."""
    at = ["/ip4/127.0.0.1/tcp/0"]
    if arguments.rank == 0:
        dht = hivemind.DHT(host_maddrs=at, start=True)
        gpt_peer.publish(arguments.meeting / "first", str(dht.get_visible_maddrs()[0]))
        return dht
    first = gpt_peer.wait_for_file(arguments.meeting / "first")
    return hivemind.DHT(initial_peers=[first], host_maddrs=at, start=True)


def _wait_for_other(optimizer: Any, seconds: float = 60.0) -> None:
    # A peer is seen only once it has a sample; one among hundreds changes nothing.
    optimizer.tracker.report_local_progress(0, 1)
    deadline = time.monotonic() + seconds
    while optimizer.tracker.global_progress.num_peers < RECIPE.num_learners:
        if time.monotonic() > deadline:
            raise TimeoutError("the other peer did not appear in the hash table")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
