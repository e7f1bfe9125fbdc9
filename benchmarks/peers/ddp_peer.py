"""One of two processes of plain torch: `ddp` averages gradients each step over gloo, `independent` never.

The first is the per-step baseline, the second the limit of what two processes can do on this machine.
"""

from typing import Any

from benchmarks.peers import gpt_peer
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    """Meet over a file, train, report."""
    arguments = gpt_peer.parse_arguments()
    model = gpt_peer.build_model(arguments.seed)
    replica = _connect(arguments, model) if arguments.method == "ddp" else model
    optimizer = gpt_peer.make_optimizer(model)

    def step(_: nn.Module, batch: Any, learning_rate: float) -> None:
        gpt_peer.backward_and_clip(replica, batch, optimizer, learning_rate)
        optimizer.step()

    gpt_peer.train(arguments, replica, step)
    gpt_peer.report(model)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _connect(arguments: Any, model: nn.Module) -> nn.Module:
    meeting = (arguments.meeting / "store").as_uri()
    distributed.init_process_group("gloo", init_method=meeting, rank=arguments.rank, world_size=2)
    return DistributedDataParallel(model)


if __name__ == "__main__":
    main()
