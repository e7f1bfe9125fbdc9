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

Not covered: bids that are not truthful, budgets, and balances.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ayni.market.bids import Bid
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import NOWHERE, Cluster
from ayni.market.simulation.forecast import YesterdaysHours
from ayni.market.simulation.market_leases import LeaseTable
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.pacing import Pacing
from ayni.market.simulation.pool import SECONDS_PER_HOUR, Pool
from ayni.market.simulation.shortlist import Candidate, shortlist

Floats = NDArray[np.float64]
GRAMS_PER_KILOGRAM = 1000.0
MOST_MOVES = 4
"""Later segments that a job allows to begin elsewhere; most go on where they are. If all counted, a job of
weeks could not afford to be cut, and would stay for weeks on the machines that it found first."""


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


class _Terms(NamedTuple):
    """What a bid says of its segment. seconds until its deadline; sites None = all."""

    worth_microcredits: int
    seconds: float
    sites: frozenset[int] | None
    is_urgent: bool


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
        self._number_S = np.array([site.num_machines for site in pool.sites])
        throughput_S = np.array([site.throughput for site in pool.sites])
        # Where no machine is as fast as the reference, the fastest of the pool stand for it.
        self._usual_speed, self._slowest = float(min(1.0, throughput_S.max())), float(throughput_S.min())
        self._is_slow_S = throughput_S < self._usual_speed
        self._slow_sites = frozenset(np.flatnonzero(self._is_slow_S).tolist())
        self._pacing = Pacing(pool, demand, rules=rules, forecast=forecast)
        self._homes, self._members = pool.home_site_M.tolist(), demand.member_J.tolist()
        self._segments: dict[int, Segment] = {}

    def prepare(self, cluster: Cluster, jobs: Iterable[int]) -> None:
        """Find out what each job bids for, unless it is known."""
        for job in jobs:
            if job not in self._segments:
                self._segments[job] = self._next_segment(cluster, job)

    def forget(self, job: int) -> None:
        """The job got its segment, or moves with what is left of one."""
        self._segments.pop(job, None)

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
        jobs = list(jobs)
        self._pacing.look(cluster, leases.by_job)
        limits_N = self._pacing.limits(cluster, np.array(jobs, dtype=np.int64))
        soon, later = self._rules.lookahead_hours, self._rules.overdue_hours
        gangs = self._demand.gang_J[jobs].tolist()
        free_later_S = self._most_free(leases, slot, None if soon is None else max(soon, later))
        free_S = self._most_free(leases, slot, soon)
        free = self._greenest_free(set(gangs), free_S)
        free_later = self._greenest_free(set(gangs), free_later_S)
        sites = self._sites_within(limits_N)
        terms: dict[int, _Terms] = {}
        for job, gang, limit, within in zip(jobs, gangs, limits_N.tolist(), sites, strict=True):
            fast, slow = free_later[gang] if limit == math.inf else free[gang]
            is_slow = slow < math.inf and slow <= limit and self._is_for_slow(cluster.now, job, slow < fast)
            if is_slow or (fast <= limit and fast < math.inf):
                terms[job] = self._terms(cluster.now, job, within, is_slow=is_slow)
        chosen = shortlist([self._candidate(job, term, weights) for job, term in terms.items()], free_S)
        moment = self.moment(cluster.now)
        return {each.job: self._bid(each, slot, moment, terms[each.job]) for each in chosen}

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

    def _terms(self, now: float, job: int, sites: frozenset[int] | None, *, is_slow: bool) -> _Terms:
        rules, segment = self._rules, self._segments[job]
        worth = segment.worth_microcredits
        deadline = segment.deadline(now, slot_seconds=rules.slot_seconds)
        slack = deadline - now - segment.seconds
        seconds = segment.seconds / (self._slowest if is_slow else self._usual_speed)
        if is_slow:
            sites = self._slow_sites if sites is None else sites & self._slow_sites
        if slack < 0:
            deadline = now + seconds + rules.overdue_hours * SECONDS_PER_HOUR
            worth = self.worth_of_overdue(job, segment.reference_hours)
        elif slack <= rules.last_call_hours * SECONDS_PER_HOUR:
            worth = max(worth, segment.lost_microcredits)
        elif rules.lookahead_hours is not None:
            deadline = min(deadline, now + seconds + rules.lookahead_hours * SECONDS_PER_HOUR)
        is_urgent = slack <= rules.last_call_hours * SECONDS_PER_HOUR
        return _Terms(max(1, worth), deadline - now, sites, is_urgent)

    def _candidate(self, job: int, terms: _Terms, weights: Mapping[str, float] | None) -> Candidate:
        segment, home = self._segments[job], self._homes[self._members[job]]
        weight = 1.0 if weights is None else weights.get(segment.member, 1.0)
        return Candidate(
            job=job,
            gang=segment.gang,
            key=weight * terms.worth_microcredits / math.sqrt(segment.reference_hours),
            deadline=terms.seconds,
            sites=terms.sites,
            home=home if home >= 0 else None,
            is_urgent=terms.is_urgent,
        )

    def _bid(self, candidate: Candidate, slot: int, moment: datetime, terms: _Terms) -> Bid:
        segment = self._segments[candidate.job]
        names = None
        if terms.sites is not None:
            names = frozenset(self._pool.sites[site].name for site in terms.sites)
        return Bid(
            id=f"{candidate.job}@{slot}",
            member=segment.member,
            work_reference_hours=segment.reference_hours,
            release=moment,
            deadline=moment + timedelta(seconds=terms.seconds),
            worth_microcredits=terms.worth_microcredits,
            gang=segment.gang,
            # Sites stand for their zones.
            residency=names,
            can_suspend=bool(self._demand.can_suspend_J[candidate.job]),
            data_gigabytes=float(self._demand.data_gigabytes_J[candidate.job]),
        )

    def worth_of_overdue(self, job: int, reference_hours: float) -> int:
        """What such work of a job costs at the dearest site."""
        transfer = self._demand.data_gigabytes_J[job] * self._pool.transfer_microcredits_per_gigabyte
        # Each of four lines of the cost may be rounded up.
        return int(self._overdue_worth * reference_hours + transfer) + 4

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

        A few of the later ones may have to move, and begin at a slot. Who cannot afford that is not cut.
        """
        longest = self._rules.segment_hours * SECONDS_PER_HOUR
        num_moves = min(MOST_MOVES, math.ceil(max(0.0, seconds - longest) / longest))
        allowance = num_moves * (setup + self._rules.slot_seconds)
        if seconds <= longest or 0 <= slack < allowance:
            return seconds, 0.0
        return longest, allowance

    def _sites_within(self, limits: Floats) -> list[frozenset[int] | None]:
        """For each limit the sites whose next hours keep it; None = all do."""
        order_S = np.argsort(self._pacing.next_grams_S, kind="stable")
        sets = [frozenset(order_S[:number].tolist()) for number in range(len(order_S))]
        numbers = np.searchsorted(self._pacing.next_grams_S[order_S], limits, side="right").tolist()
        return [sets[number] if number < len(sets) else None for number in numbers]

    def _most_free(self, leases: LeaseTable, slot: int, hours: float | None) -> NDArray[np.int64]:
        """The most machines that are free in a slot in sight, by site."""
        num_slots = self._rules.num_slots
        if hours is not None:
            num_slots = min(num_slots, 1 + math.ceil(hours * SECONDS_PER_HOUR / self._rules.slot_seconds))
        most: NDArray[np.int64] = self._number_S - leases.machines_in_use(slot, num_slots).min(axis=1)
        return most

    def _is_for_slow(self, now: float, job: int, is_greener: bool) -> bool:
        """Whether to use slow machines: a job that ends there in time and greener does, and one that is late.

        Work that is late leaves fast machines to work that is not. One that has more segments would spend the
        slack of all on this one.
        """
        segment = self._segments[job]
        deadline = segment.deadline(now, slot_seconds=self._rules.slot_seconds)
        if now + segment.seconds > deadline:
            return True
        is_last = segment.latest >= float(self._demand.deadline_seconds_J[job])
        return is_greener and is_last and now + segment.seconds / self._slowest <= deadline

    def _greenest_free(
        self, gangs: Iterable[int], free_S: NDArray[np.int64]
    ) -> dict[int, tuple[float, float]]:
        """Grams of the greenest site with machines for a gang, infinite without any, by gang.

        Of machines as fast as the reference, and of slower ones.
        """
        found = {}
        for gang in gangs:
            has_room_S = free_S >= gang
            fast, slow = (
                float(self._pacing.next_grams_S[has_room_S & kind_S].min(initial=math.inf))
                for kind_S in (~self._is_slow_S, self._is_slow_S)
            )
            found[gang] = (fast, slow)
        return found
