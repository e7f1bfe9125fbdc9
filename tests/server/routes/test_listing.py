"""Repositories are listed to who may see them, in order, page by page, and described."""

import json

import pytest
from tests.server.hub_app import Client, commit, inline, make_repository

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
