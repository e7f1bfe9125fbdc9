"""Keys, canonical JSON, signatures and hash chains: how a record is made hard to alter unnoticed.

A record is signed with Ed25519 over its canonical JSON. Each record of a chain names the hash of
the one before it, so that none can be removed, reordered or replaced without breaking the rest.

A signature proves who said it, not that it is true: receipts therefore print the tier of their
measurement beside it.

Not covered: key rotation and revocation, telling the world which key belongs to whom, and a chain
whose newest records were cut off: the rest is still a chain. Who must notice that keeps the number
of records, or the last hash, somewhere else.
"""

import base64
import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import AyniError, UserError
from ayni.files import create_atomically, explain_os_errors, make_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FIRST_OF_CHAIN = "0" * 64
SIGNATURE_FIELDS = ("public_key", "hash", "signature")


class DamagedKeyError(UserError):
    """The file that should hold the signing key holds something else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} is not an Ed25519 private key. Put back the right file from a backup, or move it away: "
            "a new key is then made, and older receipts stay verifiable with the public key inside them."
        )


class BadSignatureError(AyniError):
    """A record's signature does not fit its content, or its key is not the expected one."""


def canonical_json(value: Any) -> bytes:
    """The one byte string that stands for a JSON value: sorted keys, no blanks, UTF-8.

    A subset of RFC 8785 (JSON Canonicalization Scheme): numbers are written as Python writes them
    (shortest repr) and keys are sorted by code point, which differs from RFC 8785 for exponents and for
    keys outside the Basic Multilingual Plane; both ends are ours.

    Raises:
        ValueError: NaN, infinity, a lone surrogate, or a key that is not text. JSON would turn the key 2
            into "2", and what is sorted as numbers here would be sorted as text by who reads it back.
    """
    _refuse_other_keys(value)
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _refuse_other_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is not text")
            _refuse_other_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_other_keys(inner)


def sha256_hex(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """An Ed25519 key pair. `public_key` is the raw 32 bytes in base64, safe to print."""

    public_key: str
    _private: "Ed25519PrivateKey"

    def sign(self, content: bytes) -> str:
        """The signature of `content`, 64 bytes in base64 (Ed25519, RFC 8032)."""
        return base64.b64encode(self._private.sign(content)).decode()


def load_or_create_key(path: Path) -> SigningKey:
    """The key stored in `path` (PEM, PKCS 8, mode 0600); made on first use.

    Of two processes that make it at once one wins, and both get the winner's key. A key that others
    could read (copied from a backup, say) is closed to them again where the file system allows it.

    Raises:
        DamagedKeyError: the file holds no Ed25519 private key.
        NotWritableError: the key cannot be read, or there is none yet and it cannot be written.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    with explain_os_errors(path):
        if not path.exists():
            make_folder(path.parent, mode=0o700)
            create_atomically(path, _new_pem(), mode=0o600)
        if path.stat().st_mode & 0o077:
            # Some file systems know no modes and show everything as open; nothing can be done there.
            with contextlib.suppress(OSError):
                path.chmod(0o600)
        pem = path.read_bytes()
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DamagedKeyError(path) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise DamagedKeyError(path)
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return SigningKey(public_key=base64.b64encode(raw).decode(), _private=private)


def _new_pem() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def sign_record(body: dict[str, Any], key: SigningKey) -> dict[str, Any]:
    """`body` with three more fields: `public_key`, `hash` (SHA-256 of the canonical JSON) and `signature`.

    Raises:
        ValueError: the body has one of these fields already, or is not canonical (see canonical_json).
    """
    if taken := [name for name in SIGNATURE_FIELDS if name in body]:
        raise ValueError(f"the body has {' and '.join(taken)} already; sign what is not signed")
    unsigned = {**body, "public_key": key.public_key}
    content = canonical_json(unsigned)
    return {**unsigned, "hash": sha256_hex(content), "signature": key.sign(content)}


def verify_record(record: Any, *, expected_public_key: str | None = None) -> None:
    """Check that a signed record is what its key signed.

    Without `expected_public_key` this proves only that the record is as somebody signed it.

    Raises:
        BadSignatureError: not a record, a field is missing, the hash or the signature does not fit the
            content, or the key is not the expected one.
    """
    if not isinstance(record, dict):
        raise BadSignatureError(f"A signed record is an object, this is a {type(record).__name__}.")
    missing = [name for name in SIGNATURE_FIELDS if not isinstance(record.get(name), str)]
    if missing:
        raise BadSignatureError(
            f"The record has no {' and no '.join(missing)}: it was never signed, or was cut."
        )
    if expected_public_key is not None and record["public_key"] != expected_public_key:
        raise BadSignatureError(
            f"Signed by the key {record['public_key']}, expected {expected_public_key}: "
            "somebody else's record."
        )
    body = {name: value for name, value in record.items() if name not in ("hash", "signature")}
    try:
        content = canonical_json(body)
    except (ValueError, RecursionError) as error:
        raise BadSignatureError(f"The content cannot have been signed: {error}.") from error
    if sha256_hex(content) != record["hash"]:
        raise BadSignatureError(
            f"The content does not fit its hash {record['hash'][:12]}...: it was changed after signing."
        )
    _verify_signature(content, public_key=record["public_key"], signature=record["signature"])


def _verify_signature(content: bytes, *, public_key: str, signature: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        public = Ed25519PublicKey.from_public_bytes(_strictly_from_base64(public_key))
        public.verify(_strictly_from_base64(signature), content)
    except (InvalidSignature, ValueError) as error:
        raise BadSignatureError(
            "The signature does not fit the content: changed, or signed by another key."
        ) from error


def _strictly_from_base64(text: str) -> bytes:
    """The bytes of base64 text in its one canonical form.

    Python ignores the unused bits of the last character, so that 16 texts stand for one signature and a
    changed byte of the file would pass.
    """
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("not canonical base64")
    return content


def verify_chain(records: Sequence[Any], *, expected_public_key: str | None = None) -> None:
    """Check each record and that each names the hash of the one before (`previous_hash`).

    No records are a whole chain.

    Raises:
        BadSignatureError: a record is altered, or one is missing, repeated or out of order.
    """
    previous = FIRST_OF_CHAIN
    for position, record in enumerate(records, start=1):
        verify_record(record, expected_public_key=expected_public_key)
        if record.get("previous_hash") != previous:
            raise BadSignatureError(
                f"Record {position} of {len(records)} follows {str(record.get('previous_hash'))[:12]}..., "
                f"but the one before it is {previous[:12]}...: a record is missing, repeated or out of order."
            )
        previous = record["hash"]
