"""Access is asked for, answered and taken back by the routes that clients use, and all of it is on record."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.hub_app import Client
from tests.server.lab import Lab, open_lab

Opened = tuple[Lab, Client]
REQUEST = "/api/models/lab/gated/user-access-request"
FILE = "/lab/gated/resolve/main/secret.txt"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    yield from open_lab(tmp_path)


def send(opened: Opened, caller: str, method: str, path: str, **body: Any) -> Any:
    lab, client = opened
    more = {"json": body} if method in ("POST", "PUT") else {}
    return client.send(method, path, token=lab.tokens[caller], **more)


def test_access_is_asked_for_answered_and_taken_back(opened: Opened) -> None:
    asked = send(opened, "outsider", "POST", REQUEST, fields={"purpose": "research"})
    [pending] = send(opened, "writer", "GET", f"{REQUEST}/pending").json()
    before = send(opened, "outsider", "GET", FILE).status_code

    send(opened, "writer", "POST", f"{REQUEST}/handle", user="outsider", status="accepted")

    assert asked.json()["status"] == "pending"
    assert pending["user"]["user"] == "outsider" and pending["fields"] == {"purpose": "research"}
    assert pending["requestId"] == asked.json()["requestId"]
    assert (before, send(opened, "outsider", "GET", FILE).status_code) == (403, 200)
    assert send(opened, "outsider", "GET", REQUEST).json()["status"] == "accepted"
    answer = {"requestId": pending["requestId"], "status": "rejected", "rejectionReason": "moved on"}
    assert send(opened, "writer", "POST", f"{REQUEST}/handle", **answer).status_code == 200
    assert send(opened, "outsider", "GET", FILE).headers["X-Error-Code"] == "GatedRepo"
    assert send(opened, "outsider", "DELETE", REQUEST).status_code == 400
    [rejected] = send(opened, "writer", "GET", f"{REQUEST}/rejected").json()
    assert rejected["rejectionReason"] == "moved on"


def test_asking_is_enough_where_the_owners_said_so(opened: Opened) -> None:
    send(opened, "admin", "PUT", "/api/models/lab/gated/settings", gated="auto")

    send(opened, "outsider", "POST", REQUEST)

    assert send(opened, "outsider", "GET", FILE).status_code == 200
    assert send(opened, "outsider", "DELETE", REQUEST).status_code == 200
    assert send(opened, "outsider", "GET", FILE).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"user": "nobody", "status": "accepted"}, 404),
        ({"user": "reader", "status": "accepted"}, 404),
        ({"requestId": "999", "status": "accepted"}, 404),
        ({"requestId": "\u00b2", "status": "accepted"}, 400),
        ({"status": "accepted"}, 400),
        ({"user": "outsider", "status": "perhaps"}, 400),
        ({"user": "outsider", "status": "pending"}, 404),
        ({"user": "outsider", "status": "accepted", "rejectionReason": "no"}, 400),
    ],
)
def test_answers_that_make_no_sense_are_refused(opened: Opened, body: dict[str, str], status: int) -> None:
    send(opened, "outsider", "POST", REQUEST)

    reply = send(opened, "admin", "POST", f"{REQUEST}/handle", **body)

    assert reply.status_code == status, reply.text
    assert "error" in reply.json()


def test_a_repository_that_is_not_gated_has_no_requests(opened: Opened) -> None:
    path = "/api/models/lab/public/user-access-request"

    replies = [
        send(opened, "admin", "GET", f"{path}/pending"),
        send(opened, "admin", "POST", f"{path}/handle", user="outsider", status="accepted"),
        send(opened, "admin", "POST", f"{path}/grant", user="outsider"),
        send(opened, "outsider", "POST", path),
    ]

    assert [reply.status_code for reply in replies] == [400] * 4


def test_requests_come_in_pages(opened: Opened) -> None:
    client = opened[1]
    for name in ("outsider", "reader", "contributor"):
        send(opened, name, "POST", REQUEST)

    first = send(opened, "admin", "GET", f"{REQUEST}/pending?limit=2")
    link = first.headers["Link"].split(";")[0].strip("<>").removeprefix(client.app.hub.base_url)
    rest = send(opened, "admin", "GET", link)

    people = [each["user"]["user"] for each in first.json() + rest.json()]
    assert people == ["outsider", "reader", "contributor"]
    assert "Link" not in rest.headers
    assert send(opened, "admin", "GET", f"{REQUEST}/pending?cursor=e30").status_code == 400


def test_every_answer_is_on_record(opened: Opened) -> None:
    send(opened, "outsider", "POST", REQUEST)
    send(opened, "admin", "POST", f"{REQUEST}/handle", user="outsider", status="accepted")
    send(opened, "admin", "PUT", "/api/models/lab/gated/settings", gated=False)

    lines = send(opened, "root", "GET", "/api/v1/audit-log").json()

    found = [(line["actor"], line["action"], line["subject"], line["detail"]) for line in lines[:3]]
    assert found[0] == (
        "admin",
        "repository.settings",
        "model:lab/gated",
        {"visibility": "public", "gated": "no"},
    )
    assert found[1][:3] == ("admin", "access.answer", "model:lab/gated")
    assert found[1][3] == {"user": "outsider", "status": "accepted"}
    assert found[2][:3] == ("outsider", "access.ask", "model:lab/gated")


def test_who_is_here_is_told_to_members_without_their_mail(opened: Opened) -> None:
    user = send(opened, "outsider", "GET", "/api/users/WRITER/overview").json()
    people = send(opened, "outsider", "GET", "/api/organizations/lab/members").json()
    organisation = send(opened, "outsider", "GET", "/api/organizations/lab/overview").json()

    assert (user["user"], user["orgs"]) == ("writer", [{"name": "lab", "fullname": "The Lab"}])
    assert [(each["user"], each["role"]) for each in people] == [
        ("admin", "admin"),
        ("contributor", "contributor"),
        ("reader", "read"),
        ("writer", "write"),
    ]
    assert (organisation["fullname"], organisation["numUsers"]) == ("The Lab", 4)
    assert not any("email" in each for each in [user, organisation, *people])
    assert send(opened, "outsider", "GET", "/api/users/lab/overview").status_code == 404


@pytest.mark.slow
def test_the_client_of_the_hugging_face_hub_walks_through_a_gate(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    from tests.server.hub_app import running

    lab = Lab(tmp_path)
    given = {"database": lab.database, "callers": lab.hub.callers}
    with running(tmp_path, **given) as served:
        owner = hub.HfApi(endpoint=served.base_url, token=lab.tokens["admin"])
        guest = hub.HfApi(endpoint=served.base_url, token=lab.tokens["outsider"])
        owner.create_repo("lab/gate")
        owner.update_repo_settings("lab/gate", gated="manual")
        with pytest.raises(GatedRepoError):
            guest.auth_check("lab/gate")
        owner.grant_access("lab/gate", "outsider")
        guest.auth_check("lab/gate")
        [accepted] = owner.list_accepted_access_requests("lab/gate")
        owner.reject_access_request("lab/gate", "outsider", rejection_reason="closed")
        with pytest.raises(GatedRepoError):
            guest.auth_check("lab/gate")
        owner.update_repo_settings("lab/gate", visibility="private")
        with pytest.raises(RepositoryNotFoundError):
            guest.auth_check("lab/gate")
        assert accepted.username == "outsider"
        assert [each.username for each in owner.list_organization_members("lab")] == [
            "admin",
            "contributor",
            "reader",
            "writer",
        ]
        assert owner.whoami()["orgs"][0]["fullname"] == "The Lab"
