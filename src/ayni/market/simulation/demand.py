"""The jobs of a replay: a trace, and what a trace does not say, made up by a seed and labelled as such.

    deadline  = release + duration + slack + grace
    worth     = (least factor + lognormal) * price of a reference machine-hour * machine-hours
    estimate  = duration * U[1, 5]    what users believe, for policies that need to know
    data      = lognormal gigabytes that move when a job runs away from home, and no more than it could read

The grace is what anybody's clockwork takes (a round, a transfer): without it no policy that decides in rounds
could ever keep a deadline of no slack.

Shapes: J jobs.

Not covered: demand that answers to prices (rebound), and jobs that wait for each other.

Source of U[1, 5]: customary in simulations of parallel workloads; Mu'alem and Feitelson, "Utilization,
Predictability, Workloads, and User Runtime Estimates in Scheduling the IBM SP2 with Backfilling", IEEE TPDS
12(6), 2001, discuss such factors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ayni.market.simulation.pool import SECONDS_PER_HOUR, GangTooLargeError, Pool
from ayni.market.traces import Trace

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is made up about the jobs of a trace."""

    slack_hours: float = 24.0
    # Two rounds of half an hour: a job may just have missed one, and its last slot is rarely full.
    grace_seconds: float = 3600.0
    # Every job is worth its place in the pool, or policies that ask for worth would be compared on less work;
    # beyond that, half of them up to 3.5 times the price: many are not worth a cloud's.
    worth_least_factor: float = 1.5
    worth_median_factor: float = 2.0
    worth_spread: float = 0.7
    longest_estimate_factor: float = 5.0
    data_median_gigabytes: float = 5.0
    data_spread: float = 1.0
    # Half of 30 images of 100 kB a second: a job of a minute has not read a hundred gigabytes.
    most_gigabytes_per_machine_hour: float = 5.0
    share_suspendable: float = 1.0

    def __post_init__(self) -> None:
        amounts = (self.slack_hours, self.grace_seconds, self.worth_spread, self.data_spread)
        if min(*amounts, self.most_gigabytes_per_machine_hour) < 0:
            raise ValueError(f"a negative slack, grace or spread: {self}")
        if min(self.worth_median_factor, self.worth_least_factor) < 0 or self.longest_estimate_factor < 1:
            raise ValueError(f"a worth or an estimate below what is needed: {self}")
        if not 0 <= self.share_suspendable <= 1 or self.data_median_gigabytes < 0:
            raise ValueError(f"an impossible share or amount of data: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Jobs in the order of their release; times are seconds since the pool's start.

    work_seconds_J is the time on `gang_J` reference machines. Everything else is described above.
    """

    members: tuple[str, ...]
    member_J: Integers
    release_seconds_J: Floats
    work_seconds_J: Floats
    gang_J: Integers
    deadline_seconds_J: Floats
    estimate_seconds_J: Floats
    worth_microcredits_J: Integers
    data_gigabytes_J: Floats
    can_suspend_J: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if (np.diff(self.release_seconds_J) < 0).any():
            raise ValueError("jobs come in the order of their release")
        if self.num_jobs and (self.work_seconds_J.min() <= 0 or self.gang_J.min() < 1):
            raise ValueError("a job has work and at least one machine")

    @property
    def num_jobs(self) -> int:
        """How many jobs there are."""
        return len(self.gang_J)

    @property
    def machine_hours_J(self) -> Floats:
        """Work of each job in hours of one reference machine."""
        hours: Floats = self.work_seconds_J * self.gang_J / SECONDS_PER_HOUR
        return hours


def make_demand(
    trace: Trace, *, assumptions: Assumptions, price_microcredits_per_hour: float, seed: int
) -> Demand:
    """The jobs of a trace with what it does not say. Same seed, same jobs.

    Args:
        trace: whose first second becomes the pool's start.
        assumptions: see there.
        price_microcredits_per_hour: what a reference machine-hour costs about; worth is a multiple of it.
        seed: of everything that is made up.
    """
    rng = np.random.default_rng(seed)
    size = trace.num_jobs
    worth_factor = assumptions.worth_median_factor * rng.lognormal(0.0, assumptions.worth_spread, size)
    worth_factor += assumptions.worth_least_factor
    machine_hours = trace.duration_seconds_J * trace.gang_J / SECONDS_PER_HOUR
    believed = rng.uniform(1.0, assumptions.longest_estimate_factor, size)
    data = assumptions.data_median_gigabytes * rng.lognormal(0.0, assumptions.data_spread, size)
    slack = assumptions.slack_hours * SECONDS_PER_HOUR + assumptions.grace_seconds
    return Demand(
        members=trace.members,
        member_J=trace.member_J,
        release_seconds_J=trace.release_seconds_J,
        work_seconds_J=trace.duration_seconds_J,
        gang_J=trace.gang_J,
        deadline_seconds_J=trace.release_seconds_J + trace.duration_seconds_J + slack,
        estimate_seconds_J=trace.duration_seconds_J * believed,
        worth_microcredits_J=np.rint(worth_factor * machine_hours * price_microcredits_per_hour).astype(
            np.int64
        ),
        data_gigabytes_J=np.minimum(data, assumptions.most_gigabytes_per_machine_hour * machine_hours),
        can_suspend_J=rng.random(size) < assumptions.share_suspendable,
    )


def check_demand(demand: Demand, pool: Pool, *, only_own_sites: bool = False) -> None:
    """Do nothing when every job fits on a site that it may use.

    Raises:
        GangTooLargeError: one does not; says which site is the largest.
        ValueError: pool and demand have other members.
    """
    if demand.members != pool.members:
        raise ValueError(f"the jobs are of {demand.members}, the pool of {pool.members}")
    for member, name in enumerate(pool.members):
        sites = [pool.sites[site] for site in pool.sites_of(member)] if only_own_sites else list(pool.sites)
        jobs = np.flatnonzero(demand.member_J == member)
        if not len(jobs):
            continue
        job = int(jobs[np.argmax(demand.gang_J[jobs])])
        largest = max(sites, key=lambda site: site.num_machines, default=None)
        num_machines = 0 if largest is None else largest.num_machines
        if demand.gang_J[job] > num_machines:
            raise GangTooLargeError(
                job=job,
                member=name,
                gang=int(demand.gang_J[job]),
                largest_site="none" if largest is None else largest.name,
                num_machines=num_machines,
            )
