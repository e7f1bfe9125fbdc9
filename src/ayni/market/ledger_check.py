"""The invariants of a whole ledger, proved from its entries alone.

1. Every entry fits its hash and follows from the one before, from number 1 without a gap.
2. Every transaction sums to zero, so all accounts together hold zero.
3. No id was booked twice: what has an idempotency key happened once.
4. No account was ever below zero but `coop:grants`; so no escrow was.
5. The balances that are kept for speed are the sums of the postings.
6. A lease whose escrow was given back has nothing in it, and one that was settled nothing anywhere.

Not covered: entries cut off at the end that take their balances with them. The number and the hash of
the last entry are in the result, for whoever wrote them down the last time.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ayni.market.double_entry import EntryChecker, may_be_overdrawn

# The first ones say what happened; a book that was changed in the middle has as many as entries.
MOST_PROBLEMS = 100


class ReadableBook(Protocol):
    """What checking needs of a book."""

    def each(self) -> Iterator[dict[str, Any]]:
        """All entries, oldest first."""
        ...

    def balances(self) -> dict[str, int]:
        """The kept balance of every account."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BookCheck:
    """What a check found. problems is empty when the book is sound."""

    num_entries: int
    num_accounts: int
    last_hash: str
    sum_microcredits: int
    granted_microcredits: int
    escrow_microcredits: int
    problems: list[str]


def check_book(
    book: ReadableBook, *, noted: Mapping[int, str] | None = None, settled: Collection[str] = ()
) -> BookCheck:
    """Read all of a book and say what is wrong with it. Cost: O(number of postings), one pass.

    Args:
        book: the book, as one state that does not change while it is read.
        noted: hashes of earlier entries by their number, as written down elsewhere; each must still be there.
        settled: leases that were settled before the book was opened.
    """
    rows = EntryChecker(is_whole_book=True, num_expected=None)
    closed: set[str] = set()
    wanted = dict(noted or {})
    replaced = []
    for row in book.each():
        rows.add(row)
        if row["kind"] == "release":
            closed.add(str(row["id"]).removeprefix("release:"))
        number = row["sequence"]
        if number in wanted and wanted.pop(number) != row["hash"]:
            replaced.append(f"Transaction {number} has not the hash that was noted: it was replaced.")
    cut_off = [f"Transaction {number} was noted and is not there any more." for number in sorted(wanted)]
    kept = book.balances()
    problems = [*rows.problems, *replaced, *cut_off]
    if not rows.problems:
        problems += [*_problems_of_kept(kept, rows.balances), *_problems_of_closed(rows.balances, closed)]
        problems += _problems_of_settled(rows.balances, set(settled))
    return BookCheck(
        num_entries=rows.num_entries,
        num_accounts=len(rows.balances),
        last_hash=rows.last_hash,
        sum_microcredits=sum(rows.balances.values()),
        granted_microcredits=-sum(each for name, each in rows.balances.items() if may_be_overdrawn(name)),
        escrow_microcredits=sum(each for name, each in rows.balances.items() if ":escrow:" in name),
        problems=_shortened(problems),
    )


def _problems_of_kept(kept: Mapping[str, int], summed: Mapping[str, int]) -> Iterator[str]:
    for account in sorted({*kept, *summed}):
        if kept.get(account, 0) != summed.get(account, 0):
            yield (
                f"{account} is kept as {kept.get(account, 0)} micro-credits, its postings sum to "
                f"{summed.get(account, 0)}: postings or balances were changed behind the ledger."
            )


def _problems_of_closed(balances: Mapping[str, int], closed: set[str]) -> Iterator[str]:
    for account, balance in balances.items():
        if ":escrow:" in account and balance and account.rpartition(":")[2] in closed:
            yield f"{account} holds {balance} micro-credits after it was given back."


def _problems_of_settled(balances: Mapping[str, int], settled: set[str]) -> Iterator[str]:
    for account, balance in balances.items():
        if balance and account.count(":") == 3 and account.rpartition(":")[2] in settled:
            yield f"{account} holds {balance} micro-credits, and its lease is settled."


def _shortened(problems: list[str]) -> list[str]:
    if len(problems) <= MOST_PROBLEMS:
        return problems
    return [*problems[:MOST_PROBLEMS], f"... and {len(problems) - MOST_PROBLEMS} more."]
