"""The replay of a demand against a pool: events in the order of time, and a policy that decides.

The engine owns time, machines and what is left of each job. A policy is woken with the cluster as it is and
returns commands; it never changes anything itself. So no policy can let a machine twice, start a job before
its release, or lose work, and all are compared on the same physics:

    wall time of a piece = setup + remaining work / throughput of the site
    setup                = time to move the job's data, if they are elsewhere, + restart, if it ran before

A job that is suspended keeps what it computed after its setup and waits again.

Not covered: machines that fail. Checkpoints in the middle of a piece would then matter too.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ayni.market.simulation.demand import Demand, check_demand
from ayni.market.simulation.pool import Pool

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NOWHERE = -1
# A policy that lets jobs wait on idle machines for so many rounds will not start them at all.
_MOST_IDLE_ROUNDS = 100_000


@dataclass(frozen=True, slots=True)
class Start:
    """Let a waiting job run at a site from now on."""

    job: int
    site: int


@dataclass(frozen=True, slots=True)
class Suspend:
    """Take the machines from a running job, which keeps what it computed."""

    job: int


Command = Start | Suspend


@dataclass(slots=True, kw_only=True, eq=False)
class Cluster:
    """What a policy sees. Policies read it and leave it as it is.

    free_S: machines that nobody uses, by site.
    waiting: released jobs that do not run, in the order in which they came or were suspended.
    site_J: where each job runs, -1 for nowhere.
    remaining_seconds_J: reference seconds that are left of each job (of a running one: at its start).
    started_seconds_J: when the present piece began. end_seconds_J: when it will end.
    data_site_J: where a job's data lie.
    arrived, ended: what happened since the policy was woken last.
    """

    now: float
    pool: Pool
    demand: Demand
    free_S: list[int]
    waiting: dict[int, None]
    site_J: list[int]
    remaining_seconds_J: list[float]
    started_seconds_J: list[float]
    end_seconds_J: list[float]
    data_site_J: list[int]
    has_run_J: list[bool]
    arrived: list[int]
    ended: list[int]

    def setup_seconds(self, job: int, site: int) -> float:
        """How long the machines wait before a job computes at a site."""
        seconds = self.pool.restart_seconds if self.has_run_J[job] else 0.0
        if self.data_site_J[job] != site:
            seconds += float(self.demand.data_gigabytes_J[job]) / self.pool.gigabytes_per_second
        return seconds

    def wall_seconds(self, job: int, site: int) -> float:
        """How long a waiting job would hold its machines at a site."""
        work = self.remaining_seconds_J[job] / self.pool.sites[site].throughput
        return self.setup_seconds(job, site) + work


class Policy(Protocol):
    """Who runs where and when."""

    @property
    def round_seconds(self) -> float | None:
        """Woken at every whole multiple of this; None = at every release and end of a job."""
        ...

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """What to do now; carried out in the order given."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What ran where and when: one entry a piece (P), in the order of their ends."""

    job_P: Integers
    site_P: Integers
    start_seconds_P: Floats
    end_seconds_P: Floats
    moved_gigabytes_P: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A replayed demand: its pieces, and how many events it took.

    An event is a release, a start, a suspension or an end of one job.
    """

    pool: Pool
    demand: Demand
    pieces: Pieces
    num_events: int
    num_rounds: int


def replay(pool: Pool, demand: Demand, policy: Policy, *, only_own_sites: bool = False) -> Replay:
    """Run every job to its end.

    Args:
        pool: where.
        demand: what.
        policy: who decides.
        only_own_sites: whether jobs stay on their members' machines, which must then hold every gang.

    Raises:
        GangTooLargeError: a job fits on no site that it may use.
        ValueError: the policy ordered what cannot be.
    """
    check_demand(demand, pool, only_own_sites=only_own_sites)
    return _Engine(pool, demand, policy).run()


class _Engine:
    def __init__(self, pool: Pool, demand: Demand, policy: Policy) -> None:
        self.policy, self.round_seconds = policy, policy.round_seconds
        size = demand.num_jobs
        self.cluster = Cluster(
            now=0.0,
            pool=pool,
            demand=demand,
            free_S=[site.num_machines for site in pool.sites],
            waiting={},
            site_J=[NOWHERE] * size,
            remaining_seconds_J=demand.work_seconds_J.tolist(),
            started_seconds_J=[0.0] * size,
            end_seconds_J=[float("inf")] * size,
            data_site_J=pool.home_site_M[demand.member_J].tolist(),
            has_run_J=[False] * size,
            arrived=[],
            ended=[],
        )
        self.setup_J = [0.0] * size
        self.moved_J = [0.0] * size
        self.gang_J: list[int] = demand.gang_J.tolist()
        self.release_J: list[float] = demand.release_seconds_J.tolist()
        self.ends: list[tuple[float, int]] = []  # a suspended job leaves a stale entry
        self.num_released = self.num_running = self.num_events = 0
        self.num_rounds = self.num_due = self.idle_rounds = 0
        self.pieces: list[tuple[int, int, float, float, float]] = []

    def run(self) -> Replay:
        """Jump from one moment at which something happens to the next."""
        cluster, policy = self.cluster, self.policy
        while self.num_released < len(self.release_J) or cluster.waiting or self.num_running:
            cluster.now = now = self._next_moment()
            self._end_jobs(now)
            self._release_jobs(now)
            if self.round_seconds is None or self._is_round(now):
                self._carry_out(policy.decide(cluster))
                cluster.arrived.clear()
                cluster.ended.clear()
        return Replay(
            pool=cluster.pool,
            demand=cluster.demand,
            pieces=_as_arrays(self.pieces),
            num_events=self.num_events,
            num_rounds=self.num_rounds,
        )

    def _next_moment(self) -> float:
        cluster = self.cluster
        while self.ends and cluster.end_seconds_J[self.ends[0][1]] != self.ends[0][0]:
            heapq.heappop(self.ends)
        moments = [self.ends[0][0]] if self.ends else []
        if self.num_released < len(self.release_J):
            moments.append(self.release_J[self.num_released])
        if self.round_seconds is not None and (cluster.waiting or self.num_running):
            moments.append(self._round_at(self.num_due))
        if not moments:
            raise ValueError(f"the policy lets {len(cluster.waiting)} jobs wait for ever on idle machines")
        return min(moments)

    def _round_at(self, number: int) -> float:
        assert self.round_seconds is not None
        return number * self.round_seconds

    def _is_round(self, now: float) -> bool:
        """Whether a round is due; rounds that passed while there was nothing to decide are left out."""
        while self._round_at(self.num_due) < now:
            self.num_due += 1
        if self._round_at(self.num_due) != now:
            return False
        self.num_due += 1
        self.num_rounds += 1
        self.idle_rounds = 0 if self.num_running else self.idle_rounds + 1
        if self.idle_rounds > _MOST_IDLE_ROUNDS:
            raise ValueError(
                f"the policy lets {len(self.cluster.waiting)} jobs wait for ever on idle machines"
            )
        return True

    def _end_jobs(self, now: float) -> None:
        ends, cluster = self.ends, self.cluster
        while ends and ends[0][0] <= now:
            end, job = heapq.heappop(ends)
            if cluster.end_seconds_J[job] == end:
                self._close_piece(job, end)
                cluster.remaining_seconds_J[job] = 0.0
                cluster.ended.append(job)

    def _release_jobs(self, now: float) -> None:
        cluster, release_J = self.cluster, self.release_J
        while self.num_released < len(release_J) and release_J[self.num_released] <= now:
            cluster.waiting[self.num_released] = None
            cluster.arrived.append(self.num_released)
            self.num_released += 1
            self.num_events += 1

    def _carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, Start):
                self._start(command.job, command.site)
            else:
                self._suspend(command.job)

    def _start(self, job: int, site: int) -> None:
        cluster, now = self.cluster, self.cluster.now
        gang = self.gang_J[job]
        if job not in cluster.waiting or cluster.free_S[site] < gang:
            state = "waits" if job in cluster.waiting else "does not wait"
            raise ValueError(
                f"the policy starts job {job} on {gang} machines of site {site}, which has "
                f"{cluster.free_S[site]} free; the job {state}"
            )
        self.setup_J[job] = cluster.setup_seconds(job, site)
        self.moved_J[job] = (
            float(cluster.demand.data_gigabytes_J[job]) if cluster.data_site_J[job] != site else 0.0
        )
        end = now + cluster.wall_seconds(job, site)
        cluster.free_S[site] -= gang
        del cluster.waiting[job]
        cluster.site_J[job], cluster.data_site_J[job] = site, site
        cluster.started_seconds_J[job], cluster.end_seconds_J[job] = now, end
        cluster.has_run_J[job] = True
        heapq.heappush(self.ends, (end, job))
        self.num_running += 1
        self.num_events += 1

    def _suspend(self, job: int) -> None:
        cluster, now = self.cluster, self.cluster.now
        site = cluster.site_J[job]
        if site == NOWHERE or not cluster.demand.can_suspend_J[job]:
            raise ValueError(f"the policy suspends job {job}, which does not run or cannot be suspended")
        computed = max(0.0, now - cluster.started_seconds_J[job] - self.setup_J[job])
        # What is left stays above zero, however the division by the throughput was rounded.
        left = cluster.remaining_seconds_J[job] - computed * cluster.pool.sites[site].throughput
        cluster.remaining_seconds_J[job] = max(left, 1e-6)
        self._close_piece(job, now)
        cluster.waiting[job] = None

    def _close_piece(self, job: int, end: float) -> None:
        cluster = self.cluster
        site = cluster.site_J[job]
        self.pieces.append((job, site, cluster.started_seconds_J[job], end, self.moved_J[job]))
        cluster.free_S[site] += self.gang_J[job]
        cluster.site_J[job] = NOWHERE
        cluster.end_seconds_J[job] = float("inf")
        self.num_running -= 1
        self.num_events += 1


def _as_arrays(pieces: Sequence[tuple[int, int, float, float, float]]) -> Pieces:
    columns = list(zip(*pieces, strict=True)) if pieces else [(), (), (), (), ()]
    return Pieces(
        job_P=np.array(columns[0], dtype=np.int64),
        site_P=np.array(columns[1], dtype=np.int64),
        start_seconds_P=np.array(columns[2], dtype=np.float64),
        end_seconds_P=np.array(columns[3], dtype=np.float64),
        moved_gigabytes_P=np.array(columns[4], dtype=np.float64),
    )
