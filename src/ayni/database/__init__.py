"""The shared database: one `MetaData` for all capabilities, migrated by Alembic.

A SQLite file by default, a PostgreSQL server for pools with many writers. What code may rely on is the
same on both: a transaction is alone from its first statement on.

| module | subject |
|---|---|
| tables | the shared `MetaData` and the newest revision |
| sessions | transactions, and doing them again after a lost connection |
| sqlite | a file: write-ahead log, one writer at a time, backups |
| postgresql | a server: one writer at a time by an advisory lock |
| failures | what can go wrong, in words for the user |

Not covered: other database systems.
"""

from ayni.database.failures import (
    AbortedTransactionError,
    BusyDatabaseError,
    DamagedDatabaseError,
    DatabaseDeviceError,
    LostDatabaseError,
    NewerDatabaseError,
    RefusedByDatabaseError,
    UnknownDatabaseError,
)
from ayni.database.sessions import Database
from ayni.database.tables import NEWEST_REVISION, metadata

__all__ = [
    "NEWEST_REVISION",
    "AbortedTransactionError",
    "BusyDatabaseError",
    "DamagedDatabaseError",
    "Database",
    "DatabaseDeviceError",
    "LostDatabaseError",
    "NewerDatabaseError",
    "RefusedByDatabaseError",
    "UnknownDatabaseError",
    "metadata",
]
