"""A device without a browser gets a token when a member lets it in, once, and not later than it should."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection
from tests.hub.member_rows import user

from ayni.hub import device_logins, tokens
from ayni.hub.device_logins import DeviceLoginError, TooManyLoginsError, UnknownUserCodeError
from ayni.hub.tokens import token_digest

__all__ = ["connection"]

SOON = WHEN + timedelta(minutes=5)


def owner_of(connection: sa.Connection, token: str) -> int | None:
    found = tokens.by_digest(connection, token_digest(token))
    return None if found is None else found.user_id


def test_a_device_that_was_let_in_gets_its_tokens_once(connection: sa.Connection) -> None:
    ada = user(connection, "ada")
    codes = device_logins.begin(connection, now=WHEN)
    with pytest.raises(DeviceLoginError, match="typed"):
        device_logins.collect(connection, codes.device_code, now=SOON)

    device_logins.allow(connection, f" {codes.user_code.lower()} ", ada.id, now=SOON)
    found = device_logins.collect(connection, codes.device_code, now=SOON)

    assert owner_of(connection, found.access_token) == ada.id
    with pytest.raises(DeviceLoginError) as again:
        device_logins.collect(connection, codes.device_code, now=SOON)
    assert again.value.code == "expired_token"


def test_nobody_takes_a_login_over_that_somebody_allowed(connection: sa.Connection) -> None:
    ada, eve = user(connection, "ada"), user(connection, "eve")
    codes = device_logins.begin(connection, now=WHEN)
    device_logins.allow(connection, codes.user_code, ada.id, now=SOON)

    with pytest.raises(UnknownUserCodeError):
        device_logins.allow(connection, codes.user_code, eve.id, now=SOON)
    with pytest.raises(UnknownUserCodeError):
        device_logins.allow(connection, codes.device_code, eve.id, now=SOON)
    with pytest.raises(UnknownUserCodeError):
        device_logins.allow(connection, f"{codes.user_code}\0", eve.id, now=SOON)


def test_a_code_is_over_after_a_quarter_of_an_hour(connection: sa.Connection) -> None:
    ada = user(connection, "ada")
    codes = device_logins.begin(connection, now=WHEN)
    late = WHEN + device_logins.CODE_LASTS

    with pytest.raises(UnknownUserCodeError):
        device_logins.allow(connection, codes.user_code, ada.id, now=late)
    with pytest.raises(DeviceLoginError, match="over"):
        device_logins.collect(connection, codes.device_code, now=late)


def test_a_refresh_token_is_good_once_and_ends_the_token_before(connection: sa.Connection) -> None:
    ada = user(connection, "ada")
    codes = device_logins.begin(connection, now=WHEN)
    device_logins.allow(connection, codes.user_code, ada.id, now=WHEN)
    first = device_logins.collect(connection, codes.device_code, now=WHEN)

    second = device_logins.renew(connection, first.refresh_token, now=SOON)

    assert owner_of(connection, first.access_token) is None
    assert owner_of(connection, second.access_token) == ada.id
    with pytest.raises(DeviceLoginError) as again:
        device_logins.renew(connection, first.refresh_token, now=SOON)
    assert again.value.code == "invalid_grant"


def test_a_token_that_was_taken_back_does_not_come_back(connection: sa.Connection) -> None:
    ada = user(connection, "ada")
    codes = device_logins.begin(connection, now=WHEN)
    device_logins.allow(connection, codes.user_code, ada.id, now=WHEN)
    found = device_logins.collect(connection, codes.device_code, now=WHEN)

    tokens.revoke_all(connection, ada.id, now=SOON)

    with pytest.raises(DeviceLoginError):
        device_logins.renew(connection, found.refresh_token, now=SOON)


def test_what_is_kept_lets_nobody_in(connection: sa.Connection) -> None:
    ada = user(connection, "ada")
    codes = device_logins.begin(connection, now=WHEN)
    kept = str(connection.execute(sa.select(device_logins.logins_table)).all())
    device_logins.allow(connection, codes.user_code, ada.id, now=WHEN)
    found = device_logins.collect(connection, codes.device_code, now=WHEN)
    kept += str(connection.execute(sa.select(device_logins.refresh_table)).all())

    assert codes.device_code not in kept and found.refresh_token not in kept


def test_logins_that_nobody_answers_do_not_pile_up(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_logins, "MOST_OPEN", 3)
    for _ in range(3):
        device_logins.begin(connection, now=WHEN)

    with pytest.raises(TooManyLoginsError):
        device_logins.begin(connection, now=SOON)
    assert device_logins.begin(connection, now=WHEN + device_logins.CODE_LASTS)
