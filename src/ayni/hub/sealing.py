"""Whether a hub's objects are encrypted: remembered, so that no process stores or looks in the other form.

    no key, never sealed     objects lie open
    key, sealed              objects are encrypted
    key, not sealed          an empty store is sealed at once; one that holds objects must be encrypted first
    no key, sealed           nothing can be read: an error, and not a hub that seems empty

Not covered: the master keys themselves, and copies of a store that were made before it was sealed.
"""

from datetime import datetime

import sqlalchemy as sa

from ayni.database import Database, metadata
from ayni.errors import UserError
from ayni.hub.encryption import EncryptedObjects, encrypt_all
from ayni.hub.master_keys import MasterKeys
from ayni.objects import ObjectStore

Store = ObjectStore | EncryptedObjects
"""Objects in one of the two forms."""

storage_table = sa.Table(
    "hub_storage",
    metadata,
    # What the store is for. Not its URL, so that a hub that was moved is still known to be encrypted.
    sa.Column("store", sa.String, primary_key=True),
    sa.Column("sealed_at", sa.String, nullable=False),
)


class MasterKeyMissingError(UserError):
    """Objects are encrypted, and no master key was given."""

    def __init__(self, url: str, sealed_at: str) -> None:
        self.url = url
        super().__init__(
            f"The objects in {url} are encrypted since {sealed_at[:10]}, and no master key was given. Set "
            "AYNI_MASTER_KEY_FILE (or AYNI_MASTER_KEYS, or AYNI_MASTER_KEY_SERVICE) to the key that they "
            "were encrypted with."
        )


class NotEncryptedYetError(UserError):
    """A master key was given for a store whose objects lie open."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(
            f"A master key was given, and the objects in {url} are not encrypted yet. Stop the hub and every "
            "run that publishes, then encrypt them once with: ayni hub encrypt"
        )


def open_store(database: Database, store: str, url: str, keys: MasterKeys | None, *, now: datetime) -> Store:
    """The objects at a URL in the form that they have.

    Args:
        database: remembers the form.
        store: what the objects are for, a short name.
        url: where they are.
        keys: the master keys; None without any.
        now: the clock.

    Raises:
        MasterKeyMissingError: they are encrypted, and there is no key.
        NotEncryptedYetError: there is a key, and they lie open.
    """
    sealed_at = _sealed_at(database, store)
    plain = ObjectStore(url)
    if keys is None:
        if sealed_at is not None:
            raise MasterKeyMissingError(url, sealed_at)
        return plain
    if sealed_at is None:
        if next(plain.list(), None) is not None:
            raise NotEncryptedYetError(url)
        _note_sealed(database, store, now)
    return EncryptedObjects(url, keys)


def encrypt_store(
    database: Database,
    store: str,
    url: str,
    keys: MasterKeys,
    *,
    now: datetime,
    names_are_digests: bool = True,
) -> int:
    """Encrypt every object that lies open at a URL; how many. Nobody may store meanwhile.

    May be broken off and begun again: an object lies open, or is encrypted, or both for a moment.

    Raises:
        ContentMismatchError: an object is not what its name promises; it stays where it is.
    """
    num_moved = encrypt_all(
        ObjectStore(url), EncryptedObjects(url, keys), names_are_digests=names_are_digests
    )
    _note_sealed(database, store, now)
    return num_moved


def _sealed_at(database: Database, store: str) -> str | None:
    with database.reading() as connection:
        return connection.scalar(sa.select(storage_table.c.sealed_at).where(storage_table.c.store == store))


def _note_sealed(database: Database, store: str, now: datetime) -> None:
    with database.transaction() as connection:
        known = connection.scalar(sa.select(storage_table.c.store).where(storage_table.c.store == store))
        if known is None:
            connection.execute(storage_table.insert().values(store=store, sealed_at=now.isoformat()))
