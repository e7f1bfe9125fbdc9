"""A quarter is closed once: idle credits decay, and the surplus follows the work of the quarter before."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ayni.database import Database
from ayni.market.double_entry import GRANTS, SURPLUS, Posting, Transaction, available
from ayni.market.movements import Movement, move
from ayni.market.pool_store import PoolStore
from ayni.market.quarter_store import QuarterStore
from ayni.workflows.clear_market import RoundRequest, clear_pool
from ayni.workflows.close_quarter import ClosedQuarter, QuarterError, close_quarter, declared_policy
from ayni.workflows.ledger_check import check_ledger
from ayni.workflows.offer_machines import offer_machines
from ayni.workflows.pool_leases import PoolLeases

from .pool_scenario import GRANT, LAB, NOW, bid, grant, leases_of, work

# The work is settled in 2026Q4, so it earns the dividend of the quarter after.
AFTER_NEXT = datetime(2027, 4, 2, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> PoolStore:
    return PoolStore(Database(tmp_path / "state.db"))


def close(store: PoolStore, period: str, *, now: datetime, is_trial: bool = False) -> ClosedQuarter:
    quarters = QuarterStore(store._database)
    return close_quarter(leases_of(store), quarters, period, now=now, is_trial=is_trial)


def lend(store: PoolStore) -> PoolLeases:
    """Two hours on the lab's machine, for which another member bids nearly as much."""
    leases = leases_of(store)
    offer_machines(store, LAB, now=NOW)
    grant(leases, "a-member", "b-member", "uni")
    for name, worth in (("a", 9.0), ("b", 8.0)):
        deadline = NOW + timedelta(hours=3)
        store.submit(bid(name, worth, work_reference_hours=2.0, deadline=deadline), now=NOW)
    cleared = clear_pool(store, leases, RoundRequest(share_cap=None), now=NOW, is_trial=False)
    (award,) = cleared.awards.values()
    work(leases, award, hours=2)
    return leases


def test_the_surplus_goes_to_who_worked_in_the_quarter_before(store: PoolStore) -> None:
    leases = lend(store)
    surplus = leases.ledger.balance(SURPLUS)
    before = leases.ledger.balance(available("uni"))

    trial = close(store, "2027Q1", now=AFTER_NEXT, is_trial=True)
    untouched = leases.ledger.balance(SURPLUS)
    closed = close(store, "2027q1", now=AFTER_NEXT)

    assert surplus > 0
    assert untouched == surplus
    assert trial.dividend_microcredits == closed.dividend_microcredits == {"uni": surplus}
    assert closed.verified_hours_before == {"uni": pytest.approx(2.0, rel=1e-3)}
    # The lab has a little above the exempt 100 credits: 5 % of that decays first.
    decay = int((before - GRANT) * 0.05)
    assert closed.decay_microcredits == {"uni": decay}
    assert leases.ledger.balance(available("uni")) == before - decay + surplus
    assert leases.ledger.balance(SURPLUS) == 0
    assert check_ledger(store._database)["ok"]


def test_work_of_the_quarter_itself_earns_nothing_yet(store: PoolStore) -> None:
    leases = lend(store)

    closed = close(store, "2026Q4", now=datetime(2027, 1, 2, tzinfo=UTC))

    assert closed.dividend_microcredits == {}
    assert leases.ledger.balance(SURPLUS) > 0


def test_a_quarter_is_closed_once_also_for_who_had_nothing_to_move_then(store: PoolStore) -> None:
    leases = lend(store)
    first = close(store, "2027Q1", now=AFTER_NEXT)
    rich = Movement(
        id="gift", kind="grant", run=None, memo="late", fixed=move(10**9, GRANTS, available("late"))
    )
    leases.ledger.book(rich)
    before = leases.ledger.balances()

    again = close(store, "2027Q1", now=AFTER_NEXT + timedelta(days=3))

    assert again.was_closed_at == AFTER_NEXT.isoformat()
    assert again.dividend_microcredits == first.dividend_microcredits
    assert leases.ledger.balances() == before


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("2026Q5", "is no quarter; write one like 2026Q3"),
        ("last", "is no quarter"),
        ("2026Q4", "is not over: it ends with 2027-01-01"),
        ("2026Q2", "is over for too long"),
    ],
)
def test_a_quarter_that_cannot_be_closed_is_refused(store: PoolStore, period: str, said: str) -> None:
    with pytest.raises(QuarterError, match=said) as refused:
        close(store, period, now=NOW)

    assert "The quarter that ended last is 2026Q3." in str(refused.value)


def test_a_preview_is_what_is_booked_afterwards(store: PoolStore) -> None:
    ledger = leases_of(store).ledger
    wanted = Movement(id="g", kind="grant", run=None, memo="m", fixed=move(5, GRANTS, available("me")))

    (previewed,) = ledger.preview([wanted])
    nothing = ledger.balances()
    ledger.book(wanted)

    postings = (
        Posting(account=GRANTS, amount_microcredits=-5),
        Posting(account=available("me"), amount_microcredits=5),
    )
    assert previewed == Transaction(id="g", kind="grant", run=None, memo="m", postings=postings)
    assert nothing == {}
    assert ledger.preview([wanted]) == [previewed]


def test_all_that_is_declared_is_shown() -> None:
    assert set(declared_policy()) == {"credits", "quarters", "leases", "rounds"}
    assert declared_policy()["quarters"]["decay_share"] == 0.05
