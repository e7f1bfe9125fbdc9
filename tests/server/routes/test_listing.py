"""Repositories are listed to who may see them, in order, page by page, and described."""

import base64
import json

import pytest
from tests.server.hub_app import Client, commit, inline, large, make_repository, upload

CARD = b"---\nlicense: mit\ntags: [digits]\npipeline_tag: text-classification\nlibrary_name: ayni\n---\n"


@pytest.fixture
def shelf(client: Client) -> Client:
    make_repository(client, "first")
    make_repository(client, "second-digits", private=True)
    make_repository(client, "third", token="hf_ben")
    config = json.dumps({"model_type": "bert", "architectures": ["B"], "secret": 1}).encode()
    commit(client, "ada/first", inline("README.md", CARD), inline("config.json", config))
    return client


def _names(client: Client, query: str = "", token: str | None = "hf_ada") -> list[str]:
    return [each["id"] for each in client.get(f"/api/models{query}", token=token).json()]


def test_each_sees_what_it_may_see(shelf: Client) -> None:
    assert set(_names(shelf)) == {"ada/first", "ada/second-digits", "ben/third"}
    assert set(_names(shelf, token=None)) == set(_names(shelf, token="hf_ben")) == {"ada/first", "ben/third"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?author=ADA&sort=createdAt", ["ada/second-digits", "ada/first"]),
        ("?sort=createdAt&direction=1", ["ada/first", "ada/second-digits", "ben/third"]),
        ("?search=SECOND", ["ada/second-digits"]),
        ("?search=digits%20second", ["ada/second-digits"]),
        ("?search=%25", []),
        ("?filter=digits", ["ada/first"]),
        ("?filter=digits&filter=license:mit&pipeline_tag=text-classification", ["ada/first"]),
        ("?filter=digits&filter=other", []),
        ("?gated=true", []),
        ("?apps=ollama", []),
        ("?author=nobody", []),
    ],
)
def test_listings_are_filtered_and_in_order(shelf: Client, query: str, expected: list[str]) -> None:
    assert _names(shelf, query) == expected


def test_pages_hold_every_repository_once(shelf: Client) -> None:
    for sort in ("createdAt", "lastModified", "downloads", "likes", "name"):
        found, address = [], f"/api/models?limit=1&sort={sort}"
        for _ in range(5):
            reply = shelf.get(address)
            found += [each["id"] for each in reply.json()]
            if "Link" not in reply.headers:
                break
            address = reply.headers["Link"].partition("<")[2].partition(">")[0]
        assert sorted(found) == ["ada/first", "ada/second-digits", "ben/third"]


@pytest.mark.parametrize("query", ["?sort=none", "?limit=0", "?cursor=WzEsMl0", "?cursor=WyJ4Il0"])
def test_what_is_no_listing_is_refused(shelf: Client, query: str) -> None:
    assert shelf.get(f"/api/models{query}").status_code == 400


def test_a_description_holds_what_the_files_say(shelf: Client) -> None:
    said = shelf.get("/api/models/ada/first?blobs=true").json()

    assert said["pipeline_tag"] == "text-classification" and said["library_name"] == "ayni"
    assert said["cardData"]["license"] == "mit"
    assert said["config"] == {"model_type": "bert", "architectures": ["B"]}
    assert said["usedStorage"] == sum(each["size"] for each in said["siblings"])
    assert said["author"] == "ada" and len(said["sha"]) == 40


def test_a_description_at_a_revision_has_its_files(shelf: Client) -> None:
    first = shelf.get("/api/models/ada/first/commits/main").json()[-1]["id"]

    said = shelf.get(f"/api/models/ada/first/revision/{first}").json()

    assert said["sha"] == first
    assert [each["rfilename"] for each in said["siblings"]] == [".gitattributes"]
    assert shelf.get("/api/models/ada/first/revision/none").headers["X-Error-Code"] == "RevisionNotFound"


def test_only_what_is_asked_for_is_said(shelf: Client) -> None:
    said = shelf.get("/api/models/ada/first?expand=downloads&expand=sha").json()

    assert set(said) == {"_id", "id", "downloads", "sha"}
    assert set(shelf.get("/api/models?expand[]=likes").json()[0]) == {"_id", "id", "likes"}


@pytest.mark.parametrize(
    "config",
    [
        b'{"architectures": ["\\ud800"], "model_type": "\\udfff"}',
        b'{"architectures": [NaN, {"a": 1}], "model_type": Infinity}',
        b'{"architectures": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"model_type": 1' + b"0" * 4000 + b"}",
        b"[" * 100_000,
    ],
)
def test_no_config_of_a_member_breaks_a_description_or_a_listing(client: Client, config: bytes) -> None:
    make_repository(client)
    assert commit(client, "ada/x", inline("config.json", config)).status_code == 200

    assert client.get("/api/models/ada/x").status_code == 200
    assert [each["id"] for each in client.get("/api/models?full=true&config=true").json()] == ["ada/x"]


def test_parameters_are_told_and_filtered(client: Client) -> None:
    make_repository(client)
    header = b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    content = len(header).to_bytes(8, "little") + header + bytes(24)
    upload(client, "ada/x", content)
    assert commit(client, "ada/x", large("model.safetensors", content)).status_code == 200

    said = {"parameters": {"F32": 6}, "total": 6}
    assert client.get("/api/models/ada/x").json()["safetensors"] == said
    (listed,) = client.get("/api/models?num_parameters=min:6,max:1K&expand=safetensors").json()
    assert listed["safetensors"] == said
    assert client.get("/api/models?num_parameters=min:7").json() == []
    assert client.get("/api/models?num_parameters=much").status_code == 400


def test_receipts_are_checked_and_told_to_who_may_read_them(client: Client) -> None:
    make_repository(client)
    assert "receipts" not in client.get("/api/models/ada/x").json()
    commit(client, "ada/x", inline("receipts/001.json", b'{"schema": "ayni.receipt/1", "energy": 1}'))

    said = client.get("/api/models/ada/x").json()["receipts"]
    assert (said["state"] in ("broken", "other"), said["numReceipts"], said["signedBy"]) == (True, 1, [])
    assert said["problems"]
    client.send("PUT", "/api/models/ada/x/settings", json={"gated": "manual"})
    assert "receipts" not in client.get("/api/models/ada/x", token="hf_ben").json()


@pytest.mark.parametrize(
    "query",
    [
        "search=" + "a+" * 2_000,
        "filter=a&" * 2_000,
        *(f"sort={sort}&cursor={{}}" for sort in ("likes", "name")),
    ],
)
def test_no_query_is_more_than_the_database_takes(shelf: Client, query: str) -> None:
    for value in ([10**30, 10**30], ["\\ud800", 1], [1e308, 1], [None, 1]):
        cursor = base64.urlsafe_b64encode(json.dumps(value).replace("\\\\", "\\").encode()).decode()
        assert shelf.get(f"/api/models?{query.format(cursor)}").status_code == 400
