"""Checking a pool's ledger and statements of members, from its database alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ayni.database import Database
from ayni.market.ledger import Lease, Ledger
from ayni.market.store import DatabaseLedgerStore
from ayni.workflows.ledger_check import check_ledger
from ayni.workflows.ledger_statement import UnknownMemberError, ledger_statement

LEASE = Lease(lease_id="r1", run="r1", member="me", site="own", site_member="lab")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.cluster)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A ledger with a settled lease."""
    is_file = request.param == "sqlite"
    place: Path | str = tmp_path / "state.db"
    database = Database(place if is_file else request.getfixturevalue("postgresql").new_database())
    ledger = Ledger(DatabaseLedgerStore(database))
    ledger.grant_once("me", amount_microcredits=100, policy="new-member")
    ledger.hold(LEASE, amount_microcredits=60)
    ledger.draw(LEASE, receipt_hash="h", amount_microcredits=25, memo="train")
    ledger.release(LEASE)
    ledger.pay_out(LEASE)
    yield database
    database.close()


def lease_event(database: Database, **values: Any) -> None:
    row = {"lease_id": "r1", "number": 1, "kind": "LeaseSettled", "at": "", "content": "{}"}
    table = sa.table("lease_events", *(sa.column(name) for name in (*row, "is_carried_out")))
    with database.transaction() as connection:
        connection.execute(table.insert(), {**row, "is_carried_out": True, **values})


def test_a_sound_ledger_is_said_to_be_so(database: Database) -> None:
    found = check_ledger(database)

    assert found["ok"]
    assert found["problems"] == []
    assert (found["num_entries"], found["escrow_microcredits"]) == (5, 0)
    assert str(database.where) == found["database"]


def test_a_check_holds_up_no_writer(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(sa.text("UPDATE ledger_balances SET balance_microcredits = balance_microcredits"))
        found = check_ledger(database)

    assert found["ok"]


def test_a_lease_that_is_settled_and_still_holds_credits_is_found(database: Database) -> None:
    ledger = Ledger(DatabaseLedgerStore(database))
    other = Lease(lease_id="r2", run="r2", member="me", site="own", site_member="lab")
    ledger.hold(other, amount_microcredits=5)
    lease_event(database)
    assert check_ledger(database)["ok"]

    lease_event(database, lease_id="r2")

    assert "its lease is settled" in check_ledger(database)["problems"][0]


def test_a_statement_says_what_became_of_a_members_credits(database: Database) -> None:
    found = ledger_statement(Ledger(DatabaseLedgerStore(database)), "me")

    assert [line.kind for line in found.lines] == ["grant", "hold", "draw", "release"]
    assert found.closing.available_microcredits == 75


def test_a_member_without_an_account_is_told_who_has_one(database: Database) -> None:
    with pytest.raises(UnknownMemberError, match="knows: lab, me"):
        ledger_statement(Ledger(DatabaseLedgerStore(database)), "nobody")
