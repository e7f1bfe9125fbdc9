"""What the page about discussions and leaderboards shows is what the hub takes."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from tests.server.hub_app import Client, client, make_repository, served_hub

from ayni.hub.commit_log_mirror import CommitLogMirror

__all__ = ["client", "served_hub"]

PAGE = (Path(__file__).parents[2] / "docs" / "hub-community.md").read_text()


def test_the_requests_about_questions_are_answered(client: Client) -> None:
    make_repository(client)
    asked = re.findall(r"^(GET|POST) +(/api/models\S+) *(\{.*?\})?(?: .*)?$", PAGE, re.MULTILINE)
    assert len(asked) == 3
    comment = ""
    for method, shown, body in asked:
        path = shown.replace("OWNER/NAME", "ada/x").replace("/7/", "/1/")
        more = {"json": json.loads(re.sub(r"0{20}\w{4}", comment, body))} if body else {}
        reply = client.send(method, path, **more)
        assert reply.status_code == 200, reply.text
        if path.endswith("discussions"):
            said = client.post(f"{path}/1/comment", json={"comment": "This one."}).json()
            comment = said["newMessage"]["id"]


def test_the_leaderboard_of_the_page_can_be_declared(client: Client) -> None:
    found = re.search(r"^PUT (\S+)\n(\{.*?\}\}\})$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    path, body = found.groups()

    reply = client.send("PUT", path.replace("/lab/", "/ada/"), json=json.loads(body))

    assert reply.status_code == 204, reply.text


def test_the_program_that_follows_the_log_follows_it(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_repository(client)
    key = client.get("/api/v1/commit-log/head").json()["public_key"]
    program = PAGE.split("```python\n")[1].split("```")[0].replace("what the operator told you", key)
    # Its own way to fetch needs a server; all else is run as it stands.
    fetch = "def fetch(after):\n    return client.get(f'/api/v1/commit-log?after={after}').json()\n"
    program = re.sub(r"def fetch.*?\n\n", lambda _: f"{fetch}\n", program, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)

    exec(program, {"client": client})

    assert "num_entries=1" in capsys.readouterr().out
    assert len(CommitLogMirror(tmp_path / "hub-log.jsonl").entries()) == 1
