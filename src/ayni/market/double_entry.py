"""Double-entry bookkeeping in integer micro-credits, without any storage.

A transaction moves credits between accounts and sums to zero, so credits are never made or lost on
the way: all accounts together always hold zero, and the one account that may be overdrawn
(`coop:grants`) owes exactly what all others together have. A booked transaction is an entry: it has
a number and the hash of the entry before it, so that the book can be added to but not rewritten
unnoticed.

    hash[n] = SHA-256(canonical_json(entry[n] with hash[n - 1]))

| account | holds |
|---|---|
| `member:M:available` | what a member can spend |
| `member:M:escrow:LEASE` | what it set aside for one lease |
| `member:M:bond:LEASE` | what a seller loses if its work on a lease turns out to be wrong |
| `site:S:earned:LEASE` | what a site has earned by a lease and its member cannot spend yet |
| `coop:grants` | minus all that was granted: the source of credits |
| `coop:climate` | carbon charges |
| `coop:verification` | what checks of work are paid from, and slashed bonds |
| `coop:surplus` | what buyers paid beyond asks and charges, until it is a dividend |
| `external:cloud` | what was paid for cloud machines, which the cooperative owes in money |

Not covered: entries cut off at the end leave a book that is whole in itself. The ledger files of the
runs hold the numbers and hashes that are then missing.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from ayni.errors import AyniError, UserError
from ayni.signing import FIRST_OF_CHAIN, canonical_json, sha256_hex

GRANTS = "coop:grants"
CLIMATE_FUND = "coop:climate"
VERIFICATION_FUND = "coop:verification"
SURPLUS = "coop:surplus"
CLOUD = "external:cloud"
# What begins a seller's name when it is no member but a provider that is paid in money.
CLOUD_SELLER = "cloud:"
# Amounts beyond 2**53 would be changed by JSON readers that know only floats.
LARGEST_AMOUNT = 2**53 - 1
# Accounts whose whole history lies within one run.
_PARTS_OF_LEASES = (":escrow:", ":earned:", ":bond:")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class AccountNameError(UserError):
    """A member, site or lease has a name that no account can carry."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name!r} cannot name a member, site or lease. Use 1 to 128 letters and digits, and . _ - after "
            "the first."
        )


class OverdrawnAccountError(AyniError):
    """A transaction would leave an account below zero that must not be."""

    def __init__(self, *, account: str, balance_microcredits: int, wanted_microcredits: int) -> None:
        self.account = account
        self.balance_microcredits = balance_microcredits
        self.wanted_microcredits = wanted_microcredits
        super().__init__(
            f"{account} holds {balance_microcredits} micro-credits and {wanted_microcredits} should leave it."
            " Nothing was booked. Hold more in escrow, or draw less."
        )


def available(member: str) -> str:
    """The account of what a member can spend."""
    return f"member:{_checked(member)}:available"


def escrow(member: str, lease_id: str) -> str:
    """The account of what a member has set aside for one lease."""
    return f"member:{_checked(member)}:escrow:{_checked(lease_id)}"


def bond(member: str, lease_id: str) -> str:
    """The account of what a seller has staked on its honest work on one lease."""
    return f"member:{_checked(member)}:bond:{_checked(lease_id)}"


def seller(member: str) -> str:
    """Where a seller's pay goes: a member's account, or what is owed to clouds."""
    return CLOUD if member.startswith(CLOUD_SELLER) else available(member)


def earned(site: str, lease_id: str) -> str:
    """The account of what a site has earned by one lease and its member cannot spend yet."""
    return f"site:{_checked(site)}:earned:{_checked(lease_id)}"


def may_be_overdrawn(account: str) -> bool:
    """Whether the account may hold less than zero: only the source of granted credits."""
    return account == GRANTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Credits that come to an account (positive) or leave it (negative)."""

    account: str
    amount_microcredits: int

    def __post_init__(self) -> None:
        if not isinstance(self.account, str) or not self.account:
            raise ValueError(f"a posting to the account {self.account!r}")
        if type(self.amount_microcredits) is not int or self.amount_microcredits == 0:
            raise ValueError(f"a posting of {self.amount_microcredits!r} micro-credits to {self.account}")
        if abs(self.amount_microcredits) > LARGEST_AMOUNT:
            raise ValueError(f"{self.amount_microcredits} micro-credits are more than {LARGEST_AMOUNT}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A movement of credits that happens whole or not at all.

    id is the idempotency key: booked twice under the same id, it happens once. kind is one word; run is
    the run it belongs to, None for what belongs to no run.
    """

    id: str
    kind: str
    run: str | None
    memo: str
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        texts = (self.id, self.kind, self.memo, "" if self.run is None else self.run)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"a transaction's id, kind, run and memo are texts, not {texts}")
        if any("\0" in text for text in texts):
            raise ValueError(f"the transaction {self.id!r} has a zero character, which no database keeps")
        amounts = [posting.amount_microcredits for posting in self.postings]
        if len(amounts) < 2 or sum(amounts) != 0:
            raise ValueError(
                f"the transaction {self.id} has {len(amounts)} postings that sum to {sum(amounts)}"
            )
        accounts = {posting.account for posting in self.postings}
        if len(accounts) < len(amounts):
            raise ValueError(f"the transaction {self.id} names an account twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A transaction in the book: numbered from 1, dated, and chained to the one before."""

    sequence: int
    at: datetime
    transaction: Transaction
    previous_hash: str
    hash: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as exported to a run's ledger file; `check_transactions` takes it."""
        content = _content(self.sequence, self.at.isoformat(), self.transaction, self.previous_hash)
        return {**content, "hash": self.hash}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The entry that `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is not one. `check_transactions` says what is wrong.
        """
        postings = tuple(
            Posting(account=row["account"], amount_microcredits=row["amount_microcredits"])
            for row in data["postings"]
        )
        return cls(
            sequence=data["sequence"],
            at=datetime.fromisoformat(data["at"]),
            transaction=Transaction(
                id=data["id"], kind=data["kind"], run=data["run"], memo=data["memo"], postings=postings
            ),
            previous_hash=data["previous_hash"],
            hash=data["hash"],
        )


def chain(
    transactions: Iterable[Transaction], *, at: datetime, after: int, previous_hash: str
) -> list[Entry]:
    """The entries that book `transactions` one after another, behind entry `after` with `previous_hash`.

    Raises:
        ValueError: `at` has no time zone.
    """
    entries: list[Entry] = []
    for sequence, transaction in enumerate(transactions, start=after + 1):
        entries.append(next_entry(transaction, at=at, sequence=sequence, previous_hash=previous_hash))
        previous_hash = entries[-1].hash
    return entries


def next_entry(
    transaction: Transaction, *, at: datetime, sequence: int = 1, previous_hash: str = FIRST_OF_CHAIN
) -> Entry:
    """The entry that books `transaction`, by default as the first of a book.

    Raises:
        ValueError: `at` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError(f"the time {at} of {transaction.id} has no time zone")
    content = _content(sequence, at.isoformat(), transaction, previous_hash)
    return Entry(
        sequence=sequence,
        at=at,
        transaction=transaction,
        previous_hash=previous_hash,
        hash=sha256_hex(canonical_json(content)),
    )


def refuse_overdraft(transaction: Transaction, balances: Mapping[str, int]) -> None:
    """Do nothing when every account can afford its posting; `balances` are those before it.

    Raises:
        OverdrawnAccountError: one cannot.
    """
    for posting in transaction.postings:
        balance = balances.get(posting.account, 0)
        left = balance + posting.amount_microcredits
        if left < 0 and posting.amount_microcredits < 0 and not may_be_overdrawn(posting.account):
            raise OverdrawnAccountError(
                account=posting.account,
                balance_microcredits=balance,
                wanted_microcredits=-posting.amount_microcredits,
            )


def check_transactions(transactions: Sequence[Any], *, is_whole_book: bool = False) -> list[str]:
    """What is wrong with exported transactions, from their content alone; an empty list = nothing.

    Every transaction must sum to zero and fit its hash; numbers must rise, ids be unique and neighbours
    be chained. No account may fall below zero: all accounts for a whole book, those of leases for the
    transactions of one run (its members' accounts have a history that is not in the file).
    Takes anything that JSON can hold and never raises. Cost: O(number of postings).
    """
    checker = EntryChecker(is_whole_book=is_whole_book, num_expected=len(transactions))
    for row in transactions:
        checker.add(row)
    return checker.problems


class EntryChecker:
    """Checks entries one after another, so that a book need not fit into memory.

    `balances` holds what each account has after the entries so far.
    """

    def __init__(self, *, is_whole_book: bool, num_expected: int | None) -> None:
        self.balances: defaultdict[str, int] = defaultdict(int)
        self.num_entries = 0
        self.last_hash = FIRST_OF_CHAIN
        self._last_number = 0
        self._is_whole_book = is_whole_book
        self._num_expected = num_expected
        self._seen: set[str] = set()
        self._damaged: list[str] = []
        self._out_of_order: list[str] = []
        self._overdrawn: list[str] = []

    @property
    def problems(self) -> list[str]:
        """What is wrong so far. Damaged entries stand alone: the rest would repeat them in other words."""
        return self._damaged or [*self._out_of_order, *self._overdrawn]

    def add(self, row: Any) -> None:
        """The next entry, as JSON."""
        self.num_entries += 1
        if problem := problem_of_entry(row):
            of = "" if self._num_expected is None else f" of {self._num_expected}"
            self._damaged.append(f"Transaction {self.num_entries}{of} {problem}.")
        if not self._damaged:
            self._out_of_order += self._problems_of_order(row)
            self._overdrawn += self._problems_of_balances(row)

    def _problems_of_order(self, row: Mapping[str, Any]) -> Iterable[str]:
        number, before = row["sequence"], self._last_number
        if row["id"] in self._seen:
            yield f"Transaction {number} has the id {row['id']}, which was booked before."
        self._seen.add(row["id"])
        if number <= before:
            yield f"Transaction {number} stands after {before}."
        elif number == before + 1 and row["previous_hash"] != self.last_hash:
            yield f"Transaction {number} does not follow from {before}: one of them was replaced."
        elif self._is_whole_book and number != before + 1:
            yield f"Between the transactions {before} and {number} {number - before - 1} are missing."
        self._last_number, self.last_hash = number, row["hash"]

    def _problems_of_balances(self, row: Mapping[str, Any]) -> Iterable[str]:
        for posting in row["postings"]:
            account = posting["account"]
            self.balances[account] += posting["amount_microcredits"]
            balance = self.balances[account]
            is_known = self._is_whole_book or any(part in account for part in _PARTS_OF_LEASES)
            if is_known and balance < 0 and not may_be_overdrawn(account):
                yield f"Transaction {row['sequence']} leaves {account} at {balance} micro-credits."


def problem_of_entry(row: Any) -> str | None:
    """What is wrong with one exported entry by itself; None when it is as it was booked."""
    try:
        entry = Entry.from_json(row)
        content = _content(entry.sequence, row["at"], entry.transaction, entry.previous_hash)
        expected_hash = sha256_hex(canonical_json(content))
        is_canonical = canonical_json(row) == canonical_json({**content, "hash": entry.hash})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"is none: {type(error).__name__}: {error}"
    if type(entry.sequence) is not int or not isinstance(entry.hash, str):
        return "has no whole number or no hash"
    if expected_hash != entry.hash or not is_canonical:
        return f"(number {entry.sequence}, {entry.transaction.id}) does not fit its hash: it was changed"
    return None


def _content(sequence: int, at: str, transaction: Transaction, previous_hash: str) -> dict[str, Any]:
    """Everything that the hash of an entry covers."""
    return {
        "sequence": sequence,
        "at": at,
        "id": transaction.id,
        "kind": transaction.kind,
        "run": transaction.run,
        "memo": transaction.memo,
        "postings": [
            {"account": posting.account, "amount_microcredits": posting.amount_microcredits}
            for posting in transaction.postings
        ],
        "previous_hash": previous_hash,
    }


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise AccountNameError(name)
    return name
