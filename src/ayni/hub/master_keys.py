"""Master keys: they wrap the data keys of objects, so that a change of the master key rewrites no object.

A set of keys has a newest one, which wraps, and older ones, which still unwrap. What is wrapped names its
key, and is bound to a context (what the data key is for), so that it is good at no other place.

    file           one key a line, the newest last; made on first use, readable by its owner alone
    setting        the same lines, separated by commas
    service        a class with the two methods of the port `MasterKeys`, over the encrypt and decrypt calls
                   of a key management service with its encryption context

A key's id is the beginning of a digest of the key: it needs no register, and a file with a mistyped key is
noticed before anything is unwrapped.

Not covered: keeping the file apart from the data that it protects, and erasing keys from memory.

Source: NIST SP 800-38D (AES-GCM), section 8.3: a key with random nonces of 96 bits may wrap 2^32 times.
"""

import base64
import binascii
import contextlib
import fcntl
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ayni.errors import AyniError, UserError
from ayni.files import create_atomically, explain_os_errors, make_folder, write_atomically

KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_DIGITS = 16
_ID_LABEL = b"ayni master key id\0"


class MasterKeysError(UserError):
    """The text that should hold master keys holds something else."""

    def __init__(self, place: str, reason: str) -> None:
        self.place = place
        super().__init__(
            f"{place} does not hold master keys: {reason}. A line is ID KEY (16 hexadecimal digits, a blank, "
            "32 bytes in base64), the newest last. Put the right keys back from where you keep a copy: "
            "without them what they encrypted cannot be read."
        )


class UnknownMasterKeyError(AyniError):
    """Something was encrypted under a master key that is not here."""

    def __init__(self, key_id: str, known: Iterable[str]) -> None:
        self.key_id = key_id
        super().__init__(
            f"The master key {key_id} is not among those given ({', '.join(known) or 'none'}). Put it back "
            "from where you keep a copy; what it encrypted cannot be read without it."
        )


class UnwrapError(AyniError):
    """A wrapped key was changed, or is not for this place."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(
            f"A data key wrapped by the master key {key_id} was changed or belongs to another object. "
            "Restore the object and its key file from a backup."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key under a master key."""

    key_id: str
    content: bytes


class MasterKeys(Protocol):
    """Wraps data keys, and unwraps what it or an older key of it wrapped."""

    @property
    def newest_id(self) -> str:
        """The master key that wraps."""
        ...

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """A data key under the newest master key, bound to `context`."""
        ...

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """The data key.

        Raises:
            UnknownMasterKeyError: its master key is not here.
            UnwrapError: changed, or of another context.
        """
        ...


class LocalMasterKeys:
    """Master keys in this process's memory. Fulfils MasterKeys.

    Args:
        keys: 32 bytes each, the newest last.

    Raises:
        ValueError: no key, or one of another length.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        ordered = list(keys)
        if not ordered:
            raise ValueError("no master key was given")
        if wrong := [len(key) for key in ordered if len(key) != KEY_BYTES]:
            raise ValueError(f"a master key of {wrong[0]} bytes; {KEY_BYTES} are needed")
        self._keys = {key_id(key): key for key in ordered}
        self.newest_id = key_id(ordered[-1])

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all keys, in the order in which they were given."""
        return tuple(self._keys)

    def lines(self) -> list[str]:
        """All keys as lines of a file, the newest last. Secret."""
        return [_to_line(key) for key in self._keys.values()]

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """A data key under the newest master key, bound to `context`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._keys[self.newest_id]).encrypt(nonce, data_key, context)
        return WrappedKey(key_id=self.newest_id, content=nonce + sealed)

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """The data key; see the port."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if (key := self._keys.get(wrapped.key_id)) is None:
            raise UnknownMasterKeyError(wrapped.key_id, self.ids)
        nonce, sealed = wrapped.content[:_NONCE_BYTES], wrapped.content[_NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, sealed, context)
        except (InvalidTag, ValueError) as error:
            raise UnwrapError(wrapped.key_id) from error


def key_id(key: bytes) -> str:
    """What a key is called: 16 digits of a digest, from which the key cannot be computed."""
    return hashlib.sha256(_ID_LABEL + key).hexdigest()[:_ID_DIGITS]


def new_key_line() -> str:
    """A new random key as a line."""
    return _to_line(secrets.token_bytes(KEY_BYTES))


def read_key_lines(text: str, *, place: str) -> LocalMasterKeys:
    """Keys from lines or from a setting that separates them with commas; `place` names it in errors.

    Raises:
        MasterKeysError: a line is none, or no key is there.
    """
    lines = [line.strip() for line in text.replace(",", "\n").splitlines() if line.strip()]
    if not lines:
        raise MasterKeysError(place, "it is empty")
    return LocalMasterKeys([_from_line(line, place) for line in lines])


class FileMasterKeys:
    """The master keys of a file, as it is now: a key that another process adds counts at once.

    Fulfils MasterKeys. The file (mode 0600) is made with one key on first use.

    Raises, from every method:
        MasterKeysError: it holds something else.
        NotWritableError: it cannot be read, or there is none and it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_os_errors(path):
            if not path.exists():
                make_folder(path.parent, mode=0o700)
                create_atomically(path, f"{new_key_line()}\n".encode(), mode=0o600)
            if path.stat().st_mode & 0o077:
                # Some file systems know no modes and show everything as open; nothing can be done there.
                with contextlib.suppress(OSError):
                    path.chmod(0o600)
        self._version = (0, 0, 0)
        self._read: LocalMasterKeys | None = None

    @property
    def keys(self) -> LocalMasterKeys:
        """What the file holds now."""
        with explain_os_errors(self.path):
            status = self.path.stat()
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if self._read is None or version != self._version:
                text = self.path.read_bytes().decode("utf-8", "replace")
                self._read, self._version = read_key_lines(text, place=str(self.path)), version
        return self._read

    @property
    def newest_id(self) -> str:
        """The key that wraps."""
        return self.keys.newest_id

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """A data key under the newest master key, bound to `context`."""
        return self.keys.wrap(data_key, context)

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """The data key; see the port."""
        return self.keys.unwrap(wrapped, context)

    def add(self) -> str:
        """Put a new key at the end of the file and return its id; older ones stay for what they wrapped."""
        with self._alone():
            known = self.keys.lines()
            write_atomically(self.path, "\n".join([*known, new_key_line(), ""]).encode(), mode=0o600)
            return self.newest_id

    def drop_older(self) -> None:
        """Leave only the newest key. The caller has made sure that nothing needs the others."""
        with self._alone():
            write_atomically(self.path, f"{self.keys.lines()[-1]}\n".encode(), mode=0o600)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two processes that add a key at once must not lose one of the two."""
        with explain_os_errors(self.path), self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _to_line(key: bytes) -> str:
    return f"{key_id(key)} {base64.b64encode(key).decode()}"


def _from_line(line: str, place: str) -> bytes:
    said_id, _, encoded = line.partition(" ")
    try:
        key = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error as error:
        raise MasterKeysError(place, "a line has no key in base64 after its id") from error
    if len(key) != KEY_BYTES:
        raise MasterKeysError(place, f"a key has {len(key)} bytes instead of {KEY_BYTES}")
    # What stands before the blank is not shown: in a line that was mixed up it may be the key.
    if key_id(key) != said_id:
        raise MasterKeysError(place, f"a key has the id {key_id(key)}, and another stands before it")
    return key
