"""The shared database: one `MetaData` for all capabilities, SQLite by default, migrated by Alembic.

Capabilities declare their tables on `metadata` in their own `store.py` and turn rows into values with
explicit functions. There are no foreign keys between capabilities, so that each can move elsewhere.

SQLite runs in WAL mode with one writer at a time: a second writer waits up to 30 s.

Not covered: PostgreSQL (the URL is accepted; nothing here is specific to SQLite but the pragmas and
the backup).
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from ayni.errors import AyniError
from ayni.files import NotWritableError, explain_os_errors, flush_folder

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# The newest revision in ayni/migrations/versions; a test keeps the two equal.
NEWEST_REVISION = "0001"
BUSY_SECONDS = 30.0


class DamagedDatabaseError(AyniError):
    """The database file is not readable as a database."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(
            f"The database {path} is damaged: {reason}. Runs, receipts and published files are plain files and "
            f"are not touched by this. Put the last good copy back: cp {path}.backup {path} "
            f"(and remove {path}-wal and {path}-shm if they are there)."
        )


class NewerDatabaseError(AyniError):
    """The database was made by a newer Ayni."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(
            f"The database {path} has the revision {found}, this Ayni knows up to {NEWEST_REVISION}. Upgrade Ayni."
        )


class Database:
    """Sessions on one database. Opening it creates or migrates the tables."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})
        sa.event.listen(self._engine, "connect", _configure_sqlite)
        # We begin transactions ourselves: pysqlite would begin them late and let two writers read
        # the same state before either writes.
        sa.event.listen(self._engine, "begin", _begin_immediately)
        with self._translated():
            self._migrate()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One all-or-nothing transaction that holds the writer's lock from its first statement.

        Raises:
            DamagedDatabaseError: the file is not a database any more.
            NotWritableError: the file or its folder is read-only.
        """
        with self._translated(), self._engine.begin() as connection:
            yield connection

    def backup(self) -> Path:
        """Copy the database to `<path>.backup`, consistently and atomically; return that path."""
        target = self.path.with_name(f"{self.path.name}.backup")
        temporary = self.path.with_name(f".{self.path.name}.backup.tmp")
        with explain_os_errors(target), self._translated():
            temporary.unlink(missing_ok=True)
            with (
                contextlib.closing(sqlite3.connect(self.path)) as source,
                contextlib.closing(sqlite3.connect(temporary)) as copy,
            ):
                source.backup(copy)
            temporary.replace(target)
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
            raise NewerDatabaseError(str(self.path), found)
        from ayni.migrations import upgrade

        with self._engine.begin() as connection:
            upgrade(connection)

    def _revision(self) -> str | None:
        with self._engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DatabaseError as error:
            self._explain(error.orig or error, error)
            raise
        except sqlite3.DatabaseError as error:
            self._explain(error, error)
            raise

    def _explain(self, reason: BaseException, cause: BaseException) -> None:
        text = str(reason)
        if "readonly" in text or "unable to open" in text:
            raise NotWritableError(self.path, text) from cause
        if "malformed" in text or "not a database" in text or "disk image" in text:
            raise DamagedDatabaseError(str(self.path), text) from cause


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_immediately(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
