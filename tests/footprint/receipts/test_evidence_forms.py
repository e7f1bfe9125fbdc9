import json
from pathlib import Path
from typing import Any

import pytest
from tests.footprint.pretended_node import Node

from ayni.footprint.receipts.evidence_forms import unformed_line, unformed_receipt
from ayni.signing import load_or_create_key


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    node = Node(folder)
    node.start("outer", cores=1)
    node.start("r1", cores=1, holds_gpu=True, within="outer")
    node.work(1.0, {"r1": 0.5})
    node.stop("r1")
    node.stop("outer")
    return node.sign("r1", load_or_create_key(folder / "key.pem"))


@pytest.fixture
def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "meter" / "windows.jsonl").read_text().splitlines()]


@pytest.fixture
def receipt(run: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((run / "receipts" / "0001-train.json").read_text())
    return value


def test_what_the_meter_and_the_receipts_write_has_its_form(
    rows: list[dict[str, Any]], receipt: dict[str, Any]
) -> None:
    assert [unformed_line(row) for row in rows] == [None] * len(rows)
    assert unformed_receipt(receipt) is None


def put(value: Any, path: str, new: Any) -> None:
    *way, last = path.split(".")
    for step in way:
        value = value[step]
    value[last] = new


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("window", True),
        ("window", 1.0),
        ("seconds", float("nan")),
        ("seconds", "1"),
        ("node_microjoules", 2**80),
        ("node_microjoules", 1.5),
        ("started_at", "2026-01-01T00:00:00"),
        ("ended_at", "9999-01-01T00:00:00+00:00"),
        ("jobs", {}),
        ("jobs", {"r1": None}),
        ("jobs.r1.cpu_seconds", None),
        ("jobs.r1.reserved_cores", "2"),
        ("within", {"run": "x"}),
        ("within", [{"run": "x", "devices": 1}]),
        ("neighbours_microjoules", "0"),
    ],
)
def test_a_window_without_its_form_is_named_by_its_field(
    rows: list[dict[str, Any]], path: str, new: Any
) -> None:
    window = next(row for row in rows if row["kind"] == "window")
    put(window, path, new)

    assert unformed_line(window) == path.split(".", maxsplit=1)[0]


@pytest.mark.parametrize(("path", "new"), [("cores", 0), ("processor", None), ("device", {}), ("notes", "x")])
def test_a_meter_without_its_form_is_named_by_its_field(
    rows: list[dict[str, Any]], path: str, new: Any
) -> None:
    put(rows[0], path, new)

    assert unformed_line(rows[0]) == path


@pytest.mark.parametrize(
    ("path", "new", "field"),
    [
        ("run", 7, "run"),
        ("tier", "W9", "tier"),
        ("tier", "third-party", "tier"),
        ("tier", ["W1"], "tier"),
        ("within", {"run": "x", "runs": []}, "within"),
        ("within.runs", [], "within"),
        ("windows.ranges", [[1]], "windows"),
        ("windows.ranges", [[1, 2.5]], "windows"),
        ("hash", None, "hash"),
        ("ended_at", "9000-01-01T00:00:00+00:00", "ended_at"),
        ("carbon.hours", [{"hour": "1000-01-01T00:00:00+00:00"}], "carbon"),
        ("cost.prices", [{"hour": "9000-01-01T00:00:00+00:00"}], "cost"),
    ],
)
def test_a_receipt_without_its_form_is_named_by_its_field(
    receipt: dict[str, Any], path: str, new: Any, field: str
) -> None:
    put(receipt, path, new)

    assert unformed_receipt(receipt) == field


def test_lines_of_files_from_before_there_were_neighbours_have_their_form(rows: list[dict[str, Any]]) -> None:
    window = next(row for row in rows if row["kind"] == "window")
    for name in ("neighbours_microjoules", "within"):
        window.pop(name)

    assert unformed_line(window) is None
    window.pop("seconds")
    assert unformed_line(window) == "seconds"
