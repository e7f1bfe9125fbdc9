from typing import Any

import pytest

from ayni.market.double_entry import Transaction, available, escrow
from ayni.market.ledger import Lease, Ledger, utc_now
from ayni.market.ledger_check import MOST_PROBLEMS, check_book
from ayni.market.movements import grant, move
from ayni.market.store import InMemoryLedgerStore

LEASE = Lease(lease_id="r1", run="r1", member="me", site="own", site_member="lab")


@pytest.fixture
def store() -> InMemoryLedgerStore:
    """A grant, a hold and a draw."""
    store = InMemoryLedgerStore()
    ledger = Ledger(store)
    ledger.grant_once("me", amount_microcredits=100, policy="new-member")
    ledger.hold(LEASE, amount_microcredits=60)
    ledger.draw(LEASE, receipt_hash="h", amount_microcredits=25, memo="")
    return store


class KeptBook:
    """A book as it was exported."""

    def __init__(self, store: InMemoryLedgerStore) -> None:
        self.rows = [entry.to_json() for entry in store.entries]
        with store.reading() as book:
            self.kept = book.balances()

    def each(self) -> Any:
        return iter(self.rows)

    def balances(self) -> dict[str, int]:
        return self.kept


def test_a_sound_book_is_summed_up(store: InMemoryLedgerStore) -> None:
    found = check_book(KeptBook(store))

    assert found.problems == []
    assert (found.num_entries, found.num_accounts, found.sum_microcredits) == (3, 4, 0)
    assert (found.granted_microcredits, found.escrow_microcredits) == (100, 35)
    assert found.last_hash == store.entries[-1].hash


def test_an_empty_book_is_sound() -> None:
    assert check_book(KeptBook(InMemoryLedgerStore())).problems == []


def test_a_kept_balance_that_differs_is_named_with_both_numbers(store: InMemoryLedgerStore) -> None:
    book = KeptBook(store)
    book.kept[available("me")] = 41

    assert "kept as 41 micro-credits, its postings sum to 40" in check_book(book).problems[0]


def test_a_settled_lease_must_have_nothing_left_anywhere(store: InMemoryLedgerStore) -> None:
    ledger = Ledger(store)

    assert len(check_book(KeptBook(store), settled=["r1", "other"]).problems) == 2
    ledger.release(LEASE)
    assert len(check_book(KeptBook(store), settled=["r1"]).problems) == 1
    ledger.pay_out(LEASE)
    assert check_book(KeptBook(store), settled=["r1"]).problems == []


def test_credits_that_come_into_a_closed_escrow_are_found(store: InMemoryLedgerStore) -> None:
    Ledger(store).release(LEASE)
    postings = move(5, available("me"), escrow("me", "r1"))
    with store.open() as book:
        book.append(Transaction(id="x", kind="x", run="r1", memo="", postings=postings), at=utc_now())

    assert check_book(KeptBook(store)).problems == [
        f"{escrow('me', 'r1')} holds 5 micro-credits after it was given back."
    ]


def test_an_entry_noted_before_must_still_be_there_with_its_hash(store: InMemoryLedgerStore) -> None:
    book, hashes = KeptBook(store), [entry.hash for entry in store.entries]

    assert check_book(book, noted={1: hashes[0], 3: hashes[2]}).problems == []
    assert "has not the hash that was noted" in check_book(book, noted={2: hashes[0]}).problems[0]
    assert "not there any more" in check_book(book, noted={4: hashes[0]}).problems[0]


def test_a_broken_chain_is_told_once_and_not_as_many_times_as_there_are_entries() -> None:
    store = InMemoryLedgerStore()
    Ledger(store).book_all([grant(f"m{n}", amount_microcredits=5, policy="p") for n in range(300)])
    book = KeptBook(store)
    for row in book.rows:
        row["memo"] = "changed"

    problems = check_book(book).problems

    assert len(problems) == MOST_PROBLEMS + 1
    assert "does not fit its hash" in problems[0]
    assert problems[-1] == "... and 200 more."
