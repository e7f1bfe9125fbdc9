"""Objects encrypted where they are stored; everything above sees the same bytes and the same digests.

The files are described in `encrypted_files`. Every object has a random data key, which a master key wraps, so
that a change of the master key rewrites key files only. Any range can be read, at the cost of whole segments.

An object file names its key file, and each attempt to store has its own: two that store the same content at
once cannot leave an object with the other's key. The key file is written first; what a crash leaves is a key
file without an object (`remove_orphans`).

Objects keep the name that their content has, so that equal content is stored once. Who sees the folder
therefore learns digests and sizes, and whether a file known to them is there.

Not covered: the database and what it says of names and sizes (the operator's disk encryption), and memory.

Source: NIST SP 800-38D (AES-GCM).
"""

import hashlib
import io
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

from ayni.errors import AyniError
from ayni.hub.encrypted_files import (
    ID_BYTES,
    NONCE_PREFIX_BYTES,
    PRELUDE_BYTES,
    SEGMENT_BYTES,
    STORED_SEGMENT_BYTES,
    KeyFile,
    Prelude,
    Segments,
    content_size,
    key_context,
    num_segments,
    stored_size,
)
from ayni.hub.master_keys import MasterKeys
from ayni.objects import (
    ContentMismatchError,
    GivenName,
    IncomingFile,
    MissingObjectError,
    ObjectStore,
    SideFiles,
    Stored,
)

SUFFIX = ".sealed"
_KEYS_FOLDER = "keys"
_DATA_KEY_BYTES = 32
_KEPT_KEYS = 4_096


class UnreadableObjectError(AyniError):
    """An encrypted object was changed, cut, or lost its key file."""

    def __init__(self, sha256: str, reason: str) -> None:
        self.sha256 = sha256
        super().__init__(
            f"The encrypted object {sha256[:12]}... cannot be read: {reason}. Restore it and its key file "
            "from a backup, or remove it and upload its file again."
        )


class EncryptedObjects:
    """Objects at a URL, encrypted. Fulfils ContentStore; does not see objects that are there unencrypted."""

    def __init__(self, url: str, keys: MasterKeys) -> None:
        self.url = url
        self._objects = ObjectStore(url, suffix=SUFFIX)
        self._key_files = self._objects.side_files(_KEYS_FOLDER)
        self._keys = keys
        self._known = _Recent(_KEPT_KEYS)

    def writer(self, *, name: str | None = None) -> "EncryptedWriter":
        """A new object that comes in pieces; `name` takes the place of its SHA-256."""
        return EncryptedWriter(self._objects.incoming(), self._key_files, self._keys, name=name)

    def put(self, source: BinaryIO) -> str:
        """Store a stream and return the SHA-256 of what it gave; a broken stream leaves nothing visible."""
        with self.writer() as writer:
            while piece := source.read(SEGMENT_BYTES):
                writer.write(piece)
            return writer.finish().sha256

    def has(self, sha256: str) -> bool:
        """Whether an object with this digest is stored."""
        return self._objects.has(sha256)

    def size(self, sha256: str) -> int | None:
        """Bytes that `read` gives; None when it is not stored."""
        stored = self._objects.size(sha256)
        return None if stored is None else content_size(stored)

    def open(self, sha256: str) -> BinaryIO:
        """A readable and seekable binary file of the content.

        Raises:
            MissingObjectError: nothing is stored under this digest.
            UnreadableObjectError: it was changed or lost its key file.
        """
        return io.BufferedReader(_OpenedFile(self._opened(sha256)), SEGMENT_BYTES)

    def read(self, sha256: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes [start, stop) in pieces of at most 1 MiB; to the end without `stop`.

        Raises:
            MissingObjectError, UnreadableObjectError: as with `open`; a changed segment only when it is
                reached, before any byte of it.
        """
        return _pieces(self._opened(sha256), start, stop)

    def local_path(self, _sha256: str) -> Path | None:
        """None: no file has the bytes of the content."""
        return None

    def delete(self, sha256: str) -> bool:
        """Remove an object and its key file; whether it was there."""
        try:
            with self._objects.open(sha256) as file:
                prelude = Prelude.from_bytes(file.read(PRELUDE_BYTES))
        except MissingObjectError:
            return False
        # A crash in between leaves a key file without an object, never an object without its key.
        was_there = self._objects.delete(sha256)
        if prelude is not None:
            self._known.forget(prelude.id)
            self._key_files.delete(prelude.id.hex())
        return was_there

    def list(self) -> Iterator[str]:
        """All digests, in no particular order."""
        return self._objects.list()

    def sizes(self) -> Iterator[tuple[str, int]]:
        """All digests with the bytes that their files take."""
        return self._objects.sizes()

    def strangers(self) -> Iterator[str]:
        """Files in the folder that are neither objects nor on their way in nor key files, by their path."""
        return self._objects.strangers()

    def incoming_files(self) -> Sequence[tuple[str, int, datetime | None]]:
        """Files on their way in: name, bytes, time of the last change."""
        return self._objects.incoming_files()

    def remove_incoming(self, name: str) -> None:
        """Remove what a killed process left on its way in."""
        self._objects.remove_incoming(name)

    def rewrap(self) -> int:
        """Wrap every data key by the newest master key; how many were under another one.

        May be broken off and begun again. No object is read or written.

        Raises:
            UnknownMasterKeyError, UnwrapError: a key file cannot be unwrapped; those before it are done.
        """
        num_changed = 0
        for name in self._key_files.list():
            found = self._key_file(name)
            if found is None or found.wrapped.key_id == self._keys.newest_id:
                continue
            context = key_context(bytes.fromhex(name), found.sha256, found.size_bytes)
            wrapped = self._keys.wrap(self._keys.unwrap(found.wrapped, context), context)
            fresh = KeyFile(sha256=found.sha256, size_bytes=found.size_bytes, wrapped=wrapped)
            self._key_files.write(name, fresh.to_bytes())
            num_changed += 1
        return num_changed

    def master_keys_in_use(self) -> set[str]:
        """The ids of the master keys that some data key is under."""
        files = (self._key_file(name) for name in self._key_files.list())
        return {found.wrapped.key_id for found in files if found is not None}

    def remove_orphans(self) -> int:
        """Remove key files that no object file names; how many. Nothing may be stored meanwhile."""
        num_removed = 0
        for name in list(self._key_files.list()):
            found = self._key_file(name)
            if found is not None and self._id_of(found.sha256) != bytes.fromhex(name):
                self._key_files.delete(name)
                num_removed += 1
        return num_removed

    def _id_of(self, sha256: str) -> bytes | None:
        try:
            with self._objects.open(sha256) as file:
                prelude = Prelude.from_bytes(file.read(PRELUDE_BYTES))
        except MissingObjectError:
            return None
        return None if prelude is None else prelude.id

    def _key_file(self, name: str) -> KeyFile | None:
        content = self._key_files.read(name)
        if content is None:
            return None
        try:
            return KeyFile.from_bytes(content)
        except ValueError as error:
            raise UnreadableObjectError(name, f"its key file {name} is damaged") from error

    def _opened(self, sha256: str) -> "_Opened":
        file = self._objects.open(sha256)
        try:
            prelude = Prelude.from_bytes(file.read(PRELUDE_BYTES))
            if prelude is None:
                raise UnreadableObjectError(sha256, "its file does not begin as an encrypted object does")
            data_key, size_bytes = self._data_key(sha256, prelude)
            stored_bytes = file.seek(0, io.SEEK_END)
            if stored_bytes != stored_size(size_bytes):
                raise UnreadableObjectError(
                    sha256, f"its file has {stored_bytes} bytes instead of {stored_size(size_bytes)}"
                )
        except BaseException:
            file.close()
            raise
        return _Opened(
            sha256=sha256, file=file, segments=Segments.of(prelude, data_key), size_bytes=size_bytes
        )

    def _data_key(self, sha256: str, prelude: Prelude) -> tuple[bytes, int]:
        if (kept := self._known.get(prelude.id)) is not None and kept[0] == sha256:
            return kept[1], kept[2]
        found = self._key_file(prelude.id.hex())
        if found is None:
            raise UnreadableObjectError(sha256, f"its key file {prelude.id.hex()} is gone")
        # The digest that was asked for, not the one in the file: the wrapped key must belong to it.
        data_key = self._keys.unwrap(found.wrapped, key_context(prelude.id, sha256, found.size_bytes))
        self._known.keep(prelude.id, (sha256, data_key, found.size_bytes))
        return data_key, found.size_bytes


class EncryptedWriter:
    """One object on its way in: digest of what comes, encryption of what goes to the device."""

    def __init__(
        self, file: IncomingFile, key_files: SideFiles, keys: MasterKeys, *, name: str | None = None
    ) -> None:
        self._file, self._key_files, self._keys = file, key_files, keys
        self._data_key = secrets.token_bytes(_DATA_KEY_BYTES)
        self._prelude = Prelude(
            id=secrets.token_bytes(ID_BYTES), nonce_prefix=secrets.token_bytes(NONCE_PREFIX_BYTES)
        )
        self._segments = Segments.of(self._prelude, self._data_key)
        self._digest: hashlib._Hash | GivenName = hashlib.sha256() if name is None else GivenName(name)
        self._pending = bytearray()
        self._num_segments = self._num_bytes = 0
        self._file.write(self._prelude.to_bytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()

    def write(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            DiskFullError, NotWritableError: the device refuses.
        """
        self._digest.update(piece)
        self._num_bytes += len(piece)
        self._pending += piece
        # A full segment waits for one more byte: only then is it known not to be the last.
        while len(self._pending) > SEGMENT_BYTES:
            self._write_segment(self._pending[:SEGMENT_BYTES], is_last=False)
            del self._pending[:SEGMENT_BYTES]

    def finish(self, expected_sha256: str | None = None) -> Stored:
        """Make the object visible.

        Raises:
            ContentMismatchError: it is not what was expected; nothing is visible.
            DiskFullError, NotWritableError: the device refuses; nothing is visible.
        """
        sha256 = self._digest.hexdigest()
        if expected_sha256 not in (None, sha256):
            raise ContentMismatchError(expected=str(expected_sha256), found=sha256, num_bytes=self._num_bytes)
        self._write_segment(self._pending, is_last=True)
        context = key_context(self._prelude.id, sha256, self._num_bytes)
        wrapped = self._keys.wrap(self._data_key, context)
        key_file = KeyFile(sha256=sha256, size_bytes=self._num_bytes, wrapped=wrapped)
        name = self._prelude.id.hex()
        self._key_files.write(name, key_file.to_bytes())
        # When this fails the object may be visible all the same, so its key file stays.
        if not self._file.place(sha256):
            self._key_files.delete(name)
        return Stored(sha256=sha256, size_bytes=self._num_bytes)

    def _write_segment(self, content: bytes | bytearray, *, is_last: bool) -> None:
        self._file.write(self._segments.seal(self._num_segments, content, is_last=is_last))
        self._num_segments += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """An object file with what is needed to read it."""

    sha256: str
    file: Any
    segments: Segments
    size_bytes: int

    def segment(self, index: int) -> bytes:
        """The content of one segment."""
        from cryptography.exceptions import InvalidTag

        self.file.seek(PRELUDE_BYTES + index * STORED_SEGMENT_BYTES)
        stored = self.file.read(STORED_SEGMENT_BYTES)
        try:
            return self.segments.open(index, stored, is_last=index == num_segments(self.size_bytes) - 1)
        except (InvalidTag, ValueError) as error:
            raise UnreadableObjectError(self.sha256, f"its segment {index} was changed") from error


class _OpenedFile(io.RawIOBase):
    """The content of an object as a file."""

    def __init__(self, opened: _Opened) -> None:
        super().__init__()
        self._opened = opened
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._opened.size_bytes}[whence]
        if begin + offset < 0:
            raise ValueError(f"position {begin + offset} lies before the beginning")
        self._position = begin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        index, within = divmod(self._position, SEGMENT_BYTES)
        if self._position >= self._opened.size_bytes:
            return 0
        found = self._opened.segment(index)[within : within + len(buffer)]
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._opened.file.close()
        super().close()


class _Recent:
    """Data keys that were unwrapped lately, so that a file in use asks its key file and service once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, tuple[str, bytes, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: bytes) -> tuple[str, bytes, int] | None:
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)

    def keep(self, name: bytes, value: tuple[str, bytes, int]) -> None:
        with self._lock:
            self._kept[name] = value
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def forget(self, name: bytes) -> None:
        with self._lock:
            self._kept.pop(name, None)


def encrypt_all(plain: ObjectStore, encrypted: EncryptedObjects, *, names_are_digests: bool = True) -> int:
    """Move every unencrypted object into the encrypted store; how many. May be broken off and begun again.

    Where names are no digests (`name` of `writer`), what is in an object is not checked.

    Raises:
        ContentMismatchError: an object is not what its name promises; it stays where it is.
    """
    num_moved = 0
    for sha256 in list(plain.list()):
        with encrypted.writer(name=None if names_are_digests else sha256) as writer:
            for piece in plain.read(sha256):
                writer.write(piece)
            writer.finish(sha256)
        plain.delete(sha256)
        num_moved += 1
    return num_moved


def _pieces(opened: _Opened, start: int, stop: int | None) -> Iterator[bytes]:
    with opened.file:
        end = opened.size_bytes if stop is None else min(stop, opened.size_bytes)
        position = start
        while position < end:
            index, within = divmod(position, SEGMENT_BYTES)
            piece = opened.segment(index)[within : within + end - position]
            position += len(piece)
            yield piece
