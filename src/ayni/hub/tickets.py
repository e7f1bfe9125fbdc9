"""Signed, expiring tickets: what a URL allows whoever holds it, without another credential.

    ticket = base64url(canonical JSON of the claims and the time of expiry) . base64url(HMAC-SHA256)

Uploads go to such URLs, because clients of the Hugging Face Hub send no token there. A ticket says for what
it is good (its purpose is part of what is signed), so that one for reading never passes for one for writing.

Not covered: taking a ticket back before it expires.

Source: RFC 2104 (HMAC).
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ayni.errors import UserError
from ayni.signing import canonical_json

SHORTEST_SECRET_BYTES = 32


class BadTicketError(UserError):
    """A signed URL was changed, is for something else, or has expired."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This link {reason}. Ask the hub for a new one by starting the transfer again.")


class ExpiredTicketError(BadTicketError):
    """A signed URL was good once."""

    def __init__(self) -> None:
        super().__init__("has expired")


class Tickets:
    """Issues and reads tickets with one secret, which every process of a hub shares."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SHORTEST_SECRET_BYTES:
            raise ValueError(f"a secret of {len(secret)} bytes is shorter than {SHORTEST_SECRET_BYTES}")
        self._secret = secret

    def issue(self, purpose: str, claims: Mapping[str, Any], *, now: datetime, lifetime: timedelta) -> str:
        """A ticket for one purpose; `claims` is JSON."""
        expires_at = int((now + lifetime).timestamp())
        content = canonical_json({"claims": dict(claims), "expires_at": expires_at})
        return f"{_to_text(content)}.{_to_text(self._mac(purpose, content))}"

    def read(self, purpose: str, ticket: str, *, now: datetime) -> dict[str, Any]:
        """The claims of a ticket.

        Raises:
            BadTicketError: changed, cut, or for another purpose.
            ExpiredTicketError: it was good once.
        """
        try:
            encoded, encoded_mac = ticket.split(".")
            content, mac = _from_text(encoded), _from_text(encoded_mac)
        except (ValueError, binascii.Error) as error:
            raise BadTicketError("is not one of this hub") from error
        if not hmac.compare_digest(mac, self._mac(purpose, content)):
            raise BadTicketError("is not one of this hub, or was changed")
        said = json.loads(content)
        if now.timestamp() >= said["expires_at"]:
            raise ExpiredTicketError
        claims: dict[str, Any] = said["claims"]
        return claims

    def key(self, purpose: str) -> bytes:
        """32 bytes for another purpose, from which nothing follows about the secret or about other keys."""
        return self._mac("key", purpose.encode())

    def _mac(self, purpose: str, content: bytes) -> bytes:
        return hmac.new(self._secret, purpose.encode() + b"\0" + content, hashlib.sha256).digest()


def _to_text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
