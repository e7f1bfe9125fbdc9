"""Flower's half: FedAvg over one float32 array with clients that do next to nothing.

A Flower app (`server`, `client`) for its deployment engine, and with `python flower_app.py` a run of its
simulation engine that prints the seconds of each round as JSON. Runs in Flower's own environment; the
size and the number of rounds come by environment variables, because both engines start other processes.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

NUM_PARAMETERS = int(os.environ.get("PEER_PARAMETERS", "5000000"))
NUM_ROUNDS = int(os.environ.get("PEER_ROUNDS", "20"))
OUTPUT = os.environ.get("PEER_OUTPUT", "")

client = ClientApp()
server = ServerApp()


@client.train()  # type: ignore[untyped-decorator]
def train(message: Message, context: Context) -> Message:
    """Add 1 to every parameter, the same trivial work as in the other half."""
    arrays = [array + np.float32(1) for array in message.content["arrays"].to_numpy_ndarrays()]
    content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"num-examples": 1})})
    return Message(content=content, reply_to=message)


@server.main()  # type: ignore[untyped-decorator]
def main(grid: Grid, context: Context) -> None:
    """FedAvg without evaluation by clients; the clock is read after each round."""
    ends: list[float] = []

    def note_end(round_: int, arrays: ArrayRecord) -> MetricRecord:
        ends.append(time.perf_counter())
        return MetricRecord()

    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2)
    start = ArrayRecord([np.zeros(NUM_PARAMETERS, dtype=np.float32)])
    result = strategy.start(grid=grid, initial_arrays=start, num_rounds=NUM_ROUNDS, evaluate_fn=note_end)
    reached = float(result.arrays.to_numpy_ndarrays()[0][-1])
    if reached != NUM_ROUNDS:
        raise RuntimeError(f"parameters ended at {reached} after {NUM_ROUNDS} rounds of adding 1")
    seconds = [end - begin for begin, end in itertools.pairwise(ends)]
    Path(OUTPUT).write_text(json.dumps({"seconds_per_round": seconds}), encoding="utf-8")


if __name__ == "__main__":
    from flwr.simulation import run_simulation

    # One core for each of two clients, which is what this comparison gives to every system.
    resources = {
        "client_resources": {"num_cpus": 1},
        "init_args": {"num_cpus": 2, "include_dashboard": False},
    }
    run_simulation(server_app=server, client_app=client, num_supernodes=2, backend_config=resources)
    sys.exit(0)
