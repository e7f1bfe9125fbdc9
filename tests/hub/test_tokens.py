"""Tokens look as they should, are kept as digests, end when they should, and belong to one member."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.hub.hub_rows import WHEN, connection

from ayni.hub import tokens
from ayni.hub.member_tables import tokens_table
from ayni.hub.tokens import TokenNotFoundError, TokenRequestError

__all__ = ["connection"]


def test_a_token_has_the_shape_that_secret_scanners_know() -> None:
    token = tokens.new_token()

    assert token.startswith("hf_") and len(token) == 49 and token[3:].isalnum() and token.isascii()
    assert tokens.is_well_formed(token)
    assert tokens.new_token() != token


def test_the_checksum_is_the_crc_of_the_random_part_in_base_62() -> None:
    import zlib

    number = zlib.crc32(b"0" * 40)
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    expected = "".join(digits[number // 62**place % 62] for place in reversed(range(6)))

    assert tokens.is_well_formed(f"hf_{'0' * 40}{expected}")


@given(position=st.integers(3, 48), character=st.sampled_from("0aZ_-"))
def test_a_typing_error_is_noticed_without_a_database(position: int, character: str) -> None:
    token = tokens.new_token()
    changed = token[:position] + character + token[position + 1 :]

    assert tokens.is_well_formed(changed) == (changed == token)


@pytest.mark.parametrize("text", ["", "hf_", "hf_ada", "hf_" + "a" * 46 + "\n", "x" * 1_000_000])
def test_other_text_is_no_token(text: str) -> None:
    assert not tokens.is_well_formed(text)


def test_a_token_is_found_by_its_digest_and_never_kept(connection: sa.Connection) -> None:
    made, text = tokens.issue(connection, 1, name="laptop", scope="write", now=WHEN)

    assert tokens.by_digest(connection, tokens.token_digest(text)) == made
    row = connection.execute(sa.select(tokens_table)).one()
    assert not any(text[8:] in str(value) for value in row)
    assert (made.beginning, made.scope, made.scoped_to) == (text[:7], "write", None)


def test_a_fine_grained_token_knows_its_repositories(connection: sa.Connection) -> None:
    made, _ = tokens.issue(connection, 1, name="ci", scope="read", now=WHEN, scoped_to=[3, 5])
    nowhere, _ = tokens.issue(connection, 1, name="nothing", scope="read", now=WHEN, scoped_to=[])

    assert made.scoped_to == {3, 5}
    assert nowhere.scoped_to == frozenset()


def test_a_token_expires_at_its_time_and_not_before(connection: sa.Connection) -> None:
    end = WHEN + timedelta(days=1)
    made, _ = tokens.issue(connection, 1, name="day", scope="read", now=WHEN, expires_at=end)

    assert not made.has_expired(end - timedelta(microseconds=1))
    assert made.has_expired(end)


def test_a_revoked_token_is_gone_for_its_owner_alone(connection: sa.Connection) -> None:
    made, text = tokens.issue(connection, 1, name="laptop", scope="read", now=WHEN)

    with pytest.raises(TokenNotFoundError):
        tokens.revoke(connection, 2, made.id, now=WHEN)
    tokens.revoke(connection, 1, made.id, now=WHEN)

    assert tokens.by_digest(connection, tokens.token_digest(text)) is None
    assert tokens.of_user(connection, 1) == []
    with pytest.raises(TokenNotFoundError):
        tokens.revoke(connection, 1, made.id, now=WHEN)


def test_all_tokens_of_a_member_end_at_once(connection: sa.Connection) -> None:
    for name in ("a", "b"):
        tokens.issue(connection, 1, name=name, scope="read", now=WHEN)
    other, _ = tokens.issue(connection, 2, name="a", scope="read", now=WHEN)

    tokens.revoke_all(connection, 1, now=WHEN)

    assert tokens.of_user(connection, 1) == []
    assert tokens.of_user(connection, 2) == [other]


def test_requests_that_make_no_sense_are_refused(connection: sa.Connection) -> None:
    tokens.issue(connection, 1, name="laptop", scope="read", now=WHEN)

    for name in ("", "   ", "x" * 101):
        with pytest.raises(TokenRequestError, match="1 to 100"):
            tokens.issue(connection, 1, name=name, scope="read", now=WHEN)
    with pytest.raises(TokenRequestError, match="which is over"):
        tokens.issue(connection, 1, name="late", scope="read", now=WHEN, expires_at=WHEN)
    with pytest.raises(TokenRequestError, match="another name"):
        tokens.issue(connection, 1, name="laptop", scope="read", now=WHEN)


def test_the_last_use_is_remembered(connection: sa.Connection) -> None:
    made, _ = tokens.issue(connection, 1, name="laptop", scope="read", now=WHEN)

    tokens.note_use(connection, made.id, now=WHEN + timedelta(hours=2))

    assert tokens.of_user(connection, 1)[0].last_used_at == WHEN + timedelta(hours=2)
