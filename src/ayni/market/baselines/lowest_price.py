"""Lowest price: each job goes to the cheapest site that has room for it now, in the order of release.

Cheap is by ask for a reference machine-hour. A job that fits nowhere does not stop the next, so large gangs
may wait long: nothing is kept free for them.

Not covered: waiting for a cheaper site. That is what most price-following clients of clouds do not do either.
"""

from collections.abc import Sequence

from ayni.market.baselines.line import Line
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import Cluster, Command, Start
from ayni.market.simulation.pool import Pool


class LowestPrice:
    """The policy. Fulfils `ayni.market.simulation.engine.Policy`."""

    round_seconds = None

    def __init__(self, pool: Pool, demand: Demand) -> None:
        prices = [site.ask_microcredits_per_hour / site.throughput for site in pool.sites]
        self._cheapest_first = sorted(range(len(prices)), key=lambda site: (prices[site], site))
        self._line = Line(demand)

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Start every job that fits, each at the cheapest site with room."""
        for job in cluster.arrived:
            self._line.append(job)
        free_S = list(cluster.free_S)
        self._line.sweep()
        commands: list[Command] = []
        position = self._line.first_fitting(max(free_S))
        while position is not None:
            job = self._line.take(position)
            gang = int(cluster.demand.gang_J[job])
            site = next(site for site in self._cheapest_first if free_S[site] >= gang)
            free_S[site] -= gang
            commands.append(Start(job, site))
            position = self._line.first_fitting(max(free_S), after=position)
        return commands
