"""Where a job goes among the sites that have room, for policies that have no opinion on it.

Own machines first: nothing has to be moved there. Then the site with the most free machines, which keeps
room for gangs elsewhere; ties go to the first site of the pool.

Not covered: prices and carbon; policies that look at them choose themselves.
"""

from collections.abc import Sequence

from ayni.market.simulation.engine import Cluster


def first_site_with_room(cluster: Cluster, job: int, free_S: Sequence[int]) -> int | None:
    """The site for a waiting job, given what is free; None where it fits nowhere."""
    gang = cluster.demand.gang_J[job]
    home = cluster.data_site_J[job]
    if home >= 0 and free_S[home] >= gang:
        return home
    site = max(range(len(free_S)), key=free_S.__getitem__)
    return site if free_S[site] >= gang else None
