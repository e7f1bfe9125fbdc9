"""Slurm's multifactor priority: who used little goes first, and long waits count; with backfilling.

    priority = share_weight * 2^(-U / S) + age_weight * min(1, waited / longest_age)

S is a member's share of the pool's machines, U its share of the machine time used lately, decayed by half
every seven days. Priorities are computed anew every five minutes; who comes in between waits at the end of
the line until then, if it does not fit at once.

Not covered: associations below a member, partition and quality-of-service factors, and preemption.

Source: SchedMD, "Multifactor Priority Plugin" (the classic fair-share formula F = 2^(-U/S)),
https://slurm.schedmd.com/priority_multifactor.html. Weights are a site's choice; ours make a full fair-share
difference worth ten times the longest age. Half-life and period are its defaults.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ayni.market.baselines.easy_backfill import EasyBackfill
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import Cluster, Command
from ayni.market.simulation.pool import Pool

Floats = NDArray[np.float64]
HALF_LIFE_SECONDS = 7 * 86_400.0
SHARE_WEIGHT = 10.0
AGE_WEIGHT = 1.0
LONGEST_AGE_SECONDS = 7 * 86_400.0
PERIOD_SECONDS = 300.0


class SlurmFairShare:
    """The policy. Fulfils `ayni.market.simulation.engine.Policy`."""

    round_seconds = None

    def __init__(self, pool: Pool, demand: Demand) -> None:
        machines = [
            sum(pool.sites[site].num_machines for site in pool.sites_of(m)) for m in range(len(pool.members))
        ]
        # A member that only borrows still has a share, if a small one: Slurm gives it one share of one.
        self._share_M = np.maximum(np.array(machines, dtype=np.float64), 1.0)
        self._share_M /= self._share_M.sum()
        self._usage_M = np.zeros(len(pool.members))
        self._running_M = np.zeros(len(pool.members))
        self._at = 0.0
        self._ordered_at = float("-inf")
        self._queue = EasyBackfill(demand)
        self._demand = demand

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Bring usage up to now, then start by priority."""
        self._take_note(cluster)
        self._queue.take_note(cluster)
        if cluster.now - self._ordered_at >= PERIOD_SECONDS:
            self._queue.line.reorder(self._by_priority(cluster.now, self._queue.line.jobs()))
            self._ordered_at = cluster.now
        commands = self._queue.fill(cluster)
        for command in commands:
            self._running_M[self._demand.member_J[command.job]] += self._demand.gang_J[command.job]
        return commands

    def _take_note(self, cluster: Cluster) -> None:
        passed = cluster.now - self._at
        decay = 0.5 ** (passed / HALF_LIFE_SECONDS)
        # Exact for constant use: the integral of 2^(-t / half-life) over the time passed.
        grown = (1.0 - decay) * HALF_LIFE_SECONDS / np.log(2.0)
        self._usage_M = self._usage_M * decay + self._running_M * grown
        self._at = cluster.now
        for job in cluster.ended:
            self._running_M[self._demand.member_J[job]] -= self._demand.gang_J[job]

    def _by_priority(self, now: float, line: NDArray[np.int64]) -> NDArray[np.int64]:
        factor_M = fair_share_factor(self._usage_M, self._share_M)
        waited = now - self._demand.release_seconds_J[line]
        priority = SHARE_WEIGHT * factor_M[self._demand.member_J[line]]
        priority += AGE_WEIGHT * np.minimum(1.0, waited / LONGEST_AGE_SECONDS)
        ordered: NDArray[np.int64] = line[np.lexsort((line, -priority))]
        return ordered


def fair_share_factor(usage_M: Floats, share_M: Floats) -> Floats:
    """2^(-U / S) for each member; U is the usage over that of all, 0 where nobody used anything."""
    total = usage_M.sum()
    used_M = usage_M / total if total > 0 else usage_M
    factor: Floats = 2.0 ** (-used_M / share_M)
    return factor
