"""A pool on one database, with leases booked in it; used by tests of rounds."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from ayni.market.award import Award
from ayni.market.bids import Bid
from ayni.market.carbon_saving import GramsAt
from ayni.market.lease_events import CheckPassed, Event, TickMetered, WindowBegan, WorkFinished, WorkStarted
from ayni.market.lease_runner import LeaseRunner, RecordedOrders
from ayni.market.lease_store import DatabaseLeaseStore
from ayni.market.ledger import Ledger
from ayni.market.policy import LeasePolicy
from ayni.market.pool_store import PoolStore
from ayni.market.round_store import RoundStore
from ayni.market.store import DatabaseLedgerStore
from ayni.workflows.offer_machines import MachinesRequest
from ayni.workflows.pool_carbon import shipped_grams_at
from ayni.workflows.pool_leases import PoolLeases

NOW = datetime(2026, 11, 22, 12, 20, tzinfo=UTC)
GRANT = 100_000_000
LAB = MachinesRequest(
    site="lab",
    member="uni",
    num_machines=1,
    num_cores=8,
    memory_gib=64,
    ask_credits_per_hour=0.4,
    seconds=30 * 86_400,
    accelerator="V100",
    zone="NO",
)


def leases_of(store: PoolStore, *, grams_at: GramsAt = shipped_grams_at) -> PoolLeases:
    """The leases in the database of a pool."""
    database = store._database
    return PoolLeases(
        rounds=RoundStore(database),
        events=DatabaseLeaseStore(database),
        ledger=Ledger(DatabaseLedgerStore(database), now=lambda: NOW),
        policy=LeasePolicy(),
        rng=random.Random(7),
        grams_at=grams_at,
    )


def grant(leases: PoolLeases, *members: str, amount: int = GRANT) -> None:
    for member in members:
        leases.ledger.grant_once(member, amount_microcredits=amount, policy="new-member")


def bid(id: str, worth: float, **changes: Any) -> Bid:
    values: dict[str, Any] = {
        "id": id,
        "member": f"{id}-member",
        "work_reference_hours": 10.0,
        "release": NOW,
        "deadline": NOW + timedelta(hours=12),
        "worth_microcredits": round(worth * 1e6),
    }
    return Bid(**values | changes)


def site_runner(leases: PoolLeases, now: datetime) -> LeaseRunner:
    """Who keeps the book where sites can be told, as a server would."""
    runner = LeaseRunner(
        policy=leases.policy,
        store=leases.events,
        ledger=leases.ledger,
        sites=RecordedOrders(),
        now=lambda: now,
        rng=random.Random(7),
    )
    runner.recover()
    return runner


def work(
    leases: PoolLeases, award: Award, *, hours: float, finishes: bool = True, after: Event | None = None
) -> None:
    """A site works on a lease from its first window on, in ticks of a quarter of an hour."""
    id, start = award.lease_id, award.terms.windows[0][0]
    end = start + timedelta(hours=hours)
    runner = site_runner(leases, end)
    runner.tell(WindowBegan(lease_id=id, at=start), WorkStarted(lease_id=id, at=start))
    for number in range(round(hours * 4)):
        at = start + timedelta(minutes=15 * (number + 1))
        runner.tell(TickMetered(lease_id=id, at=at, number=number + 1, unit_seconds=900 * award.machines))
    if after is not None:
        runner.tell(after)
    if finishes:
        runner.tell(WorkFinished(lease_id=id, at=end))
    state = runner.book.states.get(id)
    if state is not None and state.settling == "checking":
        runner.tell(CheckPassed(lease_id=id, at=end))
