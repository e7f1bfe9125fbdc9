"""Movements of credits that are asked for, and what each becomes, given what the book says.

A movement knows its idempotency key, which balances it must see, and its postings. Deciding is pure, so
that any number of movements can be decided after one look into the book and booked in one transaction
of the database: that is what makes a ledger of one chain fast.

    grant     coop:grants              -> member:M:available       once for a new member
    hold      member:M:available       -> member:M:escrow:LEASE    before the work begins
    draw      member:M:escrow:LEASE    -> site:S:earned:LEASE      one for each signed receipt
    release   member:M:escrow:LEASE    -> member:M:available       what was not needed
    pay-out   site:S:earned:LEASE      -> member:N:available       to the member that owns the site

`metering` adds the draws of metered ticks, `guarantees` bonds and claw-backs, `period` what the
cooperative does each quarter.

Not covered: when which movement is due. `lease_book` and the workflows know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ayni.errors import AyniError, UserError
from ayni.market import double_entry
from ayni.market.double_entry import Posting, Transaction, refuse_overdraft
from ayni.units import microcredits_to_credits

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Capacity of one site allotted to one run: who pays, and whom.

    site_member is the member that owns the site, or `cloud:PROVIDER`, which is paid in money.
    """

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


class ReusedIdError(AyniError):
    """The same idempotency key came with different content."""

    def __init__(self, *, booked: Transaction, wanted: str) -> None:
        self.id = booked.id
        super().__init__(
            f"The ledger has {booked.id} already, as {booked.kind} of {_in_words(booked.postings)} "
            f"({booked.memo}); now it should be {wanted}. Nothing was booked. The job or its limits changed "
            "after the run began: start a new run."
        )


class ClosedLeaseError(AyniError):
    """Something was asked of a lease whose escrow was given back."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        super().__init__(
            f"The lease {lease.lease_id} is settled; nothing more can be drawn from it. Start a new run."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a movement may know of the book: balances in micro-credits, and which ids are booked."""

    balances: Mapping[str, int]
    booked: Mapping[str, Transaction]

    def balance(self, account: str) -> int:
        """Micro-credits in an account; 0 for one that was never used."""
        return self.balances.get(account, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A movement of credits that is asked for.

    Attributes:
        id: the idempotency key: what is booked under it already is returned, not booked twice.
        fixed: its postings, where they depend on no balance. Booked before, they must have been the same.
        decided: its postings, where they follow from balances; empty = there is nothing to move.
        is_named_by_memo: whether what was booked before must have had this memo.
        accounts: those that `decided` may move, or that `check` looks at.
        looks_up: other ids that they look at.
        check: raises what forbids the movement, before anything is booked.
    """

    id: str
    kind: str
    run: str | None
    memo: str
    fixed: tuple[Posting, ...] | None = None
    decided: Callable[[View], tuple[Posting, ...]] | None = None
    is_named_by_memo: bool = False
    accounts: tuple[str, ...] = ()
    looks_up: tuple[str, ...] = ()
    check: Callable[[View], None] | None = None

    def __post_init__(self) -> None:
        if (self.fixed is None) == (self.decided is None):
            raise ValueError(f"the movement {self.id} needs either fixed postings or a way to decide them")

    @property
    def touched_accounts(self) -> tuple[str, ...]:
        """All accounts whose balance must be known to decide and to book it."""
        return (*self.accounts, *(each.account for each in self.fixed or ()))

    def decide(self, view: View) -> Transaction | None:
        """The transaction to book now; None when there is nothing to move.

        Raises:
            OverdrawnAccountError: an account cannot afford it.
            AyniError: what `check` raises.
        """
        if self.check is not None:
            self.check(view)
        postings = self.fixed if self.decided is None else self.decided(view)
        if not postings:
            return None
        transaction = self._transaction(postings)
        refuse_overdraft(transaction, view.balances)
        return transaction

    def refuse_other(self, booked: Transaction) -> None:
        """Do nothing when what is booked under our id is this movement.

        Raises:
            ReusedIdError: it is another one.
        """
        if self.fixed is not None and booked != self._transaction(self.fixed):
            raise ReusedIdError(booked=booked, wanted=f"{self.kind} of {_in_words(self.fixed)} ({self.memo})")
        if self.is_named_by_memo and booked.memo != self.memo:
            raise ReusedIdError(booked=booked, wanted=f"{self.kind}: {self.memo}")

    def _transaction(self, postings: tuple[Posting, ...]) -> Transaction:
        return Transaction(id=self.id, kind=self.kind, run=self.run, memo=self.memo, postings=postings)


def grant(member: str, *, amount_microcredits: int, policy: str, organisation: str | None = None) -> Movement:
    """Give a member credits under a policy it has not profited from yet, say "new-member".

    A policy whose amount was changed later gives nothing more to those who had the old one. Of members of
    one organisation only the first gets it: else a second member would be worth founding.
    """
    postings = move(amount_microcredits, double_entry.GRANTS, double_entry.available(member))
    return Movement(
        id=f"grant:{policy}:{organisation or member}",
        kind="grant",
        run=None,
        memo=f"granted to {member} under the policy {policy}",
        decided=lambda view: postings,
        accounts=tuple(posting.account for posting in postings),
    )


def hold(lease: Lease, *, amount_microcredits: int, id: str | None = None) -> Movement:
    """Set aside what a lease may cost at most."""
    source = double_entry.available(lease.member)

    def check(view: View) -> None:
        refuse_closed(lease, view)
        if (balance := view.balance(source)) < amount_microcredits:
            raise InsufficientCreditsError(
                member=lease.member, needed_microcredits=amount_microcredits, balance_microcredits=balance
            )

    return Movement(
        id=id or hold_id(lease),
        kind="hold",
        run=lease.run,
        memo=f"set aside by {lease.member} for work on {lease.site}",
        fixed=move(amount_microcredits, source, escrow_of(lease)),
        looks_up=(release_id(lease),),
        check=check,
    )


def draw(
    lease: Lease, *, receipt_hash: str, amount_microcredits: int, climate_microcredits: int, memo: str
) -> Movement:
    """Pay for one receipt out of the lease's escrow: the site, and the climate fund its carbon charge."""
    if min(amount_microcredits, climate_microcredits) < 0:
        raise ValueError(f"a draw of {amount_microcredits} and {climate_microcredits} micro-credits")
    return Movement(
        id=f"draw:{lease.lease_id}:{receipt_hash}",
        kind="draw",
        run=lease.run,
        memo=memo,
        fixed=postings_of(
            {
                escrow_of(lease): -amount_microcredits - climate_microcredits,
                double_entry.earned(lease.site, lease.lease_id): amount_microcredits,
                double_entry.CLIMATE_FUND: climate_microcredits,
            }
        ),
        looks_up=(release_id(lease),),
        check=lambda view: refuse_closed(lease, view),
    )


def release(lease: Lease) -> Movement:
    """Give back what is left in the lease's escrow and close it."""
    return _empty(
        lease,
        id=release_id(lease),
        kind="release",
        memo=f"not needed, back to {lease.member}",
        source=escrow_of(lease),
        target=double_entry.available(lease.member),
    )


def pay_out(lease: Lease) -> Movement:
    """Give what the site has earned by the lease to its member, or to what is owed to clouds."""
    return _empty(
        lease,
        id=pay_out_id(lease),
        kind="pay-out",
        memo=f"earned by {lease.site}, to {lease.site_member}",
        source=double_entry.earned(lease.site, lease.lease_id),
        target=double_entry.seller(lease.site_member),
    )


def move(amount_microcredits: int, source: str, target: str) -> tuple[Posting, Posting]:
    """The postings of one amount from an account to another.

    Raises:
        ValueError: the amount is not above zero.
    """
    if amount_microcredits <= 0:
        raise ValueError(f"{amount_microcredits} micro-credits cannot go from {source} to {target}")
    return (
        Posting(account=source, amount_microcredits=-amount_microcredits),
        Posting(account=target, amount_microcredits=amount_microcredits),
    )


def postings_of(amounts_microcredits: Mapping[str, int]) -> tuple[Posting, ...]:
    """The postings of amounts by account, without those of nothing."""
    return tuple(
        Posting(account=account, amount_microcredits=amount)
        for account, amount in amounts_microcredits.items()
        if amount != 0
    )


def refuse_closed(lease: Lease, view: View) -> None:
    """Do nothing while the lease's escrow was not given back.

    Raises:
        ClosedLeaseError: it was.
    """
    if release_id(lease) in view.booked:
        raise ClosedLeaseError(lease)


def escrow_of(lease: Lease) -> str:
    """The account of the lease's escrow."""
    return double_entry.escrow(lease.member, lease.lease_id)


def hold_id(lease: Lease) -> str:
    """The idempotency key of a lease's first hold."""
    return f"hold:{lease.lease_id}"


def release_id(lease: Lease) -> str:
    """The idempotency key of giving back a lease's escrow."""
    return f"release:{lease.lease_id}"


def pay_out_id(lease: Lease) -> str:
    """The idempotency key of paying out what a lease earned."""
    return f"pay-out:{lease.lease_id}"


def _in_words(postings: tuple[Posting, ...]) -> str:
    moved = (f"{posting.amount_microcredits:+d} to {posting.account}" for posting in postings)
    return f"{', '.join(moved)} micro-credits"


def _empty(lease: Lease, *, id: str, kind: str, memo: str, source: str, target: str) -> Movement:
    def decided(view: View) -> tuple[Posting, ...]:
        amount = view.balance(source)
        return move(amount, source, target) if amount else ()

    return Movement(id=id, kind=kind, run=lease.run, memo=memo, decided=decided, accounts=(source, target))
