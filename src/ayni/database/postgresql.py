"""A PostgreSQL server as the database: for pools with many writers and members.

Every writing transaction takes one advisory lock first, so that it is alone, as it is with SQLite:
the ledger is one chain, and capabilities read, decide and write without a second thought. The isolation
is READ COMMITTED on purpose: a snapshot that is frozen by the statement that waits for the lock would be
older than what the writer before has committed. Who only reads takes no lock and sees one snapshot.

A writer that is killed lets go at once, because the server sees its connection end. One that hangs, or
whose machine vanished, is cut off by the server after a minute.

Not covered: servers behind a pool of connections in statement mode, which hold no transaction together.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from ayni.database.failures import (
    AbortedTransactionError,
    BusyDatabaseError,
    DamagedDatabaseError,
    DatabaseDeviceError,
    LostDatabaseError,
    RefusedByDatabaseError,
    UnknownDatabaseError,
)
from ayni.errors import MissingExtraError

LOCK_SECONDS = 30
CONNECT_SECONDS = 10
# How long a writer may do nothing while all others wait for it.
IDLE_SECONDS = 60
# Any number will do, as long as all writers use the same: "ayni" in ASCII.
_LOCK_KEY = 0x61796E69
_DRIVERS = ("postgresql", "postgresql+psycopg", "postgres")

# Classes and codes of errors. https://www.postgresql.org/docs/current/errcodes-appendix.html
_CODES_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "53300")
_CODES_ABORTED = ("40001", "40P01")
_CODES_BUSY = ("55P03", "57014", "25P04")
_CODES_REFUSED = ("25006", "42501", "28", "3D000")
_CODES_DEVICE = ("53100", "53200", "58")
_CODES_DAMAGED = ("XX001", "XX002")


class PostgresqlBackend:
    """Fulfils `ayni.database.sessions.Backend`."""

    def __init__(self, url: str) -> None:
        """Take the URL apart; nothing is connected yet.

        Raises:
            UnknownDatabaseError: it is no URL of a PostgreSQL database.
            MissingExtraError: psycopg is not installed.
        """
        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):
            # The error repeats the whole URL, so it is not shown.
            raise UnknownDatabaseError(_masked(url), "it cannot be taken apart") from None
        if parsed.drivername not in _DRIVERS:
            raise UnknownDatabaseError(_without_password(parsed), f"{parsed.drivername} is not PostgreSQL")
        if not parsed.database:
            raise UnknownDatabaseError(_without_password(parsed), "it names no database")
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError(extra="postgres", package="psycopg") from error
        self._driver_error = psycopg.Error
        self._url = parsed.set(drivername="postgresql+psycopg")
        self.where = _without_password(parsed)

    def make_engine(self) -> sa.Engine:
        """Connections that notice when the server has gone, and that the server can be rid of."""
        engine = sa.create_engine(
            self._url,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
            },
        )
        sa.event.listen(engine, "connect", _configure)
        return engine

    def begin(self, connection: sa.Connection, *, only_reads: bool) -> None:
        """Begin a transaction, with the writer's lock unless it only reads."""
        if only_reads:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """PostgreSQL's errors as those of `ayni.database.failures`."""
        try:
            yield
        except sa.exc.TimeoutError as error:
            raise BusyDatabaseError(self.where, LOCK_SECONDS) from error
        except sa.exc.DBAPIError as error:
            self._explain(error.orig or error, error, is_lost=error.connection_invalidated)
            raise
        except self._driver_error as error:
            self._explain(error, error)
            raise

    def refuse_emptied(self) -> None:
        """Do nothing: whoever runs a server has made this database empty on purpose."""

    def backup(self) -> None:
        """Do nothing: backups of a server are its operator's, with pg_dump or an archive of its log."""

    def _explain(self, reason: BaseException, cause: BaseException, *, is_lost: bool = False) -> None:
        """Raise what the user should read; return when the error is none of the server's (a bug of ours)."""
        code, text = getattr(reason, "sqlstate", None) or "", " ".join(str(reason).split())
        if code.startswith(_CODES_ABORTED):
            raise AbortedTransactionError(self.where, text) from cause
        if code.startswith(_CODES_BUSY):
            raise BusyDatabaseError(self.where, LOCK_SECONDS) from cause
        if code.startswith(_CODES_REFUSED):
            raise RefusedByDatabaseError(self.where, text) from cause
        if code.startswith(_CODES_DEVICE):
            raise DatabaseDeviceError(self.where, text) from cause
        if code.startswith(_CODES_DAMAGED):
            raise DamagedDatabaseError(self.where, text) from cause
        # A connection that could not be made, or that broke, has no code.
        is_silent = not code and type(reason).__name__ in ("OperationalError", "ConnectionTimeout")
        if is_lost or is_silent or code.startswith(_CODES_LOST):
            raise LostDatabaseError(self.where, text) from cause


def _configure(connection: Any, _record: object) -> None:
    # Statements rather than options of the connection: a pool of connections in between refuses options.
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
    connection.execute("SET tcp_keepalives_idle = 30")
    connection.autocommit = False


def _masked(url: str) -> str:
    """A text that is no URL, without what may be the password in it."""
    before, at, after = url.rpartition("@")
    return f"{before.partition('//')[0]}//***@{after}" if at else url


def _without_password(url: sa.URL) -> str:
    return url.render_as_string(hide_password=True)
