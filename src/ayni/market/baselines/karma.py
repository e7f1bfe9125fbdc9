"""Karma alone: credits for machines lent, spent on machines borrowed, and no prices.

Each quantum, every member is guaranteed the share alpha of its machines. What it does not need of that it
donates; the other 1 - alpha of all machines is shared.

    every member     + (1 - alpha) * its machines           credits for what it gave to all
    a borrower       - 1 for each machine beyond its guarantee
    a donor          + 1 for each machine of its guarantee that somebody borrows

Machines go to the borrower with the most credits, from the donor with the fewest. Jobs then start by release
within what their member got. A member that holds more than it got gives machines back: the newest of its jobs
that can be suspended.

Not covered: more than one kind of machine; the proofs of the paper are for one divisible resource, and gangs
at sites are neither.

Source: Vuppalapati et al., "Karma: Resource Allocation for Dynamic Demands", OSDI 2023, algorithm 1,
arXiv:2305.17222. Ours weights the free credits by the machines that a member brought.
"""

import heapq
from collections.abc import Sequence

from ayni.market.baselines.line import Line
from ayni.market.baselines.placing import first_site_with_room
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import Cluster, Command, Start, Suspend
from ayni.market.simulation.pool import Pool


class Karma:
    """The policy. Fulfils `ayni.market.simulation.engine.Policy`.

    Args:
        pool: whose sites say what each member brought.
        demand: the jobs.
        quantum_seconds: how often machines are given out anew.
        alpha: the guaranteed share of a member's machines.
        first_credits_per_machine: so many that nobody runs out by bad luck at the start.
    """

    def __init__(
        self,
        pool: Pool,
        demand: Demand,
        *,
        quantum_seconds: float,
        alpha: float = 0.5,
        first_credits_per_machine: float = 1000.0,
    ) -> None:
        self._quantum_seconds, self._alpha = quantum_seconds, alpha
        self._share_M = [
            sum(pool.sites[site].num_machines for site in pool.sites_of(m)) for m in range(len(pool.members))
        ]
        self.credits_M = [first_credits_per_machine * share for share in self._share_M]
        self._demand = demand
        self._lines = [Line(demand) for _ in pool.members]
        self._running: dict[int, None] = {}  # in the order of starts

    @property
    def round_seconds(self) -> float:
        """A round at the start of each quantum."""
        return self._quantum_seconds

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Give machines out by credits, take back what is too much, start by release."""
        member_J, gang_J = self._demand.member_J, self._demand.gang_J
        for job in cluster.arrived:
            self._lines[int(member_J[job])].append(job)
        for job in cluster.ended:
            self._running.pop(job, None)
        used_M = [0] * len(self._share_M)
        for job in self._running:
            used_M[int(member_J[job])] += int(gang_J[job])
        wanted_M = [
            used + int(self._demand.gang_J[line.jobs()].sum())
            for used, line in zip(used_M, self._lines, strict=True)
        ]
        got_M = allocate(wanted_M, self._share_M, self.credits_M, alpha=self._alpha)
        commands: list[Command] = []
        free_S = list(cluster.free_S)
        stopped = self._give_back(cluster, used_M, got_M, free_S)
        commands += [Suspend(job) for job in stopped]
        for member, line in enumerate(self._lines):
            line.sweep()
            position = line.first_fitting(min(got_M[member] - used_M[member], max(free_S)))
            while position is not None:
                job = line.take(position)
                site = first_site_with_room(cluster, job, free_S)
                assert site is not None, "a gang that is not larger than the most free machines fits there"
                free_S[site] -= int(gang_J[job])
                used_M[member] += int(gang_J[job])
                self._running[job] = None
                commands.append(Start(job, site))
                machines = min(got_M[member] - used_M[member], max(free_S))
                position = line.first_fitting(machines, after=position)
        for job in stopped:
            self._lines[int(member_J[job])].append(job)
        return commands

    def _give_back(
        self, cluster: Cluster, used_M: list[int], got_M: Sequence[int], free_S: list[int]
    ) -> list[int]:
        """The newest jobs of members that hold more than they got, as far as they can be suspended."""
        stopped = []
        for job in reversed(self._running):
            member, gang = int(self._demand.member_J[job]), int(self._demand.gang_J[job])
            if used_M[member] > got_M[member] and self._demand.can_suspend_J[job]:
                used_M[member] -= gang
                free_S[cluster.site_J[job]] += gang
                stopped.append(job)
        for job in stopped:
            del self._running[job]
        return stopped


def allocate(
    wanted_M: Sequence[int], share_M: Sequence[int], credits_M: list[float], *, alpha: float
) -> list[int]:
    """Machines for each member in one quantum; `credits_M` is changed to what is left.

    Args:
        wanted_M: machines that each member could use.
        share_M: machines that each brought.
        credits_M: credits of each.
        alpha: the guaranteed part of a share, rounded down to whole machines.
    """
    guaranteed_M = [int(alpha * share) for share in share_M]
    got_M = [min(wanted, own) for wanted, own in zip(wanted_M, guaranteed_M, strict=True)]
    donated_M = [own - got for own, got in zip(guaranteed_M, got_M, strict=True)]
    shared = sum(share_M) - sum(guaranteed_M)
    for member, share in enumerate(share_M):
        credits_M[member] += share - guaranteed_M[member]
    borrowers = [(-credits_M[m], m) for m, wanted in enumerate(wanted_M) if wanted > got_M[m]]
    donors = [(credits_M[m], m) for m, donated in enumerate(donated_M) if donated > 0]
    heapq.heapify(borrowers)
    heapq.heapify(donors)
    while borrowers and (donors or shared > 0):
        _, borrower = heapq.heappop(borrowers)
        if credits_M[borrower] <= 0:
            continue
        if donors:
            _, donor = heapq.heappop(donors)
            credits_M[donor] += 1
            donated_M[donor] -= 1
            if donated_M[donor] > 0:
                heapq.heappush(donors, (credits_M[donor], donor))
        else:
            shared -= 1
        credits_M[borrower] -= 1
        got_M[borrower] += 1
        if got_M[borrower] < wanted_M[borrower]:
            heapq.heappush(borrowers, (-credits_M[borrower], borrower))
    return got_M
