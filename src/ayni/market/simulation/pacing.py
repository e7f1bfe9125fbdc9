"""How green the hours must be that a job accepts: a limit that rises as its slack is used up.

    level    = grams of a reference machine-hour up to which the coming day's hours of machines that are as
               fast as the reference hold what must be done in that day, and at least `cap_share` of them
    limit    = level * (1 + (used share of the job's slack) ** 2);  none with little slack left

A job begins only where the next hours keep its limit. A running one gives its machines back where they exceed
it by a tenth, keeps what it computed, and bids again: so long jobs work through the green hours of a site and
rest in the others, and the slack of all is spent where it saves most. Who has little slack left accepts more
than who came now, so that machines below the level go to those that can wait least.

Hours are forecast; sites are judged by the mean of NEXT_HOURS. Jobs that cannot be suspended choose when they
begin, and then stay. Small jobs do not wait at all.

Shapes: S sites, H hours, N jobs.

Not covered: jobs that are still to come. `cap_share` stands for them: a level that is too low when they come
leaves them with less slack, one that is too high wastes what is there.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import NOWHERE, Cluster
from ayni.market.simulation.forecast import DAY_HOURS, RecentHours
from ayni.market.simulation.market_leases import HeldLease
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.pool import SECONDS_PER_HOUR, Pool

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NEXT_HOURS = 2
SMALL_HOURS = 0.25
"""Reference machine-hours of a job below which it takes any place: a third of a trace's jobs are smaller, and
what they emit together is not worth their waiting."""
TOO_HEAVY = 1.1
"""Times its limit at which a job gives its machines back; less would stop and go for nothing."""


class Pacing:
    """The limits of the jobs of a replay.

    Attributes:
        next_grams_S: forecast grams of a reference machine-hour in the next hours, by site.
    """

    def __init__(self, pool: Pool, demand: Demand, *, rules: MarketRules, forecast: RecentHours) -> None:
        self._demand, self._rules, self._forecast = demand, rules, forecast
        self._throughput_S = np.array([site.throughput for site in pool.sites])
        self._kilowatts_S1 = np.array([[site.kilowatts / site.throughput] for site in pool.sites])
        # Slower machines than the reference cannot be counted on: most work would be late on them.
        usual = min(1.0, float(self._throughput_S.max()))
        machines_S1 = np.array(
            [[site.num_machines * site.throughput * (site.throughput >= usual)] for site in pool.sites]
        )
        self._machines_SH = np.broadcast_to(machines_S1, (len(pool.sites), DAY_HOURS))
        # What is left of a job's slack when its last call comes is not for waiting.
        self._call_seconds = rules.last_call_hours * SECONDS_PER_HOUR
        slack_J = demand.deadline_seconds_J - demand.release_seconds_J - demand.work_seconds_J
        self._slack_J = np.maximum(slack_J - self._call_seconds, 1.0)
        self._is_small_J = demand.machine_hours_J < SMALL_HOURS
        self._hour = -1
        self._level = np.inf
        self.next_grams_S = np.zeros(len(pool.sites))

    def look(self, cluster: Cluster, leases: Mapping[int, HeldLease]) -> None:
        """Set the level anew, once an hour."""
        hour = int(cluster.now // SECONDS_PER_HOUR)
        if hour == self._hour:
            return
        self._hour = hour
        grams_SH = self._kilowatts_S1 * self._forecast.hours(hour, DAY_HOURS)
        self.next_grams_S = grams_SH[:, :NEXT_HOURS].mean(axis=1)
        if self._rules.cap_share is not None:
            least = self._rules.cap_share * float(self._machines_SH.sum())
            self._level = _level_of(
                grams_SH, self._machines_SH, max(least, self._must_be_done(cluster, leases))
            )

    def limits(self, cluster: Cluster, jobs: Integers) -> Floats:
        """Grams of a reference machine-hour that each job accepts now, infinite for those that take any."""
        if self._rules.cap_share is None:
            return np.full(len(jobs), np.inf)
        left_N = self._left_seconds(cluster, jobs)
        slack_N = self._demand.deadline_seconds_J[jobs] - cluster.now - left_N - self._call_seconds
        used_N = 1.0 - np.clip(slack_N / self._slack_J[jobs], 0.0, 1.0)
        limits_N: Floats = self._level * (1.0 + used_N**2)
        limits_N[(slack_N <= 0) | self._is_small_J[jobs]] = np.inf
        return limits_N

    def too_heavy(self, cluster: Cluster, leases: Mapping[int, HeldLease], slot: int) -> list[int]:
        """Running jobs that give their machines back: the next hours of their sites exceed their limits."""
        least = self._level * TOO_HEAVY
        is_heavy_S = (self.next_grams_S > least).tolist()
        if not any(is_heavy_S):
            return []
        jobs = [
            job
            for job, lease in leases.items()
            if is_heavy_S[lease.site]
            and cluster.site_J[job] == lease.site
            # Who would end with this slot anyway goes on.
            and lease.end_slot > slot + 1
            and self._demand.can_suspend_J[job]
        ]
        limits = self.limits(cluster, np.array(jobs, dtype=np.int64)).tolist()
        grams = self.next_grams_S.tolist()
        return [
            job
            for job, limit in zip(jobs, limits, strict=True)
            if grams[leases[job].site] > limit * TOO_HEAVY
        ]

    def _must_be_done(self, cluster: Cluster, leases: Mapping[int, HeldLease]) -> float:
        """Reference machine-hours that released jobs must compute within a day to be in time."""
        running = (job for job in leases if cluster.site_J[job] != NOWHERE)
        jobs = np.array([*cluster.waiting, *running], dtype=np.int64)
        left_N = self._left_seconds(cluster, jobs)
        until_N = self._demand.deadline_seconds_J[jobs] - cluster.now - self._call_seconds
        later_N = np.maximum(0.0, until_N - DAY_HOURS * SECONDS_PER_HOUR)
        hours_N = np.clip(left_N - later_N, 0.0, DAY_HOURS * SECONDS_PER_HOUR) / SECONDS_PER_HOUR
        return float((self._demand.gang_J[jobs] * hours_N).sum())

    def _left_seconds(self, cluster: Cluster, jobs: Integers) -> Floats:
        """Reference seconds that are left of each job."""
        numbers = jobs.tolist()
        left_N = np.array([cluster.remaining_seconds_J[job] for job in numbers])
        site_N = np.array([cluster.site_J[job] for job in numbers], dtype=np.int64)
        end_N = np.array([cluster.end_seconds_J[job] for job in numbers])
        runs = site_N != NOWHERE
        left_N[runs] = (end_N[runs] - cluster.now) * self._throughput_S[site_N[runs]]
        return left_N


def _level_of(grams_SH: Floats, machines_SH: Floats, hours: float) -> float:
    """Grams of the heaviest of the so many lightest machine-hours; infinite if there are fewer."""
    order = np.argsort(grams_SH, axis=None, kind="stable")
    until = np.cumsum(machines_SH.ravel()[order])
    place = int(np.searchsorted(until, hours * (1 - 1e-12)))
    return float(grams_SH.ravel()[order[place]]) if place < len(order) else float("inf")
