"""What runs told about a data set: added up, capped, booked once, whoever asks again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ayni.database import Database
from ayni.train.privacy_ledger import DatasetBudgetError, DatasetIdentity, PrivacyLedger, PrivacySpend

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> PrivacyLedger:
    return PrivacyLedger(Database(tmp_path / "state.db"))


def make_spend(
    run: str,
    epsilon: float = 1.0,
    *,
    name: str | None = "digits",
    sha256: str = "a",
    cap: float | None = None,
) -> PrivacySpend:
    return PrivacySpend(
        run=run,
        dataset=DatasetIdentity(name=name, sha256=sha256),
        epsilon=epsilon,
        delta=1e-5,
        cap_epsilon=cap,
        is_settled=False,
        booked_at=NOW + timedelta(seconds=len(run)),
    )


def test_runs_on_one_data_set_add_up_and_others_do_not(ledger: PrivacyLedger) -> None:
    ledger.book(make_spend("a", 1.0))
    ledger.book(make_spend("bb", 2.0))
    ledger.book(make_spend("ccc", 4.0, name="letters", sha256="b"))

    digits, letters = ledger.accounts()

    assert [digits.epsilon, digits.delta] == pytest.approx([3.0, 2e-5])
    assert [spend.run for spend in digits.spends] == ["a", "bb"]
    assert letters.epsilon == 4.0


@pytest.mark.parametrize(
    ("name", "sha256"), [("digits", "other examples"), ("another name", "a"), (None, "a")]
)
def test_the_same_name_or_the_same_examples_are_the_same_data(
    ledger: PrivacyLedger, name: str | None, sha256: str
) -> None:
    ledger.book(make_spend("first", 2.0, cap=3.0))

    with pytest.raises(
        DatasetBudgetError, match=r"spent epsilon 2 .* asks for 1.5; .* is 3\. Lower .* to 1 "
    ):
        ledger.book(make_spend("second", 1.5, name=name, sha256=sha256))

    assert ledger.book(make_spend("third", 1.0, name=name, sha256=sha256)).epsilon == 3.0


def test_data_sets_without_names_are_not_the_same_for_that(ledger: PrivacyLedger) -> None:
    ledger.book(make_spend("a", name=None, sha256="a", cap=1.0))

    ledger.book(make_spend("b", name=None, sha256="b"))

    assert len(ledger.accounts()) == 2


def test_the_lowest_cap_ever_declared_holds(ledger: PrivacyLedger) -> None:
    ledger.book(make_spend("a", 1.0, cap=2.0))

    with pytest.raises(DatasetBudgetError):
        ledger.book(make_spend("b", 1.5, cap=100.0))

    assert ledger.accounts()[0].cap_epsilon == 2.0


def test_a_cap_that_a_run_declares_looks_back(ledger: PrivacyLedger) -> None:
    ledger.book(make_spend("a", 5.0))

    with pytest.raises(DatasetBudgetError, match=r"to 0\.5 or less, or use other data"):
        ledger.book(make_spend("b", 1.0, cap=5.5))

    assert [account.epsilon for account in ledger.accounts()] == [5.0]


def test_a_run_that_goes_on_is_booked_once_and_settled_by_what_it_reached(ledger: PrivacyLedger) -> None:
    ledger.book(make_spend("a", 2.0, cap=2.0))
    ledger.book(make_spend("a", 2.0, cap=2.0))

    ledger.settle("a", epsilon=1.5)
    ledger.settle("a", epsilon=1.9)

    account = ledger.accounts()[0]
    assert account.epsilon == 1.5
    assert account.spends[0].is_settled
    assert account.to_json()["runs"][0]["booked_at"] == (NOW + timedelta(seconds=1)).isoformat()


def test_a_run_that_never_began_is_forgotten_and_a_settled_one_never(ledger: PrivacyLedger) -> None:
    ledger.book(make_spend("a", 2.0))
    ledger.book(make_spend("b", 1.0))
    ledger.settle("b", epsilon=1.0)

    ledger.release("a")
    ledger.release("b")

    assert [spend.run for spend in ledger.accounts()[0].spends] == ["b"]


def test_a_run_that_joins_two_names_makes_them_one_data_set(ledger: PrivacyLedger) -> None:
    ledger.book(make_spend("a", 1.0, name="one", sha256="a"))
    ledger.book(make_spend("bb", 2.0, name="two", sha256="b"))
    ledger.book(make_spend("ccc", 4.0, name="two", sha256="a"))

    assert [account.epsilon for account in ledger.accounts()] == [7.0]
