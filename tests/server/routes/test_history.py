"""Branches and tags come and go; a history is listed, and can be made one commit."""

import pytest
from tests.server.hub_app import Client, commit, inline, make_repository

from ayni.hub import audit

API = "/api/models/ada/x"


@pytest.fixture
def filled(client: Client) -> Client:
    make_repository(client)
    for number in range(3):
        commit(client, "ada/x", inline("a", f"{number}".encode()))
    return client


def test_branches_and_tags_come_and_go(filled: Client) -> None:
    first = filled.get(f"{API}/commits/main").json()[-1]["id"]
    assert filled.post(f"{API}/branch/dev%2Fx", json={"startingPoint": first}).status_code == 200
    assert filled.post(f"{API}/tag/main", json={"tag": "v1", "message": "m"}).status_code == 200

    said = filled.get(f"{API}/refs?include_prs=1").json()

    assert [each["name"] for each in said["branches"]] == ["dev/x", "main"]
    assert said["branches"][0] == {"name": "dev/x", "ref": "refs/heads/dev/x", "targetCommit": first}
    assert [each["name"] for each in said["tags"]] == ["v1"]
    assert (said["converts"], said["pullRequests"]) == ([], [])
    assert filled.post(f"{API}/branch/dev%2Fx", json={}).status_code == 409
    assert filled.post(f"{API}/tag/main", json={"tag": "v1"}).status_code == 409
    for path in ("branch/dev%2Fx", "tag/v1"):
        assert filled.send("DELETE", f"{API}/{path}").status_code == 200
        gone = filled.send("DELETE", f"{API}/{path}")
        assert (gone.status_code, gone.headers["X-Error-Code"]) == (404, "RevisionNotFound")


def test_main_cannot_be_deleted(filled: Client) -> None:
    assert filled.send("DELETE", f"{API}/branch/main").status_code == 403


@pytest.mark.parametrize("name", ["a..b", ".hidden", "a%20b", "a.lock", "-x", "a~b", "@%7B"])
def test_names_that_git_would_refuse_are_refused(filled: Client, name: str) -> None:
    assert filled.post(f"{API}/branch/{name}", json={}).status_code == 400


def test_a_history_has_pages(filled: Client) -> None:
    first = filled.get(f"{API}/commits/main?limit=3&expand[]=formatted")
    second = filled.get(first.headers["Link"].partition("<")[2].partition(">")[0])

    assert [each["title"] for each in first.json() + second.json()] == ["Change"] * 3 + ["initial commit"]
    assert first.json()[0]["formatted"]["title"] == "Change"
    assert first.json()[0]["authors"] == [{"user": "ada"}]
    assert "Link" not in second.headers


def test_a_squashed_history_is_one_commit_with_the_same_files(filled: Client) -> None:
    before = filled.get(f"{API}/tree/main?recursive=true").json()

    reply = filled.post(f"{API}/super-squash/main", json={"message": "All"})

    assert reply.status_code == 200
    assert [each["title"] for each in filled.get(f"{API}/commits/main").json()] == ["All"]
    assert filled.get(f"{API}/tree/main?recursive=true").json() == before
    assert filled.post(f"{API}/super-squash/none", json={}).headers["X-Error-Code"] == "RevisionNotFound"
    assert filled.post(f"{API}/super-squash/main", json={}, token="hf_ben").status_code == 403


def test_what_takes_history_away_leaves_a_line_with_what_was_there(filled: Client) -> None:
    head = filled.get(f"{API}/commits/main").json()[0]["id"]
    filled.post(f"{API}/branch/dev", json={})
    filled.post(f"{API}/tag/main", json={"tag": "v1"})
    for path in ("branch/dev", "tag/v1"):
        filled.send("DELETE", f"{API}/{path}")
    filled.send("DELETE", f"{API}/branch/none")
    after = filled.post(f"{API}/super-squash/main", json={}).json()["commitOid"]
    body = {"deletions": {"sha": ["0" * 64], "rewriteHistory": True}}
    assert filled.post(f"{API}/lfs-files/batch", json=body).status_code == 200

    with filled.app.hub.database.reading() as connection:
        lines = [each for each in audit.lines(connection) if each.action.startswith(("ref.", "history."))]
        audit.verify(connection)

    assert [(each.action, dict(each.detail)) for each in reversed(lines)] == [
        ("ref.delete", {"ref": "refs/heads/dev", "revision": head}),
        ("ref.delete", {"ref": "refs/tags/v1", "revision": head}),
        ("history.squash", {"ref": "refs/heads/main", "before": head, "after": after}),
        ("history.purge", {"sha256": ["0" * 64]}),
    ]
    assert {each.actor for each in lines} == {"ada"}


def test_a_pinned_revision_stays_what_it_is(filled: Client) -> None:
    newest, *_, oldest = [each["id"] for each in filled.get(f"{API}/commits/main").json()]

    assert filled.post(f"{API}/branch/{newest}", json={"startingPoint": oldest}).status_code == 400
    assert filled.post(f"{API}/tag/{oldest}", json={"tag": newest.upper()}).status_code == 400
    assert filled.get(f"{API}/revision/{newest}").json()["sha"] == newest
