"""The leases of a replay: which job holds which machines in which slots.

Slots are counted from the pool's start; pieces are half-open. A table answers what each round asks: whose
lease begins or ends now, what is taken, and who borrows at a site. Shapes: S sites, T slots, J jobs.

Not covered: money and states of a lease (`ayni.market.lease_book`); here a lease is there or it is not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ayni.market.rounds import Allocation, RunningLease
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.pool import Pool

Pieces = Sequence[tuple[int, int]]
FIRST_SLOTS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """Slots of one site that a job holds.

    reserved is the same for the clearing, piece by piece; made once, because every round takes them all.
    """

    site: int
    pieces: Pieces
    reserved: Sequence[RunningLease]
    allocation: Allocation

    @property
    def end_slot(self) -> int:
        """The slot after the last."""
        return self.pieces[-1][1]

    def holds(self, slot: int) -> bool:
        """Whether the job runs in this slot."""
        return any(start <= slot < end for start, end in self.pieces)

    def share_left(self, slot: int) -> float:
        """The part of the lease from a slot on."""
        left = sum(max(0, end - max(start, slot)) for start, end in self.pieces)
        return left / sum(end - start for start, end in self.pieces)


class LeaseTable:
    """All leases that are not over. At most one a job."""

    def __init__(self, pool: Pool, demand: Demand, *, slot_seconds: int) -> None:
        self._pool, self._demand, self._slot_seconds = pool, demand, slot_seconds
        self._gang_J: list[int] = demand.gang_J.tolist()
        self._of_job: dict[int, HeldLease] = {}  # in the order in which they were made
        # Jobs whose lease begins or ends a piece, by slot; a lease that was given back leaves its job here.
        self._due: dict[int, list[int]] = {}
        # Machines that are let, kept beside the leases: it is asked for several times a round.
        self._used_ST = np.zeros((len(pool.sites), FIRST_SLOTS), dtype=np.int64)

    def __contains__(self, job: int) -> bool:
        return job in self._of_job

    def get(self, job: int) -> HeldLease | None:
        """The lease of a job, None without one."""
        return self._of_job.get(job)

    @property
    def by_job(self) -> Mapping[int, HeldLease]:
        """All leases by their jobs, the oldest first."""
        return self._of_job

    def make(self, job: int, site: int, pieces: Pieces, allocation: Allocation) -> None:
        """Enter a lease."""
        reserved = [
            RunningLease(
                id=f"{job}:{start}",
                offer=self._pool.sites[site].name,
                member=self._pool.members[int(self._demand.member_J[job])],
                machines=self._gang_J[job],
                start=self._moment(start),
                end=self._moment(end),
            )
            for start, end in pieces
        ]
        for slot in {slot for piece in pieces for slot in piece}:
            self._due.setdefault(slot, []).append(job)
        self._of_job[job] = lease = HeldLease(
            site=site, pieces=pieces, reserved=reserved, allocation=allocation
        )
        self._use(job, lease, 1)

    def end(self, job: int) -> HeldLease | None:
        """Take a lease out; None where there was none."""
        lease = self._of_job.pop(job, None)
        if lease is not None:
            self._use(job, lease, -1)
        return lease

    def end_those_over(self, slot: int) -> set[int]:
        """Take out the leases that end at this slot; returns whose they were."""
        over = {
            job
            for job in self._due.get(slot, ())
            if job in self._of_job and self._of_job[job].end_slot <= slot
        }
        for job in over:
            del self._of_job[job]  # nobody asks for its slots any more
        return over

    def take_due(self, slot: int) -> Sequence[int]:
        """Jobs of which a piece begins or ends now; asked for once a slot."""
        return self._due.pop(slot, ())

    def reserved(self, slot: int) -> list[RunningLease]:
        """What the clearing must leave alone from this slot on."""
        now = self._moment(slot)
        return [piece for lease in self._of_job.values() for piece in lease.reserved if piece.end > now]

    def machines_in_use(self, slot: int, num_slots: int) -> NDArray[np.int64]:
        """Machines that are let, by site and slot from this one on."""
        self._reach(slot + num_slots)
        return self._used_ST[:, slot : slot + num_slots].copy()

    def to_reclaim(self, site: int, machines: int, *, slot: int) -> list[int]:
        """Borrowers at a site, the newest lease first, until so many machines are free for its owner.

        Those that cannot be suspended keep their machines.
        """
        owner = self._pool.members.index(self._pool.sites[site].member)
        gang_J, member_J = self._demand.gang_J, self._demand.member_J
        here = [job for job, lease in self._of_job.items() if lease.site == site and lease.end_slot > slot]
        missing = machines - self._pool.sites[site].num_machines + _sum(gang_J[job] for job in here)
        chosen = []
        for job in reversed(here):
            if missing > 0 and member_J[job] != owner and self._demand.can_suspend_J[job]:
                missing -= int(gang_J[job])
                chosen.append(job)
        return chosen

    def _moment(self, slot: int) -> datetime:
        return self._pool.start + timedelta(seconds=slot * self._slot_seconds)

    def _use(self, job: int, lease: HeldLease, sign: int) -> None:
        """Count the machines of a lease as let, or no longer with a sign of -1."""
        self._reach(lease.end_slot)
        machines = sign * self._gang_J[job]
        for start, end in lease.pieces:
            self._used_ST[lease.site, start:end] += machines

    def _reach(self, num_slots: int) -> None:
        """Make room for so many slots, by doubling it."""
        while self._used_ST.shape[1] < num_slots:
            self._used_ST = np.concatenate([self._used_ST, np.zeros_like(self._used_ST)], axis=1)


def _sum(values: Iterable[np.int64]) -> int:
    return int(sum(values))
