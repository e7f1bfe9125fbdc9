"""What is stored once for all is there only for who may read it: no answer tells of bytes of others."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.hub_app import Client
from tests.server.lab import CALLERS, SECRET, Lab, commit, lfs_line, open_lab, upload

Opened = tuple[Lab, Client]
LARGE = (SECRET + b"private")[::-1]
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()
READERS_OF_PRIVATE = {"reader", "contributor", "writer", "admin", "root", "limited"}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    yield from open_lab(tmp_path)


def own_repository(opened: Opened, caller: str) -> str:
    name = f"{caller}/own"
    opened[0].repository("public", name)
    return name


def batch(opened: Opened, caller: str, name: str, operation: str, sha256: str = LARGE_SHA256) -> Any:
    lab, client = opened
    asked = {"operation": operation, "objects": [{"oid": sha256, "size": len(LARGE)}]}
    reply = client.post(f"/{name}.git/info/lfs/objects/batch", token=lab.tokens[caller], json=asked)
    return reply.json()["objects"][0]


def test_a_file_that_one_may_not_read_must_be_sent_again(opened: Opened) -> None:
    known = batch(opened, "reader", own_repository(opened, "reader"), "upload")
    strange = batch(opened, "outsider", own_repository(opened, "outsider"), "upload")
    absent = batch(opened, "outsider", "outsider/own", "upload", sha256="0" * 64)

    assert "actions" not in known
    assert "upload" in strange["actions"]
    assert set(strange) == set(absent)


def test_a_file_that_one_may_not_read_cannot_be_committed_by_its_digest(opened: Opened) -> None:
    lab, client = opened
    name = own_repository(opened, "outsider")
    lines = [
        {"key": "header", "value": {"summary": "Take it", "description": ""}},
        lfs_line(LARGE_SHA256, len(LARGE)),
    ]

    for caller, more in (("outsider", ""), ("outsider", " without its size")):
        taken = [lines[0], lfs_line(LARGE_SHA256, len(LARGE))]
        if more:
            del taken[1]["value"]["size"]
        reply = commit(client, lab.tokens[caller], name, taken)
        assert 400 <= reply.status_code < 500, reply.text
    reply = client.get(f"/{name}/resolve/main/large.bin", token=lab.tokens["outsider"])

    assert reply.status_code == 404
    assert LARGE not in reply.content


def test_a_file_that_one_may_not_read_is_not_handed_out_by_its_digest(opened: Opened) -> None:
    lab, client = opened
    name = own_repository(opened, "outsider")

    download = batch(opened, "outsider", name, "download")
    asked = {"oid": LARGE_SHA256, "size": len(LARGE)}
    verified = client.post(f"/{name}.git/info/lfs/verify", token=lab.tokens["outsider"], json=asked)

    assert "actions" not in download and download["error"]["code"] == 404
    assert verified.status_code == 404


def test_who_sends_the_same_bytes_has_them_and_nobody_else(opened: Opened) -> None:
    lab, client = opened
    name = own_repository(opened, "outsider")

    upload(client, lab.tokens["outsider"], name, SECRET + b"private")

    assert client.get(f"/{name}/resolve/main/large.bin", token=lab.tokens["outsider"]).content == LARGE
    assert client.get("/lab/private/resolve/main/large.bin", token=lab.tokens["outsider"]).status_code == 404


def test_a_gated_file_is_not_there_for_who_was_not_let_in(opened: Opened) -> None:
    lab, client = opened
    content = (SECRET + b"gated")[::-1]
    sha256, name = hashlib.sha256(content).hexdigest(), own_repository(opened, "outsider")
    asked = {"operation": "upload", "objects": [{"oid": sha256, "size": len(content)}]}

    def is_there() -> bool:
        path = f"/{name}.git/info/lfs/objects/batch"
        reply = client.post(path, token=lab.tokens["outsider"], json=asked)
        return "actions" not in reply.json()["objects"][0]

    before = is_there()
    client.post(
        "/api/models/lab/gated/user-access-request/grant",
        token=lab.tokens["admin"],
        json={"user": "outsider"},
    )

    assert (before, is_there()) == (False, True)


def test_a_link_for_one_purpose_is_good_for_no_other(opened: Opened) -> None:
    lab, client = opened
    name = own_repository(opened, "outsider")
    link = batch(opened, "outsider", name, "upload")["actions"]["upload"]["href"]
    path = link.removeprefix(client.app.hub.base_url)

    assert client.get(path, token=None).status_code == 403
    assert client.post(path, token=None).status_code == 403
    lab.pass_time(days=2)
    late = client.send("PUT", path, token=None, content=LARGE)
    assert late.status_code == 403
    assert "expired" in late.headers["X-Error-Message"]


@pytest.mark.parametrize("caller", CALLERS)
def test_listings_show_what_may_be_seen(opened: Opened, caller: str) -> None:
    lab, client = opened
    sees = {"lab/public", "lab/gated"} | ({"lab/private"} if caller in READERS_OF_PRIVATE else set())

    for query in ("", "&search=lab", "&author=lab", "&full=true", "&sort=likes"):
        reply = client.get(f"/api/models?limit=100{query}", token=lab.tokens[caller])
        assert {each["id"] for each in reply.json()} - {"other/far"} == sees, query


@pytest.mark.parametrize("caller", ["outsider", "reader"])
def test_an_overview_counts_what_may_be_seen(opened: Opened, caller: str) -> None:
    lab, client = opened

    reply = client.get("/api/organizations/lab/overview", token=lab.tokens[caller])

    assert reply.json()["numModels"] == (3 if caller == "reader" else 2)


def test_a_repository_that_becomes_private_is_gone_at_once(opened: Opened) -> None:
    lab, client = opened
    path = "/lab/public/resolve/main/secret.txt"
    assert client.get(path, token=None).status_code == 200

    client.send(
        "PUT", "/api/models/lab/public/settings", token=lab.tokens["admin"], json={"visibility": "private"}
    )

    assert client.get(path, token=None).status_code == 401
    assert client.get(path, token=lab.tokens["outsider"]).status_code == 404
    assert client.get(path, token=lab.tokens["reader"]).status_code == 200


def test_an_old_name_of_a_private_repository_tells_nothing(opened: Opened) -> None:
    lab, client = opened
    client.post(
        "/api/repos/move",
        token=lab.tokens["admin"],
        json={"fromRepo": "lab/private", "toRepo": "lab/hushhush"},
    )

    for path in ("/api/models/lab/private", "/lab/private/resolve/main/secret.txt"):
        reply = client.get(path, token=lab.tokens["outsider"])
        assert reply.status_code == 404
        assert "hushhush" not in reply.text + str(reply.headers)


def test_a_hidden_repository_does_not_tell_how_it_is_spelled(opened: Opened) -> None:
    lab, client = opened

    for path in ("/api/models/LAB/Private", "/api/v1/repositories/models/LAB/Private/roles"):
        reply = client.get(path, token=lab.tokens["outsider"])
        assert reply.status_code == 404
        assert reply.json()["error"] == "Repository LAB/Private not found."


def test_a_repository_cannot_be_moved_where_its_owner_may_make_none(opened: Opened) -> None:
    lab, client = opened

    reply = client.post(
        "/api/repos/move",
        token=lab.tokens["admin"],
        json={"fromRepo": "lab/public", "toRepo": "outsider/public"},
    )

    assert reply.status_code == 403


def test_a_fine_grained_token_works_in_its_repository(opened: Opened) -> None:
    lab, client = opened
    with lab.database.reading() as connection:
        from ayni.hub import catalogue, members

        number = catalogue.page(connection, "model", search="lab/private").repositories[0].id
        user_id = members.get(connection, "writer").id
    token = lab.token(user_id, scoped_to=[number])

    assert client.get("/lab/private/resolve/main/secret.txt", token=token).status_code == 200
    assert client.get("/api/models/lab/private/auth-check/write", token=token).status_code == 200
    assert client.get("/api/models/lab/public/auth-check/write", token=token).status_code == 403
    assert client.post("/api/repos/create", token=token, json={"name": "new"}).status_code == 403


def test_links_end_when_their_token_is_revoked(opened: Opened) -> None:
    lab, client = opened
    put = batch(opened, "writer", "lab/private", "upload", sha256="1" * 64)["actions"]["upload"]["href"]
    get = batch(opened, "reader", "lab/private", "download")["actions"]["download"]["href"]
    assert client.get(get, token=None).content == LARGE

    revoke(lab, "writer")
    revoke(lab, "reader")

    assert client.send("PUT", put, token=None, content=LARGE).status_code == 403
    reply = client.get(get, token=None)
    assert reply.status_code == 403 and "revoked" in reply.json()["error"]


def test_links_end_when_the_role_is_gone_or_the_repository(opened: Opened) -> None:
    lab, client = opened
    get = batch(opened, "reader", "lab/private", "download")["actions"]["download"]["href"]
    admin_get = batch(opened, "admin", "lab/private", "download")["actions"]["download"]["href"]

    path = "/api/v1/organisations/lab/members/reader"
    assert client.send("DELETE", path, token=lab.tokens["admin"]).status_code == 204
    assert client.get(get, token=None).status_code == 403
    assert client.get(admin_get, token=None).status_code == 200

    body = {"name": "private", "organization": "lab"}
    client.send("DELETE", "/api/repos/delete", token=lab.tokens["admin"], json=body)
    assert client.get(admin_get, token=None).status_code == 403


def revoke(lab: Lab, caller: str) -> None:
    from ayni.hub import members, tokens

    with lab.database.transaction() as connection:
        tokens.revoke_all(connection, members.get(connection, caller).id, now=lab.time)


def test_a_copy_of_a_gated_repository_asks_for_access_as_well(opened: Opened) -> None:
    lab, client = opened
    client.post(
        "/api/models/lab/gated/user-access-request/grant",
        token=lab.tokens["admin"],
        json={"user": "outsider"},
    )

    reply = client.post(
        "/api/models/lab/gated/duplicate",
        token=lab.tokens["outsider"],
        json={"repository": "outsider/copy", "visibility": "public"},
    )

    assert reply.status_code == 200
    assert client.get("/outsider/copy/resolve/main/secret.txt", token=None).status_code == 401


@pytest.mark.parametrize("revision", ["refs%2Ftags%2Fv1", "refs%2Fconvert%2Fx", "refs%2Fremotes%2Fx"])
def test_a_commit_moves_no_tag(opened: Opened, revision: str) -> None:
    lab, client = opened
    client.post("/api/models/lab/public/tag/main", token=lab.tokens["writer"], json={"tag": "v1"})
    lines = [
        {"key": "header", "value": {"summary": "m"}},
        {"key": "deletedFile", "value": {"path": "large.bin"}},
    ]

    reply = commit(client, lab.tokens["writer"], "lab/public", lines, rev=revision)

    assert reply.status_code == 400, reply.text
    tags = client.get("/api/models/lab/public/refs", token=None).json()
    assert tags["tags"][0]["targetCommit"] == tags["branches"][0]["targetCommit"]
