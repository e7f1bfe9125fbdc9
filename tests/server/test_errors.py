"""Every error has a status, and no reply tells what is inside."""

import json
from pathlib import Path

import pytest

import ayni.errors
from ayni.database import (
    AbortedTransactionError,
    BusyDatabaseError,
    LostDatabaseError,
    RefusedByDatabaseError,
)
from ayni.errors import AyniError, UserError
from ayni.files import DiskFullError, NotWritableError
from ayni.hub.callers import ANONYMOUS, Caller
from ayni.hub.revisions import EntryNotFoundError
from ayni.server.errors import STATUSES, error_reply, not_found, refused, reply_to

ADA = Caller(user="ada")


def test_every_error_of_ours_has_a_status() -> None:
    assert {kind for kind, _, _ in STATUSES} >= {AyniError, UserError}
    assert STATUSES[-1][0] is ayni.errors.AyniError


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EntryNotFoundError("a/b", "0" * 40, "x"), 404, "EntryNotFound"),
        (UserError("wrong"), 400, None),
        (AyniError("/secret/place"), 500, None),
        (BusyDatabaseError(Path("/secret/place"), 30.0), 503, None),
        (LostDatabaseError("/secret/place", "gone"), 503, None),
        (AbortedTransactionError("/secret/place", "deadlock"), 503, None),
        (RefusedByDatabaseError("/secret/place", "no"), 500, None),
        (NotWritableError(Path("/secret/place"), "read-only"), 500, None),
        (DiskFullError(Path("/secret/place")), 507, None),
        (ZeroDivisionError("/secret/place"), 500, None),
        (refused("gated", ADA, "a/b"), 403, "GatedRepo"),
        (refused("gated", ANONYMOUS, "a/b"), 401, "GatedRepo"),
        (refused("hidden", ADA, "a/b"), 404, "RepoNotFound"),
        (refused("hidden", ANONYMOUS, "a/b"), 401, "RepoNotFound"),
        (refused("forbidden", ADA, "a/b"), 403, None),
        (refused("anonymous", ANONYMOUS, ""), 401, None),
        (not_found(ANONYMOUS, "a/b"), 401, "RepoNotFound"),
    ],
)
def test_a_reply_has_the_status_and_code_and_no_place_on_the_server(
    error: Exception, status: int, code: str | None
) -> None:
    reply = reply_to(error)

    assert (reply.status_code, reply.headers.get("X-Error-Code")) == (status, code)
    assert b"/secret" not in reply.body and b"secret" not in reply.headers["X-Error-Message"].encode()
    assert ("Retry-After" in reply.headers) == (status == 503)


def test_a_message_with_line_breaks_and_accents_fits_into_a_header() -> None:
    reply = reply_to(UserError("é\r\nSet-Cookie: x=1\n" + "x" * 5000))

    header = reply.headers["X-Error-Message"]
    assert header.startswith("? Set-Cookie: x=1 xxx") and len(header) == 1000


def test_a_message_with_any_character_can_be_sent_in_a_header() -> None:
    message = "a\x7fb\x00c\u00e9\U0001f600\nd\u202e" + "".join(map(chr, range(256)))

    reply = error_reply(400, message)

    line = reply.headers["X-Error-Message"]
    assert line.startswith("a?b?c?? d?") and all(" " <= letter <= "~" for letter in line)
    assert json.loads(bytes(reply.body))["error"] == message
