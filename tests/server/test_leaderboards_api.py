"""Leaderboards from files in repositories to ranks, over HTTP."""

from pathlib import Path
from typing import Any

import pytest
from tests.hub.run_evidence import files
from tests.server.hub_app import Client, commit, inline, large, make_repository, upload

from ayni.hub import leaderboards
from ayni.hub.evaluations import key_statement
from ayni.hub.leaderboards import Leaderboard, Scale
from ayni.server.leaderboard_plot import front_plot
from ayni.signing import sha256_hex

BOARD = "/api/v1/leaderboards/ada/small"
SCALES = {
    "value": {"weight": 1.0, "worst": 0.5, "best": 1.0},
    "size": {"weight": 0.5, "worst": 1e6, "best": 1e3, "is_logarithmic": True},
    "latency": {"weight": 0.25, "worst": 0.01, "best": 0.0},
    "energy": {"weight": 1.0, "worst": 10.0, "best": 0.0},
}


def declare(client: Client, **given: Any) -> Any:
    body = {"title": "Small", "dataset": "lab/bench", "measure": "accuracy", "scales": SCALES, **given}
    return client.send("PUT", BOARD, json=body)


def publish(client: Client, name: str, content: dict[str, bytes], **given: Any) -> None:
    make_repository(client, name, **given)
    lines = []
    for path, each in content.items():
        is_large = path.endswith((".safetensors", ".onnx"))
        if is_large:
            assert upload(client, f"ada/{name}", each).status_code in (200, 201)
        lines.append(large(path, each) if is_large else inline(path, each))
    assert commit(client, f"ada/{name}", *lines).status_code == 200


def card(value: float) -> bytes:
    return (
        "---\nmodel-index:\n- name: x\n  results:\n  - task: {type: other}\n"
        "    dataset: {type: lab/bench, name: B}\n"
        f"    metrics:\n    - {{type: accuracy, value: {value}}}\n---\n"
    ).encode()


def entries(client: Client, token: str | None = "hf_ben") -> list[Any]:
    found: list[Any] = client.get(BOARD, token=token).json()["entries"]
    return found


def test_results_of_a_run_are_verified_once_a_member_stands_for_its_key(
    client: Client, tmp_path: Path
) -> None:
    key, content = files(tmp_path)
    publish(client, "run", content | {"README.md": card(0.91)})
    publish(client, "claim", {"README.md": card(0.99)})
    assert declare(client).status_code == 204

    before = entries(client)
    added = client.post("/api/v1/run-keys", json=key_statement("ada", key))
    first, second, third = entries(client)

    assert [each["evidence"] for each in before] == ["signed", "signed", "none"]
    assert added.status_code == 201
    assert (first["repository"], first["variant"], first["rank"]) == ("ada/run", "int8", 1)
    assert first["is_verified"] and first["vouched_by"] == "ada" and first["run_joules"] == 7.0
    assert first["score"] == pytest.approx(0.8 + 0.5 * 1.0 + 0.25 * 0.9 + 0.8)
    # The card repeats what the run measured for `full`, so that there is one entry for it.
    assert (second["variant"], second["filename"], second["evidence"]) == ("full", "README.md", "verified")
    assert (third["repository"], third["score"], third["is_verified"]) == ("ada/claim", None, False)
    assert client.get(BOARD).json()["front"] == [0, 1]
    fingerprint = sha256_hex(key.public_key.encode())
    assert client.send("DELETE", f"/api/v1/run-keys/{fingerprint}").status_code == 204
    assert not any(each["is_verified"] for each in entries(client))


def test_evidence_ends_with_the_file_that_was_measured(client: Client, tmp_path: Path) -> None:
    key, content = files(tmp_path)
    publish(client, "run", content)
    client.post("/api/v1/run-keys", json=key_statement("ada", key))
    declare(client)
    assert len(entries(client)) == 2

    assert upload(client, "ada/run", b"other weights").status_code in (200, 201)
    commit(client, "ada/run", large("int8.onnx", b"other weights"))

    assert entries(client) == []


def test_a_private_model_is_on_nobody_elses_leaderboard(client: Client) -> None:
    publish(client, "open", {"README.md": card(0.8)})
    publish(client, "secret", {"README.md": card(0.9)}, private=True)
    declare(client)

    assert [each["repository"] for each in entries(client, "hf_ada")] == ["ada/secret", "ada/open"]
    assert [each["repository"] for each in entries(client)] == ["ada/open"]
    assert entries(client, None)[0]["rank"] == 1


def test_results_in_files_are_listed_as_the_clients_parse_them(client: Client) -> None:
    client.post("/api/repos/create", json={"name": "bench", "type": "dataset"}, token="hf_ada")
    text = b"- dataset: {id: ada/bench, task_id: default}\n  value: %d\n  source: {url: 'http://x'}\n"
    publish(client, "base", {".eval_results/x.yaml": text % 20})
    derived = b"---\nbase_model: ada/base\n---\n"
    publish(client, "tuned", {".eval_results/x.yaml": text % 30, "README.md": derived})
    publish(client, "broken", {".eval_results/x.yaml": b"- [", ".eval_results/y.yaml": b"- 7\n"})
    api = "/api/datasets/ada/bench/leaderboard"

    default, everything = client.get(api).json(), client.get(f"{api}?base_model=false").json()

    assert [each["modelId"] for each in default] == ["ada/base"]
    assert [(each["rank"], each["value"]) for each in everything] == [(1, 30.0), (2, 20.0)]
    assert everything[0]["source"] == {"url": "http://x"} and everything[0]["verified"] is False
    [shown] = client.get("/api/models/ada/base?expand=evalResults").json()["evalResults"]
    assert shown["filename"] == ".eval_results/x.yaml" and shown["data"]["value"] == 20
    assert client.get("/api/models?expand=evalResults&search=tuned").json()[0]["evalResults"]
    commit(client, "ada/base", ("deletedFolder", {"path": ".eval_results"}))
    assert (
        client.get(api).status_code == 404
        and client.get("/api/models/ada/base/leaderboard").status_code == 404
    )


def test_leaderboards_are_declared_where_one_may(client: Client) -> None:
    assert client.send("PUT", BOARD, json={}, token="hf_ben").status_code in (403, 422)
    for wrong in ({"scales": {}}, {"scales": {"value": {"weight": 1, "worst": 1, "best": 0}}}):
        assert declare(client, **wrong).status_code == 400
    assert declare(client, scales={"speed": SCALES["value"]}).status_code == 422
    declare(client)
    assert [each["name"] for each in client.get("/api/v1/leaderboards?dataset=lab/bench").json()] == ["small"]
    assert client.send("DELETE", BOARD).status_code == 204
    assert client.get(BOARD).status_code == 404 and client.get("/api/v1/leaderboards").json() == []


def test_the_front_is_drawn_with_names_that_cannot_break_out(client: Client, tmp_path: Path) -> None:
    from dataclasses import replace

    from ayni.hub import evaluations

    _, content = files(tmp_path)
    publish(client, "run", content)
    board = Leaderboard(
        namespace="ada",
        name="x",
        title="<b>",
        dataset="lab/bench",
        measure="<script>",
        scales={"value": Scale(weight=1, worst=0, best=1)},
    )
    with client.app.hub.database.reading() as connection:
        import sqlalchemy as sa

        found = evaluations.of_dataset(connection, "lab/bench", visible=sa.true())

    plot = front_plot(board, leaderboards.ranked(board, found))

    assert plot.startswith('<svg class="plot"') and "<script>" not in plot
    assert 'class="front"' in plot and "ada/run int8" in plot and "joules for 1000 inferences" in plot
    assert front_plot(replace(board, measure="x"), []) == ""
