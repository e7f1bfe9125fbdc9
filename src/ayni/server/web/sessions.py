"""Who is logged in: a cookie that holds the member's token, sealed by the hub, and proofs for forms.

    cookie   base64url(nonce + AES-256-GCM(token and the time of its end))
    proof    HMAC-SHA256 over the visitor's cookie, in every form; another site cannot know it

The token itself decides at every request, so that revoking it ends the session at once, and the hub keeps no
row for it. Whoever steals the cookie may use pages until it ends, and never learns the token.

Not covered: logging in with a password.

Source: OWASP, Cross-Site Request Forgery Prevention Cheat Sheet, "Signed Double-Submit Cookie".
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ayni.hub.tickets import Tickets

LIFETIME = timedelta(days=14)
_NONCE_BYTES = 12
_PURPOSE = b"session of a browser"


class Sessions:
    """Seals and opens cookies, and makes proofs, with keys of the hub's one secret."""

    def __init__(self, tickets: Tickets) -> None:
        self._seal = AESGCM(tickets.key("session"))
        self._proof_key = tickets.key("form")

    def seal(self, token: str, *, now: datetime) -> str:
        """A cookie for who logged in with a token."""
        content = json.dumps([token, int((now + LIFETIME).timestamp())]).encode()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._seal.encrypt(nonce, content, _PURPOSE)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, cookie: str, *, now: datetime) -> str | None:
        """The token in a cookie; None when it is none of ours, was changed, or is over."""
        try:
            sealed = base64.b64decode(cookie + "=" * (-len(cookie) % 4), altchars=b"-_", validate=True)
            content = self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _PURPOSE)
        except (ValueError, binascii.Error, InvalidTag):
            return None
        token, ends_at = json.loads(content)
        return str(token) if now.timestamp() < ends_at else None

    def proof(self, visitor: str) -> str:
        """What the forms of a visitor carry; `visitor` is the cookie that the browser has."""
        return hmac.new(self._proof_key, visitor.encode(), hashlib.sha256).hexdigest()

    def is_proof(self, visitor: str, proof: str) -> bool:
        """Whether a form came from a page that this visitor was shown."""
        return visitor != "" and hmac.compare_digest(self.proof(visitor).encode(), proof.encode())
