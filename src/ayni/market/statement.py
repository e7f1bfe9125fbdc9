"""A member's statement: every movement of its credits, with what it had before and after.

A member's credits are in three places: available to spend, in the escrow of leases, and staked as bonds.
A line says what each transaction changed in each of them.

Not covered: what the member's sites have earned and was not paid out yet; it is not the member's before
its check.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ayni.market import double_entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What a member has, in micro-credits, by where it is."""

    available_microcredits: int = 0
    escrow_microcredits: int = 0
    bond_microcredits: int = 0

    def plus(self, other: "Holdings") -> "Holdings":
        """Both together."""
        return Holdings(
            available_microcredits=self.available_microcredits + other.available_microcredits,
            escrow_microcredits=self.escrow_microcredits + other.escrow_microcredits,
            bond_microcredits=self.bond_microcredits + other.bond_microcredits,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One transaction, as it concerns the member: what it changed, and what the member had after it."""

    sequence: int
    at: str
    kind: str
    id: str
    run: str | None
    memo: str
    change: Holdings
    after: Holdings


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The lines of a member in a time, and what it had at its beginning and end."""

    member: str
    opening: Holdings
    lines: tuple[Line, ...]

    @property
    def closing(self) -> Holdings:
        """What the member had at the end."""
        return self.lines[-1].after if self.lines else self.opening

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "member": self.member,
            "opening": asdict(self.opening),
            "lines": [asdict(line) for line in self.lines],
            "closing": asdict(self.closing),
        }


def make_statement(
    rows: Sequence[Mapping[str, Any]],
    *,
    member: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Statement:
    """The statement of a member for [since, until), from all entries that moved its credits, oldest first.

    Entries are in the order of the book. Where a clock was set back, a line may be dated before the one
    above it; what was held after each is right all the same.
    """
    opening, held = Holdings(), Holdings()
    lines: list[Line] = []
    for row in rows:
        change = _change(row, member)
        held = held.plus(change)
        at = datetime.fromisoformat(row["at"])
        if since is not None and at < since and not lines:
            opening = held
        elif until is None or at < until:
            known = {name: row[name] for name in ("sequence", "at", "kind", "id", "run", "memo")}
            lines.append(Line(**known, change=change, after=held))
    return Statement(member=member, opening=opening, lines=tuple(lines))


def _change(row: Mapping[str, Any], member: str) -> Holdings:
    prefix = double_entry.available(member).removesuffix("available")
    found = {"available": 0, "escrow": 0, "bond": 0}
    for posting in row["postings"]:
        if posting["account"].startswith(prefix):
            place = posting["account"].removeprefix(prefix).partition(":")[0]
            found[place] += posting["amount_microcredits"]
    return Holdings(**{f"{place}_microcredits": amount for place, amount in found.items()})
