import itertools
from datetime import UTC, datetime, timedelta

import pytest

from ayni.market.guarantees import hold_with_bond, return_bond
from ayni.market.ledger import Lease, Ledger
from ayni.market.statement import Holdings, Statement, make_statement
from ayni.market.store import InMemoryLedgerStore

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
LEASE = Lease(lease_id="r1", run="r1", member="me", site="own", site_member="lab")


@pytest.fixture
def ledger() -> Ledger:
    """One movement a day: two grants, a hold with a bond, a draw, a release, a pay-out, the bond's return."""
    days = itertools.count()
    ledger = Ledger(InMemoryLedgerStore(), now=lambda: FIRST + timedelta(days=next(days)))
    for member in ("me", "lab"):
        ledger.grant_once(member, amount_microcredits=100, policy="p")
    ledger.book(hold_with_bond(LEASE, escrow_microcredits=60, bond_microcredits=30))
    ledger.draw(LEASE, receipt_hash="h", amount_microcredits=25, memo="train")
    ledger.release(LEASE)
    ledger.pay_out(LEASE)
    ledger.book(return_bond(LEASE))
    return ledger


def statement(
    ledger: Ledger, member: str, *, since: int | None = None, until: int | None = None
) -> Statement:
    days = [None if day is None else FIRST + timedelta(days=day) for day in (since, until)]
    return make_statement(ledger.transactions_of(member), member=member, since=days[0], until=days[1])


def test_a_statement_has_a_line_for_each_movement_and_adds_up(ledger: Ledger) -> None:
    found = statement(ledger, "me")

    assert [line.kind for line in found.lines] == ["grant", "hold", "draw", "release"]
    assert [line.after.available_microcredits for line in found.lines] == [100, 40, 40, 75]
    assert [line.after.escrow_microcredits for line in found.lines] == [0, 60, 35, 0]
    assert found.closing == Holdings(available_microcredits=75)


def test_a_sellers_statement_shows_its_bond_and_its_pay(ledger: Ledger) -> None:
    found = statement(ledger, "lab")

    assert [line.change.bond_microcredits for line in found.lines] == [0, 30, 0, -30]
    assert [line.change.available_microcredits for line in found.lines] == [100, -30, 25, 30]
    assert found.closing == Holdings(available_microcredits=125)


@pytest.mark.parametrize("cut", range(8))
def test_two_statements_of_neighbouring_times_join_without_a_gap(ledger: Ledger, cut: int) -> None:
    whole, before = statement(ledger, "me"), statement(ledger, "me", until=cut)
    after = statement(ledger, "me", since=cut)

    assert before.lines + after.lines == whole.lines
    assert before.closing == after.opening
    assert after.closing == whole.closing


def test_a_line_behind_a_clock_that_was_set_back_is_not_lost(ledger: Ledger) -> None:
    rows = ledger.transactions_of("me")
    rows[2]["at"] = (FIRST - timedelta(days=9)).isoformat()

    found = make_statement(rows, member="me", since=FIRST, until=None)

    assert len(found.lines) == 4


def test_a_statement_is_plain_json(ledger: Ledger) -> None:
    found = statement(ledger, "me", since=2).to_json()

    assert found["opening"] == {
        "available_microcredits": 100,
        "escrow_microcredits": 0,
        "bond_microcredits": 0,
    }
    assert found["lines"][0]["id"] == "hold:r1"
    assert found["closing"]["available_microcredits"] == 75
