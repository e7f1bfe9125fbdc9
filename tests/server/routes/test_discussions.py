"""Discussions, questions and pull requests over HTTP, in the form that the clients parse."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.hub_app import Client, commit, inline, make_repository, ndjson
from tests.server.lab import Lab, open_lab

API = "/api/models/ada/x/discussions"


def begin(client: Client, token: str = "hf_ben", **given: Any) -> Any:
    reply = client.post(API, json={"title": "Why?", "description": "I *wonder*.", **given}, token=token)
    assert reply.status_code == 200, reply.text
    return reply.json()


def details(client: Client, number: int = 1) -> Any:
    return client.get(f"{API}/{number}?diff=1").json()


def post(client: Client, path: str, token: str = "hf_ben", **body: Any) -> Any:
    return client.post(f"{API}/{path}", json=body, token=token)


def propose(client: Client, *lines: Any, token: str = "hf_ben", **header: Any) -> Any:
    body = ndjson("Better", *lines, **header)
    return client.post("/api/models/ada/x/commit/main?create_pr=1", content=body, token=token)


def test_a_discussion_is_begun_commented_and_closed(client: Client) -> None:
    make_repository(client)
    assert begin(client)["num"] == 1

    said = post(client, "1/comment", token="hf_ada", comment="Because.").json()["newMessage"]
    closed = post(client, "1/status", status="closed", comment="Thanks").json()["newStatus"]
    renamed = post(client, "1/title", title="Why not?").json()["newTitle"]

    found = details(client)
    assert (found["title"], found["status"], found["author"]) == ("Why not?", "closed", {"name": "ben"})
    assert [event["type"] for event in found["events"]] == [
        *("comment", "comment", "comment", "status-change", "title-change")
    ]
    assert found["events"][1] == said and said["data"]["latest"]["raw"] == "Because."
    assert closed["data"] == {"status": "closed"} and renamed["data"] == {"from": "Why?", "to": "Why not?"}
    assert found["events"][0]["data"]["latest"]["html"] == "<p>I <em>wonder</em>.</p>\n"
    assert "diff" not in found and len(said["id"]) == 24


def test_a_comment_is_edited_by_its_author_and_hidden_by_who_moderates(client: Client) -> None:
    make_repository(client)
    begin(client)
    comment = details(client)["events"][0]["id"]

    refused = post(client, f"1/comment/{comment}/edit", token="hf_ada", content="x")
    edited = post(client, f"1/comment/{comment}/edit", content="I know.").json()["updatedComment"]["data"]
    hidden = post(client, f"1/comment/{comment}/hide", token="hf_ada").json()["updatedComment"]["data"]

    assert refused.status_code == 403 and "Only ben" in refused.json()["error"]
    assert edited["edited"] and [each["raw"] for each in edited["history"]] == ["I *wonder*."]
    assert hidden["hidden"] and hidden["latest"]["raw"] == "" and hidden["history"] == []
    assert "wonder" not in client.get(f"{API}/1").text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "<img src=x onerror=alert(1)>",
        "![x](http://evil/x.png)",
        "[x]: javascript:alert(1)\n[x]",
        "<a href='javascript:alert(1)' onclick=x>y</a>",
        "`<b onclick=x>`",
        ">" * 3000,
    ],
)
def test_no_comment_becomes_a_program(client: Client, text: str) -> None:
    make_repository(client)
    begin(client, description=text)

    html = details(client)["events"][0]["data"]["latest"]["html"]

    assert not any(
        bad in html.lower() for bad in ("<script", "<img", 'href="javascript', "<a onclick", "<b ")
    ), html


def test_a_question_has_an_accepted_answer(client: Client) -> None:
    make_repository(client)
    begin(client, question=True)
    answer = post(client, "1/comment", token="hf_ada", comment="42").json()["newMessage"]["id"]

    refused = post(client, "1/answer", token="hf_ada", comment="0" * 24)
    accepted = post(client, "1/answer", comment=answer)

    assert refused.status_code == 404
    assert accepted.json()["newAnswer"]["data"] == {"comment": answer}
    assert details(client)["answer"] == answer
    listed = client.get(f"{API}?type=question&answered=true").json()
    assert listed["count"] == 1 and client.get(f"{API}?answered=false").json()["count"] == 0
    post(client, "1/answer", comment=None)
    assert details(client)["answer"] is None


def test_listings_have_pages_and_filters(client: Client) -> None:
    make_repository(client)
    for _ in range(51):
        begin(client)
    begin(client, pullRequest=True, token="hf_ada")
    post(client, "3/status", status="closed")

    def listed(query: str) -> list[int]:
        return [each["num"] for each in client.get(f"{API}?{query}").json()["discussions"]]

    first = client.get(API).json()
    assert (first["count"], first["start"], len(first["discussions"])) == (52, 0, 50)
    assert listed("p=1") == [2, 1] and listed("type=pull_request&status=open") == [52]
    assert listed("status=closed") == [3] and listed("author=ada&type=discussion") == []
    for query in ("type=x", "status=merged", "p=-1", "p=x", "p=99999999", "answered=x"):
        assert client.get(f"{API}?{query}").status_code == 400


def test_a_commit_opens_a_pull_request_once(client: Client) -> None:
    make_repository(client)

    first, again = propose(client, inline("a.txt", b"1\n")), propose(client, inline("a.txt", b"1\n"))

    assert first.json() == again.json()
    assert first.json()["pullRequestUrl"].endswith("/ada/x/discussions/1")
    found = details(client)
    assert found["isPullRequest"] and found["status"] == "open" and found["filesWithConflicts"] == []
    assert found["changes"]["base"] == "refs/heads/main" and "+1\n" in found["diff"]
    assert found["events"][1]["data"] == {"subject": "Better", "oid": first.json()["commitOid"]}
    assert client.get("/ada/x/resolve/refs%2Fpr%2F1/a.txt").content == b"1\n"
    assert client.get("/ada/x/resolve/main/a.txt").status_code == 404
    refs = client.get("/api/models/ada/x/refs?include_prs=1").json()["pullRequests"]
    assert [each["ref"] for each in refs] == ["refs/pr/1"]


def test_a_pull_request_is_merged_by_who_may_write(client: Client) -> None:
    make_repository(client)
    propose(client, inline("a.txt", b"1\n"))

    refused = post(client, "1/merge")
    merged, again = (
        post(client, "1/merge", token="hf_ada", comment="Nice"),
        post(client, "1/merge", token="hf_ada", comment="Nice"),
    )

    assert refused.status_code == 403
    assert merged.json() == again.json()
    found = details(client)
    assert found["status"] == "merged" and found["changes"]["mergeCommitId"] == merged.json()["commitOid"]
    assert [event["type"] for event in found["events"]] == ["comment", "commit", "comment", "status-change"]
    assert client.get("/ada/x/resolve/main/a.txt").content == b"1\n"
    late = commit(client, "ada/x", inline("b", b"1"), revision="refs%2Fpr%2F1", token="hf_ben")
    assert late.status_code == 409 and "is merged and takes no commits" in late.json()["error"]
    assert post(client, "1/status", status="open").status_code == 409


def test_a_conflict_is_told_in_a_sentence(client: Client) -> None:
    make_repository(client)
    propose(client, inline("a.txt", b"1\n"))
    commit(client, "ada/x", inline("a.txt", b"2\n"))

    reply = post(client, "1/merge", token="hf_ada", comment="Nice")

    assert reply.status_code == 409
    assert "main has changed a.txt in another way" in reply.headers["X-Error-Message"]
    found = details(client)
    assert found["filesWithConflicts"] == ["a.txt"] and found["status"] == "open"
    assert [event["type"] for event in found["events"]] == ["comment", "commit"]


def test_a_card_and_the_safety_of_files_count_when_it_is_merged(client: Client) -> None:
    make_repository(client)
    card = b"---\nlicense: mit\ntags: [fine]\n---\n"
    propose(client, inline("README.md", card))
    assert client.get("/api/models/ada/x").json()["tags"] == []

    post(client, "1/merge", token="hf_ada")

    assert "fine" in client.get("/api/models/ada/x").json()["tags"]


def test_a_commit_to_a_pull_request_comes_from_its_author_or_a_writer(client: Client) -> None:
    make_repository(client)
    begin(client, token="hf_ada", pullRequest=True)
    begin(client, token="hf_ben", pullRequest=True)

    def add(number: int, token: str) -> int:
        lines = inline(f"{token}.txt", b"1")
        reply = commit(client, "ada/x", lines, revision=f"refs%2Fpr%2F{number}", token=token)
        return int(reply.status_code)

    assert (add(1, "hf_ben"), add(2, "hf_ben"), add(2, "hf_ada"), add(9, "hf_ada")) == (403, 200, 200, 404)
    assert details(client, 2)["status"] == "draft"
    assert post(client, "2/status", status="open").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("", {"title": ""}, 400),
        ("", {"title": "x" * 201}, 400),
        ("", {"title": "x\0"}, 400),
        ("", {}, 400),
        ("/1/comment", {"comment": " "}, 400),
        ("/1/status", {"status": "merged"}, 400),
        ("/1/status", {"status": "open"}, 409),
        ("/0/comment", {"comment": "x"}, 404),
        ("/9999999999999999999999/comment", {"comment": "x"}, 404),
        ("/%D9%A1/comment", {"comment": "x"}, 404),
        ("/1/comment/xyz/edit", {"content": "x"}, 404),
        (f"/1/comment/{'f' * 24}/hide", {}, 404),
        ("/1/answer", {"comment": None}, 409),
        ("/1/merge", {}, 409),
    ],
)
def test_what_cannot_be_is_refused(client: Client, path: str, body: dict[str, Any], status: int) -> None:
    make_repository(client)
    begin(client, token="hf_ada")

    reply = client.post(f"{API}{path}", json=body, token="hf_ada")

    assert reply.status_code == status, reply.text
    assert reply.json()["error"] == reply.headers["X-Error-Message"]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Lab, Client]]:
    yield from open_lab(tmp_path)


def test_a_contributor_changes_main_by_pull_requests_only(opened: tuple[Lab, Client]) -> None:
    lab, client = opened
    token, api = lab.tokens["contributor"], "/api/models/lab/private"
    body = ndjson("Mine", inline("new.txt", b"1"))

    direct = client.post(f"{api}/commit/main", content=body, token=token)
    proposed = client.post(f"{api}/commit/main?create_pr=1", content=body, token=token)
    more = ndjson("More", inline("more.txt", b"1"))
    added = client.post(f"{api}/commit/refs%2Fpr%2F3", content=more, token=token)
    merged = client.post(f"{api}/discussions/3/merge", json={}, token=token)

    assert [each.status_code for each in (direct, proposed, added, merged)] == [403, 200, 200, 403]
    assert client.post(f"{api}/discussions/3/merge", json={}, token=lab.tokens["writer"]).status_code == 200
    assert client.get("/lab/private/resolve/main/more.txt", token=token).content == b"1"


def test_hiding_somebody_elses_comment_is_in_the_audit_log(opened: tuple[Lab, Client]) -> None:
    lab, client = opened
    api = "/api/models/lab/public/discussions/2"
    comment = client.get(api, token=lab.tokens["writer"]).json()["events"][0]["id"]

    client.post(f"{api}/comment/{comment}/hide", json={}, token=lab.tokens["writer"])

    [newest] = client.get("/api/v1/audit-log?limit=1", token=lab.tokens["root"]).json()
    assert (newest["actor"], newest["action"]) == ("writer", "comment.hide")
    assert newest["detail"] == {"discussion": 2, "author": "admin"}
