"""First come, first served, strictly: while the first job in line fits nowhere, nobody starts.

Sites are tried from the job's own to the one with the most free machines.

Source: the oldest rule there is; as a baseline see Feitelson and Weil, "Utilization and Predictability in
Scheduling the IBM SP2 with Backfilling", IPPS 1998.
"""

from collections.abc import Sequence

from ayni.market.baselines.placing import first_site_with_room
from ayni.market.simulation.engine import Cluster, Command, Start


class StrictFcfs:
    """The policy. Fulfils `ayni.market.simulation.engine.Policy`."""

    round_seconds = None

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Start jobs from the front of the line until one fits nowhere."""
        free_S = list(cluster.free_S)
        commands = []
        # Suspended jobs never come here, so the order of waiting is that of release.
        for job in cluster.waiting:
            site = first_site_with_room(cluster, job, free_S)
            if site is None:
                break
            free_S[site] -= int(cluster.demand.gang_J[job])
            commands.append(Start(job, site))
        return commands
