"""Folders are listed page by page, and single paths are described."""

import pytest
from tests.server.hub_app import Client, commit, inline, make_repository

TREE = "/api/models/ada/x/tree/main"


@pytest.fixture
def filled_tree(client: Client) -> Client:
    make_repository(client)
    commit(
        client, "ada/x", *(inline(f"deep/sub dir/{number}", b"x") for number in range(5)), inline("a", b"1")
    )
    return client


def test_a_folder_is_listed_and_below_it_when_asked(filled_tree: Client) -> None:
    top, deep, below = (
        filled_tree.get(f"{TREE}{rest}").json() for rest in ("", "/deep%2Fsub%20dir", "/deep?recursive=true")
    )

    assert [(each["type"], each["path"]) for each in top] == [
        ("file", ".gitattributes"),
        ("file", "a"),
        ("directory", "deep"),
    ]
    assert [each["path"] for each in deep] == [f"deep/sub dir/{number}" for number in range(5)]
    assert [each["path"] for each in below] == ["deep/sub dir", *(each["path"] for each in deep)]


@pytest.mark.parametrize(
    ("start", "folders"),
    [("deep?recursive=True", ["deep/sub dir"]), ("deep%2Fsub%20dir?recursive=False", [])],
)
def test_pages_follow_each_other_to_the_end(filled_tree: Client, start: str, folders: list[str]) -> None:
    found, address = [], f"{TREE}/{start}&limit=2"
    for _ in range(10):
        reply = filled_tree.get(address)
        found += [each["path"] for each in reply.json()]
        if "Link" not in reply.headers:
            break
        address = reply.headers["Link"].partition("<")[2].partition(">")[0]
        assert address.startswith(filled_tree.app.hub.base_url)

    assert found == [*folders, *(f"deep/sub dir/{number}" for number in range(5))]


def test_a_folder_that_is_not_there_and_a_file_are_no_folders(filled_tree: Client) -> None:
    for path in ("none", "a", "a/b"):
        reply = filled_tree.get(f"{TREE}/{path}")
        assert (reply.status_code, reply.headers["X-Error-Code"]) == (404, "EntryNotFound")


def test_paths_that_are_not_there_are_left_out(filled_tree: Client) -> None:
    body = {"paths": ["a", "none", "deep", "a"], "expand": "True"}

    said = filled_tree.post("/api/models/ada/x/paths-info/main", data=body).json()

    assert [(each["path"], each["type"]) for each in said] == [("a", "file"), ("deep", "directory")]
    assert said[0]["lastCommit"]["title"] == "Change"


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "cursor=x", "cursor=%7B", "cursor=MQ"])
def test_pages_that_cannot_be_are_refused(filled_tree: Client, query: str) -> None:
    assert filled_tree.get(f"{TREE}?{query}").status_code == 400
