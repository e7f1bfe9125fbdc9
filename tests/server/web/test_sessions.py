from datetime import UTC, datetime, timedelta

import pytest

from ayni.hub.tickets import Tickets
from ayni.server.web.sessions import LIFETIME, Sessions

NOW = datetime(2026, 5, 6, tzinfo=UTC)
SECRET = b"0123456789abcdef" * 2


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(Tickets(SECRET))


def test_a_cookie_gives_the_token_back_until_it_ends_and_does_not_show_it(sessions: Sessions) -> None:
    cookie = sessions.seal("hf_secret", now=NOW)

    assert sessions.open(cookie, now=NOW + LIFETIME - timedelta(seconds=1)) == "hf_secret"
    assert sessions.open(cookie, now=NOW + LIFETIME) is None
    assert "hf_secret" not in cookie
    assert sessions.seal("hf_secret", now=NOW) != cookie


def test_a_cookie_that_was_changed_in_any_place_is_none(sessions: Sessions) -> None:
    cookie = sessions.seal("hf_secret", now=NOW)

    for place in range(len(cookie)):
        other = "A" if cookie[place] != "A" else "B"
        changed = cookie[:place] + other + cookie[place + 1 :]
        # The last character of base64 may hold bits that nothing reads.
        assert sessions.open(changed, now=NOW) is None or place == len(cookie) - 1


@pytest.mark.parametrize("text", ["", "x", "not base64!", "AAAA", "A" * 500, "\N{SNOWMAN}"])
def test_what_is_no_cookie_of_ours_is_nobodys(sessions: Sessions, text: str) -> None:
    assert sessions.open(text, now=NOW) is None


def test_a_cookie_of_another_hub_is_nobodys(sessions: Sessions) -> None:
    other = Sessions(Tickets(SECRET[::-1]))

    assert sessions.open(other.seal("hf_secret", now=NOW), now=NOW) is None


def test_a_proof_is_good_for_one_visitor_alone(sessions: Sessions) -> None:
    proof = sessions.proof("ada's cookie")

    assert sessions.is_proof("ada's cookie", proof)
    assert not sessions.is_proof("ben's cookie", proof)
    assert not sessions.is_proof("ada's cookie", "")
    assert not sessions.is_proof("ada's cookie", "\N{SNOWMAN}")
    # Who has no cookie has no proof, not even the right one for none.
    assert not sessions.is_proof("", sessions.proof(""))
