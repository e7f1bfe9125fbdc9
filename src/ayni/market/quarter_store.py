"""Which quarters are closed, and what that moved.

Kept after the ledger has booked it. A crash in between leaves a quarter that is booked and not marked;
closing it again books nothing twice, for everything has the quarter in its id.

Not covered: the movements themselves, which are `period`.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ayni.database import Database, metadata

quarters_table = sa.Table(
    "market_quarters",
    metadata,
    sa.Column("period", sa.String, primary_key=True),
    sa.Column("closed_at", sa.String, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)


class QuarterStore:
    """Closed quarters in the shared database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, period: str) -> dict[str, Any] | None:
        """What closing the quarter moved, and "closed_at"; None = it is not closed."""
        query = sa.select(quarters_table).where(quarters_table.c.period == period)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else {**json.loads(row.content), "closed_at": row.closed_at}

    def mark(self, period: str, content: Mapping[str, Any], *, at: datetime) -> None:
        """Note that a quarter is closed; the first note stays."""
        row = {
            "period": period,
            "closed_at": at.astimezone(UTC).isoformat(),
            "content": json.dumps(content, sort_keys=True),
        }

        def write(connection: sa.Connection) -> None:
            is_it = sa.select(quarters_table).where(quarters_table.c.period == period)
            if connection.execute(is_it).one_or_none() is None:
                connection.execute(quarters_table.insert(), [row])

        self._database.run(write)
