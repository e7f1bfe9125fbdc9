"""Who asks: a member with what its token allows and what it is in each namespace, or nobody.

All that a decision needs is in the caller, read once for each request, so that decisions are pure functions
(`permissions`).

Not covered: how tokens are made and kept.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from ayni.errors import UserError

Role = Literal["admin", "write", "contributor", "read"]
Scope = Literal["read", "write"]


class BadTokenError(UserError):
    """The token is not known, was revoked or has expired."""

    def __init__(self) -> None:
        super().__init__(
            "Invalid credentials in Authorization header: the token is not known here, was revoked or has "
            "expired. Log in again with a token of this hub."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        user: name of the member; None = nobody who said who they are.
        token: what the member called the token; for logs.
        scope: what the token allows at most.
        scoped_to: repositories that a fine-grained token is good for, by number; None = all.
        is_admin: may do everything on this hub.
        roles: in organisations, by lower-case name; a member is "admin" of its own namespace.
        repository_roles: in single repositories, by number; wins over the role in the namespace.
        granted: gated repositories that let this member in, by number.
        credential: digest of the token, by which a signed link finds out whether it is still good.
    """

    user: str | None
    token: str = ""
    scope: Scope = "write"
    scoped_to: frozenset[int] | None = None
    is_admin: bool = False
    roles: Mapping[str, Role] = field(default_factory=dict)
    repository_roles: Mapping[int, Role] = field(default_factory=dict)
    granted: frozenset[int] = frozenset()
    credential: str | None = field(default=None, repr=False, compare=False)

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody said who they are."""
        return self.user is None


ANONYMOUS = Caller(user=None, scope="read")


class CallerSource(Protocol):
    """Finds who a token belongs to."""

    def caller_of(self, token: str) -> Caller:
        """The caller with this token.

        Raises:
            BadTokenError: not known, revoked or expired.
        """
        ...

    def caller_again(self, credential: str) -> Caller:
        """The caller of an earlier request as it is now, by its `credential`.

        Raises:
            BadTokenError: revoked or expired meanwhile.
        """
        ...


class GivenCallers:
    """Callers by token, in memory. Fulfils CallerSource."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = {
            hashlib.sha256(token.encode()).hexdigest(): caller for token, caller in callers.items()
        }

    def caller_of(self, token: str) -> Caller:
        """The caller with this token."""
        return self.caller_again(hashlib.sha256(token.encode()).hexdigest())

    def caller_again(self, credential: str) -> Caller:
        """The caller with the token of this digest."""
        if credential not in self._callers:
            raise BadTokenError
        return replace(self._callers[credential], credential=credential)

    def revoke(self, token: str) -> None:
        """Take a token back."""
        del self._callers[hashlib.sha256(token.encode()).hexdigest()]
