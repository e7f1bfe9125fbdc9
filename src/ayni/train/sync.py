"""Per-step gradient averaging: the learners of a round meet as ranks of torch.distributed.

        g <- (1/n) sum_m g_m      after each backward pass, before each optimizer step

One process hosts a TCPStore; each attempt of each round is a generation with its own prefix in the store,
so that ranks left over from a broken generation can never meet those of the next one. When a rank dies,
gloo fails in the others at once, and the round starts again.

gloo carries tensors of any device by way of the CPU; nccl keeps them on the GPU. nccl may hang instead of
failing when a rank dies: its gangs rely on the round's deadline.

Not covered: overlap of the exchange with the backward pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
from torch._C._distributed_c10d import PrefixStore, ProcessGroupGloo, TCPStore

from ayni.train.engine import LearnerUpdate, MergedPart
from ayni.train.round_of_work import AverageTensors, RoundOfWork, drive

# Well below a round's deadline: a rank that waits in vain must fail before the round is given up.
GANG_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingPlace:
    """Where the ranks of one generation find each other.

    Attributes:
        host: Of the store.
        port: Of the store.
        prefix: Names the generation.
        rank: Place among the members of the gang.
        num_ranks: Members of the gang.
        own_host: Address of this rank's machine that the others can reach.
        backend: "gloo", or "nccl" when every rank has a CUDA device of its own.
    """

    host: str
    port: int
    prefix: str
    rank: int
    num_ranks: int
    own_host: str = "127.0.0.1"
    backend: Literal["gloo", "nccl"] = "gloo"


def host_store(host: str = "127.0.0.1") -> TCPStore:
    """A store for meeting places in this process, on a free port of all interfaces.

    `host` is the name by which this process itself connects to it.
    """
    return TCPStore(host, 0, is_master=True, wait_for_workers=False)


class Gang:
    """One rank's connection to the others of its generation."""

    def __init__(self, place: MeetingPlace) -> None:
        timeout = timedelta(seconds=GANG_TIMEOUT_SECONDS)
        store = TCPStore(place.host, place.port, is_master=False, timeout=timeout)
        make = _nccl if place.backend == "nccl" else _gloo
        self._group = make(PrefixStore(place.prefix, store), place, timeout)
        self._device = torch.device("cuda" if place.backend == "nccl" else "cpu")
        self._num_ranks = place.num_ranks

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the ranks. One exchange for all of them.

        Raises:
            RuntimeError: another rank is gone or did not come in time.
        """
        flat = _flat(tensors, self._device)
        self._group.allreduce([flat]).wait()
        scatter_mean(flat.div_(self._num_ranks), tensors)


def _gloo(store: PrefixStore, place: MeetingPlace, timeout: timedelta) -> Any:
    gloo: Any = ProcessGroupGloo  # torch ships no types for the process groups
    options = gloo._Options()
    # By default gloo binds to the address of the host's name, which may not resolve in a container.
    options._devices = [gloo.create_device(hostname=place.own_host)]
    options._timeout = timeout
    return gloo(store, place.rank, place.num_ranks, options)


def _nccl(store: PrefixStore, place: MeetingPlace, timeout: timedelta) -> Any:
    from torch._C import _distributed_c10d

    nccl: Any = _distributed_c10d.ProcessGroupNCCL  # only in builds for CUDA
    options = nccl.Options()
    options._timeout = timeout
    return nccl(store, place.rank, place.num_ranks, options)


def _flat(tensors: Iterable[torch.Tensor], device: torch.device) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1).to(device, torch.float32) for tensor in tensors])


def scatter_mean(flat: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    """Copy consecutive pieces of a flat tensor into tensors."""
    offset = 0
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(flat[offset : offset + tensor.numel()].reshape(tensor.shape))
            offset += tensor.numel()


def run_in_gang(work: RoundOfWork, place: MeetingPlace) -> LearnerUpdate:
    """Run a learner's round as one rank, averaging whatever it asks for."""
    return drive(work, average=Gang(place).average, await_part=no_part)


def run_together(works: Sequence[RoundOfWork]) -> list[LearnerUpdate]:
    """Run the rounds of all ranks in lock-step in this process: the twin without processes."""
    updates: list[LearnerUpdate] = []
    while not updates:
        asked: list[list[torch.Tensor]] = []
        for work in works:
            try:
                request = next(work)
            except StopIteration as stop:
                updates.append(stop.value)
                continue
            assert isinstance(request, AverageTensors), "gangs have no merged parts"
            asked.append(request.tensors)
        _average_here(asked)
    return updates


def _average_here(asked: Sequence[Sequence[torch.Tensor]]) -> None:
    if asked:
        mean = torch.stack([_flat(own, torch.device("cpu")) for own in asked]).sum(0) / len(asked)
        for own in asked:
            scatter_mean(mean, own)


def run_alone(work: RoundOfWork) -> LearnerUpdate:
    """Run a round that needs nobody: no gang, no merged part."""
    return drive(work, average=lambda tensors: None, await_part=no_part)


def no_part(round_: int) -> MergedPart:
    """There are no merged parts where this is given as the way to one."""
    raise AssertionError(f"a part of round {round_} is awaited, and nobody brings it")
