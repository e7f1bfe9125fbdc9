"""Commits over HTTP change what they say, once, or nothing."""

import hashlib

import pytest
from tests.server.hub_app import Client, commit, inline, large, make_repository, ndjson, upload

from ayni.hub import commits
from ayni.hub.git_objects import blob_sha1


def _head(client: Client) -> str:
    sha: str = client.get("/api/models/ada/x").json()["sha"]
    return sha


def test_a_request_that_is_sent_again_makes_no_second_commit(client: Client) -> None:
    make_repository(client)
    first = commit(client, "ada/x", inline("a.txt", b"1"), parentCommit=_head(client)).json()

    again = commit(client, "ada/x", inline("a.txt", b"1"), parentCommit=_parent(client)).json()

    assert again["commitOid"] == first["commitOid"] == _head(client)
    assert first["commitUrl"].endswith(f"/ada/x/commit/{first['commitOid']}")
    assert len(client.get("/api/models/ada/x/commits/main").json()) == 2


def _parent(client: Client) -> str:
    parent: str = client.get("/api/models/ada/x/commits/main").json()[1]["id"]
    return parent


def test_a_stale_parent_is_412_and_changes_nothing(client: Client) -> None:
    make_repository(client)
    stale = _head(client)
    commit(client, "ada/x", inline("a.txt", b"1"))
    head = _head(client)

    reply = commit(client, "ada/x", inline("b.txt", b"2"), parentCommit=stale)

    assert reply.status_code == 412
    assert _head(client) == head


def test_a_large_file_needs_its_bytes_and_gets_its_line_in_gitattributes(client: Client) -> None:
    make_repository(client)
    content = b"w" * 1000

    early = commit(client, "ada/x", large("odd", content))
    assert early.status_code == 400 and "Upload the file first" in early.json()["error"]
    assert upload(client, "ada/x", content).status_code == 200
    reply = commit(client, "ada/x", large("odd", content))

    assert reply.status_code == 200
    served = client.get("/ada/x/resolve/main/odd")
    assert served.content == content
    assert (
        served.headers["X-Linked-Etag"]
        == served.headers["ETag"]
        == f'"{hashlib.sha256(content).hexdigest()}"'
    )
    assert "/odd filter=lfs" in client.get("/ada/x/resolve/main/.gitattributes").text


def test_somebody_elses_private_content_cannot_be_committed_by_its_digest(client: Client) -> None:
    make_repository(client)
    make_repository(client, "secret", private=True, token="hf_ben")
    content = b"ben's weights"
    upload(client, "ben/secret", content, token="hf_ben")
    assert commit(client, "ben/secret", large("w.bin", content), token="hf_ben").status_code == 200

    reply = commit(client, "ada/x", large("w.bin", content))

    assert reply.status_code == 400
    assert client.get("/ada/x/resolve/main/w.bin").status_code == 404


def test_what_is_to_go_and_is_not_there_is_told_as_such(client: Client) -> None:
    make_repository(client)

    reply = commit(client, "ada/x", ("deletedFile", {"path": "none"}))

    assert reply.status_code == 404
    assert reply.headers["X-Error-Code"] == "EntryNotFound"
    assert "A file with this name doesn't exist" in reply.headers["X-Error-Message"]


@pytest.mark.parametrize(
    "path", ["../x", "/abs", "a\\b", ".git/config", "a//b", "", "a/./b", "x\0", "x" * 300]
)
def test_hostile_paths_are_refused(client: Client, path: str) -> None:
    make_repository(client)
    head = _head(client)

    assert commit(client, "ada/x", inline(path, b"1")).status_code == 400
    assert _head(client) == head


@pytest.mark.parametrize(
    "body", [b"", b"\n\n", b"{}", b"null", b'{"key":"header","value":1}', b"\xff\xfe", ndjson("x")[:-1]]
)
def test_bodies_that_are_no_commit_are_refused(client: Client, body: bytes) -> None:
    make_repository(client)

    reply = client.post("/api/models/ada/x/commit/main", content=body)

    assert reply.status_code == 400
    assert reply.json()["error"]


def test_a_branch_must_be_there(client: Client) -> None:
    make_repository(client)

    reply = commit(client, "ada/x", inline("a", b"1"), revision="none")

    assert reply.status_code == 404 and reply.headers["X-Error-Code"] == "RevisionNotFound"
    client.post("/api/models/ada/x/branch/dev%2Fone", json={})
    assert commit(client, "ada/x", inline("a", b"1"), revision="dev%2Fone").status_code == 200
    assert client.get("/ada/x/resolve/dev%2Fone/a").content == b"1"
    assert client.get("/ada/x/resolve/main/a").status_code == 404


def test_readers_and_tokens_for_reading_cannot_commit(client: Client) -> None:
    make_repository(client)

    for token, status in ((None, 401), ("hf_ben", 403), ("hf_adaread", 403)):
        assert commit(client, "ada/x", inline("a", b"1"), token=token).status_code == status


def test_how_a_file_is_sent_is_said_with_what_is_there_now(client: Client) -> None:
    make_repository(client)
    commit(client, "ada/x", inline("a.txt", b"1"), inline(".gitignore", b"*.log\n"))
    files = [{"path": path, "size": 1, "sample": ""} for path in ("a.txt", "b.bin", "c.log")]

    said = client.post("/api/models/ada/x/preupload/main", json={"files": files}).json()["files"]

    assert said == [
        {"path": "a.txt", "uploadMode": "regular", "shouldIgnore": False, "oid": blob_sha1(b"1")},
        {"path": "b.bin", "uploadMode": "lfs", "shouldIgnore": False},
        {"path": "c.log", "uploadMode": "regular", "shouldIgnore": True},
    ]
    too_many = {"files": [{"path": str(number), "size": 1} for number in range(257)]}
    assert client.post("/api/models/ada/x/preupload/main", json=too_many).status_code == 400


def test_a_hook_that_refuses_leaves_no_commit(client: Client) -> None:
    make_repository(client)
    head = _head(client)

    def refuse(*_: object) -> None:
        raise commits.StaleParentError("ada/x", head, head)

    hooks = commits.CommitHooks(after=(refuse,))
    object.__setattr__(client.app.hub, "commit_hooks", hooks)

    assert commit(client, "ada/x", inline("a", b"1")).status_code == 412
    assert _head(client) == head
