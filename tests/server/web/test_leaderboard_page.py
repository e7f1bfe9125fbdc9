import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.footprint.pretended_node import Node
from tests.server.web.conftest import Place
from tests.server.web.visitors import outline, rows, words

from ayni.hub import evaluations
from ayni.hub.run_results import RunResult, sign_results
from ayni.signing import SigningKey, load_or_create_key

BOARD: dict[str, Any] = {
    "title": "Digits <b>that</b> cost little",
    "dataset": "lab/sun",
    "measure": "accuracy",
    "scales": {
        "value": {"weight": 1.0, "worst": 0.0, "best": 1.0},
        "energy": {"weight": 1.0, "worst": 10.0, "best": 0.0},
    },
}


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "key.pem")


@pytest.fixture
def board(place: Place, key: SigningKey) -> Place:
    admin = place.lab.tokens["admin"]
    reply = place.client.send("PUT", "/api/v1/leaderboards/lab/digits", token=admin, json=BOARD)
    assert reply.status_code == 204, reply.text
    with place.lab.database.transaction() as connection:
        statement = evaluations.key_statement("writer", key)
        evaluations.add_run_key(connection, statement, member="writer", when=place.lab.now())
    return place


def publish(
    place: Place, folder: Path, key: SigningKey, name: str, *, accuracy: float, joules: float
) -> None:
    node = Node(folder / name)
    node.start(name, cores=1)
    node.work(1.0, {name: 0.5})
    node.stop(name)
    (path,) = (node.sign(name, key) / "receipts").iterdir()
    receipt, weights = path.read_bytes(), name.encode()
    result = RunResult(
        variant="int8",
        file="w.bin",
        sha256=hashlib.sha256(weights).hexdigest(),
        metrics={"accuracy": accuracy},
        stored_bytes=1000,
        energy_joules_per_1000=joules,
    )
    signed = sign_results(
        run=name, dataset="lab/sun", split="test", results=[result], receipts=[json.loads(receipt)], key=key
    )
    files = {
        "w.bin": weights,
        f"receipts/{path.name}": receipt,
        "run-results.json": json.dumps(signed).encode(),
    }
    place.commit(place.make(name), files)


def claim(place: Place, name: str, value: float) -> None:
    index = (
        "- name: x\n  results:\n  - task: {type: t}\n    dataset: {type: lab/sun, name: Sun}\n"
        f"    metrics: [{{type: accuracy, value: {value}}}]\n"
    )
    place.commit(name, {"README.md": f"---\nlicense: mit\nmodel-index:\n{index}---\n".encode()})


def test_the_table_and_the_picture_say_the_same(board: Place, tmp_path: Path, key: SigningKey) -> None:
    publish(board, tmp_path, key, "strong", accuracy=0.9, joules=8.0)
    publish(board, tmp_path, key, "thrifty", accuracy=0.8, joules=1.0)
    publish(board, tmp_path, key, "beaten", accuracy=0.7, joules=9.0)
    claim(board, "lab/public", 0.99)

    page = board.visitor().page("/leaderboard/lab/digits")

    table = [row for row in rows(page) if "lab/" in row]
    verified = "verified, writer stands for it"
    assert [row.replace("\N{NO-BREAK SPACE}", " ") for row in table] == [
        f"1 lab/thrifty int8 front 0.8000 1.70 1.0 J unknown 1.00 kB {verified}",
        f"2 lab/strong int8 front 0.9000 1.10 8.0 J unknown 1.00 kB {verified}",
        f"3 lab/beaten int8 0.7000 0.800 9.0 J unknown 1.00 kB {verified}",
        "4 lab/public 0.9900 not known unknown unknown unknown claimed",
    ]
    assert page.count('class="point') == 3
    description = outline(page).all("desc")[0].text
    assert "thrifty" in description and "strong" in description and "beaten" not in description
    assert "1 result without a measured energy is in the table alone" in words(page)
    assert "Digits &lt;b&gt;that&lt;/b&gt;" in page


def test_each_reader_sees_the_models_that_they_may_see(board: Place) -> None:
    claim(board, "lab/private", 0.5)

    assert "lab/private" not in board.visitor().page("/leaderboard/lab/digits")
    assert "lab/private" in board.visitor("reader").page("/leaderboard/lab/digits")


def test_a_board_without_results_or_without_energy_says_so(board: Place) -> None:
    assert "No model that you may see" in board.visitor().page("/leaderboard/lab/digits")
    claim(board, "lab/public", 0.5)
    page = board.visitor().page("/leaderboard/lab/digits")

    assert "nothing to draw" in page
    assert not [each for each in outline(page).all("svg") if "plot" in each.attributes.get("class", "")]


def test_all_boards_are_listed_but_not_those_of_hidden_data(board: Place) -> None:
    board.make("secret", "dataset", private=True)
    given = {**BOARD, "title": "Of the secret", "dataset": "lab/secret"}
    admin = board.lab.tokens["admin"]
    board.client.send("PUT", "/api/v1/leaderboards/lab/hidden", token=admin, json=given)

    seen, own = board.visitor(), board.visitor("reader")

    assert "Digits &lt;b&gt;that" in seen.page("/leaderboard")
    assert "Of the secret" not in seen.page("/leaderboard")
    assert "Of the secret" in own.page("/leaderboard")
    assert seen.get("/leaderboard/lab/hidden").status_code == 404


def test_a_repository_shows_its_results_and_who_stands_for_them(
    board: Place, tmp_path: Path, key: SigningKey
) -> None:
    publish(board, tmp_path, key, "strong", accuracy=0.9, joules=8.0)

    page = words(board.visitor().page("/lab/strong"))

    assert "accuracy 0.900 on lab/sun, int8 verified, writer stands for it" in page
    assert "receipts verified" in page
