"""A SQLite file as the database: nothing to start, one writer at a time.

The file runs in WAL mode: readers never wait, and a second writer waits up to 30 s.

Not covered: files on network drives, where SQLite's locks may not work.
"""

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from ayni.database.failures import BusyDatabaseError, DamagedDatabaseError, DatabaseDeviceError
from ayni.files import DiskFullError, NotWritableError, explain_os_errors, flush_folder, make_folder

BUSY_SECONDS = 30.0

# Primary result codes of SQLite (the low byte; the rest says in which call). https://sqlite.org/rescode.html
_CODES_FULL = {sqlite3.SQLITE_FULL}
_CODES_REFUSED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_CODES_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_CODES_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CODES_DEVICE = {sqlite3.SQLITE_IOERR}


class SqliteBackend:
    """Fulfils `ayni.database.sessions.Backend`."""

    def __init__(self, path: Path) -> None:
        self.where = path
        make_folder(path.parent)

    def make_engine(self) -> sa.Engine:
        """Connections that wait for each other as long as BUSY_SECONDS says."""
        # URL.create, because a path in the text of a URL would end at its first question mark.
        url = sa.URL.create("sqlite", database=str(self.where.absolute()))
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, max_overflow=-1)
        sa.event.listen(engine, "connect", _configure)
        return engine

    def begin(self, connection: sa.Connection, *, only_reads: bool) -> None:
        """Begin a transaction, with the writer's lock unless it only reads.

        We begin transactions ourselves: pysqlite would begin them late and let two writers read the same
        state before either writes.
        """
        connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if only_reads else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """SQLite's errors as those of `ayni.database.failures` and `ayni.files`."""
        try:
            yield
        except sa.exc.DatabaseError as error:
            self._explain(error.orig or error, error)
            raise
        except sqlite3.Error as error:
            self._explain(error, error)
            raise

    def refuse_emptied(self) -> None:
        """Called for a database without tables, before they are made.

        Raises:
            DamagedDatabaseError: there is a backup of one that had tables.
        """
        if self._backup_path.exists():
            # Going on would make an empty ledger and, at the next backup, overwrite the old one's copy.
            raise DamagedDatabaseError(self.where, "it has no tables, but there is a backup of one that had")

    def backup(self) -> Path:
        """Copy the database to `<path>.backup`, consistently and atomically; return that path.

        The copy is checked page by page first: a damaged database never replaces the last good copy.
        """
        target = self._backup_path
        temporary = self.where.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        with explain_os_errors(target), self.translated():
            try:
                with (
                    contextlib.closing(sqlite3.connect(self.where, timeout=BUSY_SECONDS)) as source,
                    contextlib.closing(sqlite3.connect(temporary)) as copy,
                ):
                    source.backup(copy)
                    self._refuse_damage(copy)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            flush_folder(target.parent)
        return target

    @property
    def _backup_path(self) -> Path:
        return self.where.with_name(f"{self.where.name}.backup")

    def _refuse_damage(self, connection: sqlite3.Connection) -> None:
        first_finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if first_finding != "ok":
            raise DamagedDatabaseError(self.where, str(first_finding))

    def _explain(self, reason: BaseException, cause: BaseException) -> None:
        """Raise what the user should read; return when the error is none of the machine's (a bug of ours)."""
        text = str(reason)
        code = getattr(reason, "sqlite_errorcode", 0) & 0xFF
        if code in _CODES_FULL:
            raise DiskFullError(self.where) from cause
        if code in _CODES_REFUSED:
            raise NotWritableError(self.where, text) from cause
        # Text that is not UTF-8 is found by Python, which gives no code.
        if code in _CODES_DAMAGED or "Could not decode to UTF-8" in text:
            raise DamagedDatabaseError(self.where, text) from cause
        if code in _CODES_BUSY:
            raise BusyDatabaseError(self.where, BUSY_SECONDS) from cause
        if code in _CODES_DEVICE:
            raise DatabaseDeviceError(self.where, text) from cause


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    _enter_wal_mode(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _enter_wal_mode(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; the file remembers it, so that only its first opener has work to do.

    SQLite does not wait for its busy timeout here: two first openers would tell each other "locked".
    """
    give_up_at = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _CODES_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
