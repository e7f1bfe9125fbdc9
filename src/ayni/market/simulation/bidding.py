"""How members bid in a replay: a segment at a time, what it is worth, and green while there is time.

    bids       jobs without a lease, and running jobs whose lease ends now
    segment    at most `segment_hours` of work of a job that can be suspended; else all of it
    slack      what is left until the segment must have ended, so that the others can be in time
    worth      with slack, its part of the job's worth; without, what would be lost: the worth of the whole
               job less what its later segments will cost
    sites      with slack, those whose next hours keep the job's limit (see `pacing`); a bid names them as the
               places where it may run

Segments keep long jobs from staying on a dirty site for weeks because it was the only free one when they
came; moving costs a restart and the transfer of their data. A job whose slack is too small for moves is not
cut.

A job that can no longer be in time bids on for the next hours, and just what the dearest site costs: its
member wants it done, as every other policy of the simulator does it, and jobs that can be in time go first.

Machines that are slower than the reference are for jobs that would be in time on them, and for those that
are late anyway. A bid is for them or for the others: a deadline that the slow ones can keep would let it book
the fast ones for later.

Nobody bids while nothing is free in sight that would be taken; a round only takes machines, so nothing is
lost.

Shapes: S sites, J all jobs, N jobs that bid, M members, G sizes of gangs.

Not covered: bids that are not truthful, budgets, and balances.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ayni.market.bids import Bid
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import NOWHERE, Cluster
from ayni.market.simulation.forecast import RecentHours
from ayni.market.simulation.market_leases import LeaseTable
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.pacing import Pacing
from ayni.market.simulation.pool import SECONDS_PER_HOUR, Pool
from ayni.market.simulation.shortlist import Candidates, Sites, shortlist

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Segments = NDArray[np.void]
GRAMS_PER_KILOGRAM = 1000.0
MOST_MOVES = 4
"""Later segments that a job allows to begin elsewhere; most go on where they are. If all counted, a job of
weeks could not afford to be cut, and would stay for weeks on the machines that it found first."""


SEGMENTS = np.dtype(
    [
        ("seconds", np.float64),
        ("reference_hours", np.float64),
        ("latest", np.float64),  # when it must have ended at the latest
        ("allowance", np.float64),  # what later segments may take beside their work
        ("worth", np.int64),  # micro-credits
        ("lost", np.int64),  # micro-credits that are lost if the job cannot go on in time
    ],
    align=True,
)
"""What jobs bid for until they get it."""


class _Terms(NamedTuple):
    """What bids say of their segments. seconds_N until their deadlines."""

    worth_N: Integers
    seconds_N: Floats
    is_urgent_N: Flags


class Bidders:
    """The members of a pool as they bid."""

    def __init__(self, pool: Pool, demand: Demand, *, rules: MarketRules, forecast: RecentHours) -> None:
        self._pool, self._demand, self._rules, self._forecast = pool, demand, rules, forecast
        charge = rules.clearing.carbon_microcredits_per_kilogram / GRAMS_PER_KILOGRAM
        dirtiest_S = pool.grams.values_SH.max(axis=1).tolist()
        asks = [site.ask_microcredits_per_hour / site.throughput for site in pool.sites]
        self._usual_cost = sum(asks) / len(asks)
        # The dearest ask with the charge of the dirtiest hour: less than that may find no place at all.
        self._overdue_worth = max(
            ask * (2 - site.reliability) + charge * dirtiest / site.throughput
            for ask, site, dirtiest in zip(asks, pool.sites, dirtiest_S, strict=True)
        )
        self._number_S = np.array([site.num_machines for site in pool.sites])
        throughput_S = np.array([site.throughput for site in pool.sites])
        # Where no machine is as fast as the reference, the fastest of the pool stand for it.
        self._usual_speed, self._slowest = float(min(1.0, throughput_S.max())), float(throughput_S.min())
        self._is_slow_S = throughput_S < self._usual_speed
        self._slow_sites = frozenset(np.flatnonzero(self._is_slow_S).tolist())
        self._pacing = Pacing(pool, demand, rules=rules, forecast=forecast)
        self._home_J = pool.home_site_M[demand.member_J]
        # Machines of the sites where members' data lie; a member without any has none.
        self._home_machines_J = np.where(self._home_J >= 0, self._number_S[self._home_J], 0)
        self._segments_J = np.zeros(demand.num_jobs, dtype=SEGMENTS)
        self._is_known_J = np.zeros(demand.num_jobs, dtype=np.bool_)
        self._names: dict[Sites, frozenset[str] | None] = {None: None}

    def prepare(self, cluster: Cluster, jobs: Iterable[int]) -> None:
        """Find out what each job bids for, unless it is known."""
        for job in jobs:
            if not self._is_known_J[job]:
                self._segments_J[job] = self._next_segment(cluster, job)
                self._is_known_J[job] = True

    def forget(self, job: int) -> None:
        """The job got its segment, or moves with what is left of one."""
        self._is_known_J[job] = False

    def wanted_at_home(self, cluster: Cluster, jobs: Iterable[int]) -> dict[int, int]:
        """Machines for jobs that can wait no longer, by their members' own sites that can hold them."""
        jobs_N = np.array(list(jobs), dtype=np.int64)
        segments_N, gang_N = self._segments_J[jobs_N], self._demand.gang_J[jobs_N]
        slack_N = segments_N["latest"] - segments_N["allowance"] - cluster.now - segments_N["seconds"]
        is_last_call_N = (slack_N >= 0) & (slack_N <= self._rules.last_call_hours * SECONDS_PER_HOUR)
        calls = np.flatnonzero(is_last_call_N & (gang_N <= self._home_machines_J[jobs_N]))
        wanted: dict[int, int] = {}
        for home, gang in zip(self._home_J[jobs_N[calls]].tolist(), gang_N[calls].tolist(), strict=True):
            wanted[home] = wanted.get(home, 0) + gang
        return wanted

    def who_gives_back(self, cluster: Cluster, leases: LeaseTable, slot: int) -> list[int]:
        """Running jobs that wait for greener hours from now on."""
        self._pacing.look(cluster, leases.by_job)
        return self._pacing.too_heavy(cluster, leases.by_job, slot)

    def bids(
        self,
        cluster: Cluster,
        jobs: Iterable[int],
        leases: LeaseTable,
        slot: int,
        *,
        weights: Mapping[str, float] | None = None,
    ) -> dict[int, Bid]:
        """The bids of those that see a chance, by job. weights of members in the round, 1 where not given."""
        jobs_N = np.array(list(jobs), dtype=np.int64)
        self._pacing.look(cluster, leases.by_job)
        limit_N = self._pacing.limits(cluster, jobs_N)
        soon, later = self._rules.lookahead_hours, self._rules.overdue_hours
        free_later_S = self._most_free(leases, slot, None if soon is None else max(soon, later))
        free_S = self._most_free(leases, slot, soon)
        gang_N = self._demand.gang_J[jobs_N]
        soonest_KN = self._greenest_free(gang_N, free_S)
        fast_N, slow_N = np.where(limit_N == np.inf, self._greenest_free(gang_N, free_later_S), soonest_KN)
        is_slow_N = (slow_N < np.inf) & (slow_N <= limit_N)
        is_slow_N &= self._are_for_slow(cluster.now, jobs_N, slow_N < fast_N)
        bidding = np.flatnonzero(is_slow_N | ((fast_N <= limit_N) & (fast_N < np.inf)))
        jobs_N, is_slow_N = jobs_N[bidding], is_slow_N[bidding]
        has_room_N = np.where(is_slow_N, soonest_KN[1, bidding], soonest_KN[0, bidding]) < np.inf
        terms = self._terms(cluster.now, jobs_N, is_slow_N, has_room_N)
        sites = self._sites_within(limit_N[bidding], is_slow_N)
        candidates = self._candidates(jobs_N, terms, sites, weights)
        return self._bids(candidates, terms, shortlist(candidates, free_S), slot, self.moment(cluster.now))

    def slot_grams(self, slot: int, num_slots: int) -> Floats:
        """Forecast grams per kWh of each site in the coming slots."""
        per_hour = SECONDS_PER_HOUR / self._rules.slot_seconds
        hour_T = ((slot + np.arange(num_slots)) // per_hour).astype(np.int64)
        hours = self._forecast.hours(int(hour_T[0]), int(hour_T[-1] - hour_T[0]) + 1)
        slots: Floats = hours[:, hour_T - hour_T[0]]
        return slots

    def moment(self, seconds: float) -> datetime:
        """A time of the replay as a moment."""
        return self._pool.start + timedelta(seconds=seconds)

    def _deadlines(self, now: float, segments_N: Segments) -> Floats:
        """Until when segments should end, by what is known now."""
        latest_N, soonest_N = segments_N["latest"], now + segments_N["seconds"] + self._rules.slot_seconds
        deadline_N: Floats = np.minimum(latest_N, np.maximum(latest_N - segments_N["allowance"], soonest_N))
        return deadline_N

    def _terms(self, now: float, jobs_N: Integers, is_slow_N: Flags, has_room_N: Flags) -> _Terms:
        rules, segments_N = self._rules, self._segments_J[jobs_N]
        deadline_N, worth_N = self._deadlines(now, segments_N), segments_N["worth"]
        slack_N = deadline_N - now - segments_N["seconds"]
        is_overdue_N, is_urgent_N = slack_N < 0, slack_N <= rules.last_call_hours * SECONDS_PER_HOUR
        ends_N = now + segments_N["seconds"] / np.where(is_slow_N, self._slowest, self._usual_speed)
        if rules.lookahead_hours is not None:
            # Urgent jobs begin at once where there is room: the slack that is left is for moves. Who has none
            # left stays where it is, be it for weeks.
            look_N = np.where(is_urgent_N, rules.slot_seconds, 0.0)
            look_N = np.maximum(look_N, rules.lookahead_hours * SECONDS_PER_HOUR)
            soon_N = np.minimum(deadline_N, ends_N + look_N)
            deadline_N = np.where(is_urgent_N & ~has_room_N, deadline_N, soon_N)
        deadline_N = np.where(is_overdue_N, ends_N + rules.overdue_hours * SECONDS_PER_HOUR, deadline_N)
        worth_N = np.where(is_urgent_N, np.maximum(worth_N, segments_N["lost"]), worth_N)
        overdue_N = self.worth_of_overdue(jobs_N, segments_N["reference_hours"])
        worth_N = np.where(is_overdue_N, overdue_N, worth_N)
        return _Terms(np.maximum(1, worth_N), deadline_N - now, is_urgent_N)

    def _candidates(
        self, jobs_N: Integers, terms: _Terms, sites: Sequence[Sites], weights: Mapping[str, float] | None
    ) -> Candidates:
        weights = weights or {}
        weight_M = np.array([weights.get(member, 1.0) for member in self._pool.members])
        weight_N = weight_M[self._demand.member_J[jobs_N]]
        return Candidates(
            job_N=jobs_N,
            gang_N=self._demand.gang_J[jobs_N],
            key_N=weight_N * terms.worth_N / np.sqrt(self._segments_J["reference_hours"][jobs_N]),
            deadline_N=terms.seconds_N,
            sites=sites,
            home_N=self._home_J[jobs_N],
            is_urgent_N=terms.is_urgent_N,
        )

    def _bids(
        self, candidates: Candidates, terms: _Terms, chosen: Integers, slot: int, moment: datetime
    ) -> dict[int, Bid]:
        jobs, demand = candidates.job_N[chosen], self._demand
        columns = (
            jobs,
            demand.member_J[jobs],
            self._segments_J["reference_hours"][jobs],
            terms.seconds_N[chosen],
            terms.worth_N[chosen],
            demand.gang_J[jobs],
            demand.can_suspend_J[jobs],
            demand.data_gigabytes_J[jobs],
        )
        rows = zip(chosen.tolist(), *(column.tolist() for column in columns), strict=True)
        return {
            job: Bid(
                id=f"{job}@{slot}",
                member=self._pool.members[member],
                work_reference_hours=hours,
                release=moment,
                deadline=moment + timedelta(seconds=seconds),
                worth_microcredits=worth,
                gang=gang,
                residency=self._names_of(candidates.sites[number]),
                can_suspend=can_suspend,
                data_gigabytes=data,
            )
            for number, job, member, hours, seconds, worth, gang, can_suspend, data in rows
        }

    def _names_of(self, sites: Sites) -> frozenset[str] | None:
        """Sites stand for their zones."""
        if sites not in self._names:
            assert sites is not None
            self._names[sites] = frozenset(self._pool.sites[site].name for site in sites)
        return self._names[sites]

    def worth_of_overdue(self, jobs_N: Integers, reference_hours_N: Floats) -> Integers:
        """What such work of jobs costs at the dearest site."""
        transfer_N = self._demand.data_gigabytes_J[jobs_N] * self._pool.transfer_microcredits_per_gigabyte
        # Each of four lines of the cost may be rounded up.
        cost_N: Integers = (self._overdue_worth * reference_hours_N + transfer_N).astype(np.int64) + 4
        return cost_N

    def _next_segment(self, cluster: Cluster, job: int) -> tuple[float, ...]:
        """One record of SEGMENTS."""
        demand, here = self._demand, cluster.site_J[job]
        left = cluster.remaining_seconds_J[job]
        if here != NOWHERE:
            throughput = self._pool.sites[here].throughput
            left = max((cluster.end_seconds_J[job] - cluster.now) * throughput, 1e-3)
        # What a move would take, wherever it goes: the clearing cannot know, and too much is given back.
        setup = self._pool.restart_seconds if cluster.has_run_J[job] else 0.0
        setup += float(demand.data_gigabytes_J[job]) / self._pool.gigabytes_per_second
        final, gang, whole = float(demand.deadline_seconds_J[job]), int(demand.gang_J[job]), left + setup
        seconds, allowance = whole, 0.0
        if demand.can_suspend_J[job]:
            seconds, allowance = self._cut(whole, setup, slack=final - cluster.now - whole)
        worth = float(demand.worth_microcredits_J[job])
        later_hours = (whole - seconds) * gang / SECONDS_PER_HOUR
        return (
            seconds,
            seconds * gang / SECONDS_PER_HOUR,
            final - (whole - seconds),
            allowance,
            int(worth * left / float(demand.work_seconds_J[job]) * seconds / whole),
            int(worth - later_hours * self._usual_cost),
        )

    def _cut(self, seconds: float, setup: float, *, slack: float) -> tuple[float, float]:
        """How long the next lease is, and what the later ones may take beside their work.

        A few of the later ones may have to move, and begin at a slot. Who cannot afford that is not cut.
        """
        longest = self._rules.segment_hours * SECONDS_PER_HOUR
        num_moves = min(MOST_MOVES, math.ceil(max(0.0, seconds - longest) / longest))
        allowance = num_moves * (setup + self._rules.slot_seconds)
        if seconds <= longest or 0 <= slack < allowance:
            return seconds, 0.0
        return longest, allowance

    def _sites_within(self, limit_N: Floats, is_slow_N: Flags) -> list[Sites]:
        """For each limit the sites whose next hours keep it, of slow machines where so asked; None = all."""
        order_S = np.argsort(self._pacing.next_grams_S, kind="stable")
        sets: list[Sites] = [frozenset(order_S[:number].tolist()) for number in range(len(order_S))]
        sets.append(None)
        sets += [self._slow_sites if each is None else each & self._slow_sites for each in sets]
        number_N = np.searchsorted(self._pacing.next_grams_S[order_S], limit_N, side="right")
        return [sets[number] for number in (number_N + is_slow_N * (len(order_S) + 1)).tolist()]

    def _most_free(self, leases: LeaseTable, slot: int, hours: float | None) -> NDArray[np.int64]:
        """The most machines that are free in a slot in sight, by site."""
        num_slots = self._rules.num_slots
        if hours is not None:
            num_slots = min(num_slots, 1 + math.ceil(hours * SECONDS_PER_HOUR / self._rules.slot_seconds))
        most: NDArray[np.int64] = self._number_S - leases.machines_in_use(slot, num_slots).min(axis=1)
        return most

    def _are_for_slow(self, now: float, jobs_N: Integers, is_greener_N: Flags) -> Flags:
        """Who uses slow machines: jobs that end there in time and greener, and those that are late.

        Work that is late leaves fast machines to work that is not. One that has more segments would spend the
        slack of all on this one.
        """
        segments_N = self._segments_J[jobs_N]
        seconds_N, deadline_N = segments_N["seconds"], self._deadlines(now, segments_N)
        is_last_N = segments_N["latest"] >= self._demand.deadline_seconds_J[jobs_N]
        is_in_time_N = now + seconds_N / self._slowest <= deadline_N
        are_N: Flags = (now + seconds_N > deadline_N) | (is_greener_N & is_last_N & is_in_time_N)
        return are_N

    def _greenest_free(self, gang_N: Integers, free_S: Integers) -> Floats:
        """Grams of the greenest site with machines for each gang, infinite without any.

        In the first row of machines as fast as the reference, in the second of slower ones.
        """
        gang_G, number_N = np.unique(gang_N, return_inverse=True)
        has_room_GS = free_S >= gang_G[:, None]
        kinds = (~self._is_slow_S, self._is_slow_S)
        grams = [np.where(has_room_GS & kind_S, self._pacing.next_grams_S, np.inf) for kind_S in kinds]
        found: Floats = np.array([grams_GS.min(axis=1, initial=np.inf)[number_N] for grams_GS in grams])
        return found
