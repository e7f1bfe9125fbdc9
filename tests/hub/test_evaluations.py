"""Claims of files, what run results add to them, and who stands for them."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection

from ayni.hub import evaluations
from ayni.hub.evaluations import RunKeyError, add_run_key, eval_results, key_statement, model_index
from ayni.signing import load_or_create_key, sha256_hex

__all__ = ["connection"]

INDEX = {
    "name": "m",
    "results": [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": "lab/bench", "name": "Bench"},
            "metrics": [{"type": "accuracy", "value": 0.9}, {"type": "f1", "value": "high"}],
        }
    ],
}


def test_claims_of_a_card_and_of_a_file_are_read() -> None:
    [claim] = model_index({"model-index": [INDEX]})
    entry = {"dataset": {"id": "lab/bench", "task_id": "default"}, "value": 20, "notes": "n"}
    [other] = eval_results("x.yaml", [entry, {"value": 1}, "text", None])

    assert (claim.dataset, claim.measure, claim.value) == ("lab/bench", "accuracy", 0.9)
    assert (other.dataset, other.measure, other.value, other.said) == ("lab/bench", "default", 20.0, entry)


@pytest.mark.parametrize(
    "hostile",
    [
        None,
        7,
        [7],
        {"results": 7},
        [{"results": [{"metrics": 7}]}],
        [{"results": [{"dataset": "x", "metrics": [{"type": "a", "value": 1}]}]}],
        [{"results": [{"dataset": {"type": "x"}, "metrics": [{"type": [], "value": 1}]}]}],
        [{"results": [{"dataset": {"type": "x"}, "metrics": [{"type": "a", "value": True}]}]}],
        [{"results": [{"dataset": {"type": "x"}, "metrics": [{"type": "a", "value": 10**400}]}]}],
        [{"results": [{"dataset": {"type": "x\0"}, "metrics": [{"type": "a", "value": 1}]}]}],
        [{"results": [{"dataset": {"type": "\ud800"}, "metrics": [{"type": "a", "value": 1}]}]}],
        [{"results": [{"dataset": {"type": "x" * 999}, "metrics": [{"type": "a", "value": 1}]}]}],
    ],
)
def test_what_is_no_claim_is_none(hostile: Any) -> None:
    assert list(model_index({"model-index": hostile})) == []
    assert list(eval_results("x.yaml", hostile)) == []


def test_a_member_stands_for_a_key_that_it_has(connection: sa.Connection, tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path / "key.pem")
    statement = key_statement("Ada", key)

    def refused(said: Any, member: str = "ada") -> None:
        with pytest.raises(RunKeyError):
            add_run_key(connection, said, member=member, when=WHEN)

    refused(statement, member="ben")
    refused({**statement, "member": "ben"}, member="ben")
    refused({})
    for _ in range(2):
        assert add_run_key(connection, statement, member="ada", when=WHEN) == key.public_key
    refused(key_statement("ben", key), member="ben")
    assert evaluations.run_keys(connection) == [(key.public_key, "ada")]
    fingerprint = sha256_hex(key.public_key.encode())
    with pytest.raises(RunKeyError):
        evaluations.remove_run_key(connection, fingerprint, member="ben")
    evaluations.remove_run_key(connection, fingerprint, member="ADA")
    assert evaluations.run_keys(connection) == []
