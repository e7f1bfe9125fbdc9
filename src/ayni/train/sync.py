"""Per-step gradient averaging: the learners of a round meet as ranks of torch.distributed (gloo).

        g <- (1/n) sum_m g_m      after each backward pass, before each optimizer step

The coordinator hosts a TCPStore on the loopback interface; each attempt of each round is a generation
with its own prefix in the store, so that ranks left over from a broken generation can never meet those
of the next one. When a rank dies, gloo fails in the others at once, and the round starts again.

Not covered: nccl, overlap of the exchange with the backward pass, gangs over several machines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch._C._distributed_c10d import PrefixStore, ProcessGroupGloo, TCPStore

from ayni.train.engine import LearnerUpdate
from ayni.train.learner import RoundOfWork

# Well below a round's deadline: a rank that waits in vain must fail before the round is given up.
GANG_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingPlace:
    """Where the ranks of one generation find each other."""

    host: str
    port: int
    prefix: str
    rank: int
    num_ranks: int


def host_store() -> TCPStore:
    """A store for meeting places, on a free port of the loopback interface, in this process."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


class Gang:
    """One rank's connection to the others of its generation."""

    def __init__(self, place: MeetingPlace) -> None:
        timeout = timedelta(seconds=GANG_TIMEOUT_SECONDS)
        store = TCPStore(place.host, place.port, is_master=False, timeout=timeout)
        gloo: Any = ProcessGroupGloo  # torch ships no types for the process groups
        options = gloo._Options()
        # By default gloo binds to the address of the host's name, which may not resolve in a container.
        options._devices = [gloo.create_device(hostname=place.host)]
        options._timeout = timeout
        prefixed = PrefixStore(place.prefix, store)
        self._group = gloo(prefixed, place.rank, place.num_ranks, options)
        self._num_ranks = place.num_ranks

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the ranks. One exchange for all of them.

        Raises:
            RuntimeError: another rank is gone or did not come in time.
        """
        flat = torch.cat([tensor.detach().reshape(-1).to("cpu", torch.float32) for tensor in tensors])
        self._group.allreduce([flat]).wait()
        scatter_mean(flat / self._num_ranks, tensors)


def scatter_mean(flat: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    """Copy consecutive pieces of a flat tensor into tensors."""
    offset = 0
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(flat[offset : offset + tensor.numel()].reshape(tensor.shape))
            offset += tensor.numel()


def run_in_gang(work: RoundOfWork, place: MeetingPlace) -> LearnerUpdate:
    """Run a learner's round as one rank, averaging whatever it yields."""
    gang = Gang(place)
    try:
        while True:
            gang.average(next(work))
    except StopIteration as stop:
        update: LearnerUpdate = stop.value
        return update


def run_together(works: Sequence[RoundOfWork]) -> list[LearnerUpdate]:
    """Run the rounds of all ranks in lock-step in this process: the twin without processes."""
    updates: list[LearnerUpdate] = []
    while not updates:
        yielded: list[list[torch.Tensor]] = []
        for work in works:
            try:
                yielded.append(next(work))
            except StopIteration as stop:
                updates.append(stop.value)
        if yielded:
            flats = [torch.cat([tensor.detach().reshape(-1).float() for tensor in own]) for own in yielded]
            mean = torch.stack(flats).sum(0) / len(flats)
            for own in yielded:
                scatter_mean(mean, own)
    return updates


def run_alone(work: RoundOfWork) -> LearnerUpdate:
    """Run a round that averages with nobody."""
    return run_together([work])[0]
