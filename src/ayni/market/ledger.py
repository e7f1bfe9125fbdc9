"""The ledger: credits granted to members, held in escrow for a lease, drawn, refunded and paid out.

    grant    coop:grants              -> member:M:available       once for a new member
    hold     member:M:available       -> member:M:escrow:LEASE    before the work begins
    draw     member:M:escrow:LEASE    -> site:S:earned:LEASE      one for each signed receipt
    release  member:M:escrow:LEASE    -> member:M:available       what was not needed
    pay-out  site:S:earned:LEASE      -> member:N:available       to the member that owns the site

Every method may be called again after a crash: what is booked already is returned, not booked twice.

Not covered: verifying work before it is paid out, and the dividend of the cooperative.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ayni.errors import AyniError, UserError
from ayni.market import double_entry
from ayni.market.double_entry import Entry, Posting, Transaction
from ayni.units import microcredits_to_credits


class Book(Protocol):
    """The entries, within one all-or-nothing transaction."""

    def rows(self, *, id: str | None = None, run: str | None = None) -> list[dict[str, Any]]:
        """Entries as `Entry.to_json` writes them, oldest first: all, a run's, or the one with an id."""
        ...

    def balance(self, account: str) -> int:
        """Sum of all postings to an account in micro-credits; 0 for one that was never used."""
        ...

    def append(self, transaction: Transaction, *, at: datetime) -> Entry:
        """Book a transaction whose id is new."""
        ...


class LedgerStore(Protocol):
    """Keeps the entries."""

    def open(self) -> AbstractContextManager[Book]:
        """The book, for this caller alone; an exception in the block undoes what was appended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Capacity of one site allotted to one run: who pays, and whom."""

    lease_id: str
    run: str
    member: str
    site: str
    site_member: str


class InsufficientCreditsError(UserError):
    """A member wants to set aside more than it has."""

    def __init__(self, *, member: str, needed_microcredits: int, balance_microcredits: int) -> None:
        self.member = member
        self.needed_microcredits = needed_microcredits
        self.balance_microcredits = balance_microcredits
        self.shortfall_microcredits = needed_microcredits - balance_microcredits
        super().__init__(
            f"{member} needs {microcredits_to_credits(needed_microcredits):g} credits and has "
            f"{microcredits_to_credits(balance_microcredits):g}. Offer machine time worth "
            f"{microcredits_to_credits(self.shortfall_microcredits):g} credits, lower limits.credits in the "
            "job, or ask for less work. Unfinished runs keep credits set aside: finish or remove them "
            "(`ayni runs list`)."
        )


class DamagedLedgerError(AyniError):
    """A transaction that was read back from the ledger is none."""

    def __init__(self, *, id: str, reason: str) -> None:
        self.id = id
        super().__init__(
            f"The ledger's transaction {id} was changed or damaged: {reason}. Nothing was booked. Put the "
            "last good copy of the database back (the file beside it that ends in .backup)."
        )


class ReusedIdError(AyniError):
    """A transaction was asked for under an id that stands for another one."""

    def __init__(self, *, id: str, booked: dict[str, Any], wanted: Transaction) -> None:
        self.id = id
        super().__init__(
            f"The ledger has {id} already, as {booked['kind']} of {booked['postings']}; now it should be "
            f"{wanted.kind} of {list(wanted.postings)}. Nothing was booked. The job or its limits changed "
            "after the run began: start a new run."
        )


class ClosedLeaseError(AyniError):
    """Something was asked of a lease whose escrow was given back."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        super().__init__(
            f"The lease {lease.lease_id} is settled; nothing more can be drawn from it. Start a new run."
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

    def grant_once(self, member: str, *, amount_microcredits: int, policy: str) -> dict[str, Any]:
        """Give a member credits under a policy it has not profited from yet, say "new-member".

        A policy whose amount was changed later gives nothing more to those who had the old one.
        """
        transaction = Transaction(
            id=f"grant:{policy}:{member}",
            kind="grant",
            run=None,
            memo=f"granted to {member} under the policy {policy}",
            postings=_move(amount_microcredits, double_entry.GRANTS, double_entry.available(member)),
        )
        with self._store.open() as book:
            return _booked(book, transaction.id) or self._append(book, transaction)

    def held(self, lease: Lease) -> int | None:
        """Micro-credits that were set aside for the lease so far; None before it began."""
        account = double_entry.escrow(lease.member, lease.lease_id)
        with self._store.open() as book:
            holds = [row for row in book.rows(run=lease.run) if row["kind"] == "hold"]
        amounts = [
            posting["amount_microcredits"]
            for row in holds
            for posting in row["postings"]
            if posting["account"] == account
        ]
        return sum(amounts) if amounts else None

    def hold(self, lease: Lease, *, amount_microcredits: int) -> dict[str, Any]:
        """Set aside what a lease may cost at most.

        Raises:
            InsufficientCreditsError: the member has less.
            ReusedIdError: another amount was held for this lease.
        """
        return self._set_aside(lease, id=_hold_id(lease), amount_microcredits=amount_microcredits)

    def hold_more(self, lease: Lease, *, held_microcredits: int, amount_microcredits: int) -> dict[str, Any]:
        """Add to what is set aside for a lease, on top of the `held_microcredits` that the caller saw.

        Raises:
            InsufficientCreditsError: the member has less.
            ReusedIdError: another amount was added on top of the same sum.
        """
        id = f"{_hold_id(lease)}:{held_microcredits}"
        return self._set_aside(lease, id=id, amount_microcredits=amount_microcredits)

    def _set_aside(self, lease: Lease, *, id: str, amount_microcredits: int) -> dict[str, Any]:
        account = double_entry.available(lease.member)
        transaction = Transaction(
            id=id,
            kind="hold",
            run=lease.run,
            memo=f"set aside by {lease.member} for work on {lease.site}",
            postings=_move(amount_microcredits, account, double_entry.escrow(lease.member, lease.lease_id)),
        )
        with self._store.open() as book:
            if found := _booked(book, transaction.id, like=transaction):
                return found
            if (balance := book.balance(account)) < amount_microcredits:
                raise InsufficientCreditsError(
                    member=lease.member,
                    needed_microcredits=amount_microcredits,
                    balance_microcredits=balance,
                )
            return self._append(book, transaction)

    def draw(
        self,
        lease: Lease,
        *,
        receipt_hash: str,
        amount_microcredits: int,
        climate_microcredits: int = 0,
        memo: str,
    ) -> dict[str, Any]:
        """Pay for one receipt out of the lease's escrow: the site, and the climate fund its carbon charge.

        Raises:
            OverdrawnAccountError: the escrow holds less.
            ReusedIdError: another amount was drawn for this receipt.
            ClosedLeaseError: the escrow was given back already.
        """
        parts = {
            double_entry.escrow(lease.member, lease.lease_id): -amount_microcredits - climate_microcredits,
            double_entry.earned(lease.site, lease.lease_id): amount_microcredits,
            double_entry.CLIMATE_FUND: climate_microcredits,
        }
        if min(amount_microcredits, climate_microcredits) < 0:
            raise ValueError(f"a draw of {amount_microcredits} and {climate_microcredits} micro-credits")
        transaction = Transaction(
            id=f"draw:{lease.lease_id}:{receipt_hash}",
            kind="draw",
            run=lease.run,
            memo=memo,
            postings=tuple(
                Posting(account=account, amount_microcredits=amount)
                for account, amount in parts.items()
                if amount != 0
            ),
        )
        with self._store.open() as book:
            if found := _booked(book, transaction.id, like=transaction):
                return found
            if _booked(book, _release_id(lease)):
                raise ClosedLeaseError(lease)
            return self._append(book, transaction)

    def release(self, lease: Lease) -> dict[str, Any] | None:
        """Give back what is left in the lease's escrow and close it; None when nothing is left."""
        return self._empty(
            lease,
            id=_release_id(lease),
            kind="release",
            memo=f"not needed, back to {lease.member}",
            source=double_entry.escrow(lease.member, lease.lease_id),
            target=double_entry.available(lease.member),
        )

    def pay_out(self, lease: Lease) -> dict[str, Any] | None:
        """Give what the site has earned by the lease to its member; None when it earned nothing."""
        return self._empty(
            lease,
            id=f"pay-out:{lease.lease_id}",
            kind="pay-out",
            memo=f"earned by {lease.site}, to {lease.site_member}",
            source=double_entry.earned(lease.site, lease.lease_id),
            target=double_entry.available(lease.site_member),
        )

    def balance(self, account: str) -> int:
        """Micro-credits in an account (see ayni.market.double_entry for the names)."""
        with self._store.open() as book:
            return book.balance(account)

    def transactions(self, run: str) -> list[dict[str, Any]]:
        """The transactions of a run, oldest first, for its ledger file and `check_transactions`."""
        with self._store.open() as book:
            return book.rows(run=run)

    def check(self) -> list[str]:
        """What is wrong with the whole book; an empty list = nothing. Reads all of it."""
        with self._store.open() as book:
            rows = book.rows()
        return double_entry.check_transactions(rows, is_whole_book=True)

    def _empty(
        self, lease: Lease, *, id: str, kind: str, memo: str, source: str, target: str
    ) -> dict[str, Any] | None:
        with self._store.open() as book:
            if found := _booked(book, id):
                return found
            if not (amount := book.balance(source)):
                return None
            postings = _move(amount, source, target)
            return self._append(
                book, Transaction(id=id, kind=kind, run=lease.run, memo=memo, postings=postings)
            )

    def _append(self, book: Book, transaction: Transaction) -> dict[str, Any]:
        accounts = [posting.account for posting in transaction.postings]
        double_entry.refuse_overdraft(transaction, {account: book.balance(account) for account in accounts})
        return book.append(transaction, at=self._now()).to_json()


def _booked(book: Book, id: str, *, like: Transaction | None = None) -> dict[str, Any] | None:
    """The entry under this id, if there is one; with `like` it must have the same content."""
    found = book.rows(id=id)
    if not found:
        return None
    try:
        entry = Entry.from_json(found[0])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedLedgerError(id=id, reason=str(error)) from error
    if like is not None and entry.transaction != like:
        raise ReusedIdError(id=id, booked=found[0], wanted=like)
    return found[0]


def _move(amount_microcredits: int, source: str, target: str) -> tuple[Posting, Posting]:
    if amount_microcredits <= 0:
        raise ValueError(f"{amount_microcredits} micro-credits cannot go from {source} to {target}")
    return (
        Posting(account=source, amount_microcredits=-amount_microcredits),
        Posting(account=target, amount_microcredits=amount_microcredits),
    )


def _hold_id(lease: Lease) -> str:
    return f"hold:{lease.lease_id}"


def _release_id(lease: Lease) -> str:
    return f"release:{lease.lease_id}"
