"""A round of a learner as a generator, and what it asks for on its way.

The learner yields a request whenever it depends on others, and goes on with the answer. So the same loop
runs in a worker process, as a rank of torch.distributed, and in lock-step inside one process.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ayni.train.engine import LearnerUpdate, MergedPart

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class AverageTensors:
    """Leave in each tensor its mean over the gang, then go on."""

    tensors: "list[torch.Tensor]"


@dataclass(frozen=True, slots=True)
class AwaitPart:
    """Go on with the merged part of this round, once it is there."""

    round: int


Request: TypeAlias = AverageTensors | AwaitPart
RoundOfWork: TypeAlias = Generator[Request, MergedPart | None, LearnerUpdate]


def drive(
    work: RoundOfWork,
    *,
    average: "Callable[[list[torch.Tensor]], None]",
    await_part: Callable[[int], MergedPart],
) -> LearnerUpdate:
    """Run a round to its end, answering each request in this thread."""
    answer: MergedPart | None = None
    while True:
        try:
            request = work.send(answer)
        except StopIteration as stop:
            update: LearnerUpdate = stop.value
            return update
        answer = None
        if isinstance(request, AverageTensors):
            average(request.tensors)
        else:
            answer = await_part(request.round)
