"""The benchmarks' registry and its page; the measurements themselves are not run here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.registry import Benchmark, Outcome, UnknownBenchmarkError, all_benchmarks, find

from benchmarks import document, rows

ROOT = Path(__file__).parent.parent.parent


def benchmark_of(outcome: Outcome) -> Benchmark:
    return Benchmark(
        name="startup", topic="x", bar="y", seconds_quick=1, seconds_full=2, measure=lambda quick: outcome
    )


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_list_names_each_benchmark_with_topic_bar_and_time() -> None:
    answer = run("list", "--json")

    listed: list[dict[str, Any]] = json.loads(answer.stdout)
    assert {entry["name"] for entry in listed} == set(all_benchmarks())
    for entry in listed:
        assert set(entry) == {"name", "topic", "bar", "seconds"}
        assert entry["bar"] and entry["seconds"]["quick"] <= entry["seconds"]["full"]


def test_every_module_of_a_benchmark_is_found_under_its_own_name() -> None:
    assert all(find(name).name == name for name in all_benchmarks())


def test_an_unknown_name_exits_with_2_and_lists_the_known() -> None:
    answer = run("run", "nothing")

    assert answer.returncode == 2
    assert "startup" in answer.stderr and "Traceback" not in answer.stderr
    with pytest.raises(UnknownBenchmarkError):
        find("nothing")


def test_a_row_holds_what_is_needed_to_read_it_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    outcome = Outcome(values={"seconds": 1.5}, seeds=(1, 2), met=False)

    row = rows.append_row(benchmark_of(outcome), outcome, quick=True, seconds=3.14159)

    assert rows.rows_of("startup") == [row]
    assert row["met"] is False and row["values"] == {"seconds": 1.5} and row["seeds"] == [1, 2]
    assert {"date", "commit", "machine", "versions", "command", "bar"} <= set(row)
    assert row["command"].endswith("startup --quick")


def test_the_page_shows_the_newest_full_row_even_when_it_missed_its_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    monkeypatch.setattr(document, "PAGE", tmp_path / "benchmarks.md")
    for milliseconds, met, quick in ((50.0, True, False), (777.0, False, False), (60.0, True, True)):
        outcome = Outcome(values={"import_milliseconds": milliseconds}, seeds=(), met=met)
        rows.append_row(benchmark_of(outcome), outcome, quick=quick, seconds=1.0)

    page = document.write_page().read_text(encoding="utf-8")

    assert "777" in page and "**Not met.**" in page
    assert "Not measured yet." in page
