"""Transactions on the shared database, whichever system it is.

Not covered: transactions that several writers hold at once. All writing is in one line, because the
ledger is one chain; what costs time belongs outside of a transaction.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import sqlalchemy as sa

from ayni.database.failures import (
    AbortedTransactionError,
    DamagedDatabaseError,
    LostDatabaseError,
    NewerDatabaseError,
    UnknownDatabaseError,
)
from ayni.database.postgresql import PostgresqlBackend
from ayni.database.sqlite import SqliteBackend
from ayni.database.tables import NEWEST_REVISION

T = TypeVar("T")
# Longer than a server takes to start again after a crash of a usual size.
RETRY_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 2.0
_ONLY_READS = "ayni_only_reads"


class Backend(Protocol):
    """One database system."""

    @property
    def where(self) -> Path | str:
        """The file or the URL without its password, for messages."""
        ...

    def make_engine(self) -> sa.Engine:
        """Connections, set up."""
        ...

    def begin(self, connection: sa.Connection, *, only_reads: bool) -> None:
        """Begin a transaction; one that writes is alone from here on."""
        ...

    def translated(self) -> contextlib.AbstractContextManager[None]:
        """A block whose errors are those of `ayni.database.failures`."""
        ...

    def refuse_emptied(self) -> None:
        """Raise if a database without tables is one that had some."""
        ...

    def backup(self) -> Path | None:
        """Make a copy of the whole database; None where that is somebody else's work."""
        ...


class Database:
    """Transactions on one database. Opening it creates or migrates the tables.

    Raises, from every method:
        DamagedDatabaseError: the file is not a database (any more).
        NotWritableError, RefusedByDatabaseError: the file or its folder is read-only; the server says no.
        DiskFullError: no space left; the transaction did not happen.
        BusyDatabaseError: another process writes and does not come to an end.
        DatabaseDeviceError: reading or writing failed below the file system.
        LostDatabaseError: the server does not answer, or hung up: the transaction happened or did not.
    """

    def __init__(self, where: Path | str, *, retry_seconds: float = RETRY_SECONDS) -> None:
        """Open the SQLite file at a path, or what a URL names.

        `retry_seconds` is how long `run` tries again.

        Raises:
            UnknownDatabaseError: the URL names no database that we know.
            MissingExtraError: the package for it is not installed.
        """
        self._backend = _backend(where)
        self.where = self._backend.where
        self._retry_seconds = retry_seconds
        with self._backend.translated():
            self._engine = self._backend.make_engine()
            sa.event.listen(self._engine, "begin", self._begin)
            self._migrate()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One all-or-nothing transaction that holds the writer's lock from its first statement."""
        with self._backend.translated(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One state of the database to read from, without holding up any writer. Writing is an error."""
        with self._backend.translated(), self._engine.connect() as connection:
            connection.execution_options(**{_ONLY_READS: True})
            with connection.begin():
                yield connection

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Do `work` in a transaction; again when the connection was lost or the server aborted it.

        A connection that is lost during the commit leaves open whether it happened. So `work` must be one
        that changes nothing when it is done again, say by an idempotency key that it looks up first.

        Raises:
            LostDatabaseError, AbortedTransactionError: still, after `retry_seconds`.
        """
        give_up_at = time.monotonic() + self._retry_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                with self.transaction() as connection:
                    return work(connection)
            except (LostDatabaseError, AbortedTransactionError):
                if time.monotonic() + pause > give_up_at:
                    raise
            # Not all at once: those that were thrown out together would meet again.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def backup(self) -> Path | None:
        """Copy a file's whole content beside it and return the copy's path; None for a server."""
        return self._backend.backup()

    def close(self) -> None:
        """Release file or connections."""
        self._engine.dispose()

    def _begin(self, connection: sa.Connection) -> None:
        only_reads = bool(connection.get_execution_options().get(_ONLY_READS))
        self._backend.begin(connection, only_reads=only_reads)

    def _migrate(self) -> None:
        found = self._revision()
        if found == NEWEST_REVISION:
            return
        if found is not None and found > NEWEST_REVISION:
            raise NewerDatabaseError(self.where, found)
        if found is None:
            self._backend.refuse_emptied()
        from alembic.util import CommandError

        from ayni.migrations import upgrade

        try:
            with self._engine.begin() as connection:
                upgrade(connection)
        except CommandError as error:
            raise DamagedDatabaseError(self.where, str(error)) from error

    def _revision(self) -> str | None:
        with self._engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _backend(where: Path | str) -> Backend:
    if isinstance(where, Path):
        return SqliteBackend(where)
    if not where.startswith("sqlite:"):
        return PostgresqlBackend(where)
    path = where.removeprefix("sqlite:///")
    if path == where or not Path(path).is_absolute():
        raise UnknownDatabaseError(where, "a SQLite file needs its absolute path after sqlite:///")
    return SqliteBackend(Path(path))
