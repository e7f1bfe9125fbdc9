"""Tickets say what they were issued for, to whoever holds them, until they expire."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from ayni.hub.tickets import BadTicketError, Tickets

NOW = datetime(2026, 3, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECRET = b"s" * 32


def test_a_ticket_says_what_it_was_issued_for() -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue("upload", {"oid": "ab", "size": 3}, now=NOW, lifetime=HOUR)

    assert Tickets(SECRET).read("upload", ticket, now=NOW + HOUR / 2) == {"oid": "ab", "size": 3}
    assert "/" not in ticket and "+" not in ticket


@pytest.mark.parametrize(
    ("purpose", "secret", "later", "reason"),
    [
        ("read", SECRET, timedelta(0), "changed"),
        ("upload", b"t" * 32, timedelta(0), "changed"),
        ("upload", SECRET, HOUR, "expired"),
    ],
)
def test_for_another_purpose_with_another_secret_or_too_late_it_is_worth_nothing(
    purpose: str, secret: bytes, later: timedelta, reason: str
) -> None:
    ticket = Tickets(SECRET).issue("upload", {"oid": "ab"}, now=NOW, lifetime=HOUR)

    with pytest.raises(BadTicketError, match=reason):
        Tickets(secret).read(purpose, ticket, now=NOW + later)


def test_a_ticket_with_one_changed_character_is_refused_wherever_it_is() -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue("upload", {"oid": "ab"}, now=NOW, lifetime=HOUR)

    for place, character in enumerate(ticket):
        other = ticket[:place] + ("A" if character != "A" else "B") + ticket[place + 1 :]
        try:
            assert tickets.read("upload", other, now=NOW) == {"oid": "ab"}
            # The last character of base64 has bits that mean nothing.
            assert place == len(ticket) - 1 or ticket[place + 1] == "."
        except BadTicketError:
            continue


@pytest.mark.parametrize("text", ["", ".", "a", "a.b.c", "!.!", "é.é", "a" * 5000])
def test_what_is_no_ticket_is_refused(text: str) -> None:
    with pytest.raises(BadTicketError):
        Tickets(SECRET).read("upload", text, now=NOW)


def test_a_signed_text_that_is_no_claim_cannot_be_made_without_the_secret() -> None:
    content = base64.urlsafe_b64encode(b'{"claims":{},"expires_at":9999999999}').rstrip(b"=").decode()

    with pytest.raises(BadTicketError):
        Tickets(SECRET).read("upload", f"{content}.", now=NOW)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Tickets(b"short")
