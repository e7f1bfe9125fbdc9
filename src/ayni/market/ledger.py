"""The ledger: credits of all members, in a book that only grows.

What can be asked of it are the movements of `ayni.market.movements` and its neighbours. Each may be
asked for again after a crash: what is booked already is returned, not booked twice.

Many movements are booked together in one transaction of the database (`book_all`): a site that reports
a tick of all its leases does not wait for the disk once for each of them. One that is refused does not
keep the others from being booked.

Not covered: which movement is due when; that is known to `lease_book`, `settlement` and `period`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from ayni.errors import AyniError
from ayni.market import double_entry, movements
from ayni.market.double_entry import Entry, Transaction
from ayni.market.ledger_check import check_book
from ayni.market.movements import (
    ClosedLeaseError,
    InsufficientCreditsError,
    Lease,
    Movement,
    ReusedIdError,
    Row,
    View,
)

__all__ = [
    "Book",
    "ClosedLeaseError",
    "DamagedLedgerError",
    "InsufficientCreditsError",
    "Lease",
    "Ledger",
    "LedgerStore",
    "ReusedIdError",
    "utc_now",
]

T = TypeVar("T")


class Book(Protocol):
    """The entries, within one all-or-nothing transaction."""

    def rows(self, *, id: str | None = None, run: str | None = None) -> list[Row]:
        """Entries as `Entry.to_json` writes them, oldest first: all, a run's, or the one with an id."""
        ...

    def rows_of(self, account_prefix: str) -> list[Row]:
        """Entries with a posting to an account whose name begins so, oldest first."""
        ...

    def find(self, ids: Collection[str]) -> dict[str, Row]:
        """Those of some entries that are booked, by id."""
        ...

    def each(self) -> Iterator[Row]:
        """All entries, oldest first, without holding them all in memory."""
        ...

    def balance(self, account: str) -> int:
        """Sum of all postings to an account in micro-credits; 0 for one that was never used."""
        ...

    def balances(self, accounts: Collection[str] | None = None) -> dict[str, int]:
        """The balance of some accounts, or of all; those that were never used are left out."""
        ...

    def append(self, transaction: Transaction, *, at: datetime) -> Entry:
        """Book a transaction whose id is new."""
        ...

    def append_all(self, transactions: Sequence[Transaction], *, at: datetime) -> list[Entry]:
        """Book transactions whose ids are new, in their order."""
        ...


class LedgerStore(Protocol):
    """Keeps the entries."""

    def open(self) -> AbstractContextManager[Book]:
        """The book, for this caller alone; an exception in the block undoes what was appended."""
        ...

    def run(self, work: Callable[[Book], T]) -> T:
        """Do `work` with the book opened; again where a connection was lost, so it must bear that."""
        ...

    def reading(self) -> AbstractContextManager[Book]:
        """The book as it stands now, for reading only, without holding up whoever writes."""
        ...


class DamagedLedgerError(AyniError):
    """A transaction that was read back from the ledger is none."""

    def __init__(self, *, id: str, reason: str) -> None:
        self.id = id
        super().__init__(
            f"The ledger's transaction {id} was changed or damaged: {reason}. Nothing was booked. "
            "`ayni ledger check` says what else is wrong. Put the last good copy of the database back (for a "
            "file, the one beside it that ends in .backup)."
        )


def utc_now() -> datetime:
    """The clock by default."""
    return datetime.now(UTC)


class Ledger:
    """Credits of all members, in a book that only grows.

    Raises, from every method: what its store raises, such as DamagedDatabaseError and DiskFullError;
    AccountNameError for names that no account can carry.
    """

    def __init__(self, store: LedgerStore, *, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now

    def book_all(self, wanted: Sequence[Movement]) -> list[Row | AyniError | None]:
        """Book movements in their order, in one transaction of the database.

        Each sees what those before it moved. The answer for each is its entry (booked now or before), None
        where there was nothing to move, or the error that refuses it; the others are booked all the same.

        Raises:
            DamagedLedgerError: an entry that was read back is none; nothing is booked.
        """
        return self._store.run(lambda book: self._book(book, wanted))

    def preview(self, wanted: Sequence[Movement]) -> list[Transaction | AyniError | None]:
        """What `book_all` would answer now, as transactions; nothing is booked."""
        with self._store.reading() as book:
            return _decided(book, wanted).answers

    def book(self, wanted: Movement) -> Row | None:
        """Book one movement and return its entry; None where there was nothing to move.

        Raises:
            AyniError: what refuses it, see the function that made the movement.
        """
        (answer,) = self.book_all([wanted])
        if isinstance(answer, AyniError):
            raise answer
        return answer

    def grant_once(
        self, member: str, *, amount_microcredits: int, policy: str, organisation: str | None = None
    ) -> Row:
        """Give a member credits under a policy it has not profited from yet, say "new-member".

        A policy whose amount was changed later gives nothing more to those who had the old one. Of members
        of one organisation only the first gets it; the entry of that grant is what is returned.
        """
        wanted = movements.grant(
            member, amount_microcredits=amount_microcredits, policy=policy, organisation=organisation
        )
        return self._moved(wanted)

    def held(self, lease: Lease) -> int | None:
        """Micro-credits that were set aside for the lease so far; None before it began."""
        account = movements.escrow_of(lease)
        with self._store.reading() as book:
            holds = [row for row in book.rows(run=lease.run) if row["kind"] == "hold"]
        amounts = [
            posting["amount_microcredits"]
            for row in holds
            for posting in row["postings"]
            if posting["account"] == account
        ]
        return sum(amounts) if amounts else None

    def hold(self, lease: Lease, *, amount_microcredits: int) -> Row:
        """Set aside what a lease may cost at most.

        Raises:
            InsufficientCreditsError: the member has less.
            ReusedIdError: another amount was held for this lease.
        """
        return self._moved(movements.hold(lease, amount_microcredits=amount_microcredits))

    def hold_more(self, lease: Lease, *, held_microcredits: int, amount_microcredits: int) -> Row:
        """Add to what is set aside for a lease, on top of the `held_microcredits` that the caller saw.

        Raises:
            InsufficientCreditsError: the member has less.
            ClosedLeaseError: the escrow was given back already.
            ReusedIdError: another amount was added on top of the same sum.
        """
        id = f"{movements.hold_id(lease)}:{held_microcredits}"
        return self._moved(movements.hold(lease, amount_microcredits=amount_microcredits, id=id))

    def draw(
        self,
        lease: Lease,
        *,
        receipt_hash: str,
        amount_microcredits: int,
        climate_microcredits: int = 0,
        memo: str,
    ) -> Row:
        """Pay for one receipt out of the lease's escrow: the site, and the climate fund its carbon charge.

        Raises:
            OverdrawnAccountError: the escrow holds less.
            ReusedIdError: another amount was drawn for this receipt.
            ClosedLeaseError: the escrow was given back already.
        """
        return self._moved(
            movements.draw(
                lease,
                receipt_hash=receipt_hash,
                amount_microcredits=amount_microcredits,
                climate_microcredits=climate_microcredits,
                memo=memo,
            )
        )

    def release(self, lease: Lease) -> Row | None:
        """Give back what is left in the lease's escrow and close it; None when nothing is left."""
        return self.book(movements.release(lease))

    def pay_out(self, lease: Lease) -> Row | None:
        """Give what the site has earned by the lease to its member; None when it earned nothing."""
        return self.book(movements.pay_out(lease))

    def balance(self, account: str) -> int:
        """Micro-credits in an account (see ayni.market.double_entry for the names)."""
        with self._store.reading() as book:
            return book.balance(account)

    def balances(self) -> dict[str, int]:
        """Micro-credits in every account that was ever used."""
        with self._store.reading() as book:
            return book.balances()

    def transactions(self, run: str) -> list[Row]:
        """The transactions of a run, oldest first, for its ledger file and `check_transactions`."""
        with self._store.reading() as book:
            return book.rows(run=run)

    def transactions_of(self, member: str) -> list[Row]:
        """All transactions that moved credits of a member, oldest first."""
        prefix = double_entry.available(member).removesuffix("available")
        with self._store.reading() as book:
            return book.rows_of(prefix)

    def check(self) -> list[str]:
        """What is wrong with the whole book; an empty list = nothing. Reads all of it."""
        with self._store.reading() as book:
            return check_book(book).problems

    def _moved(self, wanted: Movement) -> Row:
        row = self.book(wanted)
        if row is None:
            raise ValueError(f"{wanted.id} moves nothing")
        return row

    def _book(self, book: Book, wanted: Sequence[Movement]) -> list[Row | AyniError | None]:
        decided = _decided(book, wanted)
        entries = book.append_all(decided.new, at=self._now()) if decided.new else []
        rows = decided.rows | {entry.transaction.id: entry.to_json() for entry in entries}
        return [rows[each.id] if isinstance(each, Transaction) else each for each in decided.answers]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """What movements become: an answer for each, what of it is new, and the entries that were there."""

    answers: list[Transaction | AyniError | None]
    new: list[Transaction]
    rows: dict[str, Row]


def _decided(book: Book, wanted: Sequence[Movement]) -> _Decided:
    ids = {each.id for each in wanted}.union(*(each.looks_up for each in wanted))
    accounts = {account for each in wanted for account in each.touched_accounts}
    rows, balances = book.find(ids), book.balances(accounts)
    booked = {id: _transaction_of(row) for id, row in rows.items()}
    view = View(balances=balances, booked=booked)
    answers: list[Transaction | AyniError | None] = []
    for each in wanted:
        answer = _answer(each, view)
        answers.append(answer)
        if isinstance(answer, Transaction) and answer.id not in booked:
            booked[answer.id] = answer
            for posting in answer.postings:
                before = balances.get(posting.account, 0)
                balances[posting.account] = before + posting.amount_microcredits
    return _Decided(answers=answers, new=[booked[id] for id in booked if id not in rows], rows=rows)


def _answer(wanted: Movement, view: View) -> Transaction | AyniError | None:
    booked = view.booked.get(wanted.id)
    try:
        if booked is None:
            return wanted.decide(view)
        wanted.refuse_other(booked)
    except AyniError as refused:
        return refused
    return booked


def _transaction_of(row: Row) -> Transaction:
    try:
        return Entry.from_json(row).transaction
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedLedgerError(id=str(row.get("id")), reason=str(error)) from error
