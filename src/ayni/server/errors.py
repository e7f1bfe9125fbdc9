"""Errors as replies: the one place that knows statuses, X-Error-Code and X-Error-Message.

Clients of the Hugging Face Hub decide by the header X-Error-Code, and over plain http by nothing else. A
reply holds the error's own words, or for a mistake of ours no word of what went wrong inside.

Not covered: what a person sees in a browser.

Source: `hf_raise_for_status` of huggingface_hub.
"""

import logging
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from starlette.responses import JSONResponse, Response

from ayni.database import (
    AbortedTransactionError,
    BusyDatabaseError,
    LostDatabaseError,
    RefusedByDatabaseError,
    UnknownDatabaseError,
)
from ayni.errors import AyniError, MissingExtraError, UserError
from ayni.files import DiskFullError, NotWritableError
from ayni.hub.access_requests import AccessRequestNotFoundError
from ayni.hub.callers import BadTokenError, Caller
from ayni.hub.commit_lines import CommitSizeError
from ayni.hub.commits import StaleParentError
from ayni.hub.discussions import DiscussionNotFoundError, DiscussionRuleError
from ayni.hub.leaderboards import LeaderboardNotFoundError
from ayni.hub.master_keys import MasterKeysError
from ayni.hub.members import LastAdminError, NamespaceTakenError, UnknownNamespaceError
from ayni.hub.permissions import Decision
from ayni.hub.pull_requests import MergeConflictError
from ayni.hub.quotas import QuotaExceededError
from ayni.hub.repositories import RepositoryNotFoundError
from ayni.hub.repository import NameTakenError, RepositoryGoneError
from ayni.hub.revisions import EntryNotFoundError, RefExistsError, RevisionNotFoundError
from ayni.hub.tickets import BadTicketError
from ayni.hub.tokens import TokenNotFoundError
from ayni.hub.tree_changes import NothingToDeleteError
from ayni.hub.xet.receive import XorbFreedError
from ayni.hub.xet.register import ShardTooLargeError
from ayni.hub.xet.store import UnknownChunkError, UnknownFileError
from ayni.hub.xet.xorbs import XorbTooLargeError
from ayni.objects import MissingObjectError, ObjectUrlError
from ayni.signing import DamagedKeyError

Code = Literal[
    "RepoNotFound",
    "GatedRepo",
    "RevisionNotFound",
    "EntryNotFound",
    "NotImplemented",
    "Disabled",
]

RETRY_AFTER_SECONDS = 5

# The first row whose class fits counts.
STATUSES: tuple[tuple[type[AyniError], int, Code | None], ...] = (
    (BadTokenError, 401, None),
    (BadTicketError, 403, None),
    (RepositoryNotFoundError, 404, "RepoNotFound"),
    (RepositoryGoneError, 409, None),
    (NameTakenError, 409, None),
    (RevisionNotFoundError, 404, "RevisionNotFound"),
    (EntryNotFoundError, 404, "EntryNotFound"),
    (NothingToDeleteError, 404, "EntryNotFound"),
    (CommitSizeError, 413, None),
    (StaleParentError, 412, None),
    (RefExistsError, 409, None),
    (UnknownNamespaceError, 404, None),
    (NamespaceTakenError, 409, None),
    (LastAdminError, 409, None),
    (TokenNotFoundError, 404, None),
    (AccessRequestNotFoundError, 404, None),
    (QuotaExceededError, 413, None),
    (MissingObjectError, 503, None),
    (UnknownChunkError, 404, None),
    (UnknownFileError, 404, "EntryNotFound"),
    (XorbTooLargeError, 413, None),
    (ShardTooLargeError, 413, None),
    (XorbFreedError, 503, None),
    (DiscussionNotFoundError, 404, None),
    (DiscussionRuleError, 409, None),
    (MergeConflictError, 409, None),
    (LeaderboardNotFoundError, 404, None),
    (DiskFullError, 507, None),
    (BusyDatabaseError, 503, None),
    (LostDatabaseError, 503, None),
    (AbortedTransactionError, 503, None),
    # The operator can mend these, not who asked: they name places of the server.
    (RefusedByDatabaseError, 500, None),
    (UnknownDatabaseError, 500, None),
    (NotWritableError, 500, None),
    (ObjectUrlError, 500, None),
    (MasterKeysError, 500, None),
    (DamagedKeyError, 500, None),
    (MissingExtraError, 500, None),
    (UserError, 400, None),
    (AyniError, 500, None),
)

_LOG = logging.getLogger(__name__)


class RefusedRequestError(UserError):
    """A request cannot be answered as it stands; the reply is known."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: Code | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.more = dict(more or {})
        super().__init__(message)


def refused(decision: Decision, caller: Caller, name: str) -> RefusedRequestError:
    """What a caller hears who may not do something; a hidden repository looks like none."""
    if decision == "hidden" or (decision == "anonymous" and name):
        return not_found(caller, name)
    if decision == "gated":
        return RefusedRequestError(
            401 if caller.is_anonymous else 403,
            f"Access to {name} is restricted. Ask its owners for access on its page, then try again with "
            "your token.",
            code="GatedRepo",
        )
    if decision == "anonymous":
        return RefusedRequestError(
            401,
            "Invalid username or password. Log in with a token of this hub.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return RefusedRequestError(
        403, "You are not allowed to do this here: your role or your token does not include it."
    )


def not_found(caller: Caller, name: str) -> RefusedRequestError:
    """No such repository: 401 for who might see more with a token, 404 for who sent one."""
    hint = " Log in if it is private." if caller.is_anonymous else ""
    return RefusedRequestError(
        401 if caller.is_anonymous else 404,
        f"Repository {name} not found.{hint}",
        code="RepoNotFound",
        headers={"WWW-Authenticate": "Bearer"} if caller.is_anonymous else None,
    )


def reply_to(error: Exception) -> Response:
    """The reply for an error; what we did not foresee is logged and answered without details."""
    known = as_refusal(error)
    return error_reply(known.status, str(known), code=known.code, headers=known.headers, more=known.more)


def as_refusal(error: Exception) -> RefusedRequestError:
    """An error as what a caller hears of it; what is our fault is logged and told without details."""
    if isinstance(error, RefusedRequestError):
        return error
    if isinstance(error, AyniError):
        status, code = next((status, code) for kind, status, code in STATUSES if isinstance(error, kind))
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
        if status >= 500:
            _LOG.error("%s", error, exc_info=error)
            # Paths of the server are nobody else's business.
            return RefusedRequestError(status, _SERVER_SIDE.get(status, _SERVER_SIDE[500]), headers=headers)
        return RefusedRequestError(status, str(error), code=code, headers=headers)
    number = uuid.uuid4().hex
    _LOG.error("request %s failed", number, exc_info=error)
    return RefusedRequestError(
        500,
        f"The hub made a mistake; nothing was changed. Tell its operator this number: {number}.",
        headers={"X-Request-Id": number},
    )


_SERVER_SIDE = {
    500: "The hub cannot do this now; nothing was changed. Tell its operator.",
    503: "The hub is busy, or cannot reach its storage. Try again in a few seconds.",
    507: "The hub has no space left; nothing was stored. Tell its operator.",
}


def error_reply(
    status: int,
    message: str,
    *,
    code: Code | None = None,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """A reply that the clients understand."""
    # A header is one line of printable ASCII, or servers refuse to send it; what else is in a message is a
    # question mark there.
    words = " ".join(message.split())[:1000]
    line = "".join(letter if " " <= letter <= "~" else "?" for letter in words)
    sent = {"X-Error-Message": line, **(headers or {})}
    if code is not None:
        sent["X-Error-Code"] = code
    return JSONResponse({"error": message, **(more or {})}, status, sent)
