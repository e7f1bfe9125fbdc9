"""Every member alone: its jobs on its own machines, first come, first served with backfilling.

What members would have without the cooperative; fairness is measured against it. A member needs machines
for the largest of its gangs, or the replay is refused.
"""

from collections.abc import Sequence

from ayni.market.baselines.easy_backfill import EasyBackfill
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import Cluster, Command
from ayni.market.simulation.pool import Pool


class Alone:
    """The policy. Fulfils `ayni.market.simulation.engine.Policy`."""

    round_seconds = None

    def __init__(self, pool: Pool, demand: Demand) -> None:
        self._queues = [
            EasyBackfill(demand, sites=pool.sites_of(member), members=[member])
            for member in range(len(pool.members))
        ]

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Ask the queue of each member to whom something happened."""
        touched = {int(cluster.demand.member_J[job]) for job in (*cluster.arrived, *cluster.ended)}
        return [command for member in sorted(touched) for command in self._queues[member].decide(cluster)]
