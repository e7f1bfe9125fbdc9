"""The files of encrypted objects: what is in them, as values, without reading or writing any.

    object file     magic, version, id of 16 bytes, nonce prefix of 4 bytes; then segments
    segment         AES-256-GCM of up to 1 MiB and its tag of 16 bytes; each but the last is full
                    nonce = prefix, index (8 bytes); associated data = id, index, whether it is the last
    key file        keys/ab/<id>: digest and size of the content, its data key wrapped by a master key

The index and the mark of the last segment are authenticated, so that nothing can be reordered or cut off; the
wrapped key is bound to id, digest and size, so that no object can stand in for another.

Not covered: compression, and hiding sizes.

Source: NIST SP 800-38D (AES-GCM); the shape is the STREAM construction of Hoang et al., "Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015. Ours has the index and the mark
in the associated data, theirs in the nonce; with a random key for each object both are safe.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ayni.hub.master_keys import WrappedKey
from ayni.signing import canonical_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEGMENT_BYTES = 1 << 20
TAG_BYTES = 16
ID_BYTES, NONCE_PREFIX_BYTES = 16, 4
_MAGIC = b"AYNI\x01\x00\x00\x00\x00\x00\x00\x00"
PRELUDE_BYTES = len(_MAGIC) + ID_BYTES + NONCE_PREFIX_BYTES
STORED_SEGMENT_BYTES = SEGMENT_BYTES + TAG_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Prelude:
    """The first bytes of an object file: which key file is its own, and what its nonces begin with."""

    id: bytes
    nonce_prefix: bytes

    def to_bytes(self) -> bytes:
        """The 32 bytes."""
        return _MAGIC + self.id + self.nonce_prefix

    @classmethod
    def from_bytes(cls, content: bytes) -> "Prelude | None":
        """The inverse of `to_bytes`; None for anything else."""
        if len(content) != PRELUDE_BYTES or not content.startswith(_MAGIC):
            return None
        rest = content[len(_MAGIC) :]
        return cls(id=rest[:ID_BYTES], nonce_prefix=rest[ID_BYTES:])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """What a key file holds."""

    sha256: str
    size_bytes: int
    wrapped: WrappedKey

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(
            {
                "sha256": self.sha256,
                "size_bytes": self.size_bytes,
                "master_key": self.wrapped.key_id,
                "data_key": base64.b64encode(self.wrapped.content).decode(),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> "KeyFile":
        """The inverse of `to_bytes`.

        Raises:
            ValueError: something else.
        """
        try:
            said = json.loads(content)
            wrapped = WrappedKey(
                key_id=str(said["master_key"]), content=base64.b64decode(said["data_key"], validate=True)
            )
            return cls(sha256=str(said["sha256"]), size_bytes=int(said["size_bytes"]), wrapped=wrapped)
        except (TypeError, KeyError, RecursionError, binascii.Error) as error:
            raise ValueError(f"no key file: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Encrypts and decrypts the segments of one object."""

    prelude: Prelude
    cipher: "AESGCM" = field(repr=False)

    @classmethod
    def of(cls, prelude: Prelude, data_key: bytes) -> "Segments":
        """Those of an object with this data key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return cls(prelude=prelude, cipher=AESGCM(data_key))

    def seal(self, index: int, content: bytes | bytearray, *, is_last: bool) -> bytes:
        """A segment as it is stored."""
        return self.cipher.encrypt(self._nonce(index), content, self._associated(index, is_last))

    def open(self, index: int, stored: bytes, *, is_last: bool) -> bytes:
        """The content of a segment.

        Raises:
            InvalidTag: changed, moved, or not the last although it should be.
        """
        return self.cipher.decrypt(self._nonce(index), stored, self._associated(index, is_last))

    def _nonce(self, index: int) -> bytes:
        return self.prelude.nonce_prefix + index.to_bytes(8, "big")

    def _associated(self, index: int, is_last: bool) -> bytes:
        return self.prelude.id + index.to_bytes(8, "big") + (b"\x01" if is_last else b"\x00")


def stored_size(size_bytes: int) -> int:
    """Bytes of the file of an object with this many bytes of content."""
    return PRELUDE_BYTES + size_bytes + TAG_BYTES * num_segments(size_bytes)


def content_size(stored_bytes: int) -> int | None:
    """Bytes of content in an object file of this size; None when no object file has it."""
    payload = stored_bytes - PRELUDE_BYTES
    if payload < TAG_BYTES:
        return None
    size = payload - TAG_BYTES * -(-payload // STORED_SEGMENT_BYTES)
    return size if size >= 0 and stored_size(size) == stored_bytes else None


def num_segments(size_bytes: int) -> int:
    """Segments of an object; an empty one has one, so that its emptiness is authenticated."""
    return max(1, -(-size_bytes // SEGMENT_BYTES))


def key_context(name: bytes, sha256: str, size_bytes: int) -> bytes:
    """What a data key is bound to when it is wrapped."""
    return canonical_json({"version": 1, "id": name.hex(), "sha256": sha256, "size_bytes": size_bytes})
