"""Who asks for access is let in at once or answered by the owners, and what was agreed to is kept."""

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection
from tests.hub.member_rows import repository, user

from ayni.hub import access_requests, catalogue, members
from ayni.hub.access_requests import AccessRequest, AccessRequestError, AccessRequestNotFoundError
from ayni.hub.members import Namespace
from ayni.hub.repository import Repository

__all__ = ["connection"]


def ask(connection: sa.Connection, digits: Repository, who: Namespace, **fields: object) -> AccessRequest:
    return access_requests.ask(connection, digits, who.id, fields=fields, revision="a" * 40, now=WHEN)


def test_asking_is_enough_where_the_owners_said_so(connection: sa.Connection) -> None:
    digits, eve = repository(connection, "lab/digits", gated="auto"), user(connection, "eve")

    request = ask(connection, digits, eve, purpose="research")

    assert (request.status, request.user, request.fields) == ("accepted", "eve", {"purpose": "research"})
    assert request.revision == "a" * 40
    assert access_requests.granted_to(connection, eve.id) == {digits.id}


def test_an_answer_is_waited_for_and_may_be_changed(connection: sa.Connection) -> None:
    digits, eve = repository(connection, "lab/digits", gated="manual"), user(connection, "eve")
    request = ask(connection, digits, eve)
    assert access_requests.granted_to(connection, eve.id) == frozenset()

    accepted = access_requests.answer(connection, request, "accepted", by="ada", now=WHEN)
    assert access_requests.granted_to(connection, eve.id) == {digits.id}
    rejected = access_requests.answer(
        connection, accepted, "rejected", by="ada", now=WHEN, reason="no affiliation"
    )

    assert access_requests.granted_to(connection, eve.id) == frozenset()
    assert (rejected.answered_by, rejected.reason) == ("ada", "no affiliation")
    back = access_requests.answer(connection, rejected, "pending", by="ada", now=WHEN)
    assert (back.status, back.reason) == ("pending", None)


def test_asking_twice_changes_nothing(connection: sa.Connection) -> None:
    digits, eve = repository(connection, "lab/digits", gated="manual"), user(connection, "eve")
    first = ask(connection, digits, eve, purpose="research")
    access_requests.answer(connection, first, "rejected", by="ada", now=WHEN)

    again = ask(connection, digits, eve, purpose="something else")

    assert (again.id, again.status, again.fields) == (first.id, "rejected", {"purpose": "research"})


def test_a_rejection_cannot_be_got_around_by_taking_the_request_back(connection: sa.Connection) -> None:
    digits, eve = repository(connection, "lab/digits", gated="manual"), user(connection, "eve")
    request = ask(connection, digits, eve)
    access_requests.withdraw(connection, digits, eve.id)
    with pytest.raises(AccessRequestNotFoundError):
        access_requests.withdraw(connection, digits, eve.id)

    request = ask(connection, digits, eve)
    access_requests.answer(connection, request, "rejected", by="ada", now=WHEN)

    with pytest.raises(AccessRequestError, match="rejected"):
        access_requests.withdraw(connection, digits, eve.id)


def test_access_is_given_without_asking_once(connection: sa.Connection) -> None:
    digits, eve = repository(connection, "lab/digits", gated="manual"), user(connection, "eve")

    granted = access_requests.grant(connection, digits, eve.id, by="ada", now=WHEN)

    assert (granted.status, granted.answered_by) == ("accepted", "ada")
    with pytest.raises(AccessRequestError, match="eve has asked already"):
        access_requests.grant(connection, digits, eve.id, by="ada", now=WHEN)


def test_requests_are_listed_by_state_in_pages(connection: sa.Connection) -> None:
    digits = repository(connection, "lab/digits", gated="manual")
    other = repository(connection, "lab/other", gated="manual")
    people = [user(connection, f"user{number}") for number in range(5)]
    requests = [ask(connection, digits, each) for each in people]
    ask(connection, other, people[0])
    access_requests.answer(connection, requests[1], "accepted", by="ada", now=WHEN)
    members.remove(connection, people[4], now=WHEN)

    first = access_requests.of_repository(connection, digits.id, "pending", limit=2)
    rest = access_requests.of_repository(connection, digits.id, "pending", after=first[-1].id)

    assert [each.user for each in first + rest] == ["user0", "user2", "user3"]
    assert [each.user for each in access_requests.of_repository(connection, digits.id, "accepted")] == [
        "user1"
    ]


def test_what_makes_no_sense_is_refused(connection: sa.Connection) -> None:
    digits, eve = repository(connection, "lab/digits"), user(connection, "eve")
    gated = repository(connection, "lab/gated", gated="manual")

    with pytest.raises(AccessRequestError, match="not gated"):
        ask(connection, digits, eve)
    with pytest.raises(AccessRequestError, match="not gated"):
        access_requests.grant(connection, digits, eve.id, by="ada", now=WHEN)
    with pytest.raises(AccessRequestError, match="more than"):
        ask(connection, gated, eve, essay="x" * 20_000)
    with pytest.raises(AccessRequestError, match="rejection only"):
        request = ask(connection, gated, eve)
        access_requests.answer(connection, request, "accepted", by="ada", now=WHEN, reason="because")
    with pytest.raises(AccessRequestNotFoundError):
        access_requests.find(connection, digits, number=request.id)


def test_a_repository_that_is_gated_again_keeps_who_was_let_in(connection: sa.Connection) -> None:
    digits, eve = repository(connection, "lab/digits", gated="auto"), user(connection, "eve")
    ask(connection, digits, eve)

    catalogue.change(connection, digits, gated="no")
    catalogue.change(connection, digits, gated="manual")

    assert access_requests.granted_to(connection, eve.id) == {digits.id}
