"""Carbon budgets: what a member may emit in a month by leases of the pool, and how much of it is used.

Used up are the leases that rounds of the month have placed: closed ones with what their metered work emitted,
open ones with what they are expected to. A round then places nothing beyond what is left.

Not covered: runs on one's own machine outside of the pool, which have a limit of their own
(`limits.carbon_grams`).
"""

import math
import re
from datetime import UTC, datetime
from typing import Any

from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.lease_records import grams_of_month
from ayni.workflows.offer_machines import NAME, PoolOptionError
from ayni.workflows.pool_leases import PoolLeases

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def month_of(moment: datetime) -> str:
    """The month of a moment in UTC, such as 2026-11."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def checked_budget(member: str, month: str, *, grams: float | None) -> str:
    """The month, if a budget of so many grams can be meant.

    Raises:
        PoolOptionError: it cannot.
    """
    if not NAME.fullmatch(member):
        raise PoolOptionError(
            "MEMBER", f"{member!r} is no name; use letters, digits, and . _ - after the first."
        )
    if not _MONTH.fullmatch(month):
        raise PoolOptionError("--month", f"{month!r} is no month. Write it as in 2026-11.")
    if grams is not None and not (math.isfinite(grams) and grams >= 0):
        raise PoolOptionError("--kilograms", f"{grams / 1000:g} is no amount of CO2e; it is 0 or more.")
    return month


def budgets_json(leases: PoolLeases, *, now: datetime) -> list[dict[str, Any]]:
    """All budgets with what is used and left of them."""
    records = list(leases.records(now=now).values())
    found = []
    for budget in leases.rounds.budgets():
        used = grams_of_month(
            records,
            budget.month,
            grams_at=leases.grams_at,
            grams_where_unknown=ClearingPolicy().grams_per_kwh_where_unknown,
        ).get(budget.member, 0.0)
        found.append(
            {
                "member": budget.member,
                "month": budget.month,
                "grams": budget.grams,
                "used_grams": used,
                "left_grams": max(0.0, budget.grams - used),
            }
        )
    return found
