"""Who a token belongs to is what the database says at this moment."""

from datetime import datetime, timedelta

import pytest
from tests.hub.hub_rows import WHEN
from tests.hub.member_rows import organisation, repository, user

from ayni.database import Database
from ayni.hub import access_requests, members, tokens
from ayni.hub.callers import BadTokenError, Caller
from ayni.hub.database_callers import DatabaseCallers


class Clock:
    def __init__(self) -> None:
        self.time = WHEN

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def database(any_database: Database) -> Database:
    return any_database


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def token(database: Database) -> str:
    """Of Ada, for a day."""
    with database.transaction() as connection:
        ada = user(connection, "Ada")
        _, text = tokens.issue(
            connection, ada.id, name="laptop", scope="write", now=WHEN, expires_at=WHEN + timedelta(days=1)
        )
    return text


def test_a_caller_has_all_that_a_decision_needs(database: Database, clock: Clock) -> None:
    with database.transaction() as connection:
        root, ben = user(connection, "root", is_admin=True), user(connection, "Ben")
        lab = organisation(connection, "Lab", root)
        digits, gated = repository(connection, "lab/x"), repository(connection, "lab/y", gated="auto")
        members.set_role(connection, lab, ben, "contributor")
        members.set_repository_role(connection, digits.id, ben, "write")
        access_requests.ask(connection, gated, ben.id, fields={}, revision=None, now=WHEN)
        _, text = tokens.issue(
            connection, ben.id, name="ci", scope="read", now=WHEN, scoped_to=[digits.id, gated.id]
        )

    assert DatabaseCallers(database, clock).caller_of(text) == Caller(
        user="Ben",
        token="ci",
        scope="read",
        scoped_to=frozenset({digits.id, gated.id}),
        is_admin=False,
        roles={"lab": "contributor"},
        repository_roles={digits.id: "write"},
        granted=frozenset({gated.id}),
    )


def test_a_token_that_is_no_token_is_refused(database: Database, clock: Clock, token: str) -> None:
    for text in ("", "hf_x", token[:-1], token + "a", token.swapcase(), tokens.new_token()):
        with pytest.raises(BadTokenError):
            DatabaseCallers(database, clock).caller_of(text)


def test_a_token_ends_at_its_time(database: Database, clock: Clock, token: str) -> None:
    callers = DatabaseCallers(database, clock)
    clock.time = WHEN + timedelta(days=1, seconds=-1)
    assert callers.caller_of(token).user == "Ada"

    clock.time = WHEN + timedelta(days=1)
    with pytest.raises(BadTokenError):
        callers.caller_of(token)


def test_a_revoked_token_ends_at_once(database: Database, clock: Clock, token: str) -> None:
    callers = DatabaseCallers(database, clock)
    callers.caller_of(token)
    with database.transaction() as connection:
        ada = members.get(connection, "ada")
        tokens.revoke(connection, ada.id, tokens.of_user(connection, ada.id)[0].id, now=WHEN)

    with pytest.raises(BadTokenError):
        callers.caller_of(token)


def test_who_was_removed_cannot_come_back_with_a_token(database: Database, clock: Clock, token: str) -> None:
    callers = DatabaseCallers(database, clock)
    with database.transaction() as connection:
        members.remove(connection, members.get(connection, "ada"), now=WHEN)

    with pytest.raises(BadTokenError):
        callers.caller_of(token)


def test_a_role_that_was_taken_away_is_gone_with_the_next_request(
    database: Database, clock: Clock, token: str
) -> None:
    callers = DatabaseCallers(database, clock)
    with database.transaction() as connection:
        root, ada = user(connection, "root"), members.get(connection, "ada")
        lab = organisation(connection, "lab", root)
        members.set_role(connection, lab, ada, "write")
    assert callers.caller_of(token).roles == {"lab": "write"}

    with database.transaction() as connection:
        members.set_role(connection, lab, ada, None)

    assert callers.caller_of(token).roles == {}


def test_the_last_use_is_written_once_an_hour(database: Database, clock: Clock, token: str) -> None:
    callers, noted = DatabaseCallers(database, clock), []
    for minutes in (0, 59, 60, 61):
        clock.time = WHEN + timedelta(minutes=minutes)
        callers.caller_of(token)
        with database.reading() as connection:
            found = tokens.by_digest(connection, tokens.token_digest(token))
            assert found is not None
            noted.append(found.last_used_at)

    assert noted == [WHEN, WHEN, WHEN + timedelta(hours=1), WHEN + timedelta(hours=1)]


def test_a_reader_does_not_wait_for_a_writer(database: Database, clock: Clock, token: str) -> None:
    callers = DatabaseCallers(database, clock)
    callers.caller_of(token)

    with database.transaction() as connection:
        user(connection, "ben")
        assert callers.caller_of(token).user == "Ada"
