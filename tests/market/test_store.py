import json
import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from ayni.database import DamagedDatabaseError, Database
from ayni.market.double_entry import GRANTS, Posting, Transaction, available
from ayni.market.ledger import DamagedLedgerError, Lease, Ledger, utc_now
from ayni.market.ledger_check import check_book
from ayni.market.store import DatabaseLedgerStore, InMemoryLedgerStore

LEASE = Lease(lease_id="r1", run="r1", member="me", site="own", site_member="me")


def ledger_at(path: Path) -> Ledger:
    return Ledger(DatabaseLedgerStore(Database(path)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a grant, a hold and a draw."""
    database = Database(tmp_path / "state.db")
    ledger = Ledger(DatabaseLedgerStore(database))
    ledger.grant_once("me", amount_microcredits=100, policy="new-member")
    ledger.hold(LEASE, amount_microcredits=60)
    ledger.draw(LEASE, receipt_hash="h1", amount_microcredits=25, memo="train")
    database.close()
    return tmp_path / "state.db"


def tamper(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for table in ("ledger_transactions", "ledger_postings"):
            for action in ("update", "delete"):
                connection.execute(f"DROP TRIGGER {table}_no_{action}")
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("table", ["ledger_transactions", "ledger_postings"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET sequence = 7", "DELETE FROM {}"])
def test_the_database_refuses_to_change_or_delete_what_was_booked(
    path: Path, table: str, statement: str
) -> None:
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_postings SET amount_microcredits = amount_microcredits * 2 WHERE sequence = 3",
        "UPDATE ledger_postings SET amount_microcredits = -24 WHERE sequence = 3 AND position = 0",
        "UPDATE ledger_postings SET account = 'member:you:available' WHERE sequence = 1 AND position = 1",
        "UPDATE ledger_postings SET amount_microcredits = 'much' WHERE sequence = 2 AND position = 1",
        "UPDATE ledger_transactions SET memo = 'gift' WHERE sequence = 2",
        "UPDATE ledger_transactions SET at = '2020-01-01' WHERE sequence = 1",
        "UPDATE ledger_transactions SET hash = x'00ff' WHERE sequence = 1",
        "DELETE FROM ledger_postings WHERE sequence = 2",
        "DELETE FROM ledger_transactions WHERE sequence = 2",
        "DELETE FROM ledger_postings",
    ],
)
def test_tampering_behind_the_triggers_is_found_by_the_check(path: Path, statement: str) -> None:
    tamper(path, statement)

    assert ledger_at(path).check()


def test_a_tampered_transaction_is_not_taken_for_the_booked_one(path: Path) -> None:
    tamper(path, "UPDATE ledger_postings SET amount_microcredits = 'much' WHERE sequence = 2")

    with pytest.raises(DamagedLedgerError, match="hold:r1"):
        ledger_at(path).hold(LEASE, amount_microcredits=60)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_balances SET balance_microcredits = 1000 WHERE account = 'member:me:available'",
        "DELETE FROM ledger_balances WHERE account = 'member:me:escrow:r1'",
        "INSERT INTO ledger_balances VALUES ('member:you:available', 5)",
    ],
)
def test_a_kept_balance_that_is_not_the_sum_of_its_postings_is_found(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)

    assert any("its postings sum to" in problem for problem in ledger_at(path).check())


def test_the_database_itself_refuses_a_balance_below_zero(path: Path) -> None:
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match="not_overdrawn"):
        connection.execute(
            "UPDATE ledger_balances SET balance_microcredits = -1 WHERE account LIKE 'member%'"
        )


def test_nothing_is_booked_behind_a_last_entry_that_was_changed(path: Path) -> None:
    tamper(path, "UPDATE ledger_postings SET amount_microcredits = -24 WHERE sequence = 3 AND position = 0")

    with pytest.raises(DamagedLedgerError, match="ayni ledger check"):
        ledger_at(path).grant_once("you", amount_microcredits=5, policy="p")

    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM ledger_transactions").fetchone() == (3,)


def test_an_entry_cut_off_at_the_end_is_found_by_whoever_noted_its_hash(path: Path) -> None:
    store = DatabaseLedgerStore(Database(path))
    with store.reading() as book:
        noted = check_book(book)
    tamper(
        path,
        "DELETE FROM ledger_postings WHERE sequence = 3",
        "DELETE FROM ledger_transactions WHERE sequence = 3",
        "UPDATE ledger_balances SET balance_microcredits = 60 WHERE account = 'member:me:escrow:r1'",
        "DELETE FROM ledger_balances WHERE account LIKE 'site%'",
    )

    with store.reading() as book:
        alone, compared = check_book(book), check_book(book, noted={3: noted.last_hash})

    assert alone.problems == []
    assert compared.problems == ["Transaction 3 was noted and is not there any more."]


@pytest.fixture
def server(postgresql: Any) -> Iterator[tuple[Any, str]]:
    """A PostgreSQL ledger with a grant and a hold: the server and the name of its database."""
    url = postgresql.new_database()
    database = Database(url)
    ledger = Ledger(DatabaseLedgerStore(database))
    ledger.grant_once("me", amount_microcredits=100, policy="new-member")
    ledger.hold(LEASE, amount_microcredits=60)
    database.close()
    yield postgresql, url.partition("@/")[2].partition("?")[0]


@pytest.mark.cluster
@pytest.mark.parametrize("table", ["ledger_transactions", "ledger_postings"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET sequence = 7", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_postgresql_refuses_to_change_or_delete_what_was_booked(
    server: tuple[Any, str], table: str, statement: str
) -> None:
    postgresql, name = server

    with pytest.raises(Exception, match="append-only"):
        postgresql.execute(statement.format(table), database=name)


@pytest.mark.cluster
def test_postgresql_itself_refuses_a_balance_below_zero(server: tuple[Any, str]) -> None:
    postgresql, name = server

    with pytest.raises(Exception, match="not_overdrawn"):
        postgresql.execute("UPDATE ledger_balances SET balance_microcredits = -1", database=name)


@pytest.mark.cluster
def test_tampering_behind_the_triggers_of_postgresql_is_found(server: tuple[Any, str]) -> None:
    postgresql, name = server
    postgresql.execute("ALTER TABLE ledger_postings DISABLE TRIGGER ALL", database=name)
    postgresql.execute(
        "UPDATE ledger_postings SET amount_microcredits = 2 * amount_microcredits WHERE sequence = 2",
        database=name,
    )
    database = Database(postgresql.url(name))

    problems = Ledger(DatabaseLedgerStore(database)).check()

    database.close()
    assert any("does not fit its hash" in problem for problem in problems)


def test_an_untouched_ledger_is_sound_and_reads_back_as_it_was_booked(path: Path) -> None:
    ledger = ledger_at(path)

    assert ledger.check() == []
    assert json.loads(json.dumps(ledger.transactions("r1"))) == ledger.transactions("r1")
    assert [row["sequence"] for row in ledger.transactions("r1")] == [2, 3]


def test_both_stores_make_the_same_entries(tmp_path: Path) -> None:
    postings = tuple(
        Posting(account=account, amount_microcredits=amount)
        for account, amount in ((available("me"), 5), (GRANTS, -5))
    )
    transactions = [
        Transaction(id=f"t{n}", kind="grant", run="r", memo="é", postings=postings) for n in range(3)
    ]
    now, memory = utc_now(), InMemoryLedgerStore()

    with memory.open() as book:
        for transaction in transactions:
            book.append(transaction, at=now)
        rows = [book.rows(), book.rows(id="t1"), [{"balance": book.balance(available("me"))}]]

    with DatabaseLedgerStore(Database(tmp_path / "state.db")).open() as book:
        for transaction in transactions:
            book.append(transaction, at=now)
        found = [book.rows(), book.rows(id="t1"), [{"balance": book.balance(available("me"))}]]
    assert found == rows


def test_a_block_that_raises_books_nothing_in_either_store(tmp_path: Path) -> None:
    postings = (
        Posting(account=GRANTS, amount_microcredits=-5),
        Posting(account=available("me"), amount_microcredits=5),
    )
    transaction = Transaction(id="t", kind="grant", run=None, memo="", postings=postings)

    for store in (InMemoryLedgerStore(), DatabaseLedgerStore(Database(tmp_path / "state.db"))):
        with pytest.raises(KeyboardInterrupt), store.open() as book:
            book.append(transaction, at=utc_now())
            raise KeyboardInterrupt
        with store.open() as book:
            assert book.rows() == []


def test_an_id_cannot_be_booked_twice_below_the_ledger_either(path: Path) -> None:
    store = DatabaseLedgerStore(Database(path))
    postings = (
        Posting(account=GRANTS, amount_microcredits=-5),
        Posting(account=available("me"), amount_microcredits=5),
    )

    with pytest.raises(IntegrityError), store.open() as book:
        book.append(Transaction(id="hold:r1", kind="x", run=None, memo="", postings=postings), at=utc_now())


def _hold_many(path: Path, first: int, start: Any, outcomes: Any) -> None:
    ledger = ledger_at(path)
    start.wait()
    held, end = 0, "all"
    for number in range(first, first + 15):
        lease = Lease(lease_id=f"x{number}", run=f"x{number}", member="you", site="own", site_member="me")
        try:
            ledger.hold(lease, amount_microcredits=10)
            held += 10
        except Exception as error:
            end = type(error).__name__
            break
    outcomes.put((held, end))


@pytest.mark.cluster
def test_processes_that_spend_one_balance_at_once_never_spend_it_twice(path: Path) -> None:
    ledger = ledger_at(path)
    ledger.grant_once("you", amount_microcredits=205, policy="new-member")
    context = multiprocessing.get_context("fork")
    start, outcomes = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_hold_many, args=(path, first, start, outcomes)) for first in (0, 100)
    ]

    for process in processes:
        process.start()
    found = [outcomes.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()

    assert sum(held for held, _ in found) == 200
    assert {end for _, end in found} in ({"InsufficientCreditsError"}, {"InsufficientCreditsError", "all"})
    assert ledger.balance(available("you")) == 5
    assert ledger.check() == []


@pytest.mark.cluster
def test_a_ledger_whose_writer_is_killed_is_whole_and_has_all_that_was_acknowledged(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from ayni.database import *; from ayni.market.ledger import *; from ayni.market.store import *\n"
        "ledger = Ledger(DatabaseLedgerStore(Database(Path(sys.argv[1]))))\n"
        "for n in range(10**6):\n"
        "    ledger.grant_once(f'm{n}', amount_microcredits=n + 1, policy='p')\n"
        "    print(n, flush=True)\n"
    )
    acknowledged = 0

    for num_lines in (3, 30):
        command = [sys.executable, "-c", script, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(num_lines)]
            process.kill()
            acknowledged = max(acknowledged, *map(int, [*lines, *process.stdout.read().split()]))

        ledger = ledger_at(path)
        assert ledger.check() == []
        assert all(ledger.balance(available(f"m{n}")) == n + 1 for n in range(acknowledged + 1))


def test_a_ledger_in_a_file_cut_short_is_named_as_damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    with pytest.raises(DamagedDatabaseError):
        ledger_at(path).check()
