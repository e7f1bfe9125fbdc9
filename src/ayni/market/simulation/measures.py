"""What a replay cost, emitted and took, by job, by member and in all.

    cost       machine-hours at wear, electricity at the price of the hour, and moved data
    carbon     energy * PUE * carbon intensity of the hour, location-based
    waiting    first start - release
    in time    ended by the deadline
    welfare    worth of the jobs in time - cost - carbon charge
    share ratio of a member = its work done in time here / its work done in time alone
    rho of a member         = its mean time from release to end here / the same alone (finish-time fairness)

All figures are of what happened; nothing here looks at forecasts.

Shapes: J jobs, P pieces.

Not covered: who pays whom. Among members payments add up to zero, so the cost of all is the cost of machines.

Source of rho: Mahajan et al., "Themis: Fair and Efficient GPU Cluster Scheduling", NSDI 2020, section 3;
there for one job on 1/n of a cluster, here for a member's jobs on its own machines.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.market.fairness import TOLERANCE, envy_count
from ayni.market.simulation.engine import Replay
from ayni.market.simulation.pool import SECONDS_PER_HOUR

Floats = NDArray[np.float64]
GRAMS_PER_KILOGRAM = 1000.0
# Slowdown of jobs of seconds says nothing; ten minutes is customary for the bound.
SHORTEST_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMeasures:
    """One entry a job. Times in seconds; machine_hours_J are metered, setups included."""

    waiting_J: Floats
    turnaround_J: Floats
    slowdown_J: Floats
    is_in_time_J: NDArray[np.bool_]
    machine_hours_J: Floats
    grams_J: Floats
    machine_microcredits_J: Floats
    transfer_microcredits_J: Floats
    at_once_grams_J: Floats
    """Grams of the same work at home, begun at its release: the counterfactual of a saving."""

    @property
    def cost_microcredits_J(self) -> Floats:
        """Machines and moved data."""
        cost: Floats = self.machine_microcredits_J + self.transfer_microcredits_J
        return cost


def measure_jobs(replay: Replay) -> JobMeasures:
    """Everything that can be said of each job of a replay."""
    pool, demand, pieces = replay.pool, replay.demand, replay.pieces
    size, job_P, gang_P = demand.num_jobs, pieces.job_P, demand.gang_J[pieces.job_P]
    span = (pieces.site_P, pieces.start_seconds_P, pieces.end_seconds_P)
    first_J, last_J = np.full(size, np.inf), np.zeros(size)
    np.minimum.at(first_J, job_P, pieces.start_seconds_P)
    np.maximum.at(last_J, job_P, pieces.end_seconds_P)
    hours_P = (pieces.end_seconds_P - pieces.start_seconds_P) / SECONDS_PER_HOUR * gang_P

    def by_job(values_P: Floats) -> Floats:
        sums: Floats = np.bincount(job_P, values_P, minlength=size).astype(np.float64)
        return sums

    turnaround_J = last_J - demand.release_seconds_J
    return JobMeasures(
        waiting_J=first_J - demand.release_seconds_J,
        turnaround_J=turnaround_J,
        slowdown_J=np.maximum(1.0, turnaround_J / np.maximum(demand.work_seconds_J, SHORTEST_SECONDS)),
        # A deadline is a time of day; the sum of times on the way there is not exact to the last bit.
        is_in_time_J=last_J <= demand.deadline_seconds_J + 1e-6,
        machine_hours_J=by_job(hours_P),
        grams_J=by_job(pool.grams.between(*span) * gang_P),
        machine_microcredits_J=by_job(pool.microcredits.between(*span) * gang_P),
        transfer_microcredits_J=by_job(pieces.moved_gigabytes_P * pool.transfer_microcredits_per_gigabyte),
        at_once_grams_J=_at_once_grams(replay),
    )


def _at_once_grams(replay: Replay) -> Floats:
    """Members without machines have no home; theirs is the mean of the pool's sites."""
    pool, demand = replay.pool, replay.demand
    home_J = pool.home_site_M[demand.member_J]
    throughput_S = np.array([site.throughput for site in pool.sites])
    grams_J = np.zeros(demand.num_jobs)
    for site in range(len(pool.sites)):
        jobs = np.flatnonzero((home_J == site) | (home_J < 0))
        share = np.where(home_J[jobs] < 0, 1.0 / len(pool.sites), 1.0)
        start = demand.release_seconds_J[jobs]
        end = start + demand.work_seconds_J[jobs] / throughput_S[site]
        grams_J[jobs] += (
            share * pool.grams.between(np.full(len(jobs), site), start, end) * demand.gang_J[jobs]
        )
    return grams_J


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """A replay, or the jobs of one member of it, in numbers. Hours are hours of one reference machine."""

    num_jobs: int
    reference_hours: float
    machine_hours: float
    cost_microcredits: int
    transfer_microcredits: int
    grams: float
    at_once_grams: float
    waiting_mean_seconds: float
    waiting_p50_seconds: float
    waiting_p95_seconds: float
    turnaround_mean_seconds: float
    slowdown_p95: float
    jobs_in_time: int
    reference_hours_in_time: float
    worth_in_time_microcredits: int
    grams_lost: float
    """Grams by which jobs emitted more than at home and at once; the gains of others are not taken off."""
    jobs_lost: int
    """How many jobs those are."""

    @property
    def microcredits_per_reference_hour(self) -> float:
        """Cost over work."""
        return self.cost_microcredits / self.reference_hours if self.reference_hours else 0.0

    @property
    def grams_per_reference_hour(self) -> float:
        """Carbon over work."""
        return self.grams / self.reference_hours if self.reference_hours else 0.0

    @property
    def realised_saving(self) -> float:
        """Share of carbon saved against every job at home and at once; negative where more was emitted."""
        return 1.0 - self.grams / self.at_once_grams if self.at_once_grams else 0.0

    def welfare_microcredits(self, *, carbon_microcredits_per_kilogram: float) -> float:
        """Worth of the jobs in time, less cost and carbon charge."""
        charge = self.grams / GRAMS_PER_KILOGRAM * carbon_microcredits_per_kilogram
        return self.worth_in_time_microcredits - self.cost_microcredits - charge

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, with the figures for one hour of work."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "microcredits_per_reference_hour": self.microcredits_per_reference_hour,
            "grams_per_reference_hour": self.grams_per_reference_hour,
            "realised_saving": self.realised_saving,
        }


def measures_of(replay: Replay, jobs: JobMeasures, *, member: int | None = None) -> Measures:
    """Sums and quantiles over all jobs, or over those of one member."""
    demand = replay.demand
    chosen = np.ones(demand.num_jobs, dtype=bool) if member is None else demand.member_J == member
    in_time = chosen & jobs.is_in_time_J
    waiting, lost = jobs.waiting_J[chosen], jobs.grams_J[chosen] - jobs.at_once_grams_J[chosen]
    # Restarts and transfers cost a few grams; a loss is more than a thousandth.
    is_lost = lost > 1e-3 * jobs.at_once_grams_J[chosen]
    has_jobs = bool(chosen.any())
    return Measures(
        num_jobs=int(chosen.sum()),
        reference_hours=float(demand.machine_hours_J[chosen].sum()),
        machine_hours=float(jobs.machine_hours_J[chosen].sum()),
        cost_microcredits=round(jobs.cost_microcredits_J[chosen].sum()),
        transfer_microcredits=round(jobs.transfer_microcredits_J[chosen].sum()),
        grams=float(jobs.grams_J[chosen].sum()),
        at_once_grams=float(jobs.at_once_grams_J[chosen].sum()),
        waiting_mean_seconds=float(waiting.mean()) if has_jobs else 0.0,
        waiting_p50_seconds=float(np.median(waiting)) if has_jobs else 0.0,
        waiting_p95_seconds=float(np.quantile(waiting, 0.95)) if has_jobs else 0.0,
        turnaround_mean_seconds=float(jobs.turnaround_J[chosen].mean()) if has_jobs else 0.0,
        slowdown_p95=float(np.quantile(jobs.slowdown_J[chosen], 0.95)) if has_jobs else 0.0,
        jobs_in_time=int(in_time.sum()),
        reference_hours_in_time=float(demand.machine_hours_J[in_time].sum()),
        worth_in_time_microcredits=int(demand.worth_microcredits_J[in_time].sum()),
        grams_lost=float(lost[is_lost].sum()),
        jobs_lost=int(is_lost.sum()),
    )


def by_member(replay: Replay, jobs: JobMeasures) -> dict[str, Measures]:
    """The measures of each member, in the order of the pool."""
    return {name: measures_of(replay, jobs, member=member) for member, name in enumerate(replay.pool.members)}


def utilisation(replay: Replay) -> float:
    """Machine time in use until the last release, over all machine time until then."""
    until = float(replay.demand.release_seconds_J[-1]) if replay.demand.num_jobs else 0.0
    if until == 0:
        return 0.0
    pieces = replay.pieces
    seconds_P = np.clip(pieces.end_seconds_P, None, until) - np.clip(pieces.start_seconds_P, None, until)
    used = float((seconds_P * replay.demand.gang_J[pieces.job_P]).sum())
    return used / (until * replay.pool.num_machines)


def share_ratios(here: Mapping[str, Measures], alone: Mapping[str, Measures]) -> dict[str, float]:
    """Work done in time here over alone, by member; members without work in time alone are left out."""
    return {
        member: here[member].reference_hours_in_time / measures.reference_hours_in_time
        for member, measures in alone.items()
        if measures.reference_hours_in_time > 0
    }


def finish_time_ratios(here: Mapping[str, Measures], alone: Mapping[str, Measures]) -> dict[str, float]:
    """Mean time from release to end here over alone, by member with jobs."""
    return {
        member: here[member].turnaround_mean_seconds / measures.turnaround_mean_seconds
        for member, measures in alone.items()
        if measures.num_jobs
    }


def envious_pairs(ratios: Mapping[str, float]) -> int:
    """Pairs of a member that has less than alone and one that has more than that; by share ratios."""
    return envy_count(ratios, waiting={member for member, ratio in ratios.items() if ratio < 1 - TOLERANCE})
