"""Whose signatures an operator vouches for: a file that names public keys and whose they are.

One key a line, then its owner; empty lines and those that begin with # are skipped:

    0Mm+gE0iy6bJyZcTb0bQkGxMzGFm0yqZ1tqBvJYd2vM=   Institute for Applied Examples
    signers/ada.pub                                Ada Lovelace, model-signing

A key is the 44 characters of an Ed25519 key, as receipts have it, or the name of a PEM file beside this one:
Ed25519, or a NIST curve as the reference implementation of OpenSSF Model Signing uses (P-256).

Not covered: certificates, keyless signatures, and keys that are no longer to be trusted: take the line out.
"""

import base64
import binascii
from pathlib import Path

from ayni.errors import MissingExtraError, UserError
from ayni.files import explain_os_errors

_ED25519_BYTES = 32


class KnownSignersError(UserError):
    """The file that should name the keys of known signers says something else."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path} does not name known signers: {reason}. Write one a line: an Ed25519 key as 44 "
            "characters of base64, or the name of a PEM file with a public key (Ed25519, P-256, P-384, "
            "P-521), and then whose it is."
        )


def read_known_signers(path: Path) -> dict[str, str]:
    """Public key (base64 of an Ed25519 key, or PEM of one on a curve) -> whose it is.

    Raises:
        KnownSignersError: the file or a key that it names cannot be used.
        MissingExtraError: the package `cryptography` is not installed.
    """
    try:
        import cryptography  # noqa: F401 - a clear message before the first key
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra="hub", package="cryptography") from error
    owners: dict[str, str] = {}
    for number, line in enumerate(_text(path, path).splitlines(), start=1):
        named, _, owner = line.strip().partition(" ")
        if not named or named.startswith("#"):
            continue
        if not owner.strip():
            raise KnownSignersError(path, f"line {number} does not say whose the key is")
        key = _key(path, number, named)
        if owners.setdefault(key, owner.strip()) != owner.strip():
            raise KnownSignersError(path, f"line {number} gives a key to {owner.strip()} that is another's")
    return owners


def _key(path: Path, number: int, named: str) -> str:
    """A key in the one form that the hub compares, however it was given."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    raw = _raw_key(named)
    try:
        key = (
            ed25519.Ed25519PublicKey.from_public_bytes(raw)
            if raw is not None
            else load_pem_public_key(_text(path, path.parent / named).encode())
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KnownSignersError(path, f"line {number} names no public key") from error
    if isinstance(key, ed25519.Ed25519PublicKey):
        return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KnownSignersError(path, f"line {number} names a key of another kind")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _raw_key(text: str) -> bytes | None:
    try:
        content = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return content if len(content) == _ED25519_BYTES else None


def _text(list_path: Path, path: Path) -> str:
    with explain_os_errors(path):
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise KnownSignersError(list_path, f"{path} is not there") from error
        except (ValueError, IsADirectoryError) as error:
            raise KnownSignersError(list_path, f"{path} is not text") from error
