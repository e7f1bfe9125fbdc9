"""How often repositories were downloaded: counted in memory, written together.

A client that fetches many files of a repository within five minutes counts once. A write for each file would
make every reader wait for the one writer of the database.

Not covered: what was counted in the last seconds before a server was killed.
"""

import threading
from collections import Counter
from datetime import datetime, timedelta

import sqlalchemy as sa

from ayni.hub.tables import repositories_table

COUNTS_ONCE_WITHIN = timedelta(minutes=5)
WRITE_EVERY = timedelta(seconds=10)
MAX_REMEMBERED = 100_000


class DownloadCounts:
    """Counts of one server process. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[int] = Counter()
        self._seen: dict[tuple[int, str], datetime] = {}
        self._written_at: datetime | None = None

    def note(self, repository_id: int, client: str, *, now: datetime) -> bool:
        """Count a download; whether it is time to write."""
        with self._lock:
            key = (repository_id, client)
            if key in self._seen and now - self._seen[key] < COUNTS_ONCE_WITHIN:
                return False
            if len(self._seen) >= MAX_REMEMBERED:
                self._seen.clear()
            self._seen[key] = now
            self._waiting[repository_id] += 1
            if self._written_at is not None and now - self._written_at < WRITE_EVERY:
                return False
            self._written_at = now
            return True

    def write(self, connection: sa.Connection) -> None:
        """Add what was counted to the rows."""
        with self._lock:
            waiting, self._waiting = self._waiting, Counter()
        columns = repositories_table.c
        for repository_id, count in waiting.items():
            connection.execute(
                repositories_table.update()
                .where(columns.id == repository_id)
                .values(num_downloads=columns.num_downloads + count)
            )
