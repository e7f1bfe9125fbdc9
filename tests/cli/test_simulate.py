"""`ayni simulate` on a small pool."""

import json
from pathlib import Path

import pytest

from ayni.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "pool"


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "trace.csv"
    path.write_text("\n".join((EXAMPLE / "trace.csv").read_text().splitlines()[:40]))
    return path


def simulate(*words: str) -> int:
    return main.run_command(["simulate", str(EXAMPLE / "pool.yaml"), *words])


def test_the_table_has_a_row_for_each_policy_and_ends_with_the_report(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate("--trace", str(trace), "--policy", "market", "-p", "drf") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("The market: ")
    assert [line.split()[0] for line in lines if line.startswith("  ")] == ["alone", "drf"]
    assert any(line.startswith("* market") for line in lines)
    assert lines[-1] == "Report: pool-report/pool-report.html"
    assert Path("pool-report/pool-report.html").is_file()


def test_json_is_the_simulation_object_and_nothing_else(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate("--trace", str(trace), "--policy", "drf", "--json", "--seed", "3") == 0

    view = json.loads(capsys.readouterr().out)
    assert view["seed"] == 3 and [policy["name"] for policy in view["policies"]] == ["alone", "drf"]


def test_an_unknown_policy_exits_with_2_and_lists_the_known(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate("--trace", str(trace), "--policy", "magic") == 2

    assert "There is no policy 'magic'. There are: alone, wait-awhile" in capsys.readouterr().err


def test_a_trace_that_is_not_there_exits_with_2(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--trace", "nothing.csv") == 2

    assert "nothing.csv is no trace" in capsys.readouterr().err
