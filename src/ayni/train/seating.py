"""Which worker hosts which learner: a pure decision, made anew whenever a worker comes or goes.

A learner keeps its worker as long as that is there. One that lost it waits some seconds for the same
worker to be restarted, because its optimizer state is on that machine; then it takes any free one.

Not covered: learners of different size, and workers that are better than others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ayni.train.cluster_checks import WorkerFacts

# A nanny starts its worker again within a second or two.
PATIENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A learner without a place; `before` is the worker that it had, lost at `lost_at` on any clock."""

    learner: int
    before: WorkerFacts | None = None
    lost_at: float = 0.0


def choose_places(
    wants: Sequence[Want],
    workers: Sequence[WorkerFacts],
    loads: Mapping[str, int],
    *,
    capacity: int,
    now: float,
) -> dict[int, WorkerFacts]:
    """Places for those learners that get one now.

    Args:
        wants: Learners without a place, in order.
        workers: All that may take part.
        loads: Learners that each address hosts already.
        capacity: Learners that one worker may host.
        now: On the clock of `lost_at`.
    """
    loads = dict(loads)
    chosen: dict[int, WorkerFacts] = {}
    # Who comes back to its old place goes first, or a newcomer could take it.
    for want in sorted(wants, key=lambda want: want.before is None):
        free = [worker for worker in workers if loads.get(worker.address, 0) < capacity]
        worker = _choice(want, free, loads, now=now)
        if worker is not None:
            chosen[want.learner] = worker
            loads[worker.address] = loads.get(worker.address, 0) + 1
    return chosen


def _choice(
    want: Want, free: Sequence[WorkerFacts], loads: Mapping[str, int], *, now: float
) -> WorkerFacts | None:
    before = want.before
    if before is not None:
        same = [worker for worker in free if worker.name == before.name]
        if same or now - want.lost_at < PATIENCE_SECONDS:
            return same[0] if same else None
    ranked = sorted(
        free,
        key=lambda worker: (
            before is None or worker.host != before.host,
            loads.get(worker.address, 0),
            len(worker.name),
            worker.name,
        ),
    )
    return ranked[0] if ranked else None
