"""What can go wrong with a database, in words that say what to do.

Both systems raise these; which of their codes means what is said in `sqlite` and `postgresql`.

Not covered: errors that are ours, such as a broken constraint. They pass as SQLAlchemy raises them.
"""

from pathlib import Path

from ayni.database.tables import NEWEST_REVISION
from ayni.errors import AyniError, UserError


class DamagedDatabaseError(AyniError):
    """The database file is not readable as a database."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = path
        super().__init__(
            f"The database {path} is damaged: {reason}. Runs, receipts and published files are plain files "
            f"and are not touched by this. {_remedy(path)}"
        )


class NewerDatabaseError(AyniError):
    """The database was made by a newer Ayni."""

    def __init__(self, path: Path | str, found: str) -> None:
        self.found = found
        super().__init__(
            f"The database {path} has the revision {found}, this Ayni knows up to {NEWEST_REVISION}. "
            "Upgrade Ayni."
        )


class BusyDatabaseError(AyniError):
    """Another process has been writing for longer than we wait."""

    def __init__(self, path: Path | str, seconds: float) -> None:
        self.path = path
        self.seconds = seconds
        super().__init__(
            f"Another process has held the database {path} for more than {seconds:.0f} s. "
            "Nothing was changed. Wait for it or end it, then run the command again."
        )


class DatabaseDeviceError(AyniError):
    """The device under the database refuses to read or write."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = path
        super().__init__(
            f"The device under the database {path} refused to read or write: {reason}. The last change was "
            "not made, everything before it is kept. Check the free space, the file size limit (ulimit -f) "
            "and the disk, then run the command again."
        )


class LostDatabaseError(AyniError):
    """The database server does not answer, or hung up in the middle of a transaction."""

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        super().__init__(
            f"The database {where} does not answer: {reason}. A transaction that was under way happened "
            "whole or not at all; doing it again does no harm. Check AYNI_DATABASE_URL and that the server "
            "runs, then run the command again."
        )


class AbortedTransactionError(AyniError):
    """The database ended a transaction in favour of another one."""

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        super().__init__(
            f"The database {where} ended a transaction in favour of another one: {reason}. Nothing was "
            "changed. Run the command again."
        )


class RefusedByDatabaseError(UserError):
    """The database server does not allow what we ask of it."""

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        super().__init__(
            f"The database {where} refuses: {reason}. Ayni must be able to log in, to make tables and to "
            "write (a read-only replica is not enough). Give the user of AYNI_DATABASE_URL these rights."
        )


class UnknownDatabaseError(UserError):
    """AYNI_DATABASE_URL names no database that Ayni knows."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(
            f"{url!r} is not the URL of a database that Ayni knows: {reason}. Write "
            "AYNI_DATABASE_URL=postgresql://user:password@host/name, or sqlite:////absolute/path.db, or "
            "leave it out for the file state.db in AYNI_HOME."
        )


def _remedy(path: Path | str) -> str:
    if isinstance(path, str):
        return "Restore it from the last good backup of the server."
    backup = path.with_name(f"{path.name}.backup")
    if backup.exists():
        copy = f"Put the last good copy back: cp {backup} {path}"
    else:
        copy = (
            f"There is no {backup.name} beside it, so put back a copy of your own, or move {path} away: "
            "a new one is then begun, and the ledger of each run stays readable in its ledger.json"
        )
    return f"{copy} (and remove {path}-wal and {path}-shm if they are there)."
