"""Repositories are made, found by every name they had, changed, copied and taken away."""

import pytest
from tests.server.hub_app import Client, commit, inline, make_repository

RESOLVE = "/ada/x/resolve/main/.gitattributes"


def test_a_new_repository_has_a_first_commit_and_its_address(client: Client) -> None:
    reply = client.post("/api/repos/create", json={"name": "x", "organization": None, "type": "dataset"})

    assert reply.json()["url"] == f"{client.app.hub.base_url}/datasets/ada/x"
    history = client.get("/api/datasets/ada/x/commits/main").json()
    assert [each["title"] for each in history] == ["initial commit"]
    assert client.get(f"/datasets{RESOLVE}").text.startswith("*.7z filter=lfs")


def test_a_name_that_is_taken_is_409_with_the_address_of_what_is_there(client: Client) -> None:
    make_repository(client)

    reply = client.post("/api/repos/create", json={"name": "X"})

    assert reply.status_code == 409
    assert reply.json()["url"].endswith("/ada/X")


@pytest.mark.parametrize(
    ("said", "is_private"),
    [
        ({}, False),
        ({"private": True}, True),
        ({"visibility": "private"}, True),
        ({"visibility": "public"}, False),
    ],
)
def test_older_and_newer_clients_say_who_may_see_it(
    client: Client, said: dict[str, object], is_private: bool
) -> None:
    make_repository(client, **said)

    assert client.get("/api/models/ada/x").json()["private"] is is_private


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "organization": "ben"}, 403),
        ({"name": "../x"}, 400),
        ({"name": "a--b"}, 400),
        ({"name": ""}, 400),
        ({"name": "x", "type": "bucket"}, 400),
        ({}, 400),
    ],
)
def test_what_cannot_be_made_is_refused(client: Client, body: dict[str, object], status: int) -> None:
    reply = client.post("/api/repos/create", json=body)

    assert reply.status_code == status
    assert reply.json()["error"]


def test_a_body_that_is_no_json_is_refused(client: Client) -> None:
    reply = client.post("/api/repos/create", content=b"\xff{")

    assert reply.status_code == 400


def test_the_old_name_leads_to_the_new_one_by_a_relative_redirect(client: Client) -> None:
    make_repository(client)
    body = {"fromRepo": "ada/x", "toRepo": "ada/y", "type": "model"}
    assert client.post("/api/repos/move", json=body).status_code == 200

    api, resolved = client.get("/api/models/ada/x"), client.get(f"{RESOLVE}?download=true")

    assert api.status_code == 200 and api.json()["id"] == "ada/y"
    assert resolved.status_code == 307
    assert resolved.headers["Location"] == "/ada/y/resolve/main/.gitattributes?download=true"
    assert client.post("/api/repos/create", json={"name": "x"}).status_code == 409


def test_a_deleted_repository_is_gone_and_its_name_stays_taken(client: Client) -> None:
    make_repository(client)
    gone = client.send("DELETE", "/api/repos/delete", json={"name": "x", "organization": "ada"})
    assert gone.status_code == 200

    again = client.send("DELETE", "/api/repos/delete", json={"name": "x", "organization": "ada"})

    assert again.status_code == 404 and again.headers["X-Error-Code"] == "RepoNotFound"
    assert client.get(RESOLVE).status_code == 404
    assert client.post("/api/repos/create", json={"name": "x"}).status_code == 409


def test_only_owners_change_and_delete(client: Client) -> None:
    make_repository(client)

    for method, path, body in (
        ("PUT", "/api/models/ada/x/settings", {"private": True}),
        ("DELETE", "/api/repos/delete", {"name": "x", "organization": "ada"}),
        ("POST", "/api/repos/move", {"fromRepo": "ada/x", "toRepo": "ben/x"}),
    ):
        reply = client.send(method, path, json=body, token="hf_ben")
        assert reply.status_code == 403
        assert "X-Error-Code" not in reply.headers


def test_a_private_repository_looks_like_none(client: Client) -> None:
    make_repository(client, private=True)

    for path in ("/api/models/ada/x", RESOLVE, "/api/models/ada/x/tree/main", "/api/models/ada/x/auth-check"):
        for token, status in ((None, 401), ("hf_ben", 404)):
            hidden = client.get(path, token=token)
            absent = client.get(path.replace("ada/x", "ada/none"), token=token)
            assert (hidden.status_code, hidden.headers["X-Error-Code"]) == (status, "RepoNotFound")
            assert absent.text.replace("none", "x") == hidden.text


def test_settings_change_what_is_said_and_nothing_else(client: Client) -> None:
    make_repository(client)

    reply = client.send("PUT", "/api/models/ada/x/settings", json={"gated": "manual"})

    assert reply.json() == {"private": False, "visibility": "public", "gated": "manual"}
    assert client.get("/api/models/ada/x").json()["gated"] == "manual"
    client.send("PUT", "/api/models/ada/x/settings", json={"gated": False})
    assert client.get("/api/models/ada/x").json()["gated"] is False


def test_a_copy_of_what_is_private_stays_private(client: Client) -> None:
    make_repository(client, private=True)
    commit(client, "ada/x", inline("a.txt", b"1"))

    reply = client.post("/api/models/ada/x/duplicate", json={"repository": "ada/copy"})

    assert reply.json()["filesCopyPending"] is False
    assert client.get("/ada/copy/resolve/main/a.txt").content == b"1"
    assert client.get("/api/models/ada/copy", token=None).status_code == 401
    assert client.post("/api/models/ada/x/duplicate", json={"repository": "ada/copy"}).status_code == 409
    assert client.post("/api/models/ada/x/duplicate", json={"repository": "ben/copy"}).status_code == 403


@pytest.mark.parametrize(
    ("content", "status"), [("---\nlicense: mit\n---\n", 200), ("---\na: [\n---\n", 400)]
)
def test_metadata_are_checked_before_they_are_committed(client: Client, content: str, status: int) -> None:
    reply = client.post("/api/validate-yaml", json={"content": content, "repoType": "model"}, token=None)

    assert reply.status_code == status
    assert bool(reply.json()["errors"]) == (status == 400)
