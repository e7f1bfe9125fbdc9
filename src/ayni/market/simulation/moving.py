"""Running jobs that move on to greener machines which are free.

Once an hour a job looks at the coming hours of its lease. Where they would emit less elsewhere by at least
`move_saving`, with the restart and the transfer that a move takes, it bids for such sites alone, for all
that is left of its lease. It keeps its own machines until it has others: nobody can lose a place by trying.

    work ahead      = what it computes in the next MOVE_HOURS, or until the lease ends if that is sooner
    grams here      = work ahead * mean grams of a reference machine-hour here
    grams of a move = (work ahead + setup) * the same mean there

The coming hours decide, and not the whole lease: the greenest site of the night is not that of the day, over
a lease of a day both are much the same, and who moved may move again. A move that pays for itself within
hours has done so whatever comes later.

Shapes: S sites, T slots.

Not covered: jobs whose leases are cut in pieces or end within half an hour; moves for a lower cost; and two
jobs that change places.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ayni.market.bids import Bid
from ayni.market.simulation.bidding import Bidders
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import Cluster
from ayni.market.simulation.market_leases import HeldLease, LeaseTable
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.pacing import NEXT_HOURS
from ayni.market.simulation.pool import SECONDS_PER_HOUR, Pool

MOVE_HOURS = 4.0
"""How far ahead a move must have paid for itself."""
LEAST_SECONDS = 1800.0
"""What is left of a lease that is worth a move."""


class Moving:
    """The bids of jobs that run. bidders know forecasts and what work is worth."""

    def __init__(self, pool: Pool, demand: Demand, *, bidders: Bidders, rules: MarketRules) -> None:
        self._pool, self._demand, self._bidders, self._rules = pool, demand, bidders, rules
        self._kilowatts_S1 = np.array([[site.kilowatts / site.throughput] for site in pool.sites])
        self._number_S1 = np.array([[site.num_machines] for site in pool.sites])
        self._throughput_S = np.array([site.throughput for site in pool.sites])

    def bids(self, cluster: Cluster, leases: LeaseTable, slot: int) -> dict[int, Bid]:
        """Bids for greener machines that are free now, by job."""
        num_slots = self._rules.num_slots
        grams_ST = self._kilowatts_S1 * self._bidders.slot_grams(slot, num_slots)
        # Means of the first 1, 2, ... slots, and what is free in all of them.
        mean_ST = np.cumsum(grams_ST, axis=1) / np.arange(1, num_slots + 1)
        free_ST = np.minimum.accumulate(self._number_S1 - leases.machines_in_use(slot, num_slots), axis=1)
        soon = min(num_slots, round(NEXT_HOURS * SECONDS_PER_HOUR / self._rules.slot_seconds)) - 1
        # The most machines that are free at a site which is greener now, for each site.
        is_greener_SS = mean_ST[:, soon] < mean_ST[:, soon, None]
        most_free_S = np.where(is_greener_SS, free_ST[:, 0], 0).max(axis=1).tolist()
        gang_J, found = self._demand.gang_J, {}
        for job, lease in leases.by_job.items():
            if most_free_S[lease.site] < gang_J[job] or not self._may_move(cluster, job, lease):
                continue
            bid = self._bid(cluster, job, lease, slot, in_sight=(mean_ST, free_ST))
            if bid is not None:
                found[job] = bid
        return found

    def _may_move(self, cluster: Cluster, job: int, lease: HeldLease) -> bool:
        runs_since_before = cluster.site_J[job] == lease.site and cluster.started_seconds_J[job] < cluster.now
        return runs_since_before and len(lease.pieces) == 1 and bool(self._demand.can_suspend_J[job])

    def _bid(
        self,
        cluster: Cluster,
        job: int,
        lease: HeldLease,
        slot: int,
        *,
        in_sight: tuple[NDArray[np.float64], NDArray[np.int64]],
    ) -> Bid | None:
        rules, demand, here = self._rules, self._demand, lease.site
        mean_ST, free_ST = in_sight
        to_end = cluster.end_seconds_J[job] - cluster.now
        wall = min(to_end, (lease.end_slot - slot) * rules.slot_seconds)
        if wall < LEAST_SECONDS:
            return None
        data = float(demand.data_gigabytes_J[job])
        setup = self._pool.restart_seconds + data / self._pool.gigabytes_per_second
        speed, deadline = float(self._throughput_S[here]), float(demand.deadline_seconds_J[job])
        work, gang = wall * speed, int(demand.gang_J[job])
        assert rules.move_saving is not None
        ahead = min(wall, MOVE_HOURS * SECONDS_PER_HOUR)
        mean_S = mean_ST[:, math.ceil(ahead / rules.slot_seconds) - 1]
        most = float(mean_S[here]) * (1 - rules.move_saving) * ahead * speed
        length = min(free_ST.shape[1], math.ceil(wall / rules.slot_seconds))
        is_better_S = (mean_S * (ahead * speed + setup) <= most) & (free_ST[:, length - 1] >= gang)
        is_better_S[here] = False
        # A slower class may be greener, and who goes there may be late by that: not who is in time here.
        end_S = cluster.now + (work + setup) / self._throughput_S + (to_end - wall) * speed
        is_slower_S = self._throughput_S < min(1.0, speed)
        is_late = cluster.end_seconds_J[job] > deadline
        is_better_S &= is_late | (end_S + rules.slot_seconds <= deadline)
        if to_end > wall and not is_late:
            is_better_S &= ~is_slower_S  # the slack is for all of the job
        if not is_better_S.any():
            return None
        hours = (work + setup) * gang / SECONDS_PER_HOUR
        return Bid(
            id=f"{job}@{slot}+",
            member=self._pool.members[int(demand.member_J[job])],
            work_reference_hours=hours,
            release=self._bidders.moment(cluster.now),
            # At once or not at all, on whatever machines it goes on.
            deadline=self._bidders.moment(
                cluster.now + (work + setup) / self._throughput_S[is_better_S].min() + rules.slot_seconds
            ),
            worth_microcredits=int(self._bidders.worth_of_overdue(np.array([job]), np.array([hours]))[0]),
            gang=gang,
            residency=frozenset(self._pool.sites[site].name for site in np.flatnonzero(is_better_S)),
            data_gigabytes=data,
        )
