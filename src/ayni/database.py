"""The shared database: one `MetaData` for all capabilities, SQLite by default, migrated by Alembic.

Capabilities declare their tables on `metadata` in their own `store.py` and turn rows into values with
explicit functions. There are no foreign keys between capabilities, so that each can move elsewhere.

SQLite runs in WAL mode with one writer at a time: a second writer waits up to 30 s.

Not covered: PostgreSQL (nothing here is specific to SQLite but the pragmas, the errors and the backup).
"""

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from ayni.errors import AyniError
from ayni.files import DiskFullError, NotWritableError, explain_os_errors, flush_folder, make_folder

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# The newest revision in ayni/migrations/versions; a test keeps the two equal.
NEWEST_REVISION = "0002"
BUSY_SECONDS = 30.0

# Primary result codes of SQLite (the low byte; the rest says in which call). https://sqlite.org/rescode.html
_CODES_FULL = {sqlite3.SQLITE_FULL}
_CODES_REFUSED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_CODES_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_CODES_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CODES_DEVICE = {sqlite3.SQLITE_IOERR}


class DamagedDatabaseError(AyniError):
    """The database file is not readable as a database."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        backup = _backup_path(path)
        remedy = (
            f"Put the last good copy back: cp {backup} {path}"
            if backup.exists()
            else f"There is no {backup.name} beside it, so put back a copy of your own, or move {path} away: "
            "a new one is then begun, and the ledger of each run stays readable in its ledger.json"
        )
        super().__init__(
            f"The database {path} is damaged: {reason}. Runs, receipts and published files are plain files "
            f"and are not touched by this. {remedy} (and remove {path}-wal and {path}-shm if they are there)."
        )


class NewerDatabaseError(AyniError):
    """The database was made by a newer Ayni."""

    def __init__(self, path: Path, found: str) -> None:
        self.found = found
        super().__init__(
            f"The database {path} has the revision {found}, this Ayni knows up to {NEWEST_REVISION}. "
            "Upgrade Ayni."
        )


class BusyDatabaseError(AyniError):
    """Another process has been writing for longer than we wait."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"Another process has held the database {path} for more than {BUSY_SECONDS:.0f} s. "
            "Nothing was changed. Wait for it or end it, then run the command again."
        )


class DatabaseDeviceError(AyniError):
    """The device under the database refuses to read or write."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"The device under the database {path} refused to read or write: {reason}. The last change was "
            "not made, everything before it is kept. Check the free space, the file size limit (ulimit -f) "
            "and the disk, then run the command again."
        )


class Database:
    """Sessions on one database. Opening it creates or migrates the tables.

    Raises, from every method:
        DamagedDatabaseError: the file is not a database (any more).
        NotWritableError: the file or its folder is read-only.
        DiskFullError: no space left; the transaction did not happen.
        BusyDatabaseError: another process writes and does not come to an end.
        DatabaseDeviceError: reading or writing failed below the file system.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        # URL.create, because a path in the text of a URL would end at its first question mark.
        url = sa.URL.create("sqlite", database=str(path.absolute()))
        self._engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        sa.event.listen(self._engine, "connect", _configure_sqlite)
        # We begin transactions ourselves: pysqlite would begin them late and let two writers read
        # the same state before either writes.
        sa.event.listen(self._engine, "begin", _begin_immediately)
        with self._translated():
            self._migrate()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One all-or-nothing transaction that holds the writer's lock from its first statement."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    def backup(self) -> Path:
        """Copy the database to `<path>.backup`, consistently and atomically; return that path.

        The copy is checked page by page first: a damaged database never replaces the last good copy.
        """
        target = _backup_path(self.path)
        temporary = self.path.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        with explain_os_errors(target), self._translated():
            try:
                with (
                    contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as source,
                    contextlib.closing(sqlite3.connect(temporary)) as copy,
                ):
                    source.backup(copy)
                    self._refuse_damage(copy)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            flush_folder(target.parent)
        return target

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def _migrate(self) -> None:
        found = self._revision()
        if found == NEWEST_REVISION:
            return
        if found is not None and found > NEWEST_REVISION:
            raise NewerDatabaseError(self.path, found)
        if found is None and _backup_path(self.path).exists():
            # Going on would make an empty ledger and, at the next backup, overwrite the old one's copy.
            raise DamagedDatabaseError(self.path, "it has no tables, but there is a backup of one that had")
        from alembic.util import CommandError

        from ayni.migrations import upgrade

        try:
            with self._engine.begin() as connection:
                upgrade(connection)
        except CommandError as error:
            raise DamagedDatabaseError(self.path, str(error)) from error

    def _revision(self) -> str | None:
        with self._engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def _refuse_damage(self, connection: sqlite3.Connection) -> None:
        first_finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if first_finding != "ok":
            raise DamagedDatabaseError(self.path, str(first_finding))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DatabaseError as error:
            self._explain(error.orig or error, error)
            raise
        except sqlite3.Error as error:
            self._explain(error, error)
            raise

    def _explain(self, reason: BaseException, cause: BaseException) -> None:
        """Raise what the user should read; return when the error is none of the machine's (a bug of ours)."""
        text = str(reason)
        code = getattr(reason, "sqlite_errorcode", 0) & 0xFF
        if code in _CODES_FULL:
            raise DiskFullError(self.path) from cause
        if code in _CODES_REFUSED:
            raise NotWritableError(self.path, text) from cause
        # Text that is not UTF-8 is found by Python, which gives no code.
        if code in _CODES_DAMAGED or "Could not decode to UTF-8" in text:
            raise DamagedDatabaseError(self.path, text) from cause
        if code in _CODES_BUSY:
            raise BusyDatabaseError(self.path) from cause
        if code in _CODES_DEVICE:
            raise DatabaseDeviceError(self.path, text) from cause


def _backup_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.backup")


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
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


def _begin_immediately(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
