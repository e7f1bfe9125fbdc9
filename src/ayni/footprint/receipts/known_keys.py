"""Whose key signed: what the verifier was told by a way of its own, and nothing else.

A file of keys has one a line, with whose it is; empty lines and those that begin with # are skipped:

    0Mm+gE0iy6bJyZcTb0bQkGxMzGFm0yqZ1tqBvJYd2vM= Institute for Applied Examples

Not covered: a register of keys, and keys that are no longer to be trusted: leave them out.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ayni.errors import UserError

_KEY_BYTES = 32
HOME = "this home"


class BadPublicKeyError(UserError):
    """What should be a public key, or a file of them, is none."""

    def __init__(self, text: str, reason: str) -> None:
        self.text = text
        super().__init__(
            f"{text!r} is neither a public key nor a file of them: {reason}. A key is 44 characters of "
            'base64, as the field "public_key" of a receipt; a file has one a line, followed by whose it is.'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKeys:
    """The keys that somebody vouches for: public key -> whose. `is_required`: no other may have signed."""

    owners: Mapping[str, str]
    is_required: bool

    def owner(self, public_key: str) -> str | None:
        """Whose key it is; None when nobody here vouches for it."""
        return self.owners.get(public_key)


def known_keys(given: Iterable[str], *, home_key: str | None) -> KnownKeys:
    """Keys and files of keys as a person names them; without any, only the home's own is known.

    Raises:
        BadPublicKeyError: one is neither.
    """
    owners: dict[str, str] = {}
    for text in given:
        if _is_key(text):
            owners.setdefault(text, "the key that was given")
        else:
            owners.update(_read_file(text))
    if owners:
        return KnownKeys(owners=owners, is_required=True)
    return KnownKeys(owners={} if home_key is None else {home_key: HOME}, is_required=False)


def _read_file(text: str) -> dict[str, str]:
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BadPublicKeyError(text, getattr(error, "strerror", None) or "it is not text") from error
    owners = {}
    for number, line in enumerate(lines, start=1):
        key, _, owner = line.strip().partition(" ")
        if not key or key.startswith("#"):
            continue
        if not _is_key(key):
            raise BadPublicKeyError(text, f"line {number} begins with no key")
        owners[key] = owner.strip() or text
    if not owners:
        raise BadPublicKeyError(text, "it holds no key")
    return owners


def _is_key(text: str) -> bool:
    try:
        content = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return False
    return len(content) == _KEY_BYTES and base64.b64encode(content).decode() == text
