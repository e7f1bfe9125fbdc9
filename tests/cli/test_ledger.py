import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.cli.main import run_command
from ayni.database import Database
from ayni.market.double_entry import available
from ayni.market.ledger import Lease, Ledger
from ayni.market.period import last_period
from ayni.market.store import DatabaseLedgerStore


@pytest.fixture
def ledger(home: Path) -> Ledger:
    """A ledger in the home, with a grant and a hold."""
    ledger = Ledger(DatabaseLedgerStore(Database(home / "state.db")))
    ledger.grant_once("me", amount_microcredits=100_000_000, policy="new-member")
    lease = Lease(lease_id="r1", run="r1", member="me", site="own", site_member="lab")
    ledger.hold(lease, amount_microcredits=60_000_001)
    return ledger


def test_a_sound_ledger_ends_with_0_and_the_entry_to_note_down(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_command(["ledger", "check"])

    printed = capsys.readouterr().out
    assert code == 0
    assert "is sound: 2 transactions, 3 accounts, sum 0." in printed
    assert "100.000000 credits were granted, 60.000001 are in escrow." in printed
    noted = printed.split()[-1]
    assert run_command(["ledger", "check", "--noted", noted]) == 0


def test_a_ledger_with_a_broken_chain_ends_with_1_and_says_where(
    ledger: Ledger, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(home / "state.db") as connection:
        connection.execute("DROP TRIGGER ledger_transactions_no_update")
        connection.execute("UPDATE ledger_transactions SET memo = 'gift' WHERE sequence = 1")

    codes = [run_command(["ledger", "check"]), run_command(["ledger", "check", "--json"])]

    shown = capsys.readouterr()
    assert codes == [1, 1]
    assert "FAILED Transaction 1 (number 1, grant:new-member:me) does not fit its hash" in shown.out
    assert "is not sound" in shown.err
    assert json.loads(shown.out[shown.out.index("{") :])["ok"] is False


def test_a_statement_shows_exact_credits(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ledger", "statement", "me"]) == 0

    printed = capsys.readouterr().out
    assert "-60.000001" in printed
    assert "39.999999" in printed
    assert "me has 39.999999 credits to spend, 60.000001 in escrow and 0.000000 staked." in printed


def test_a_statement_as_json_is_one_value(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ledger", "statement", "me", "--since", "2000-01-01", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert [line["kind"] for line in found["lines"]] == ["grant", "hold"]
    assert found["closing"]["escrow_microcredits"] == 60_000_001


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["statement", "nobody"], "knows no member 'nobody'"),
        (["check", "--noted", "5"], "no noted entry"),
        (["check", "--noted", "x:" + "0" * 64], "no noted entry"),
        (["statement", "me", "--since", "yesterday"], "does not match"),
    ],
)
def test_what_cannot_be_asked_ends_with_2(
    ledger: Ledger, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["ledger", *words]) == 2
    assert reason in " ".join(capsys.readouterr().err.split())


def test_looking_for_a_ledger_does_not_make_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ledger", "check"]) == 2

    assert "There is no ledger" in capsys.readouterr().err
    assert not home.exists()


def test_a_database_elsewhere_is_found_by_its_url(
    ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AYNI_DATABASE_URL", f"sqlite:///{home / 'state.db'}")
    monkeypatch.setenv("AYNI_HOME", str(home / "other"))

    assert run_command(["ledger", "check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_entries"] == 2


@pytest.mark.cluster
def test_a_whole_pool_on_postgresql_is_checked_by_its_url(
    home: Path, postgresql: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AYNI_DATABASE_URL", postgresql.new_database())  # type: ignore[attr-defined]

    assert run_command(["ledger", "check"]) == 0
    assert "0 transactions" in capsys.readouterr().out


def test_the_declared_policy_is_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ledger", "policy"]) == 0

    shown = capsys.readouterr().out
    assert "new_member_grant_microcredits 100,000,000" in " ".join(shown.split())
    assert run_command(["ledger", "policy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rounds"]["own_first"] is True


def test_a_quarter_is_tried_closed_and_shown_again(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    last = last_period(datetime.now(UTC))
    ledger.grant_once("rich", amount_microcredits=300_000_000, policy="new-member")

    assert run_command(["ledger", "close-quarter", last, "--dry-run"]) == 0
    tried = capsys.readouterr().out
    assert ledger.balance(available("rich")) == 300_000_000
    assert run_command(["ledger", "close-quarter", last]) == 0
    closed = capsys.readouterr().out
    assert run_command(["ledger", "close-quarter", last]) == 0
    again = capsys.readouterr().out

    assert "rich" in tried
    assert "-10.000000" in tried
    assert f"{last} is closed." in closed
    assert f"{last} was closed on" in again
    assert ledger.balance(available("rich")) == 290_000_000


def test_a_quarter_that_is_not_over_is_not_closed(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ledger", "close-quarter", "2999Q1"]) == 2
    assert "is not over" in capsys.readouterr().err
