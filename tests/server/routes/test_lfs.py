"""Large files come by signed links, are hashed, and are visible only when they are what was announced."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.server.hub_app import Client, commit, large, make_repository, upload

from ayni.hub import uploads
from ayni.server.routes import lfs

CONTENT = b"weights" * 1000
OID = hashlib.sha256(CONTENT).hexdigest()


def _batch(client: Client, *, oid: str = OID, size: int = len(CONTENT), **given: Any) -> Any:
    body = {
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": [{"oid": oid, "size": size}],
    }
    body |= given.pop("body", {})
    return client.post("/ada/x.git/info/lfs/objects/batch", json=body, **given)


def _stored(client: Client) -> set[str]:
    return set(client.app.hub.content.list())


def test_a_file_that_came_is_verified_and_not_asked_for_again(client: Client) -> None:
    make_repository(client)
    actions = _batch(client).json()["objects"][0]["actions"]

    assert client.send("PUT", actions["upload"]["href"], content=CONTENT, token=None).status_code == 200
    verified = client.post(actions["verify"]["href"], json={"oid": OID, "size": len(CONTENT)})

    assert verified.status_code == 200
    assert _batch(client).json()["objects"] == [{"oid": OID, "size": len(CONTENT)}]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"x" * len(CONTENT), b""])
def test_bytes_that_are_not_those_announced_leave_nothing(client: Client, content: bytes) -> None:
    make_repository(client)
    before = _stored(client)
    actions = _batch(client).json()["objects"][0]["actions"]

    reply = client.send("PUT", actions["upload"]["href"], content=content, token=None)

    assert reply.status_code == 400
    assert _stored(client) == before
    assert client.post(actions["verify"]["href"], json={"oid": OID, "size": len(CONTENT)}).status_code == 404


def test_a_link_is_for_one_thing_until_it_expires(client: Client) -> None:
    make_repository(client)
    href = _batch(client).json()["objects"][0]["actions"]["upload"]["href"]

    assert client.post(href, token=None).status_code == 403
    assert client.get(href, token=None).status_code == 403
    assert client.send("PUT", href[:-2] + "xx", content=CONTENT, token=None).status_code == 403
    later = datetime.now(UTC) + lfs.LINKS_LAST + timedelta(seconds=1)
    object.__setattr__(client.app.hub, "now", lambda: later)
    assert client.send("PUT", href, content=CONTENT, token=None).status_code == 403


def test_parts_become_one_file_and_their_own_objects_go(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (uploads, lfs):
        monkeypatch.setattr(module, "SINGLE_UP_TO_BYTES", 1000)
    monkeypatch.setattr(uploads, "PART_BYTES", 3000)
    monkeypatch.setattr(uploads, "MEBIBYTE", 1)
    make_repository(client)
    before = _stored(client)
    said = _batch(client).json()
    send_to = said["objects"][0]["actions"]["upload"]
    header = {key: value for key, value in send_to["header"].items() if key != "chunk_size"}
    assert said["transfer"] == "multipart"
    assert (send_to["header"]["chunk_size"], sorted(header)) == ("3000", ["00001", "00002", "00003"])
    pieces = [CONTENT[start : start + 3000] for start in range(0, len(CONTENT), 3000)]

    early = client.post(send_to["href"], json={"oid": OID, "parts": []}, token=None)
    assert early.status_code == 400 and "3 of 3 parts" in early.json()["error"]
    for (_, href), piece in zip(sorted(header.items()), pieces, strict=True):
        assert client.send("PUT", href, content=piece, token=None).headers["ETag"]
    assert client.send("PUT", header["00001"], content=pieces[0], token=None).status_code == 200
    assert client.send("PUT", header["00003"], content=pieces[0], token=None).status_code == 400
    done = client.post(send_to["href"], json={"oid": OID, "parts": []}, token=None)
    again = client.post(send_to["href"], json={"oid": OID, "parts": []}, token=None)

    assert (done.status_code, again.status_code) == (200, 200)
    assert _stored(client) - before == {OID}
    commit(client, "ada/x", large("w.bin", CONTENT))
    assert client.get("/ada/x/resolve/main/w.bin").content == CONTENT


def test_whether_something_is_there_is_said_only_to_who_may_read_it(client: Client) -> None:
    make_repository(client)
    make_repository(client, "y", private=True, token="hf_ben")
    upload(client, "ben/y", CONTENT, token="hf_ben")
    commit(client, "ben/y", large("w.bin", CONTENT), token="hf_ben")

    ada, ben = (
        _batch(client),
        client.post(
            "/ada/x.git/info/lfs/objects/batch",
            json={"operation": "upload", "objects": [{"oid": OID, "size": len(CONTENT)}]},
            token="hf_ben",
        ),
    )

    assert "actions" in ada.json()["objects"][0]
    assert "actions" not in ben.json()["objects"][0]
    verify = client.post("/ada/x.git/info/lfs/verify", json={"oid": OID, "size": len(CONTENT)})
    assert verify.status_code == 404


def test_git_lfs_downloads_what_the_repository_has_and_nothing_else(client: Client) -> None:
    make_repository(client)
    upload(client, "ada/x", CONTENT)
    download = {"operation": "download"}
    assert _batch(client, body=download).json()["objects"][0]["error"]["code"] == 404
    commit(client, "ada/x", large("w.bin", CONTENT))

    actions = _batch(client, body=download, token=None).json()["objects"][0]["actions"]

    assert client.get(actions["download"]["href"], token=None).content == CONTENT


@pytest.mark.parametrize("oid", ["../../etc/passwd", "A" * 64, "", "0" * 63])
def test_what_is_no_digest_is_refused(client: Client, oid: str) -> None:
    make_repository(client)

    assert _batch(client, oid=oid).status_code == 400


def test_readers_may_download_and_not_upload(client: Client) -> None:
    make_repository(client)

    assert _batch(client, token=None).status_code == 401
    assert _batch(client, token="hf_adaread").status_code == 403
    assert _batch(client, token=None, body={"operation": "download"}).status_code == 200


@pytest.mark.parametrize(("size", "status"), [(2**40, 200), (2**43, 400), (2**63, 400), (2**70, 400)])
def test_a_size_that_no_database_keeps_is_refused(client: Client, size: int, status: int) -> None:
    make_repository(client)
    body = {"operation": "upload", "transfers": ["multipart"], "objects": [{"oid": "1" * 64, "size": size}]}

    reply = client.post("/ada/x.git/info/lfs/objects/batch", json=body)

    assert reply.status_code == status


def test_a_reply_has_only_so_many_links(client: Client) -> None:
    make_repository(client)
    objects = [{"oid": f"{number:064x}", "size": 2**42} for number in range(20)]
    body = {"operation": "upload", "transfers": ["multipart"], "objects": objects}

    assert client.post("/ada/x.git/info/lfs/objects/batch", json=body).status_code == 413
