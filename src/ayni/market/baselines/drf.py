"""Dominant resource fairness: again and again, the member with the smallest dominant share gets one more job.

    s_m = max over machine classes c of (machines of c that m uses) / (machines of c in the pool)
    next = argmin over m of s_m / w_m among those with a job that fits

A gang is a task of several machines of one class, so resources are machine classes here. Weights are the
members' shares of the pool's machines. Within a member jobs come by release; one that fits nowhere lets the
next pass, and large gangs may wait long.

Not covered: taking machines away from who has more than its share.

Source: Ghodsi et al., "Dominant Resource Fairness: Fair Allocation of Multiple Resource Types", NSDI 2011,
algorithm 1. Ours gives out whole gangs at one site, so shares differ by up to one gang.
"""

from collections.abc import Sequence

from ayni.market.baselines.line import Line
from ayni.market.baselines.placing import first_site_with_room
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import Cluster, Command, Start
from ayni.market.simulation.pool import Pool


class Drf:
    """The policy. Fulfils `ayni.market.simulation.engine.Policy`."""

    round_seconds = None

    def __init__(self, pool: Pool, demand: Demand) -> None:
        classes = sorted({site.machine_class for site in pool.sites})
        self._class_S = [classes.index(site.machine_class) for site in pool.sites]
        self._total_C = [0] * len(classes)
        machines_M = [0] * len(pool.members)
        for site, of_class in zip(pool.sites, self._class_S, strict=True):
            self._total_C[of_class] += site.num_machines
            machines_M[pool.members.index(site.member)] += site.num_machines
        # A member without machines takes part with the weight of one.
        self._weight_M = [max(1, machines) / pool.num_machines for machines in machines_M]
        self._used_MC = [[0] * len(classes) for _ in pool.members]
        self._lines = [Line(demand) for _ in pool.members]
        self._site_of_job: dict[int, int] = {}

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Fill progressively until no waiting job fits."""
        demand = cluster.demand
        for job in cluster.ended:
            self._count(cluster, job, self._site_of_job.pop(job), sign=-1)
        for job in cluster.arrived:
            self._lines[int(demand.member_J[job])].append(job)
        free_S = list(cluster.free_S)
        if max(free_S) == 0:
            return []
        commands: list[Command] = []
        hopeful = [member for member, line in enumerate(self._lines) if len(line)]
        while hopeful:
            member = min(hopeful, key=lambda m: (self.dominant_share(m) / self._weight_M[m], m))
            position = self._lines[member].first_fitting(max(free_S))
            if position is None:
                hopeful.remove(member)
                continue
            job = self._lines[member].take(position)
            site = first_site_with_room(cluster, job, free_S)
            assert site is not None, "a gang that is not larger than the most free machines fits there"
            free_S[site] -= int(demand.gang_J[job])
            self._count(cluster, job, site, sign=1)
            self._site_of_job[job] = site
            commands.append(Start(job, site))
        for line in self._lines:
            line.sweep()
        return commands

    def dominant_share(self, member: int) -> float:
        """The largest share that a member uses of any machine class."""
        return max(used / total for used, total in zip(self._used_MC[member], self._total_C, strict=True))

    def _count(self, cluster: Cluster, job: int, site: int, *, sign: int) -> None:
        machines = sign * int(cluster.demand.gang_J[job])
        self._used_MC[int(cluster.demand.member_J[job])][self._class_S[site]] += machines
