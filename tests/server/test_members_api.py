"""Members, roles, tokens, quotas and the audit log by `/api/v1`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.hub_app import Client
from tests.server.lab import Lab, open_lab

Opened = tuple[Lab, Client]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    yield from open_lab(tmp_path)


def send(opened: Opened, caller: str, method: str, path: str, **body: Any) -> Any:
    lab, client = opened
    more = {"json": body} if method in ("POST", "PUT") else {}
    return client.send(method, f"/api/v1{path}", token=lab.tokens[caller], **more)


def whoami(opened: Opened, token: str) -> Any:
    return opened[1].get("/api/whoami-v2", token=token)


def test_a_new_user_gets_a_token_and_is_somebody(opened: Opened) -> None:
    made = send(opened, "root", "POST", "/users", name="Ada", full_name="Ada Lovelace", email="a@b.org")
    token = send(opened, "root", "POST", "/users/ada/tokens", name="first", scope="write").json()["token"]

    said = whoami(opened, token).json()

    assert made.status_code == 201
    assert (said["name"], said["fullname"]) == ("Ada", "Ada Lovelace")
    assert (said["email"], said["orgs"]) == ("a@b.org", [])
    assert send(opened, "root", "POST", "/users", name="ADA").status_code == 409
    assert "Ada" in [each["name"] for each in send(opened, "root", "GET", "/users").json()]


def test_a_removed_user_is_nobody_at_once_and_for_ever(opened: Opened) -> None:
    lab, _ = opened
    assert send(opened, "root", "DELETE", "/users/writer").status_code == 204

    assert whoami(opened, str(lab.tokens["writer"])).status_code == 401
    assert send(opened, "root", "POST", "/users", name="writer").status_code == 409
    assert send(opened, "root", "DELETE", "/users/writer").status_code == 404


def test_the_last_admins_stay(opened: Opened) -> None:
    replies = [
        send(opened, "root", "DELETE", "/users/root"),
        send(opened, "root", "PUT", "/users/root/admin", is_admin=False),
        send(opened, "admin", "PUT", "/organisations/lab/members/admin", role="read"),
        send(opened, "admin", "DELETE", "/organisations/lab/members/admin"),
    ]

    assert [reply.status_code for reply in replies] == [409] * 4


def test_a_role_is_given_and_taken_away(opened: Opened) -> None:
    lab, client = opened
    path, token = "/api/models/lab/private", lab.tokens["outsider"]
    before = client.get(path, token=token).status_code
    send(opened, "admin", "PUT", "/organisations/lab/members/outsider", role="read")
    during = client.get(path, token=token).status_code
    send(opened, "admin", "DELETE", "/organisations/lab/members/outsider")

    assert (before, during, client.get(path, token=token).status_code) == (404, 200, 404)


def test_a_role_in_one_repository_is_for_that_one(opened: Opened) -> None:
    lab, client = opened
    path = "/repositories/models/lab/private/roles"

    send(opened, "admin", "PUT", f"{path}/outsider", role="write")

    assert send(opened, "admin", "GET", path).json() == [{"user": "outsider", "role": "write"}]
    check = "auth-check/write"
    assert client.get(f"/api/models/lab/private/{check}", token=lab.tokens["outsider"]).status_code == 200
    assert client.get(f"/api/models/lab/public/{check}", token=lab.tokens["outsider"]).status_code == 403
    send(opened, "admin", "DELETE", f"{path}/outsider")
    assert client.get("/api/models/lab/private", token=lab.tokens["outsider"]).status_code == 404


def test_a_token_is_shown_once(opened: Opened) -> None:
    made = send(opened, "writer", "POST", "/tokens", name="ci", scope="read").json()
    listed = send(opened, "writer", "GET", "/tokens").json()

    said = whoami(opened, made["token"]).json()["auth"]["accessToken"]
    assert said == {"displayName": "ci", "role": "read"}
    assert [each["name"] for each in listed] == ["token 3", "ci"]
    assert made["token"] not in str(listed)
    assert send(opened, "writer", "DELETE", f"/tokens/{made['number']}").status_code == 204
    assert whoami(opened, made["token"]).status_code == 401


def test_a_token_for_one_repository_is_made_by_who_sees_it(opened: Opened) -> None:
    client = opened[1]
    asked = {"name": "ci", "scope": "write", "repositories": ["model:lab/private"]}

    token = send(opened, "writer", "POST", "/tokens", **asked).json()["token"]
    refused = send(opened, "outsider", "POST", "/tokens", **asked)
    absent = send(opened, "outsider", "POST", "/tokens", **{**asked, "repositories": ["model:lab/nothing"]})

    assert client.get("/api/models/lab/private/auth-check/write", token=token).status_code == 200
    assert client.get("/api/models/lab/public/auth-check/write", token=token).status_code == 403
    assert refused.status_code == absent.status_code == 400
    assert refused.text.replace("private", "nothing") == absent.text
    no_kind = send(opened, "writer", "POST", "/tokens", name="x", repositories=["lab/private"])
    assert no_kind.status_code == 400


def test_a_token_expires(opened: Opened) -> None:
    lab, _ = opened
    asked = {"name": "day", "expires_at": "2026-05-07T07:08:09Z"}
    token = send(opened, "writer", "POST", "/tokens", **asked).json()["token"]

    statuses = []
    for hours in (0, 23, 1):
        lab.pass_time(hours=hours)
        statuses.append(whoami(opened, token).status_code)

    assert statuses == [200, 200, 401]
    late = {"name": "late", "expires_at": "2026-05-07T07:08:09Z"}
    assert send(opened, "writer", "POST", "/tokens", **late).status_code == 400


def test_a_limited_token_makes_no_other(opened: Opened) -> None:
    for caller in ("limited", "elsewhere", "anonymous"):
        reply = send(opened, caller, "POST", "/tokens", name="more", scope="write")
        assert reply.status_code == (401 if caller == "anonymous" else 403)


def test_all_tokens_of_a_user_can_be_revoked(opened: Opened) -> None:
    lab, _ = opened

    send(opened, "root", "DELETE", "/users/admin/tokens")

    for caller in ("admin", "limited", "elsewhere"):
        assert whoami(opened, str(lab.tokens[caller])).status_code == 401


def test_a_full_namespace_takes_no_more(opened: Opened) -> None:
    lab, client = opened
    used = send(opened, "admin", "GET", "/quotas/lab").json()["used_bytes"]
    send(opened, "root", "PUT", "/quotas/lab", max_bytes=used + 99)

    def preupload(size: int) -> Any:
        files = [{"path": "a", "size": size, "sample": ""}]
        path = "/api/models/lab/public/preupload/main"
        return client.post(path, token=lab.tokens["writer"], json={"files": files})

    assert send(opened, "admin", "GET", "/quotas/lab").json()["max_bytes"] == used + 99
    assert preupload(99).status_code == 200
    full = preupload(100)
    assert full.status_code == 413
    assert "100 more do not fit" in full.headers["X-Error-Message"]
    send(opened, "root", "DELETE", "/quotas/lab")
    assert preupload(100).status_code == 200
    send(opened, "root", "PUT", "/default-quota", max_bytes=0)
    assert preupload(1).status_code == 413


def test_the_log_is_whole_and_says_who_did_what(opened: Opened) -> None:
    lab, _ = opened
    send(opened, "root", "POST", "/organisations", name="Guild", admin="outsider")
    send(opened, "outsider", "PUT", "/organisations/guild/members/reader", role="write")

    newest, before = send(opened, "root", "GET", "/audit-log?limit=2").json()

    assert (newest["actor"], newest["action"], newest["subject"]) == ("outsider", "role.set", "Guild")
    assert newest["detail"] == {"user": "reader", "role": "write"}
    assert (before["actor"], before["action"]) == ("root", "organisation.add")
    assert newest["previous_hash"] == before["hash"]
    older = send(opened, "root", "GET", f"/audit-log?before={before['sequence']}").json()
    assert all(line["sequence"] < before["sequence"] for line in older)
    from ayni.hub import audit

    with lab.database.reading() as connection:
        assert audit.verify(connection) == newest["sequence"]


def test_no_token_and_no_digest_is_in_the_log(opened: Opened) -> None:
    token = send(opened, "writer", "POST", "/tokens", name="ci").json()["token"]

    text = send(opened, "root", "GET", "/audit-log").text

    assert token not in text and token[7:20] not in text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/users", {"name": "a b"}),
        ("POST", "/users", {"name": "x\u0000"}),
        ("POST", "/users", {"name": "ok", "full_name": "a\u0000b"}),
        ("POST", "/users", {}),
        ("POST", "/users/reader/tokens", {"name": ""}),
        ("POST", "/users/reader/tokens", {"name": "x", "expires_at": "2026-05-07T07:08:09"}),
        ("PUT", "/quotas/lab", {"max_bytes": -1}),
        ("PUT", "/quotas/lab", {"max_bytes": 1 << 63}),
        ("PUT", "/organisations/lab/members/reader", {"role": "king"}),
        ("GET", "/audit-log?limit=0", {}),
        ("GET", "/audit-log?before=99999999999999999999", {}),
        ("DELETE", "/tokens/0", {}),
    ],
)
def test_what_makes_no_sense_is_told_in_words(
    opened: Opened, method: str, path: str, body: dict[str, Any]
) -> None:
    reply = send(opened, "root", method, path, **body)

    assert reply.status_code == 422, reply.text
    assert reply.json()["error"] and reply.headers["X-Error-Message"]
