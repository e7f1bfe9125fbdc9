"""EASY backfilling: the first in line is promised the earliest place; who does not delay it may overtake.

    shadow time   when, by the users' estimates, some site first has room for the first job
    extra         machines that are then free there beside those of the first job

A later job may start now at a site that was not promised, or at the promised one if it ends before the shadow
time by its own estimate or takes no more than the extra machines. Estimates are never below the true time
(see `demand`), so the promise is kept.

Cost: O(Q) for each job that starts, with Q waiting jobs (vectorised), plus O(running) where the first job
waits.

Source: Lifka, "The ANL/IBM SP Scheduling System", JSSPP 1995; Mu'alem and Feitelson, IEEE TPDS 12(6), 2001.
Ours promises a place at one of several sites.
"""

import bisect
from collections.abc import Sequence

from ayni.market.baselines.line import Line
from ayni.market.baselines.placing import first_site_with_room
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import Cluster, Command, Start


class EasyBackfill:
    """The policy for some sites and members. Fulfils `ayni.market.simulation.engine.Policy`.

    Args:
        demand: the jobs.
        sites: the sites that it fills; None = all.
        members: whose jobs it starts; None = everybody's.

    Attributes:
        line: the waiting jobs, by release unless somebody reorders them.
    """

    round_seconds = None

    def __init__(
        self, demand: Demand, *, sites: Sequence[int] | None = None, members: Sequence[int] | None = None
    ) -> None:
        self.line = Line(demand)
        self._sites = None if sites is None else set(sites)
        self._members = None if members is None else set(members)
        # By site: (end by estimate, machines, job), in the order of ends.
        self._running: dict[int, list[tuple[float, int, int]]] = {}
        self._estimated_end: dict[int, tuple[int, float]] = {}

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Start from the front of the line, promise the first that does not fit, fill the holes."""
        self.take_note(cluster)
        return self.fill(cluster)

    def take_note(self, cluster: Cluster) -> None:
        """Put who arrived at the end of the line, and forget who ended."""
        members, of_job = self._members, cluster.demand.member_J
        for job in cluster.arrived:
            if members is None or int(of_job[job]) in members:
                self.line.append(job)
        for job in cluster.ended:
            if job in self._estimated_end:
                site, end = self._estimated_end.pop(job)
                running = self._running[site]
                gang = int(cluster.demand.gang_J[job])
                del running[bisect.bisect_left(running, (end, gang, job))]

    def fill(self, cluster: Cluster) -> Sequence[Command]:
        """Commands for the line as it stands."""
        free_S = [
            free if self._sites is None or site in self._sites else 0
            for site, free in enumerate(cluster.free_S)
        ]
        commands: list[Command] = []
        if not len(self.line) or max(free_S) == 0:
            return commands
        self.line.sweep()
        position = self.line.first()
        while position is not None:
            site = first_site_with_room(cluster, self.line.job_at(position), free_S)
            if site is None:
                self._fill_holes(cluster, position, free_S, commands)
                break
            self._start(cluster, position, site, free_S, commands)
            position = self.line.first()
        return commands

    def _start(
        self, cluster: Cluster, position: int, site: int, free_S: list[int], commands: list[Command]
    ) -> None:
        job = self.line.take(position)
        gang = int(cluster.demand.gang_J[job])
        free_S[site] -= gang
        end = cluster.now + self._estimate(cluster, job, site)
        bisect.insort(self._running.setdefault(site, []), (end, gang, job))
        self._estimated_end[job] = (site, end)
        commands.append(Start(job, site))

    def _estimate(self, cluster: Cluster, job: int, site: int) -> float:
        throughput = cluster.pool.sites[site].throughput
        return cluster.setup_seconds(job, site) + float(cluster.demand.estimate_seconds_J[job]) / throughput

    def _fill_holes(self, cluster: Cluster, first: int, free_S: list[int], commands: list[Command]) -> None:
        promised, shadow, extra = self._promise(cluster, self.line.job_at(first), free_S)
        # The fastest machines without setup: a hint, made exact before anything starts.
        longest = (shadow - cluster.now) * max(site.throughput for site in cluster.pool.sites)
        place = first + 1
        while max(free_S) > 0:
            elsewhere = max((free for site, free in enumerate(free_S) if site != promised), default=0)
            gangs = self.line.gangs(after=place)
            candidates = (gangs <= elsewhere) | (
                (gangs <= free_S[promised])
                & ((self.line.estimates(after=place) <= longest) | (gangs <= extra))
            )
            step = int(candidates.argmax()) if len(candidates) else 0
            if not len(candidates) or not candidates[step]:
                return
            place += step
            job = self.line.job_at(place)
            site = self._hole(cluster, job, free_S, promised=promised, shadow=shadow, extra=extra)
            if site is not None:
                if site == promised and cluster.now + self._estimate(cluster, job, site) > shadow:
                    extra -= int(cluster.demand.gang_J[job])
                self._start(cluster, place, site, free_S, commands)
            place += 1

    def _hole(
        self, cluster: Cluster, job: int, free_S: Sequence[int], *, promised: int, shadow: float, extra: int
    ) -> int | None:
        """Where a job may overtake; the promised site only if the first job does not wait longer for it."""
        site = first_site_with_room(cluster, job, free_S)
        if site != promised:
            return site
        gang = int(cluster.demand.gang_J[job])
        if gang <= extra or cluster.now + self._estimate(cluster, job, promised) <= shadow:
            return site
        without = [0 if other == promised else free for other, free in enumerate(free_S)]
        return first_site_with_room(cluster, job, without)

    def _promise(self, cluster: Cluster, job: int, free_S: Sequence[int]) -> tuple[int, float, int]:
        """Site, time and spare machines of the earliest place for a job that fits nowhere now."""
        gang = int(cluster.demand.gang_J[job])
        best: tuple[float, int, int] | None = None
        for site, running in self._running.items():
            free = free_S[site]
            for position, (end, machines, _) in enumerate(running):
                free += machines
                if free >= gang:
                    # Everything that ends at the same moment is free then too.
                    later = running[position + 1 :]
                    free += sum(also for other_end, also, _ in later if other_end == end)
                    found = (end, site, free - gang)
                    best = found if best is None else min(best, found)
                    break
        assert best is not None, "a job that fits on no site was let into the replay"
        return best[1], best[0], best[2]
