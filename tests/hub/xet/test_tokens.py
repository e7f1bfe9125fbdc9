"""Tokens and links say what they let do, and end."""

import pytest

pytest.importorskip("blake3")

from datetime import UTC, datetime, timedelta

from ayni.hub.callers import Caller
from ayni.hub.tickets import BadTicketError, Tickets
from ayni.hub.xet import tokens
from ayni.hub.xet.tokens import XetGrant, XorbLink

NOW = datetime(2026, 3, 4, tzinfo=UTC)
TICKETS = Tickets(b"k" * 32)
CALLER = Caller(
    user="ada",
    scope="write",
    scoped_to=frozenset({3, 1}),
    roles={"lab": "admin"},
    repository_roles={7: "read"},
    granted=frozenset({9}),
)


def test_a_token_brings_back_the_caller_and_its_repository() -> None:
    grant = XetGrant(caller=CALLER, repository_id=5, may_write=True)

    token, ends_at = tokens.issue_token(TICKETS, grant, now=NOW)

    assert tokens.read_token(TICKETS, token, now=NOW) == grant
    assert ends_at == NOW + timedelta(minutes=15)
    with pytest.raises(BadTicketError):
        tokens.read_token(TICKETS, token, now=ends_at)


def test_a_member_of_very_many_things_gets_a_token_that_fits_in_a_header() -> None:
    many = Caller(user="ada", granted=frozenset(range(10_000)))

    token, _ = tokens.issue_token(TICKETS, XetGrant(caller=many, repository_id=5, may_write=False), now=NOW)

    assert len(token) < 1000
    assert tokens.read_token(TICKETS, token, now=NOW).caller == Caller(user="ada")


def test_a_link_is_no_token_and_a_token_no_link() -> None:
    link = XorbLink(xorb=bytes(range(32)), start=5, stop=10, repository_id=7)
    ticket = tokens.issue_link(TICKETS, link, now=NOW)
    token, _ = tokens.issue_token(TICKETS, XetGrant(caller=CALLER, repository_id=5, may_write=True), now=NOW)

    assert tokens.read_link(TICKETS, ticket, now=NOW) == link
    with pytest.raises(BadTicketError):
        tokens.read_link(TICKETS, token, now=NOW)
    with pytest.raises(BadTicketError):
        tokens.read_token(TICKETS, ticket, now=NOW)
