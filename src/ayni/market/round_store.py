"""Where the awards of booked rounds and the carbon budgets of members are kept.

A round is written whole, before any of its leases is offered, under the number after the last. Of two
processes that cleared at the same moment the second finds its number taken and must clear again: else both
could give away the same machines. After a crash the awards say which leases are still to be offered.

Not covered: trial rounds, and what became of a lease; that is the lease book's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ayni.database import Database, metadata
from ayni.errors import AyniError, UserError
from ayni.market.award import Award

rounds_table = sa.Table(
    "market_rounds",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("cleared_at", sa.String, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)

budgets_table = sa.Table(
    "market_carbon_budgets",
    metadata,
    sa.Column("member", sa.String, primary_key=True),
    sa.Column("month", sa.String, primary_key=True),
    # None = the limit was taken away again.
    sa.Column("grams", sa.Float, nullable=True),
    sa.Column("set_at", sa.String, nullable=False),
)


class RoundMovedOnError(UserError):
    """Another process booked a round while this one was being cleared."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(
            f"Another round ({number}) was booked while this one was decided, so its machines may be taken. "
            "Nothing was booked. Clear again."
        )


class DamagedRoundError(AyniError):
    """A stored round cannot be read any more."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        super().__init__(
            f"What the database holds of the round {number} cannot be read: {reason}. Put the last good copy "
            "of the database back (the file beside it that ends in .backup)."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CarbonBudget:
    """What a member may emit in a month, in grams."""

    member: str
    month: str
    grams: float


class RoundStore:
    """Awards of rounds and carbon budgets, in the shared database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def next_number(self) -> int:
        """The number of the round to come."""
        with self._database.reading() as connection:
            last = connection.scalar(sa.select(sa.func.max(rounds_table.c.number)))
        return 1 if last is None else int(last) + 1

    def add(self, number: int, awards: Sequence[Award], *, at: datetime) -> None:
        """Keep the awards of a round.

        Raises:
            RoundMovedOnError: another round has this number.
        """
        row = {
            "number": number,
            "cleared_at": at.astimezone(UTC).isoformat(),
            "content": json.dumps({"awards": [award.to_json() for award in awards]}, sort_keys=True),
        }

        def write(connection: sa.Connection) -> None:
            there = connection.execute(sa.select(rounds_table).where(rounds_table.c.number >= number)).all()
            if not there:
                connection.execute(rounds_table.insert(), [row])
            elif there[0]._asdict() != row:  # ours, when the connection was lost after the commit
                raise RoundMovedOnError(int(there[0].number))

        self._database.run(write)

    def awards(self) -> list[Award]:
        """The awards of all rounds, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(rounds_table).order_by(rounds_table.c.number)).all()
        return [award for row in rows for award in _awards(row)]

    def set_budget(self, member: str, month: str, *, grams: float | None, at: datetime) -> None:
        """Limit what a member may emit in a month such as "2026-11"; None takes the limit away."""
        table = budgets_table
        is_it = sa.and_(table.c.member == member, table.c.month == month)
        row = {"member": member, "month": month, "grams": grams, "set_at": at.astimezone(UTC).isoformat()}

        def write(connection: sa.Connection) -> None:
            connection.execute(table.delete().where(is_it))
            connection.execute(table.insert(), [row])

        self._database.run(write)

    def budgets(self, *, month: str | None = None) -> list[CarbonBudget]:
        """The budgets that hold, of one month or of all, by month and member."""
        table = budgets_table
        query = sa.select(table).where(table.c.grams.is_not(None)).order_by(table.c.month, table.c.member)
        if month is not None:
            query = query.where(table.c.month == month)
        with self._database.reading() as connection:
            return [
                CarbonBudget(member=row.member, month=row.month, grams=row.grams)
                for row in connection.execute(query)
            ]


def _awards(row: sa.Row[Any]) -> list[Award]:
    try:
        return [Award.from_json(each) for each in json.loads(row.content)["awards"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedRoundError(row.number, f"{type(error).__name__}: {error}") from error
