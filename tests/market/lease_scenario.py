"""A pool with two leases whose story is told to a runner; used by tests that stop it anywhere.

The story is idempotent: told again from its beginning to a runner that knows parts of it, it comes to
the same end.
"""

import contextlib
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from ayni.market.lease_events import (
    CheckFailed,
    CheckPassed,
    CheckpointSaved,
    Event,
    LeaseOffered,
    LeaseTerms,
    TickMetered,
    WindowBegan,
    WorkFinished,
    WorkStarted,
)
from ayni.market.lease_runner import LeaseRunner, RecordedOrders, SiteOrders
from ayni.market.lease_state import LeaseEventError, UnknownLeaseError
from ayni.market.lease_store import LeaseStore
from ayni.market.ledger import Ledger
from ayni.market.metering import LeasePrice
from ayni.market.movements import Lease
from ayni.market.policy import LeasePolicy

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = LeasePolicy()
GRANT = 1_000_000
# Of the honest lease: 10 minutes of 60 at 1200 a minute, 600 of them to the seller, 120 for carbon.
TICKS = 10


def terms(id: str, *, seller: str, bond: int = 0) -> LeaseTerms:
    return LeaseTerms(
        lease=Lease(lease_id=id, run=f"job-{id}", member="buyer", site=f"site-{seller}", site_member=seller),
        price=LeasePrice(
            reserved_unit_seconds=3600,
            seller_microcredits=36_000,
            climate_microcredits=7_200,
            payment_microcredits=72_000,
        ),
        windows=((START, START + timedelta(hours=1)),),
        escrow_microcredits=80_000,
        check_rate=1.0,
        bond_microcredits=bond,
    )


def make_runner(
    store: LeaseStore, ledger: Ledger, sites: SiteOrders | None = None, *, policy: LeasePolicy = POLICY
) -> LeaseRunner:
    return LeaseRunner(
        policy=policy,
        store=store,
        ledger=ledger,
        sites=sites or RecordedOrders(),
        now=lambda: START,
        rng=random.Random(7),
    )


def grant(ledger: Ledger) -> None:
    for member in ("buyer", "honest", "cheat"):
        ledger.grant_once(member, amount_microcredits=GRANT, policy="new-member")


def story() -> list[tuple[Event, ...]]:
    """What happens, in the portions in which it is told: an honest lease and one that cheats."""

    def both(kind: type[Any], **values: Any) -> tuple[Event, ...]:
        return tuple(kind(lease_id=id, at=START, **values) for id in ("good", "bad"))

    offers = (
        LeaseOffered(lease_id="good", at=START, terms=terms("good", seller="honest")),
        LeaseOffered(lease_id="bad", at=START, terms=terms("bad", seller="cheat", bond=5_000)),
    )
    ticks = [both(TickMetered, number=number + 1, unit_seconds=60) for number in range(TICKS)]
    return [
        offers,
        both(WindowBegan),
        both(WorkStarted),
        *ticks[:5],
        both(CheckpointSaved, tick=5),
        *ticks[5:],
        both(WorkFinished),
        (
            CheckPassed(lease_id="good", at=START),
            CheckFailed(lease_id="bad", at=START, reason="other bytes"),
        ),
    ]


def tell_all(runner: LeaseRunner, *, after: Callable[[], None] | None = None) -> None:
    """Tell the whole story; what is behind a lease already is skipped, as a site's repetition would be."""
    for portion in story():
        for event in portion:
            known = event.lease_id in runner.book.states
            if isinstance(event, LeaseOffered) and not known and is_settled(runner, event.lease_id):
                continue
            # What was told before the crash may not fit any more: the lease has gone on since.
            with contextlib.suppress(LeaseEventError, UnknownLeaseError):
                runner.tell(event)
            if after is not None:
                after()


def is_settled(runner: LeaseRunner, lease_id: str) -> bool:
    return any(row["id"] == f"release:{lease_id}" for row in runner._ledger.transactions(f"job-{lease_id}"))


def expected_balances() -> dict[str, int]:
    """What everybody has at the end, by hand: the good lease costs 10 minutes, the bad one its bond."""
    paid_to_seller, climate, rest = TICKS * 600, TICKS * 120, TICKS * 480
    # The bad lease's climate charge stays, its other parts come back; its bond goes to the checks' fund.
    return {
        "coop:grants": -3 * GRANT,
        "member:buyer:available": GRANT - paid_to_seller - 2 * climate - rest,
        "member:honest:available": GRANT + paid_to_seller,
        "member:cheat:available": GRANT - 5_000,
        "coop:climate": 2 * climate,
        "coop:verification": rest // 4 + 5_000,
        "coop:surplus": rest - rest // 4,
    }


def balances_of(ledger: Ledger) -> dict[str, int]:
    return {account: balance for account, balance in ledger.balances().items() if balance}


def offered(id: str, **values: Any) -> LeaseOffered:
    """An offer of one of the honest seller's leases."""
    return LeaseOffered(lease_id=id, at=START, terms=terms(id, **{"seller": "honest", **values}))
