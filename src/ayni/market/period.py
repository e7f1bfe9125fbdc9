"""What the cooperative does with credits when a quarter ends: decay, then the dividend.

    decay     member:M:available  -> coop:grants             of what lies idle beyond the exempt amount
    dividend  coop:surplus        -> member:M:available      by verified work of the quarter before

The dividend follows the work of the *previous* period, so that nothing bid or lent today can move what
today's surplus is worth to oneself. Units of verified work come from settled leases; work that was
merely available, or not settled yet, earns none, or credits would be made by being there.

Everything has the period in its id, so what was booked for a quarter is not booked again. Who had nothing to
move then may have later: that a quarter is closed must be kept beside the ledger (`quarter_store`).

Not covered: closing it by a clock. A steward does, once both quarters are over.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from ayni.market import double_entry, movements
from ayni.market.double_entry import Posting
from ayni.market.ledger import Ledger
from ayni.market.movements import Movement, Row, View
from ayni.market.policy import PeriodPolicy
from ayni.units import split_exactly

_PERIOD = re.compile(r"\d{4}Q[1-4]")


def close_period(
    ledger: Ledger, period: str, *, units_before: Mapping[str, int], policy: PeriodPolicy
) -> list[Row]:
    """Book the decay of all members and the dividend; return the entries, those booked before included.

    Args:
        ledger: the pool's ledger.
        period: the quarter that ended, such as "2026Q3".
        units_before: verified work by member in the quarter before it.
        policy: rates and exemptions.

    Raises:
        ValueError: the period has another form, or units are negative.
    """
    answers = ledger.book_all(movements_of_period(ledger, period, units_before=units_before, policy=policy))
    return [row for row in answers if isinstance(row, dict)]


def movements_of_period(
    ledger: Ledger, period: str, *, units_before: Mapping[str, int], policy: PeriodPolicy
) -> list[Movement]:
    """What `close_period` books: the decay of every member, then the dividend."""
    members = sorted(
        account.split(":")[1]
        for account in ledger.balances()
        if account.startswith("member:") and account.endswith(":available")
    )
    return [
        *(decay(member, period, policy) for member in members),
        dividend(period, units_before=units_before),
    ]


def decay(member: str, period: str, policy: PeriodPolicy) -> Movement:
    """Take the policy's share of what a member has beyond the exempt amount, rounded down."""
    account = double_entry.available(member)

    def decided(view: View) -> tuple[Posting, ...]:
        idle = max(view.balance(account) - policy.decay_exempt_microcredits, 0)
        amount = int(idle * policy.decay_share)
        return movements.move(amount, account, double_entry.GRANTS) if amount else ()

    return Movement(
        id=f"decay:{_checked(period)}:{member}",
        kind="decay",
        run=None,
        memo=f"{policy.decay_share:.1%} of what {member} had idle at the end of {period}",
        decided=decided,
        accounts=(account, double_entry.GRANTS),
    )


def dividend(period: str, *, units_before: Mapping[str, int]) -> Movement:
    """Share out the surplus in proportion to verified work; nothing moves where nobody did any.

    share[m] = surplus * units[m] / sum(units), whole micro-credits by largest remainder
    """
    workers = sorted(member for member, units in units_before.items() if units)
    units = [units_before[member] for member in workers]
    if any(each < 0 for each in units):
        raise ValueError(f"verified work cannot be negative: {dict(units_before)}")

    def decided(view: View) -> tuple[Posting, ...]:
        surplus = view.balance(double_entry.SURPLUS)
        if not workers or not surplus:
            return ()
        shares = split_exactly(surplus, units)
        to = {double_entry.available(member): share for member, share in zip(workers, shares, strict=True)}
        return movements.postings_of({double_entry.SURPLUS: -surplus, **to})

    return Movement(
        id=f"dividend:{_checked(period)}",
        kind="dividend",
        run=None,
        memo=f"surplus at the end of {period}, by verified work of the quarter before",
        decided=decided,
        accounts=(double_entry.SURPLUS, *map(double_entry.available, workers)),
    )


def previous_period(period: str) -> str:
    """The quarter before: 2026Q1 follows 2025Q4."""
    year, quarter = int(_checked(period)[:4]), int(period[5])
    return f"{year - 1}Q4" if quarter == 1 else f"{year}Q{quarter - 1}"


def last_period(now: datetime) -> str:
    """The quarter that ended last."""
    moment = now.astimezone(UTC)
    return previous_period(f"{moment.year}Q{(moment.month + 2) // 3}")


def bounds_of(period: str) -> tuple[datetime, datetime]:
    """The quarter as [start, end) in UTC."""
    year, quarter = int(_checked(period)[:4]), int(period[5])
    after = (year + 1, 1) if quarter == 4 else (year, 3 * quarter + 1)
    return datetime(year, 3 * quarter - 2, 1, tzinfo=UTC), datetime(*after, 1, tzinfo=UTC)


def _checked(period: str) -> str:
    if not _PERIOD.fullmatch(period):
        raise ValueError(f"{period!r} is no quarter; write one like 2026Q3")
    return period
