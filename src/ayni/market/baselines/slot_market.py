"""Machine-hours traded slot by slot as one homogeneous good, at the prices of a double auction.

Each slot, every member serves its own jobs on its own machines first, by release. What is left of a site is
offered at its ask, a unit for each machine; each job that could not be served bids for a unit for each of
its machines what a machine-slot is worth to it. A job runs in the slot if all its units trade and one site
can hold it; lent machines go back at the end of the slot, so a job that wins no longer is suspended, if it
can be.

Not covered: that machines are not homogeneous (class, carbon and place are not looked at, which is what
makes the auction truthful), and gangs in the auction: units are bidders of their own.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ayni.market.baselines.double_auction import Trades
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import NOWHERE, Cluster, Command, Start, Suspend
from ayni.market.simulation.pool import SECONDS_PER_HOUR, Pool

Auction = Callable[[Sequence[int], Sequence[int]], Trades]


class SlotMarket:
    """The policy. Fulfils `ayni.market.simulation.engine.Policy`.

    Args:
        pool: whose sites offer.
        demand: whose jobs bid.
        auction: takes bids and asks for one unit each.
        slot_seconds: length of a slot.
    """

    def __init__(self, pool: Pool, demand: Demand, *, auction: Auction, slot_seconds: float) -> None:
        self._demand, self._auction = demand, auction
        self._slot_seconds = slot_seconds
        slot_hours = slot_seconds / SECONDS_PER_HOUR
        self._ask_S = [round(site.ask_microcredits_per_hour * slot_hours) for site in pool.sites]
        self._own_sites_M = [pool.sites_of(member) for member in range(len(pool.members))]
        worth = demand.worth_microcredits_J / demand.machine_hours_J * slot_hours
        self._value_J: NDArray[np.int64] = np.rint(worth).astype(np.int64)
        # Running jobs on machines of others, and those that cannot be taken off until they end.
        self._borrowing: dict[int, None] = {}
        self.surplus_microcredits = 0

    @property
    def round_seconds(self) -> float:
        """A round at the start of each slot."""
        return self._slot_seconds

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Own jobs first, then the auction of what is left."""
        for job in cluster.ended:
            self._borrowing.pop(job, None)
        gang_J, can_suspend_J = self._demand.gang_J, self._demand.can_suspend_J
        tradable = [job for job in self._borrowing if can_suspend_J[job]]
        free_S = list(cluster.free_S)
        for job in tradable:
            free_S[cluster.site_J[job]] += int(gang_J[job])
        own = self._serve_own(cluster, free_S)
        served = {command.job for command in own}
        wanting = [*tradable, *(job for job in cluster.waiting if job not in served)]
        winners = self._trade(wanting, free_S)
        placed = self._place(cluster, winners, free_S)
        stops = [Suspend(job) for job in tradable if placed.get(job) != cluster.site_J[job]]
        begins = [Start(job, site) for job, site in placed.items() if cluster.site_J[job] != site]
        for job in tradable:
            del self._borrowing[job]
        self._borrowing |= dict.fromkeys(placed)
        return [*stops, *own, *begins]

    def _serve_own(self, cluster: Cluster, free_S: list[int]) -> list[Start]:
        starts = []
        waiting = np.fromiter(cluster.waiting, dtype=np.int64, count=len(cluster.waiting))
        for job in np.sort(waiting).tolist():
            gang = int(self._demand.gang_J[job])
            for site in self._own_sites_M[int(self._demand.member_J[job])]:
                if free_S[site] >= gang:
                    free_S[site] -= gang
                    starts.append(Start(job, site))
                    break
        return starts

    def _trade(self, wanting: Sequence[int], free_S: Sequence[int]) -> list[int]:
        """Jobs of which every unit trades, from the highest value."""
        if not wanting or max(free_S) == 0:
            return []
        jobs = np.array(wanting, dtype=np.int64)
        # Equal values by release, so that the units of one job stay together.
        jobs = jobs[np.lexsort((jobs, -self._value_J[jobs]))]
        gangs = self._demand.gang_J[jobs]
        # More bids than twice the machines cannot matter: the book is decided among the first of them.
        jobs = jobs[: int(np.searchsorted(np.cumsum(gangs), 2 * sum(free_S))) + 1]
        gangs = self._demand.gang_J[jobs]
        bids = np.repeat(self._value_J[jobs], gangs).tolist()
        asks = [ask for ask, free in zip(self._ask_S, free_S, strict=True) for _ in range(free)]
        trades = self._auction(bids, asks)
        self.surplus_microcredits += trades.surplus_microcredits
        of_unit = np.repeat(np.arange(len(jobs)), gangs)
        num_won = np.bincount(of_unit[list(trades.buyers)], minlength=len(jobs))
        winners: list[int] = jobs[num_won == gangs].tolist()
        return winners

    def _place(self, cluster: Cluster, winners: Sequence[int], free_S: list[int]) -> dict[int, int]:
        """Each winner's site: where it runs, if there is room, else the cheapest that holds it."""
        placed: dict[int, int] = {}
        for job in winners:
            gang, here = int(self._demand.gang_J[job]), cluster.site_J[job]
            rooms = [site for site, free in enumerate(free_S) if free >= gang]
            if not rooms:
                continue
            stays = here != NOWHERE and here in rooms
            site = here if stays else min(rooms, key=lambda s: (self._ask_S[s], -free_S[s], s))
            free_S[site] -= gang
            placed[job] = site
        return placed
