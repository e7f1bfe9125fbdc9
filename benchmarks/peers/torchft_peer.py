"""One of two replica groups of torchft: DiLoCo, or per-step averaging with its fault-tolerant DDP.

Runs in torchft's own environment. Its quantised all-reduce needs CUDA, so that everything travels as
float32 here. Each group has to start the TCPStore it is told of by itself; without one it hangs.
"""

import contextlib
import socket
from datetime import timedelta
from typing import Any

import torch
from benchmarks.peers import gpt_peer
from benchmarks.small_gpt import OUTER_LEARNING_RATE, OUTER_MOMENTUM
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torchft import DistributedDataParallel, Manager, Optimizer, ProcessGroupGloo
from torchft._torchft import LighthouseServer
from torchft.local_sgd import DiLoCo


def main() -> None:
    """Find the lighthouse, train, report."""
    arguments = gpt_peer.parse_arguments()
    is_diloco = arguments.method == "diloco"
    lighthouse, address = _lighthouse(arguments)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    manager = Manager(
        pg=ProcessGroupGloo(timeout=timedelta(seconds=30)),
        load_state_dict=None,
        state_dict=None,
        min_replica_size=2,
        use_async_quorum=not is_diloco,
        rank=0,
        world_size=1,
        store_addr="127.0.0.1",
        store_port=store.port,
        lighthouse_addr=address,
        replica_id=f"peer{arguments.rank}",
        hostname="127.0.0.1",
        # Both begin with the same seed, and a transfer at the start would be no fault of the method.
        init_sync=False,
    )
    model = gpt_peer.build_model(arguments.seed)
    if is_diloco:
        _train_diloco(arguments, manager, model)
    else:
        _train_per_step(arguments, manager, model)
    gpt_peer.report(model, committed=manager.current_step())
    manager.shutdown(wait=False)
    if lighthouse:
        lighthouse.shutdown()


def _lighthouse(arguments: Any) -> tuple[Any, str]:
    if arguments.rank:
        return None, gpt_peer.wait_for_file(arguments.meeting / "lighthouse")
    lighthouse = LighthouseServer(bind="127.0.0.1:0", min_replicas=2, join_timeout_ms=100)
    address = lighthouse.address().replace(socket.gethostname(), "127.0.0.1")
    gpt_peer.publish(arguments.meeting / "lighthouse", address)
    return lighthouse, address


def _train_diloco(arguments: Any, manager: Any, model: nn.Module) -> None:
    inner = gpt_peer.make_optimizer(model)
    outer = torch.optim.SGD(
        model.parameters(),
        lr=OUTER_LEARNING_RATE,
        momentum=OUTER_MOMENTUM,
        nesterov=True,
    )

    def step(_: nn.Module, batch: Any, learning_rate: float) -> None:
        gpt_peer.backward_and_clip(model, batch, inner, learning_rate)
        inner.step()

    # One bucket instead of one message a tensor: what serves it best here.
    with DiLoCo(manager, [model], inner, outer, sync_every=arguments.local_steps, use_bucketization=True):
        gpt_peer.train(arguments, model, step)


def _train_per_step(arguments: Any, manager: Any, model: nn.Module) -> None:
    replica = DistributedDataParallel(manager, model)
    inner = gpt_peer.make_optimizer(model)
    optimizer = Optimizer(manager, inner)

    def step(_: nn.Module, batch: Any, learning_rate: float) -> None:
        # zero_grad begins the quorum, step() ends it: both must be those of torchft's wrapper.
        gpt_peer.backward_and_clip(replica, batch, optimizer, learning_rate)
        optimizer.step()

    gpt_peer.train(arguments, replica, step)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
