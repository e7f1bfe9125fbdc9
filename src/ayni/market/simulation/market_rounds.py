"""The market itself as a policy of the simulator: a round at the start of every slot, leases in between.

In a round jobs bid for a segment (see `bidding`), the clearing decides, and who got a lease holds the slots
that it names. The owner goes first on its own machines: what it lent to others comes back to a job of its
own that can wait no longer, from the newest lease on. Who loses machines keeps what it computed and bids
again. So does who gives machines back because their hours got too heavy (see `pacing`). Once an hour, jobs
that run bid for greener machines that are free (see `moving`), and keep their own if they get none.

Not covered: grace time before machines are taken back; a restart is charged to who loses them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ayni.market.bids import Bid
from ayni.market.clearing import clear
from ayni.market.horizon import Horizon
from ayni.market.karma import credits_after, weight_of
from ayni.market.machine_classes import ANY_WORK, MachineClass
from ayni.market.offers import Offer
from ayni.market.rounds import Allocation, Clearing
from ayni.market.simulation.bidding import Bidders
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import NOWHERE, Cluster, Command, Start, Suspend
from ayni.market.simulation.forecast import RecentHours
from ayni.market.simulation.market_books import MarketBooks, foreseen_at_once
from ayni.market.simulation.market_leases import LeaseTable
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.moving import Moving
from ayni.market.simulation.pool import SECONDS_PER_HOUR, Pool, PoolSite

QUARTER_SECONDS = 91 * 86_400.0


class MarketRounds:
    """The policy. Fulfils `ayni.market.simulation.engine.Policy`.

    Args:
        pool: whose sites offer all their machines.
        demand: whose jobs bid what they are worth.
        rules: of the rounds, and of how members bid.
        seed: breaks ties.
        before_SH: see `RecentHours`.

    Attributes:
        books: what was promised and moved.
    """

    def __init__(
        self,
        pool: Pool,
        demand: Demand,
        *,
        rules: MarketRules | None = None,
        seed: int = 0,
        before_SH: NDArray[np.float64] | None = None,
    ) -> None:
        self._pool, self._demand, self._rules, self._seed = pool, demand, rules or MarketRules(), seed
        self._policy = replace(
            self._rules.clearing,
            transfer_microcredits_per_gigabyte=pool.transfer_microcredits_per_gigabyte,
            restart_hours=pool.restart_seconds / SECONDS_PER_HOUR,
        )
        self._forecast = RecentHours(pool.grams_per_kwh_SH, before_SH=before_SH)
        self._bidders = Bidders(pool, demand, rules=self._rules, forecast=self._forecast)
        self._moving = None
        if self._rules.move_saving is not None:
            self._moving = Moving(pool, demand, bidders=self._bidders, rules=self._rules)
        self._leases = LeaseTable(pool, demand, slot_seconds=self._rules.slot_seconds)
        # Made once, because every round takes them all.
        self._offers = [_offer(site, start=pool.start) for site in pool.sites]
        self._site_of_name = {site.name: index for index, site in enumerate(pool.sites)}
        machines = dict.fromkeys(pool.members, 0)
        for site in pool.sites:
            machines[site.member] += site.num_machines
        self._fair_shares = {member: number / pool.num_machines for member, number in machines.items()}
        self._credits: Mapping[str, float] = {}
        self.books = MarketBooks.empty(num_jobs=demand.num_jobs, num_members=len(pool.members))

    @property
    def round_seconds(self) -> float:
        """A round at the start of each slot."""
        return self._rules.slot_seconds

    def decide(self, cluster: Cluster) -> Sequence[Command]:
        """Clear what bids, then run exactly those jobs whose lease holds this slot."""
        slot = round(cluster.now / self._rules.slot_seconds)
        for job in cluster.ended:
            self._leases.end(job)
        for job in cluster.arrived:
            now_hour = int(cluster.now // SECONDS_PER_HOUR)
            self.books.expected_at_once_grams_J[job] = foreseen_at_once(
                self._pool, self._demand, self._forecast, job=job, now_hour=now_hour
            )
        bidding = self._leases.end_those_over(slot)
        for job in self._bidders.who_gives_back(cluster, self._leases, slot):
            self._end_early(job, slot)
            bidding.add(job)
            self.books.num_given_back += 1
        bidding |= cluster.waiting.keys() - self._leases.by_job.keys()
        if bidding:
            self._bidders.prepare(cluster, bidding)
            bidding |= self._reclaim(cluster, bidding, slot)
            self._hold_round(cluster, sorted(bidding), slot)
        if self._moving is not None and cluster.now % SECONDS_PER_HOUR == 0:
            bidding |= self._let_move(cluster, self._moving, slot)
        stops: list[Command] = []
        begins: list[Command] = []
        # Who waits without a lease has nothing to stop or to begin.
        idle = cluster.waiting.keys() - self._leases.by_job.keys()
        for job in sorted({*self._leases.take_due(slot), *bidding} - idle):
            lease, here = self._leases.get(job), cluster.site_J[job]
            wants = lease.site if lease is not None and lease.holds(slot) else NOWHERE
            if here not in (NOWHERE, wants):
                stops.append(Suspend(job))
            if wants not in (NOWHERE, here):
                begins.append(Start(job, wants))
        return [*stops, *begins]

    def _reclaim(self, cluster: Cluster, bidding: Iterable[int], slot: int) -> set[int]:
        """End leases of borrowers where their owner can wait no longer; returns whose they were."""
        ended: set[int] = set()
        for site, machines in self._bidders.wanted_at_home(cluster, bidding).items():
            for job in self._leases.to_reclaim(site, machines, slot=slot):
                self._end_early(job, slot)
                ended.add(job)
        self._bidders.prepare(cluster, ended)
        self.books.num_reclaimed += len(ended)
        return ended

    def _end_early(self, job: int, slot: int) -> None:
        lease = self._leases.end(job)
        assert lease is not None
        # What did not run is neither paid nor emitted.
        self._count(job, lease.allocation, share=-lease.share_left(slot))

    def _let_move(self, cluster: Cluster, moving: Moving, slot: int) -> set[int]:
        """Let running jobs bid for greener machines; who gets them gives its lease back."""
        bids = moving.bids(cluster, self._leases, slot)
        job_of = {bid.id: job for job, bid in bids.items()}
        moved: set[int] = set()
        if bids:
            result = self._clear(list(bids.values()), slot)
            for allocation in result.allocations:
                job = job_of[allocation.bid]
                self._end_early(job, slot)
                self._let(cluster, job, allocation, slot)
                moved.add(job)
            self._move_credits(result)
        self.books.num_moved_on += len(moved)
        return moved

    def _hold_round(self, cluster: Cluster, bidding: Sequence[int], slot: int) -> None:
        weights = {
            member: weight_of(credits, policy=self._policy) for member, credits in self._credits.items()
        }
        bids = self._bidders.bids(cluster, bidding, self._leases, slot, weights=weights)
        if not bids:
            return
        result = self._clear(list(bids.values()), slot)
        job_of = {bid.id: job for job, bid in bids.items()}
        for allocation in result.allocations:
            self._let(cluster, job_of[allocation.bid], allocation, slot)
        self._move_credits(result)
        self.books.num_refusals += len(bids) - len(result.allocations)
        self.books.largest_round = max(self.books.largest_round, len(bids))

    def _clear(self, bids: Sequence[Bid], slot: int) -> Clearing:
        horizon = self._horizon(slot, bids)
        grams_ST = self._bidders.slot_grams(slot, horizon.num_slots)
        return clear(
            bids,
            self._offers,
            horizon=horizon,
            # Sites of one zone share its figures, so that a site may stand for its zone.
            carbon={site.name: grams_ST[index].tolist() for index, site in enumerate(self._pool.sites)},
            policy=self._policy,
            credits=self._credits,
            fair_shares=self._fair_shares,
            leases=self._leases.reserved(slot),
            seed=self._seed + slot,
            says_why=False,
        )

    def _horizon(self, slot: int, bids: Iterable[Bid]) -> Horizon:
        seconds, num_slots = self._rules.slot_seconds, self._rules.num_slots
        start = self._bidders.moment(slot * seconds)
        latest = max(bid.deadline for bid in bids)
        tail = max(0, int((latest - start).total_seconds()) - num_slots * seconds)
        return Horizon(start=start, slot_seconds=seconds, num_slots=num_slots, tail_seconds=tail)

    def _let(self, cluster: Cluster, job: int, allocation: Allocation, slot: int) -> None:
        option = allocation.option
        site = self._site_of_name[option.site]
        pieces = [(start + slot, end + slot) for start, end in option.pieces]
        if option.end_slot > self._rules.num_slots:
            # The tail is one slot to the clearing; the lease goes on for as long as the work takes.
            needed = option.hours * SECONDS_PER_HOUR / self._rules.slot_seconds
            before = sum(end - start for start, end in pieces[:-1])
            pieces[-1] = (pieces[-1][0], pieces[-1][0] + max(1, math.ceil(needed - before - 1e-9)))
        self._leases.make(job, site, pieces, allocation)
        self._bidders.forget(job)
        self.books.num_leases += 1
        self.books.num_moves += cluster.data_site_J[job] not in (site, NOWHERE)
        self._count(job, allocation, share=1.0)

    def _count(self, job: int, allocation: Allocation, *, share: float) -> None:
        self.books.count(
            allocation,
            job=job,
            buyer=int(self._demand.member_J[job]),
            seller=self._pool.members.index(allocation.seller),
            share=share,
        )

    def _move_credits(self, result: Clearing) -> None:
        """Karma credits for what was lent and borrowed in a round."""
        if not self._policy.uses_credits:
            return
        lent: dict[str, float] = {}
        borrowed: dict[str, float] = {}
        for allocation in result.allocations:
            if allocation.seller != allocation.member:
                hours = allocation.option.hours * allocation.option.machines
                lent[allocation.seller] = lent.get(allocation.seller, 0.0) + hours
                borrowed[allocation.member] = borrowed.get(allocation.member, 0.0) + hours
        decay = self._rules.quarter_decay * self._rules.slot_seconds / QUARTER_SECONDS
        self._credits = credits_after(
            self._credits, lent_reference_hours=lent, borrowed_reference_hours=borrowed, decay=decay
        )


def _offer(site: PoolSite, *, start: datetime) -> Offer:
    """All machines of a site, from the start on."""
    return Offer(
        id=site.name,
        site=site.name,
        member=site.member,
        machine_class=MachineClass(
            name=site.machine_class,
            cores=1,
            memory_bytes=1,
            accelerator=site.machine_class,
            watts=site.watts,
            reference_throughput={ANY_WORK: site.throughput},
        ),
        count=site.num_machines,
        windows=((start, datetime.max.replace(tzinfo=UTC)),),
        ask_microcredits_per_machine_hour=site.ask_microcredits_per_hour,
        zone=site.name,
        pue=site.pue,
        reliability=site.reliability,
    )
