"""Close a quarter of the pool: idle credits decay, and the surplus becomes a dividend.

    settled leases of the quarter before -> units of verified work -> shares of the surplus

Only the quarter that ended last can be closed, for decay and dividend look at the balances of now; and it is
closed once, whatever was moved.

Not covered: who may close it. Whoever may write to the database can.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ayni.errors import AyniError, UserError
from ayni.market import double_entry
from ayni.market.double_entry import Transaction
from ayni.market.horizon import SECONDS_PER_HOUR
from ayni.market.lease_records import verified_work
from ayni.market.period import bounds_of, close_period, last_period, movements_of_period, previous_period
from ayni.market.policy import CreditPolicy, LeasePolicy, PeriodPolicy
from ayni.market.quarter_store import QuarterStore
from ayni.workflows.clear_market import POOL_POLICY
from ayni.workflows.pool_leases import PoolLeases


class QuarterError(UserError):
    """A quarter cannot be closed."""

    def __init__(self, period: str, reason: str, *, last: str) -> None:
        self.period = period
        super().__init__(f"{period} {reason} Nothing was changed. The quarter that ended last is {last}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedQuarter:
    """What closing a quarter moves, in micro-credits by member."""

    period: str
    is_trial: bool
    was_closed_at: str | None
    verified_hours_before: dict[str, float]
    decay_microcredits: dict[str, int]
    dividend_microcredits: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def close_quarter(
    leases: PoolLeases,
    quarters: QuarterStore,
    period: str,
    *,
    now: datetime,
    is_trial: bool = False,
    policy: PeriodPolicy | None = None,
) -> ClosedQuarter:
    """Close a quarter, or say what that would move. One that is closed is shown as it was.

    Raises:
        QuarterError: it is none, is not over, or is over for longer than a quarter.
        UnsoundLedgerError: the ledger was changed behind its back.
    """
    last, wanted = last_period(now), period.strip().upper()
    _check(wanted, now=now, last=last)
    if (found := quarters.find(wanted)) is not None:
        return ClosedQuarter(
            **{**{name: found[name] for name in _KEPT}, "was_closed_at": found["closed_at"]},
            is_trial=is_trial,
        )
    if wanted != last:
        raise QuarterError(
            period, "is over for too long: credits would be shared by today's balances.", last=last
        )
    start, end = bounds_of(previous_period(wanted))
    units = verified_work(leases.records(now=now).values(), start=start, end=end)
    rules = policy or PeriodPolicy()
    answers: Sequence[Transaction | AyniError | None]
    if is_trial:
        moved = movements_of_period(leases.ledger, wanted, units_before=units, policy=rules)
        answers = leases.ledger.preview(moved)
    else:
        leases.refuse_unsound()
        rows = close_period(leases.ledger, wanted, units_before=units, policy=rules)
        answers = [double_entry.Entry.from_json(row).transaction for row in rows]
    closed = _closed(wanted, [each for each in answers if isinstance(each, Transaction)], units, is_trial)
    if not is_trial:
        quarters.mark(
            wanted, {name: value for name, value in closed.to_json().items() if name in _KEPT}, at=now
        )
    return closed


def declared_policy() -> dict[str, Any]:
    """Everything that a pool declares: credits, quarters, leases and rounds."""
    return {
        "credits": CreditPolicy().to_json(),
        "quarters": asdict(PeriodPolicy()),
        "leases": asdict(LeasePolicy()),
        "rounds": asdict(POOL_POLICY),
    }


_KEPT = ("period", "verified_hours_before", "decay_microcredits", "dividend_microcredits")


def _check(period: str, *, now: datetime, last: str) -> None:
    try:
        _, end = bounds_of(period)
    except ValueError as error:
        raise QuarterError(repr(period), "is no quarter; write one like 2026Q3.", last=last) from error
    if end > now:
        raise QuarterError(period, f"is not over: it ends with {end:%Y-%m-%d} at 0:00 UTC.", last=last)


def _closed(
    period: str, transactions: Sequence[Transaction], units: dict[str, int], is_trial: bool
) -> ClosedQuarter:
    moved: dict[str, dict[str, int]] = {"decay": {}, "dividend": {}}
    for transaction in transactions:
        for posting in transaction.postings:
            if posting.account.startswith("member:"):
                member = posting.account.split(":")[1]
                moved[transaction.kind][member] = abs(posting.amount_microcredits)
    return ClosedQuarter(
        period=period,
        is_trial=is_trial,
        was_closed_at=None,
        verified_hours_before={
            member: seconds / SECONDS_PER_HOUR for member, seconds in sorted(units.items())
        },
        decay_microcredits=moved["decay"],
        dividend_microcredits=moved["dividend"],
    )
