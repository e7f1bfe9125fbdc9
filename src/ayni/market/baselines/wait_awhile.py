"""Wait awhile: every member alone, each job at the greenest slots of its own site before its deadline.

A job that can be suspended takes the slots with the least forecast carbon between now and its deadline, not
necessarily beside each other; any other job the contiguous run of slots with the least. Slots that are full
are not taken, which later jobs feel. A job for which too little is left takes the first free slots that
there are. Jobs are planned once, in the order of release, and again if they need longer than planned
(restarts).

Not covered: changing plans when a forecast changes, and not suspending for a small gain.

Source: Wiesner et al., "Let's Wait Awhile", Middleware 2021, arXiv:2110.13234 (interruptible and
non-interruptible scheduling); Hanafy et al., "GAIA", ASPLOS 2024, call them Wait Awhile and Lowest-Window.
Ours has machines that can be full.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import NOWHERE, Cluster, Command, Start, Suspend
from ayni.market.simulation.forecast import RecentHours
from ayni.market.simulation.pool import SECONDS_PER_HOUR, Pool

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class WaitAwhile:
    """The policy. Fulfils `ayni.market.simulation.engine.Policy`.

    Args:
        pool: where; each member uses its first site.
        demand: the jobs.
        slot_seconds: length of a slot, a whole part of an hour.
        before_SH: see `RecentHours`.
    """

    def __init__(
        self, pool: Pool, demand: Demand, *, slot_seconds: float, before_SH: Floats | None = None
    ) -> None:
        self._pool, self._demand = pool, demand
        self._slot_seconds = slot_seconds
        self._forecast = RecentHours(pool.grams_per_kwh_SH, before_SH=before_SH)
        self._used_ST = np.zeros((len(pool.sites), 256), dtype=np.int64)
        self._home_M = pool.home_site_M
        self._slots_of_job: dict[int, Integers] = {}
        self._jobs_in_slot: dict[int, list[int]] = defaultdict(list)
        self._running: set[int] = set()

    @property
    def round_seconds(self) -> float:
        """A round at the start of each slot."""
        return self._slot_seconds

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Plan who arrived, then run exactly those jobs that have this slot."""
        slot = round(cluster.now / self._slot_seconds)
        for job in cluster.ended:
            self._free(job, from_slot=slot)
        self._running.difference_update(cluster.ended)
        for job in cluster.arrived:
            self._plan(cluster, job, slot)
        for job in sorted(self._running):
            if self._slots_of_job[job][-1] < slot:  # it needs longer than it was planned
                self._plan(cluster, job, slot)
        now_planned = {job for job in self._jobs_in_slot.pop(slot, []) if self._is_unfinished(cluster, job)}
        stops = [Suspend(job) for job in sorted(self._running - now_planned)]
        begins = [
            Start(job, self._site(job)) for job in sorted(now_planned) if cluster.site_J[job] == NOWHERE
        ]
        self._running = now_planned
        return [*stops, *begins]

    def _is_unfinished(self, cluster: Cluster, job: int) -> bool:
        return cluster.site_J[job] != NOWHERE or job in cluster.waiting

    def _site(self, job: int) -> int:
        return int(self._home_M[self._demand.member_J[job]])

    def _free(self, job: int, *, from_slot: int) -> None:
        later = self._slots_of_job.pop(job)
        later = later[later >= from_slot]
        self._used_ST[self._site(job), later] -= self._demand.gang_J[job]
        for slot in later.tolist():
            self._jobs_in_slot[slot].remove(job)

    def _plan(self, cluster: Cluster, job: int, slot: int) -> None:
        site, gang = self._site(job), int(self._demand.gang_J[job])
        is_running = cluster.site_J[job] != NOWHERE
        left = cluster.end_seconds_J[job] - cluster.now
        seconds = left if is_running else cluster.wall_seconds(job, site)
        num_slots = max(1, math.ceil(seconds / self._slot_seconds))
        last = max(int(self._demand.deadline_seconds_J[job] // self._slot_seconds), slot + num_slots)
        can_suspend = bool(self._demand.can_suspend_J[job])
        if is_running and not can_suspend:
            # A job that must not stop goes on at once, whatever the hour is like.
            chosen: Integers | None = np.arange(num_slots)
        else:
            chosen = self._greenest(site, gang, slot, last, num_slots, can_suspend=can_suspend)
        if chosen is None:
            chosen = self._first(site, gang, slot, num_slots, can_suspend=can_suspend)
        taken = chosen + slot
        self._make_room(int(taken[-1]) + 1)
        self._used_ST[site, taken] += gang
        self._slots_of_job[job] = taken
        for each in taken.tolist():
            self._jobs_in_slot[each].append(job)

    def _free_slots(self, site: int, gang: int, slot: int, last: int) -> Integers:
        """Slots of [slot, last) with room for a gang, counted from `slot`."""
        self._make_room(last)
        room = self._used_ST[site, slot:last] + gang <= self._pool.sites[site].num_machines
        return np.flatnonzero(room)

    def _greenest(
        self, site: int, gang: int, slot: int, last: int, num_slots: int, *, can_suspend: bool
    ) -> Integers | None:
        """The slots of least carbon before `last`; None where too few have room."""
        free = self._free_slots(site, gang, slot, last)
        if len(free) < num_slots:
            return None
        grams = self._expected(site, slot, last)
        if can_suspend:
            # Stable: of equal slots the first, so that a flat grid means no waiting.
            return np.sort(free[np.argsort(grams[free], kind="stable")[:num_slots]])
        sums = np.concatenate([[0.0], np.cumsum(grams)])
        begins = _contiguous(free, num_slots)
        if not len(begins):
            return None
        best = int(begins[np.argmin(sums[begins + num_slots] - sums[begins])])
        return np.arange(best, best + num_slots)

    def _first(self, site: int, gang: int, slot: int, num_slots: int, *, can_suspend: bool) -> Integers:
        """The first slots with room, however late."""
        last = self._used_ST.shape[1]
        while True:
            free = self._free_slots(site, gang, slot, last)
            if can_suspend and len(free) >= num_slots:
                return free[:num_slots]
            if not can_suspend and len(begins := _contiguous(free, num_slots)):
                return np.arange(int(begins[0]), int(begins[0]) + num_slots)
            last += max(num_slots, 256)

    def _expected(self, site: int, slot: int, last: int) -> Floats:
        """Forecast carbon of each slot in [slot, last)."""
        hour_T = (np.arange(slot, last) * self._slot_seconds // SECONDS_PER_HOUR).astype(np.int64)
        hours = self._forecast.hours(int(hour_T[0]), int(hour_T[-1] - hour_T[0]) + 1)[site]
        expected: Floats = hours[hour_T - hour_T[0]]
        return expected

    def _make_room(self, last: int) -> None:
        while last > self._used_ST.shape[1]:
            self._used_ST = np.concatenate([self._used_ST, np.zeros_like(self._used_ST)], axis=1)


def _contiguous(free: Integers, num_slots: int) -> Integers:
    """Where runs of so many slots begin among slots in rising order."""
    begins: Integers = free[: max(0, len(free) - num_slots + 1)]
    contiguous: Integers = begins[free[num_slots - 1 :] - begins == num_slots - 1]
    return contiguous
