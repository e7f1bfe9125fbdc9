"""Where the ledger's entries are kept: three tables, and a twin in memory for tests and simulations.

Both fulfil `ayni.market.ledger.LedgerStore`. A book is open for one all-or-nothing transaction of
the database, alone: what it says about balances stays true until it is closed.

The balance of each account is kept beside the postings, because a sum over all postings to the climate
fund would take longer with every transaction. It is written together with them, the database refuses one
below zero, and `ledger_check` proves that it is the sum.

Not covered: removing or changing entries. There is no function for it, and triggers in the database
refuse it.
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ayni.database import Database, metadata
from ayni.market.double_entry import GRANTS, Entry, Transaction, chain, problem_of_entry
from ayni.market.ledger import Book, DamagedLedgerError
from ayni.signing import FIRST_OF_CHAIN

T = TypeVar("T")
# SQLite takes at most 32,766 values in a statement.
_MOST_VALUES = 5000
_ROWS_AT_ONCE = 2000

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

ledger_balances = sa.Table(
    "ledger_balances",
    metadata,
    sa.Column("account", sa.String, primary_key=True),
    sa.Column("balance_microcredits", sa.BigInteger, nullable=False),
    sa.CheckConstraint(f"balance_microcredits >= 0 OR account = '{GRANTS}'", name="not_overdrawn"),
)


class InMemoryLedgerStore:
    """The store for tests and simulations: entries in a list, gone with the process."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._book = _InMemoryBook(self.entries)
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def open(self) -> Iterator[Book]:
        """The book, for this caller alone; an exception in the block undoes what was appended."""
        with self._lock:
            num_before = len(self.entries)
            try:
                yield self._book
            except BaseException:
                self._book.undo(down_to=num_before)
                raise

    def run(self, work: Callable[[Book], T]) -> T:
        """Do `work` with the book opened."""
        with self.open() as book:
            return work(book)

    def reading(self) -> contextlib.AbstractContextManager[Book]:
        """The book; whoever writes waits, for there is one state only."""
        return self.open()


class _InMemoryBook:
    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._by_id: dict[str, Entry] = {}
        self._balances: dict[str, int] = {}

    def rows(self, *, id: str | None = None, run: str | None = None) -> list[dict[str, Any]]:
        return [
            entry.to_json()
            for entry in self._entries
            if (id is None or entry.transaction.id == id) and (run is None or entry.transaction.run == run)
        ]

    def rows_of(self, account_prefix: str) -> list[dict[str, Any]]:
        return [
            entry.to_json()
            for entry in self._entries
            if any(posting.account.startswith(account_prefix) for posting in entry.transaction.postings)
        ]

    def find(self, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        return {id: self._by_id[id].to_json() for id in ids if id in self._by_id}

    def each(self) -> Iterator[dict[str, Any]]:
        return (entry.to_json() for entry in self._entries)

    def balance(self, account: str) -> int:
        return self._balances.get(account, 0)

    def balances(self, accounts: Collection[str] | None = None) -> dict[str, int]:
        chosen = self._balances if accounts is None else accounts
        return {account: self._balances[account] for account in chosen if account in self._balances}

    def append(self, transaction: Transaction, *, at: datetime) -> Entry:
        return self.append_all([transaction], at=at)[0]

    def append_all(self, transactions: Sequence[Transaction], *, at: datetime) -> list[Entry]:
        previous_hash = self._entries[-1].hash if self._entries else FIRST_OF_CHAIN
        entries = chain(transactions, at=at, after=len(self._entries), previous_hash=previous_hash)
        for entry in entries:
            self._entries.append(entry)
            self._by_id[entry.transaction.id] = entry
            self._carry(entry, sign=1)
        return entries

    def undo(self, *, down_to: int) -> None:
        while len(self._entries) > down_to:
            entry = self._entries.pop()
            del self._by_id[entry.transaction.id]
            self._carry(entry, sign=-1)

    def _carry(self, entry: Entry, *, sign: int) -> None:
        for posting in entry.transaction.postings:
            before = self._balances.get(posting.account, 0)
            self._balances[posting.account] = before + sign * posting.amount_microcredits


class DatabaseLedgerStore:
    """The store in the shared database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextlib.contextmanager
    def open(self) -> Iterator[Book]:
        """The book, for this caller alone; an exception in the block undoes what was appended."""
        with self._database.transaction() as connection:
            yield _DatabaseBook(connection)

    def run(self, work: Callable[[Book], T]) -> T:
        """Do `work` with the book opened; again where the connection was lost."""
        return self._database.run(lambda connection: work(_DatabaseBook(connection)))

    @contextlib.contextmanager
    def reading(self) -> Iterator[Book]:
        """The book as it stands now, without holding up whoever writes."""
        with self._database.reading() as connection:
            yield _DatabaseBook(connection)


class _DatabaseBook:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        # Balances that were read already: nobody else can change them until the book is closed.
        self._known: dict[str, int | None] = {}

    def rows(self, *, id: str | None = None, run: str | None = None) -> list[dict[str, Any]]:
        table = ledger_transactions
        chosen = [table.c.id == id] if id is not None else []
        chosen += [table.c.run == run] if run is not None else []
        return self._rows(chosen)

    def rows_of(self, account_prefix: str) -> list[dict[str, Any]]:
        # The names of accounts are few beside the postings; no index serves a beginning on both systems.
        accounts = sa.select(ledger_balances.c.account).where(
            sa.func.substr(ledger_balances.c.account, 1, len(account_prefix)) == account_prefix
        )
        touched = sa.select(ledger_postings.c.sequence).where(ledger_postings.c.account.in_(accounts))
        return self._rows([ledger_transactions.c.sequence.in_(touched)])

    def find(self, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        return {
            row["id"]: row
            for some in _in_parts(ids)
            for row in self._rows([ledger_transactions.c.id.in_(some)])
        }

    def each(self) -> Iterator[dict[str, Any]]:
        last = 0
        while found := self._rows([ledger_transactions.c.sequence > last], limit=_ROWS_AT_ONCE):
            yield from found
            last = found[-1]["sequence"]

    def balance(self, account: str) -> int:
        return self.balances([account]).get(account, 0)

    def balances(self, accounts: Collection[str] | None = None) -> dict[str, int]:
        query = sa.select(ledger_balances)
        if accounts is None:
            found = self._connection.execute(query).all()
            return {row.account: row.balance_microcredits for row in found}
        for some in _in_parts([account for account in accounts if account not in self._known]):
            self._known |= dict.fromkeys(some)
            for row in self._connection.execute(query.where(ledger_balances.c.account.in_(some))):
                self._known[row.account] = row.balance_microcredits
        known = ((account, self._known[account]) for account in accounts)
        return {account: balance for account, balance in known if balance is not None}

    def append(self, transaction: Transaction, *, at: datetime) -> Entry:
        return self.append_all([transaction], at=at)[0]

    def append_all(self, transactions: Sequence[Transaction], *, at: datetime) -> list[Entry]:
        newest, previous_hash = self._newest()
        entries = chain(transactions, at=at, after=newest, previous_hash=previous_hash)
        rows = [entry.to_json() for entry in entries]
        postings = [
            {"sequence": row["sequence"], "position": position, **posting}
            for row in rows
            for position, posting in enumerate(row.pop("postings"))
        ]
        self._insert(ledger_transactions, rows)
        self._insert(ledger_postings, postings)
        self._carry(entries)
        return entries

    def _carry(self, entries: Sequence[Entry]) -> None:
        """Add what was posted to the kept balances, once for each account."""
        changes: dict[str, int] = {}
        for entry in entries:
            for posting in entry.transaction.postings:
                changes[posting.account] = changes.get(posting.account, 0) + posting.amount_microcredits
        before = self.balances(changes)
        after = {account: before.get(account, 0) + change for account, change in changes.items()}
        rows = [{"account": account, "balance_microcredits": balance} for account, balance in after.items()]
        self._insert(ledger_balances, rows)
        self._known |= after

    def _insert(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._connection.dialect.name != "postgresql":
            self._connection.execute(_insert_of(table, "sqlite"), rows)
            return
        # One statement with an array for each column: a statement for each row takes twice as long.
        columns = {column.name: [row[column.name] for row in rows] for column in table.columns}
        self._connection.execute(_insert_of(table, "postgresql"), columns)

    def _newest(self) -> tuple[int, str]:
        """Number and hash of the last entry, which must be as it was booked: the next one vouches for it."""
        table, newest = ledger_transactions, sa.func.max(ledger_transactions.c.sequence)
        query = (
            sa.select(table, ledger_postings.c.account, ledger_postings.c.amount_microcredits)
            .outerjoin(ledger_postings)
            .where(table.c.sequence == sa.select(newest).scalar_subquery())
            .order_by(ledger_postings.c.position)
        )
        found = [row._asdict() for row in self._connection.execute(query)]
        if not found:
            return 0, FIRST_OF_CHAIN
        postings = [{name: row.pop(name) for name in ("account", "amount_microcredits")} for row in found]
        if problem := problem_of_entry({**found[0], "postings": postings}):
            raise DamagedLedgerError(id=str(found[0]["id"]), reason=f"it {problem}")
        return found[0]["sequence"], found[0]["hash"]

    def _rows(
        self,
        chosen: list[sa.ColumnElement[bool]],
        *,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        table = ledger_transactions
        query = sa.select(table).where(*chosen).order_by(table.c.sequence).limit(limit)
        found = self._connection.execute(query).all()
        postings = self._postings([row.sequence for row in found])
        return [{**row._mapping, "postings": postings.get(row.sequence, [])} for row in found]

    def _postings(self, sequences: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        table = ledger_postings
        by_sequence: dict[int, list[dict[str, Any]]] = {}
        for some in _in_parts(sequences):
            query = (
                sa.select(table)
                .where(table.c.sequence.in_(some))
                .order_by(table.c.sequence, table.c.position)
            )
            for row in self._connection.execute(query):
                posting = {"account": row.account, "amount_microcredits": row.amount_microcredits}
                by_sequence.setdefault(row.sequence, []).append(posting)
        return by_sequence


@cache
def _insert_of(table: sa.Table, dialect: str) -> sa.Insert:
    """The INSERT of rows; that of balances replaces those that are there.

    The new balance is inserted, not the change: PostgreSQL checks the row before it looks for one in its way.
    """
    insert: Any
    if dialect == "sqlite":
        insert = sqlite.insert(table)
    else:
        arrays = [sa.bindparam(each.name, type_=postgresql.ARRAY(each.type)) for each in table.columns]
        rows = sa.select(*(sa.func.unnest(array) for array in arrays))
        insert = postgresql.insert(table).from_select(list(table.columns), rows)
    if table is ledger_balances:
        new = {"balance_microcredits": insert.excluded.balance_microcredits}
        insert = insert.on_conflict_do_update(index_elements=["account"], set_=new)
    found: sa.Insert = insert
    return found


def _in_parts(values: Collection[T]) -> Iterator[list[T]]:
    """Lists of at most _MOST_VALUES; none at all for no values."""
    listed = list(values)
    return (listed[start : start + _MOST_VALUES] for start in range(0, len(listed), _MOST_VALUES))
