"""Bids: jobs with what they are worth to their owner, and within which limits they may run.

A bid says how much work there is (in reference-hours, see `machine_classes`), how many machines must start
and stop together (the gang), when it may run, and what it is worth. What is paid never exceeds the lower of
worth and budget. Carbon cap and residency are limits, not wishes: places that break them are never looked at.

Not covered: jobs that can run with fewer or more machines, and jobs that wait for each other.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from ayni.errors import UserError
from ayni.market.double_entry import LARGEST_AMOUNT
from ayni.market.machine_classes import ANY_WORK
from ayni.units import microcredits_to_credits


class InvalidBidError(UserError, ValueError):
    """A bid that cannot be meant: says which field and why. Also a ValueError, for validators."""

    def __init__(self, *, bid: str, field: str, reason: str) -> None:
        self.bid = bid
        self.field = field
        super().__init__(f"The bid {bid!r} cannot be taken: its {field} {reason}. Nothing was submitted.")


class DeadlinePassedError(UserError):
    """A bid whose deadline is over."""

    def __init__(self, *, bid: str, deadline: datetime, now: datetime) -> None:
        self.bid = bid
        self.deadline = deadline
        super().__init__(
            f"The deadline of the bid {bid!r} was {deadline.isoformat()}, and it is {now.isoformat()}. "
            "Submit it with a later deadline."
        )


class BidAboveBalanceError(UserError):
    """A member bids more than it has."""

    def __init__(self, *, bid: str, member: str, limit_microcredits: int, balance_microcredits: int) -> None:
        self.bid = bid
        self.member = member
        self.limit_microcredits = limit_microcredits
        self.balance_microcredits = balance_microcredits
        super().__init__(
            f"The bid {bid!r} may cost {microcredits_to_credits(limit_microcredits):g} credits, and {member} "
            f"has {microcredits_to_credits(balance_microcredits):g} left beside its other bids. Lower the "
            "budget to that, or earn credits by offering machines."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """A job and what it is worth.

    work_reference_hours is the work of the whole gang together. classes name the machine classes it may run
    on, empty = all that know its kind of work. It runs within [release, deadline]. residency lists zones
    or countries where its data may be, None = anywhere. can_suspend says that it may stop and go on.
    data_gigabytes must travel to any site that is not its member's.
    """

    id: str
    member: str
    work_reference_hours: float
    release: datetime
    deadline: datetime
    worth_microcredits: int
    budget_microcredits: int | None = None
    gang: int = 1
    work_kind: str = ANY_WORK
    classes: tuple[str, ...] = ()
    carbon_cap_grams: float | None = None
    residency: frozenset[str] | None = None
    can_suspend: bool = False
    data_gigabytes: float = 0.0

    def __post_init__(self) -> None:
        if not (self.id and self.member and self.work_kind):
            empty = next(name for name in ("id", "member", "work_kind") if not getattr(self, name))
            self._refuse(empty, "is empty")
        if not (math.isfinite(self.work_reference_hours) and self.work_reference_hours > 0):
            self._refuse("work", f"is {self.work_reference_hours} reference-hours; it must be above 0")
        if type(self.gang) is not int or self.gang < 1:
            self._refuse("gang", f"is {self.gang!r}; it must be a whole number of machines")
        self._check_amount("worth", self.worth_microcredits)
        if self.budget_microcredits is not None:
            self._check_amount("budget", self.budget_microcredits)
        cap = self.carbon_cap_grams
        if cap is not None and not (math.isfinite(cap) and cap >= 0):
            self._refuse("carbon cap", f"is {cap} g; it cannot be negative")
        self._check_times()
        if not (math.isfinite(self.data_gigabytes) and self.data_gigabytes >= 0):
            self._refuse("data", f"is {self.data_gigabytes} GB; it cannot be negative")
        if self.residency is not None and not self.residency:
            self._refuse("residency", "allows no place; leave it out to allow all")

    @property
    def limit_microcredits(self) -> int:
        """The most it can pay: the lower of worth and budget. The market looks at this alone."""
        if self.budget_microcredits is None:
            return self.worth_microcredits
        return min(self.worth_microcredits, self.budget_microcredits)

    def may_be_in(self, zone: str | None) -> bool:
        """Whether residency allows a zone: "DE" allows DE and DE-BY. An unknown zone only where all are."""
        if self.residency is None:
            return True
        return zone is not None and (
            zone in self.residency or any(zone.startswith(f"{allowed}-") for allowed in self.residency)
        )

    def _check_amount(self, field: str, amount: int) -> None:
        if type(amount) is not int:
            self._refuse(field, f"is {amount!r}; it must be whole micro-credits")
        if not 0 <= amount <= LARGEST_AMOUNT:
            most = microcredits_to_credits(LARGEST_AMOUNT)
            self._refuse(
                field, f"is {microcredits_to_credits(amount):,g} credits; it must be 0 to {most:,.0f}"
            )

    def _check_times(self) -> None:
        if self.release.tzinfo is None or self.deadline.tzinfo is None:
            self._refuse("deadline", "or release has no time zone; write 2026-03-01T12:00:00+00:00")
        if self.deadline <= self.release:
            self._refuse("deadline", f"{self.deadline} is not after its release {self.release}")
        # Most are in UTC already, and rounds of the market hold many bids.
        if self.release.tzinfo is not UTC:
            object.__setattr__(self, "release", self.release.astimezone(UTC))
        if self.deadline.tzinfo is not UTC:
            object.__setattr__(self, "deadline", self.deadline.astimezone(UTC))

    def _refuse(self, field: str, reason: str) -> None:
        raise InvalidBidError(bid=self.id, field=field, reason=reason)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; times in UTC."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            **values,
            "release": self.release.isoformat(),
            "deadline": self.deadline.isoformat(),
            "classes": list(self.classes),
            "residency": None if self.residency is None else sorted(self.residency),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The bid that `to_json` wrote."""
        return cls(
            **{
                **data,
                "release": datetime.fromisoformat(data["release"]),
                "deadline": datetime.fromisoformat(data["deadline"]),
                "classes": tuple(data["classes"]),
                "residency": None if data["residency"] is None else frozenset(data["residency"]),
            }
        )


def check_bids(
    bids: Iterable[Bid], *, now: datetime, balances_microcredits: Mapping[str, int] | None = None
) -> None:
    """Refuse bids that no round should see.

    Args:
        bids: of one or several members; those of one member must be covered by its balance together.
        now: the moment of submission.
        balances_microcredits: what members can spend; None = not looked at.

    Raises:
        InvalidBidError: two bids have one id.
        DeadlinePassedError: a deadline is over.
        BidAboveBalanceError: a member bids more than it has.
    """
    left = None if balances_microcredits is None else dict(balances_microcredits)
    seen: set[str] = set()
    for bid in bids:
        if bid.id in seen:
            raise InvalidBidError(bid=bid.id, field="id", reason="is used by another bid")
        seen.add(bid.id)
        if bid.deadline <= now:
            raise DeadlinePassedError(bid=bid.id, deadline=bid.deadline, now=now)
        if left is not None:
            balance = left.get(bid.member, 0)
            if bid.limit_microcredits > balance:
                raise BidAboveBalanceError(
                    bid=bid.id,
                    member=bid.member,
                    limit_microcredits=bid.limit_microcredits,
                    balance_microcredits=balance,
                )
            left[bid.member] = balance - bid.limit_microcredits
