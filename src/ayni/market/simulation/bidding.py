"""How members bid in a replay: a segment at a time, what it is worth, and green while there is time.

    bids       jobs without a lease, and running jobs whose lease ends now segment    at most
    `segment_hours` of work of a job that can be suspended; else all of it slack      what is left until the
    segment must have ended, so that the others can be in time worth      with slack, its part of the job's
    worth; without, what would be lost: the worth of the whole job
               less what its later segments will cost
    cap        with slack, the carbon of the greenest share of the pool's coming day

Segments keep long jobs from staying on a dirty site for weeks because it was the only free one when they
came; moving costs a restart and the transfer of their data. A job whose slack is too small for moves is not
cut.

A job that can no longer be in time bids on for the next hours, and just what the dearest site costs: its
member wants it done, as every other policy of the simulator does it, and jobs that can be in time go first.

Nobody bids while nothing is free in sight that would be taken; a round only takes machines, so nothing is
lost.

Not covered: bids that are not truthful, budgets, and balances.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ayni.market.bids import Bid
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import NOWHERE, Cluster
from ayni.market.simulation.forecast import YesterdaysHours
from ayni.market.simulation.market_leases import LeaseTable
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.pool import SECONDS_PER_HOUR, Pool

Floats = NDArray[np.float64]
DAY_SECONDS = 86_400.0
GRAMS_PER_KILOGRAM = 1000.0
MOST_REFUSED = 4.0
"""Times the unwanted share of machine-hours, that caps may refuse: they must not idle a busy pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What a job bids for until it gets it.

    latest is when it must have ended at the latest; allowance is what later segments may take beside their
    work. lost_microcredits is what is lost if the job cannot go on in time.
    """

    member: str
    gang: int
    seconds: float
    reference_hours: float
    latest: float
    allowance: float
    worth_microcredits: int
    lost_microcredits: int

    def deadline(self, now: float, *, slot_seconds: float) -> float:
        """Until when it should end, by what is known now."""
        return min(self.latest, max(self.latest - self.allowance, now + self.seconds + slot_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What members see before a round.

    free_S: the most machines that are free at a start in sight, by site. greenest: grams of a reference
    machine-hour in rising order, and the share of the coming day's machine-hours up to there. least_means_LS:
    the least grams of work of 1, 2, ... slots in sight, by site. wanted_share: machine-hours of the coming
    day that are let or wanted.
    """

    free_S: list[int]
    greenest: tuple[Floats, Floats]
    least_means_LS: list[list[float]]
    wanted_share: float


class Bidders:
    """The members of a pool as they bid."""

    def __init__(self, pool: Pool, demand: Demand, *, rules: MarketRules, forecast: YesterdaysHours) -> None:
        self._pool, self._demand, self._rules, self._forecast = pool, demand, rules, forecast
        self._home_M = pool.home_site_M
        charge = rules.clearing.carbon_microcredits_per_kilogram / GRAMS_PER_KILOGRAM
        dirtiest_S = pool.grams.values_SH.max(axis=1).tolist()
        asks = [site.ask_microcredits_per_hour / site.throughput for site in pool.sites]
        self._usual_cost = sum(asks) / len(asks)
        # The dearest ask with the charge of the dirtiest hour: less than that may find no place at all.
        self._overdue_worth = max(
            ask * (2 - site.reliability) + charge * dirtiest / site.throughput
            for ask, site, dirtiest in zip(asks, pool.sites, dirtiest_S, strict=True)
        )
        self._kilowatts_S1 = np.array([[site.kilowatts / site.throughput] for site in pool.sites])
        self._machines_S1 = np.array([[site.num_machines * site.throughput] for site in pool.sites])
        self._segments: dict[int, Segment] = {}

    def prepare(self, cluster: Cluster, jobs: Iterable[int]) -> None:
        """Find out what each job bids for, unless it is known."""
        for job in jobs:
            if job not in self._segments:
                self._segments[job] = self._next_segment(cluster, job)

    def forget(self, job: int) -> None:
        """The job got its segment."""
        del self._segments[job]

    def wanted_at_home(self, cluster: Cluster, jobs: Iterable[int]) -> dict[int, int]:
        """Machines for jobs that can wait no longer, by their members' own sites that can hold them."""
        wanted: dict[int, int] = {}
        for job in jobs:
            segment, home = self._segments[job], int(self._home_M[self._demand.member_J[job]])
            slack = segment.latest - segment.allowance - cluster.now - segment.seconds
            is_last_call = 0 <= slack <= self._rules.last_call_hours * SECONDS_PER_HOUR
            if is_last_call and home >= 0 and segment.gang <= self._pool.sites[home].num_machines:
                wanted[home] = wanted.get(home, 0) + segment.gang
        return wanted

    def bids(self, cluster: Cluster, jobs: Iterable[int], leases: LeaseTable, slot: int) -> dict[int, Bid]:
        """The bids of those that see a chance, by job."""
        jobs = list(jobs)
        outlook = self._outlook(jobs, leases, slot)
        found = {job: self._bid(cluster.now, job, slot, outlook) for job in jobs}
        return {job: bid for job, bid in found.items() if bid is not None}

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

    def _bid(self, now: float, job: int, slot: int, outlook: Outlook) -> Bid | None:
        rules, segment = self._rules, self._segments[job]
        seconds, worth, cap = segment.seconds, segment.worth_microcredits, None
        deadline = segment.deadline(now, slot_seconds=rules.slot_seconds)
        slack = deadline - now - seconds
        if slack < 0:
            deadline = now + seconds + rules.overdue_hours * SECONDS_PER_HOUR
            worth = self._worth_of_overdue(job, segment)
        elif slack <= rules.last_call_hours * SECONDS_PER_HOUR:
            worth = max(worth, segment.lost_microcredits)
        else:
            cap = self._cap_grams(job, slack, segment, outlook)
            if rules.lookahead_hours is not None:
                deadline = min(deadline, now + seconds + rules.lookahead_hours * SECONDS_PER_HOUR)
                if not self._is_hopeful(segment, cap, outlook):
                    return None
        return Bid(
            id=f"{job}@{slot}",
            member=segment.member,
            work_reference_hours=segment.reference_hours,
            release=self.moment(now),
            deadline=self.moment(deadline),
            worth_microcredits=max(1, worth),
            gang=segment.gang,
            carbon_cap_grams=cap,
            can_suspend=bool(self._demand.can_suspend_J[job]),
            data_gigabytes=float(self._demand.data_gigabytes_J[job]),
        )

    def _worth_of_overdue(self, job: int, segment: Segment) -> int:
        transfer = self._demand.data_gigabytes_J[job] * self._pool.transfer_microcredits_per_gigabyte
        # Each of four lines of the cost may be rounded up.
        return int(self._overdue_worth * segment.reference_hours + transfer) + 4

    def _next_segment(self, cluster: Cluster, job: int) -> Segment:
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
        return Segment(
            member=self._pool.members[int(demand.member_J[job])],
            gang=gang,
            seconds=seconds,
            reference_hours=seconds * gang / SECONDS_PER_HOUR,
            latest=final - (whole - seconds),
            allowance=allowance,
            worth_microcredits=int(worth * left / float(demand.work_seconds_J[job]) * seconds / whole),
            lost_microcredits=int(worth - later_hours * self._usual_cost),
        )

    def _cut(self, seconds: float, setup: float, *, slack: float) -> tuple[float, float]:
        """How long the next lease is, and what the later ones may take beside their work.

        Each later one may have to move, and begins at a slot. A job that cannot afford that is not cut.
        """
        longest = self._rules.segment_hours * SECONDS_PER_HOUR
        allowance = math.ceil(max(0.0, seconds - longest) / longest) * (setup + self._rules.slot_seconds)
        if seconds <= longest or 0 <= slack < allowance:
            return seconds, 0.0
        return longest, allowance

    def _cap_grams(self, job: int, slack: float, segment: Segment, outlook: Outlook) -> float | None:
        """What a segment may emit: the greener its places, the more slack is left of its job."""
        if self._rules.cap_share is None:
            return None
        demand = self._demand
        latest_start = float(demand.deadline_seconds_J[job] - demand.work_seconds_J[job])
        whole = max(1.0, latest_start - float(demand.release_seconds_J[job]))
        least = min(1.0, max(self._rules.cap_share, 1.0 - MOST_REFUSED * (1.0 - outlook.wanted_share)))
        share = 1.0 - (1.0 - least) * min(1.0, slack / whole)
        grams, shares = outlook.greenest
        return (
            float(grams[min(int(np.searchsorted(shares, share)), len(grams) - 1)]) * segment.reference_hours
        )

    def _is_hopeful(self, segment: Segment, cap: float | None, outlook: Outlook) -> bool:
        """Whether a place in sight has machines free and may keep the cap; the clearing then decides."""
        length = math.ceil(segment.seconds / self._rules.slot_seconds)
        if cap is None or length > len(outlook.least_means_LS):
            return any(free >= segment.gang for free in outlook.free_S)
        most = cap / segment.reference_hours
        return any(
            free >= segment.gang and grams <= most
            for free, grams in zip(outlook.free_S, outlook.least_means_LS[length - 1], strict=True)
        )

    def _outlook(self, jobs: Iterable[int], leases: LeaseTable, slot: int) -> Outlook:
        rules = self._rules
        num_slots = math.ceil(DAY_SECONDS / rules.slot_seconds)
        grams_ST = self._kilowatts_S1 * self.slot_grams(slot, num_slots)
        order = np.argsort(grams_ST, axis=None, kind="stable")
        weights = np.broadcast_to(self._machines_S1, grams_ST.shape).ravel()[order]
        in_sight = math.ceil((rules.lookahead_hours or 0.0) * SECONDS_PER_HOUR / rules.slot_seconds)
        used_ST = leases.machines_in_use(slot, in_sight + 1)
        number_S = np.array([site.num_machines for site in self._pool.sites])
        wanted = sum(min(self._segments[job].seconds, DAY_SECONDS) * self._segments[job].gang for job in jobs)
        return Outlook(
            free_S=(number_S - used_ST.min(axis=1)).tolist(),
            greenest=(grams_ST.ravel()[order], np.cumsum(weights) / weights.sum()),
            least_means_LS=[] if rules.cap_share is None else _least_means(grams_ST, in_sight),
            wanted_share=float(used_ST[:, 0].sum() + wanted / DAY_SECONDS) / float(number_S.sum()),
        )


def _least_means(values_ST: Floats, spare: int) -> list[list[float]]:
    """For lengths of 1, 2, ... slots: the least mean of so many within the first length + spare, by site."""
    least = []
    for length in range(1, values_ST.shape[1] - spare + 1):
        window = np.sort(values_ST[:, : length + spare], axis=1)
        least.append(window[:, :length].mean(axis=1).tolist())
    return least
