"""Where the ledger's entries are kept: two tables, and a twin in memory for tests.

Both fulfil `ayni.market.ledger.LedgerStore`. A book is open for one all-or-nothing transaction of
the database, alone: what it says about balances stays true until it is closed.

Not covered: removing or changing entries. There is no function for it, and triggers in the SQLite
database refuse it.
"""

import contextlib
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ayni.database import Database, metadata
from ayni.market.double_entry import Entry, Transaction, next_entry
from ayni.market.ledger import Book
from ayni.signing import FIRST_OF_CHAIN

ledger_transactions = sa.Table(
    "ledger_transactions",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("run", sa.String, nullable=True, index=True),
    # Text, not a date: its hash covers the very characters.
    sa.Column("at", sa.String, nullable=False),
    sa.Column("memo", sa.String, nullable=False),
    sa.Column("previous_hash", sa.String, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
)

ledger_postings = sa.Table(
    "ledger_postings",
    metadata,
    sa.Column("sequence", sa.ForeignKey("ledger_transactions.sequence"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("account", sa.String, nullable=False, index=True),
    sa.Column("amount_microcredits", sa.BigInteger, nullable=False),
)


class InMemoryLedgerStore:
    """The store for tests: entries in a list, gone with the process."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def open(self) -> Iterator[Book]:
        """The book, for this caller alone; an exception in the block undoes what was appended."""
        with self._lock:
            num_before = len(self.entries)
            try:
                yield _InMemoryBook(self.entries)
            except BaseException:
                del self.entries[num_before:]
                raise


class _InMemoryBook:
    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    def rows(self, *, id: str | None = None, run: str | None = None) -> list[dict[str, Any]]:
        return [
            entry.to_json()
            for entry in self._entries
            if (id is None or entry.transaction.id == id) and (run is None or entry.transaction.run == run)
        ]

    def balance(self, account: str) -> int:
        return sum(
            posting.amount_microcredits
            for entry in self._entries
            for posting in entry.transaction.postings
            if posting.account == account
        )

    def append(self, transaction: Transaction, *, at: datetime) -> Entry:
        previous_hash = self._entries[-1].hash if self._entries else FIRST_OF_CHAIN
        sequence = len(self._entries) + 1
        entry = next_entry(transaction, at=at, sequence=sequence, previous_hash=previous_hash)
        self._entries.append(entry)
        return entry


class DatabaseLedgerStore:
    """The store in the shared database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextlib.contextmanager
    def open(self) -> Iterator[Book]:
        """The book, for this caller alone; an exception in the block undoes what was appended."""
        with self._database.transaction() as connection:
            yield _DatabaseBook(connection)


class _DatabaseBook:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def rows(self, *, id: str | None = None, run: str | None = None) -> list[dict[str, Any]]:
        table = ledger_transactions
        chosen = [table.c.id == id] if id is not None else []
        chosen += [table.c.run == run] if run is not None else []
        # Both tables are read in the same order and merged, two statements for any number of entries.
        found = self._connection.execute(sa.select(table).where(*chosen).order_by(table.c.sequence))
        postings = self._postings(chosen)
        return [_to_json(row, postings.get(row.sequence, [])) for row in found]

    def _postings(self, chosen: list[sa.ColumnElement[bool]]) -> dict[int, list[dict[str, Any]]]:
        table = ledger_postings
        query = sa.select(table).order_by(table.c.sequence, table.c.position)
        if chosen:
            query = query.join(ledger_transactions).where(*chosen)
        by_sequence: dict[int, list[dict[str, Any]]] = {}
        for row in self._connection.execute(query):
            posting = {"account": row.account, "amount_microcredits": row.amount_microcredits}
            by_sequence.setdefault(row.sequence, []).append(posting)
        return by_sequence

    def balance(self, account: str) -> int:
        total = sa.func.coalesce(sa.func.sum(ledger_postings.c.amount_microcredits), 0)
        return int(
            self._connection.execute(
                sa.select(total).where(ledger_postings.c.account == account)
            ).scalar_one()
        )

    def append(self, transaction: Transaction, *, at: datetime) -> Entry:
        newest, previous_hash = self._newest()
        entry = next_entry(transaction, at=at, sequence=newest + 1, previous_hash=previous_hash)
        row = entry.to_json()
        postings = row.pop("postings")
        self._connection.execute(ledger_transactions.insert(), row)
        self._connection.execute(
            ledger_postings.insert(),
            [
                {"sequence": entry.sequence, "position": position, **posting}
                for position, posting in enumerate(postings)
            ],
        )
        return entry

    def _newest(self) -> tuple[int, str]:
        table = ledger_transactions
        query = sa.select(table.c.sequence, table.c.hash).order_by(table.c.sequence.desc()).limit(1)
        row = self._connection.execute(query).one_or_none()
        return (0, FIRST_OF_CHAIN) if row is None else (row.sequence, row.hash)


def _to_json(row: sa.Row[Any], postings: list[dict[str, Any]]) -> dict[str, Any]:
    return {**row._mapping, "postings": postings}
