"""The chunk store over HTTP: who may do what, and what is answered to whom."""

import hashlib
import json
from typing import Any

import pytest
from tests.hub.xet.xet_files import claim_of, make_xorb
from tests.server.hub_app import Client, client, served_hub

from ayni.hub.xet.hashes import to_text
from ayni.hub.xet.shards import write_upload
from ayni.hub.xet.xorbs import BODY_BYTES_AT_MOST

__all__ = ["client", "served_hub"]

XORB = make_xorb([b"one" * 99, b"two" * 99, b"three" * 99])
CONTENT = b"one" * 99 + b"three" * 99
CLAIM = claim_of(CONTENT, (XORB, 0, 1), (XORB, 2, 3))
SHARD = write_upload([CLAIM], [XORB.index])
NAME, FIRST_CHUNK = to_text(XORB.name), to_text(XORB.index.hashes(0, 1))
FILE = to_text(CLAIM.file_hash)


def make(client: Client, name: str = "ada/x", **settings: Any) -> None:
    namespace, _, short = name.partition("/")
    token = f"hf_{namespace}"
    body = {"name": short, "organization": namespace, "type": "model", **settings}
    assert client.post("/api/repos/create", token=token, json=body).status_code == 200


def token_for(client: Client, scope: str = "write", repository: str = "ada/x", **given: Any) -> str:
    reply = client.get(f"/api/models/{repository}/xet-{scope}-token/main", **given)
    assert reply.status_code == 200, reply.text
    return str(reply.headers["X-Xet-Access-Token"])


def upload(client: Client, token: str, version: int = 1) -> Any:
    assert client.post(f"/cas/v1/xorbs/default/{NAME}", token=token, content=XORB.body).status_code == 200
    return client.post(f"/cas/v{version}/shards", token=token, content=SHARD)


def test_a_token_is_told_in_headers_and_in_the_body(client: Client) -> None:
    make(client)

    reply = client.get("/api/models/ada/x/xet-write-token/None")

    assert reply.headers["X-Xet-Cas-Url"] == reply.json()["casUrl"] == "http://127.0.0.1:8000/cas"
    assert reply.headers["X-Xet-Access-Token"] == reply.json()["accessToken"]
    assert reply.headers["X-Xet-Token-Expiration"] == str(reply.json()["exp"])


@pytest.mark.parametrize(
    ("scope", "token", "status"),
    [
        ("write", "hf_ben", 403),
        ("write", "hf_adaread", 403),
        ("write", None, 401),
        ("read", "hf_ben", 200),
        ("read", None, 200),
    ],
)
def test_who_may_not_write_gets_no_token_for_writing(
    client: Client, scope: str, token: str | None, status: int
) -> None:
    make(client)

    assert client.get(f"/api/models/ada/x/xet-{scope}-token/main", token=token).status_code == status


def test_a_private_repository_gives_others_no_token(client: Client) -> None:
    make(client, visibility="private")

    assert client.get("/api/models/ada/x/xet-read-token/main", token="hf_ben").status_code == 404


def test_a_file_comes_by_chunks_and_is_read_like_any_other(client: Client) -> None:
    make(client)
    token = token_for(client)

    assert client.get(f"/cas/v1/chunks/default/{FIRST_CHUNK}", token=token).status_code == 404
    xorb = client.post(f"/cas/v1/xorbs/default/{NAME}", token=token, content=XORB.body)
    assert xorb.json() == {"was_inserted": True}
    again = client.post(f"/cas/v1/xorbs/default/{NAME}", token=token, content=XORB.body)
    assert again.json() == {"was_inserted": False}
    assert client.post("/cas/v1/shards", token=token, content=SHARD).json() == {"result": 1}
    assert client.post("/cas/v1/shards", token=token, content=SHARD).json() == {"result": 0}
    assert client.get(f"/cas/v1/chunks/default-merkledb/{FIRST_CHUNK}", token=token).status_code == 200

    lines = [
        {"key": "header", "value": {"summary": "Add"}},
        {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": CLAIM.sha256, "size": 792}},
    ]
    body = "\n".join(map(json.dumps, lines))
    assert client.post("/api/models/ada/x/commit/main", content=body).status_code == 200
    reply = client.get("/ada/x/resolve/main/a.bin", headers={"Range": "bytes=290-310"})
    assert (reply.status_code, reply.content) == (206, CONTENT[290:311])
    assert "X-Xet-Hash" not in reply.headers


def test_the_second_version_of_shards_tells_how_it_went_line_by_line(client: Client) -> None:
    make(client)

    reply = upload(client, token_for(client), version=2)

    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert lines[-1] == {"type": "result", "result": 1}


def test_the_last_line_says_to_a_person_what_was_wrong(client: Client) -> None:
    make(client)
    token = token_for(client)

    reply = client.post("/cas/v2/shards", token=token, content=SHARD)

    last = json.loads(reply.text.splitlines()[-1])
    assert reply.status_code == 200
    assert last["type"] == "error" and last["retryable"] is False
    assert "HF_HOME" in last["message"]


def test_what_goes_wrong_inside_is_not_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make(client)
    token = token_for(client)
    monkeypatch.setattr("ayni.hub.xet.store.read_claims", lambda _: 1 / 0)

    reply = client.post("/cas/v2/shards", token=token, content=SHARD)

    assert "division" not in reply.text and json.loads(reply.text)["type"] == "error"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"/cas/v1/xorbs/default/{NAME}", XORB.body[:-1], 400),
        ("POST", f"/cas/v1/xorbs/default/{'0' * 64}", XORB.body, 400),
        ("POST", f"/cas/v1/xorbs/default/{NAME.upper()}", XORB.body, 400),
        ("POST", f"/cas/v1/xorbs/default/%{ord(NAME[0]):x}{NAME[1:]}", XORB.body, 400),
        ("POST", "/cas/v1/xorbs/default/x", XORB.body, 400),
        ("POST", f"/cas/v1/xorbs/other/{NAME}", XORB.body, 404),
        ("POST", f"/cas/v1/xorb-grants/default/{NAME}", b"", 404),
        ("POST", "/cas/v1/shards", b"", 400),
        ("POST", "/cas/v1/shards", SHARD[:-1], 400),
        ("POST", "/cas/v1/shards", SHARD, 400),
        ("GET", f"/cas/v1/chunks/default/{'0' * 64}", None, 404),
        ("GET", "/cas/v1/chunks/default/x", None, 400),
        ("GET", f"/cas/v2/reconstructions/{'0' * 64}", None, 404),
        ("GET", "/cas/links/abc", None, 403),
    ],
)
def test_bad_input_is_answered_with_what_is_wrong(
    client: Client, method: str, path: str, body: bytes | None, status: int
) -> None:
    make(client)

    reply = client.send(method, path, token=token_for(client), content=body)

    assert reply.status_code == status, reply.text
    assert "error" in reply.json()


@pytest.mark.parametrize("path", [f"/cas/v1/xorbs/default/{NAME}", "/cas/v1/shards", "/cas/v2/shards"])
def test_more_bytes_than_are_taken_are_refused_when_they_are_announced(client: Client, path: str) -> None:
    make(client)

    reply = client.post(
        path, token=token_for(client), headers={"Content-Length": str(BODY_BYTES_AT_MOST + 1)}, content=b"x"
    )

    assert reply.status_code == 413


@pytest.mark.parametrize("token", [None, "hf_ada", "a.b"])
def test_the_store_takes_its_own_tokens_only(client: Client, token: str | None) -> None:
    for method, path in (
        ("POST", f"/cas/v1/xorbs/default/{NAME}"),
        ("POST", "/cas/v1/shards"),
        ("POST", "/cas/v2/shards"),
        ("GET", f"/cas/v1/chunks/default/{FIRST_CHUNK}"),
        ("GET", f"/cas/v2/reconstructions/{FILE}"),
    ):
        assert client.send(method, path, token=token).status_code == 401


def test_a_token_for_reading_writes_nothing(client: Client) -> None:
    make(client)
    token = token_for(client, "read")

    assert client.post(f"/cas/v1/xorbs/default/{NAME}", token=token, content=XORB.body).status_code == 403
    assert client.post("/cas/v1/shards", token=token, content=SHARD).status_code == 403


def test_a_token_of_one_repository_reads_nothing_of_another(client: Client) -> None:
    make(client, visibility="private")
    make(client, "ben/x")
    upload(client, token_for(client))
    foreign = token_for(client, repository="ben/x", token="hf_ben")

    assert client.get(f"/cas/v2/reconstructions/{FILE}", token=foreign).status_code == 404
    assert client.get(f"/cas/v1/chunks/default/{FIRST_CHUNK}", token=foreign).status_code == 404
    assert client.post("/cas/v1/shards", token=foreign, content=SHARD).status_code == 400


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_is_put_together_from_the_links_of_its_reconstruction(client: Client, version: int) -> None:
    make(client)
    upload(client, token_for(client))
    token = token_for(client, "read")

    answer = client.get(f"/cas/v{version}/reconstructions/{FILE}", token=token).json()

    entries = answer["fetch_info" if version == 1 else "xorbs"][NAME]
    assert [(each["range"]["start"], each["range"]["end"]) for each in answer["terms"]] == [(0, 1), (2, 3)]
    parts = []
    for entry in entries:
        place = entry["url_range"] if version == 1 else entry["ranges"][0]["bytes"]
        asked = f"bytes={place['start']}-{place['end']}"
        path = entry["url"].removeprefix("http://127.0.0.1:8000")
        reply = client.get(path, token=None, headers={"Range": asked})
        assert reply.status_code == 206
        assert reply.headers["Content-Range"] == f"{asked.replace('=', ' ')}/{len(XORB.body)}"
        parts.append(reply.content)
        beyond = f"bytes={place['start']}-{place['end'] + 1}"
        if place["end"] + 1 < len(XORB.body):
            assert client.get(path, token=None, headers={"Range": beyond}).status_code == 416
    ends = XORB.index.record_ends
    assert parts == [XORB.body[: ends[0]], XORB.body[ends[1] :]]


def test_a_range_that_begins_behind_the_end_is_told_the_size(client: Client) -> None:
    make(client)
    upload(client, token_for(client))

    reply = client.get(
        f"/cas/v2/reconstructions/{FILE}", token=token_for(client), headers={"Range": "bytes=792-800"}
    )

    assert reply.status_code == 416
    assert reply.headers["Content-Range"] == "bytes */792"


def test_the_content_that_was_uploaded_is_what_its_sha256_says(client: Client) -> None:
    make(client)
    upload(client, token_for(client))

    assert b"".join(client.app.hub.content.read(CLAIM.sha256)) == CONTENT
    assert hashlib.sha256(CONTENT).hexdigest() == CLAIM.sha256
