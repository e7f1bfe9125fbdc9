"""Files are served whole or in ranges, with what clients keep in their caches."""

import pytest
from tests.server.hub_app import Client, commit, inline, make_repository

from ayni.hub.git_objects import blob_sha1

CONTENT = bytes(range(256)) * 20
URL = "/ada/x/resolve/main/sub%20dir/%C3%A9.bin.txt"


@pytest.fixture
def revision(client: Client) -> str:
    make_repository(client)
    oid: str = commit(client, "ada/x", inline("sub dir/é.bin.txt", CONTENT)).json()["commitOid"]
    return oid


def test_the_head_says_what_the_body_would_be(client: Client, revision: str) -> None:
    head, whole = client.send("HEAD", URL), client.get(URL)

    assert (head.status_code, head.content) == (200, b"")
    assert whole.content == CONTENT
    for reply in (head, whole):
        assert reply.headers["X-Repo-Commit"] == revision
        assert reply.headers["ETag"] == f'"{blob_sha1(CONTENT)}"'
        assert reply.headers["Content-Length"] == str(len(CONTENT))
        assert reply.headers["Accept-Ranges"] == "bytes"
        assert "X-Linked-Size" not in reply.headers
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in reply.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=5000-", 5000, 5120),
        ("bytes=-7", 5113, 5120),
        ("bytes=-99999", 0, 5120),
        ("bytes=10-99999", 10, 5120),
    ],
)
def test_a_range_is_a_part_of_the_file(
    client: Client, revision: str, asked: str, start: int, stop: int
) -> None:
    reply = client.get(URL, headers={"Range": asked})

    assert reply.status_code == 206
    assert reply.content == CONTENT[start:stop]
    assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/5120"


@pytest.mark.parametrize("asked", ["bytes=5120-", "bytes=9999-10000", "bytes=-0"])
def test_a_range_outside_of_the_file_is_416(client: Client, revision: str, asked: str) -> None:
    reply = client.get(URL, headers={"Range": asked})

    assert reply.status_code == 416
    assert reply.headers["Content-Range"] == "bytes */5120"


@pytest.mark.parametrize("asked", ["bytes=1-2,4-5", "lines=1-2", "bytes=9-3", "bytes=-", "bytes=x"])
def test_ranges_that_are_not_understood_are_ignored(client: Client, revision: str, asked: str) -> None:
    reply = client.get(URL, headers={"Range": asked})

    assert (reply.status_code, reply.content) == (200, CONTENT)


def test_what_a_client_has_is_not_sent_again(client: Client, revision: str) -> None:
    etag = f'"{blob_sha1(CONTENT)}"'

    assert client.get(URL, headers={"If-None-Match": etag}).status_code == 304
    assert client.get(URL, headers={"If-None-Match": f'"other", W/{etag}'}).status_code == 304
    assert client.get(URL, headers={"If-None-Match": '"other"'}).status_code == 200
    changed = client.get(URL, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, CONTENT)


@pytest.mark.parametrize(
    "path",
    [
        "none",
        "sub%20dir",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/x",
        "sub%20dir/",
        "sub%20dir%2F%2F%C3%A9.bin.txt",
    ],
)
def test_what_is_no_file_is_told_with_the_revision(client: Client, revision: str, path: str) -> None:
    reply = client.get(f"/ada/x/resolve/main/{path}")

    assert reply.status_code == 404
    assert reply.headers["X-Error-Code"] == "EntryNotFound"
    assert reply.headers["X-Repo-Commit"] == revision


def test_a_path_with_a_nul_is_404(client: Client, revision: str) -> None:
    assert client.get("/ada/x/resolve/main/a%00b").status_code == 404


def test_a_revision_is_found_by_branch_tag_ref_and_digits(client: Client, revision: str) -> None:
    client.post("/api/models/ada/x/tag/main", json={"tag": "v1"})

    for name in ("main", "v1", "refs%2Fheads%2Fmain", revision, revision[:7]):
        assert client.get(URL.replace("main", name)).content == CONTENT
    none = client.get(URL.replace("main", "none"))
    assert (none.status_code, none.headers["X-Error-Code"]) == (404, "RevisionNotFound")


def test_a_download_is_counted_once_for_each_client(client: Client, revision: str) -> None:
    for token in ("hf_ada", "hf_ben"):
        for _ in range(3):
            client.send("HEAD", URL, token=token)
            client.get(URL, token=token)
    with client.app.hub.database.transaction() as connection:
        client.app.hub.downloads.write(connection)

    assert client.get("/api/models/ada/x").json()["downloads"] == 2
