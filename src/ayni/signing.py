"""Keys, canonical JSON, signatures and hash chains: how a record is made hard to alter unnoticed.

A record is signed with Ed25519 over its canonical JSON. Each record of a chain names the hash of
the one before it, so that none can be removed, reordered or replaced without breaking the rest.

A signature proves who said it, not that it is true: receipts therefore print the tier of their
measurement beside it.

Not covered: key rotation and revocation, and telling the world which key belongs to whom.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import AyniError, UserError
from ayni.files import explain_os_errors, write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FIRST_OF_CHAIN = "0" * 64


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
    (shortest repr), which differs from RFC 8785 for exponents; both ends are ours. NaN and infinity
    are refused.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


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

    Raises:
        DamagedKeyError: the file holds no Ed25519 private key.
        NotWritableError: no key yet, and the folder cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, pem, mode=0o600)
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise DamagedKeyError(path) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise DamagedKeyError(path)
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return SigningKey(public_key=base64.b64encode(raw).decode(), _private=private)


def sign_record(body: dict[str, Any], key: SigningKey) -> dict[str, Any]:
    """`body` with three more fields: `public_key`, `hash` (SHA-256 of the canonical JSON) and `signature`."""
    unsigned = {**body, "public_key": key.public_key}
    content = canonical_json(unsigned)
    return {**unsigned, "hash": sha256_hex(content), "signature": key.sign(content)}


def verify_record(record: dict[str, Any], *, expected_public_key: str | None = None) -> None:
    """Check that a signed record is what its key signed.

    Raises:
        BadSignatureError: a field is missing, the hash or the signature does not fit the content, or
            the key is not the expected one.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    missing = [name for name in ("public_key", "hash", "signature") if not isinstance(record.get(name), str)]
    if missing:
        raise BadSignatureError(
            f"The record has no {' and no '.join(missing)}: it was never signed, or was cut."
        )
    if expected_public_key is not None and record["public_key"] != expected_public_key:
        raise BadSignatureError(
            f"Signed by the key {record['public_key']}, expected {expected_public_key}: somebody else's record."
        )
    body = {name: value for name, value in record.items() if name not in ("hash", "signature")}
    content = canonical_json(body)
    if sha256_hex(content) != record["hash"]:
        raise BadSignatureError(
            f"The content does not fit its hash {record['hash'][:12]}...: it was changed after signing."
        )
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(record["public_key"], validate=True))
        public.verify(base64.b64decode(record["signature"], validate=True), content)
    except (InvalidSignature, ValueError) as error:
        raise BadSignatureError(
            "The signature does not fit the content: changed, or signed by another key."
        ) from error


def verify_chain(records: list[dict[str, Any]], *, expected_public_key: str | None = None) -> None:
    """Check each record and that each names the hash of the one before (`previous_hash`).

    Raises:
        BadSignatureError: a record is altered, or one is missing, repeated or out of order.
    """
    previous = FIRST_OF_CHAIN
    for position, record in enumerate(records, start=1):
        verify_record(record, expected_public_key=expected_public_key)
        if record.get("previous_hash") != previous:
            raise BadSignatureError(
                f"Record {position} of {len(records)} follows {str(record.get('previous_hash'))[:12]}..., but the one "
                f"before it is {previous[:12]}...: a record is missing, repeated or out of order."
            )
        previous = record["hash"]
