"""The log of commits over HTTP, followed by members who see different things."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.hub_app import Client
from tests.server.lab import Lab, open_lab

from ayni.hub.commit_log_mirror import CommitLogMirror, check_repository


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Lab, Client]]:
    yield from open_lab(tmp_path / "lab")


def follow(opened: tuple[Lab, Client], caller: str, path: Path) -> list[dict[str, Any]]:
    lab, client = opened

    def fetch(after: int) -> dict[str, Any]:
        url = f"/api/v1/commit-log?after={after}&limit=3"
        found: dict[str, Any] = client.get(url, token=lab.tokens[caller]).json()
        return found

    assert lab.hub.log_key is not None
    mirror = CommitLogMirror(path)
    mirror.follow(fetch, expected_public_key=lab.hub.log_key.public_key)
    return mirror.entries()


def test_members_follow_one_log_and_see_what_they_may(opened: tuple[Lab, Client], tmp_path: Path) -> None:
    lab, client = opened
    reader = follow(opened, "reader", tmp_path / "reader")
    outsider = follow(opened, "outsider", tmp_path / "outsider")

    assert [each["hash"] for each in reader] == [each["hash"] for each in outsider]
    # Two commits in each of three repositories; a stranger does not see the private one.
    assert len(reader) == 6 and all(each["opening"] for each in reader)
    assert sum(each["opening"] is None for each in outsider) == 2
    assert all(each["signed_head"]["sequence"] == each["sequence"] for each in reader)
    found = client.get("/api/models/lab/public/refs?include_prs=1", token=lab.tokens["reader"]).json()
    refs = {each["ref"]: each["targetCommit"] for each in found["branches"] + found["pullRequests"]}
    number = int(client.get("/api/models/lab/public", token=lab.tokens["reader"]).json()["_id"], 16)
    assert len(refs) == 2 and check_repository(outsider, number, refs) == []


def test_the_head_is_signed_and_counts_all(opened: tuple[Lab, Client]) -> None:
    lab, client = opened
    url = "/api/v1/commit-log/head"

    head = client.get(url, token=lab.tokens["outsider"]).json()

    assert head["sequence"] == 6 and lab.hub.log_key is not None
    assert head["public_key"] == lab.hub.log_key.public_key
    assert client.get(url, token=None).status_code == 401
    assert client.get("/api/v1/commit-log?after=-1", token=lab.tokens["reader"]).status_code == 422
    assert client.get("/api/v1/commit-log?limit=1001", token=lab.tokens["reader"]).status_code == 422


def test_without_a_key_there_is_no_log_to_follow(tmp_path: Path) -> None:
    for lab, client in open_lab(tmp_path, log_key=None):
        reply = client.get("/api/v1/commit-log", token=lab.tokens["reader"])

        assert (reply.status_code, reply.headers["X-Error-Code"]) == (501, "NotImplemented")
