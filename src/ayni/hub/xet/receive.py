"""Take xorbs in: checked chunk by chunk while they come, visible when the whole is what its name says.

    order of writes: records of the object -> its row, in a transaction of its own

Small ones are kept in memory until they are whole, and packed more tightly (`repacking.py`).

Records are kept in an object with a random name: their own hashes say whether they are right, and to
compute a SHA-256 over them as well would take longer than all else. Two uploads of one xorb cannot meet in
one object.

A xorb that is there already is read to its end all the same. To have it is what lets an uploader build on it,
and a name alone proves nothing.

Not covered: files, which a shard declares afterwards (`register.py`).
"""

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Self

import sqlalchemy as sa

from ayni.database import Database
from ayni.errors import UserError
from ayni.hub.content import ContentStore
from ayni.hub.quotas import QuotaExceededError
from ayni.hub.xet import index
from ayni.hub.xet.hashes import to_text
from ayni.hub.xet.index import Holder, KnownXorb
from ayni.hub.xet.repacking import SMALL_BYTES, packed_tighter
from ayni.hub.xet.xorbs import XorbReader


class XorbMismatchError(UserError):
    """The chunks that came are not those that the xorb's name announced."""

    def __init__(self, *, expected: bytes, found: bytes) -> None:
        self.expected = to_text(expected)
        self.found = to_text(found)
        super().__init__(
            f"The chunks that came have the hash {self.found[:12]}..., announced was "
            f"{self.expected[:12]}.... Nothing was stored; upload them again."
        )


class XorbUpload:
    """One xorb on its way in; a context manager that leaves nothing unless it was finished."""

    def __init__(
        self,
        database: Database,
        xorbs: ContentStore,
        *,
        name: bytes,
        holder: Holder,
        readable: sa.ColumnElement[bool],
        announced_bytes: int | None = None,
        check_size: Callable[[sa.Connection], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._xorbs = xorbs
        self._name = name
        self._holder = holder
        self._readable = readable
        self._check_size = check_size
        self._reader = XorbReader()
        self._stack = ExitStack()
        with database.reading() as connection:
            is_stored = bool(index.stored_xorbs(connection, [name]))
        self._writer = (
            None if is_stored else self._stack.enter_context(xorbs.writer(name=secrets.token_hex(32)))
        )
        is_small = announced_bytes is not None and announced_bytes <= SMALL_BYTES
        self._kept = bytearray() if is_small and not is_stored else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            XorbFormatError, XorbTooLargeError: they are no xorb.
            DiskFullError, NotWritableError: the device refuses.
        """
        records = self._reader.feed(piece)
        if self._kept is not None and len(self._kept) + len(records) > SMALL_BYTES:
            self._write_kept()  # it is larger than it was said to be
        if self._kept is not None:
            self._kept += records
        elif self._writer is not None:
            self._writer.write(records)

    def _write_kept(self) -> None:
        if self._writer is not None and self._kept is not None:
            self._writer.write(bytes(self._kept))
        self._kept = None

    def finish(self, *, when: datetime) -> bool:
        """Make the xorb known, and the uploader one who may build on it; whether it is new to them.

        What others stored before is not told: it is new to who could not have built on it.

        Raises:
            QuotaExceededError: `check_size` says that it is too much; nothing was stored.
            XorbFormatError: it is cut off.
            XorbMismatchError: it is another than announced.
            DiskFullError, NotWritableError: the device refuses.
        """
        found = self._reader.finish()
        if found.xorb_hash != self._name:
            raise XorbMismatchError(expected=self._name, found=found.xorb_hash)
        if self._writer is None:
            with self._database.transaction() as connection:
                if index.stored_xorbs(connection, [self._name]):
                    return self._add_holder(connection)
            # Freed since the upload began, for want of a file that uses it: the client sends it once more.
            raise XorbFreedError(self._name)
        if self._kept is not None:
            records, found = packed_tighter(self._kept, found)
            self._writer.write(records)
        stored = self._writer.finish()
        known = KnownXorb(xorb=self._name, object_name=stored.sha256, index=found)
        try:
            is_new, is_kept = self._database.run(lambda connection: self._record(connection, known, when))
        except QuotaExceededError:
            self._xorbs.delete(stored.sha256)
            raise
        if not is_kept:
            # Somebody else was faster with the same chunks.
            self._xorbs.delete(stored.sha256)
        return is_new

    def _record(self, connection: sa.Connection, known: KnownXorb, when: datetime) -> tuple[bool, bool]:
        """Whether it is new to the uploader, and whether it is our object that is kept."""
        index.add_xorb(connection, known, when=when, payer=self._holder.payer)
        self._check_size(connection)
        is_new = self._add_holder(connection)
        kept = index.find_xorb(connection, self._name)
        return is_new, kept is not None and kept.object_name == known.object_name

    def _add_holder(self, connection: sa.Connection) -> bool:
        usable = index.usable_xorbs(connection, [self._name], self._holder, readable=self._readable)
        index.add_holder(connection, [self._name], self._holder)
        return not usable


class XorbFreedError(UserError):
    """A xorb went away while it was uploaded again."""

    def __init__(self, xorb: bytes) -> None:
        self.xorb = to_text(xorb)
        super().__init__(f"The chunks {self.xorb[:12]}... were freed a moment ago. Upload them again.")
