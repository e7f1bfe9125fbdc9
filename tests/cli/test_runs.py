"""`ayni runs` on the files of a home."""

import json
from pathlib import Path

import pytest

from ayni.cli import main
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run, Runs


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("AYNI_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    return Runs(tmp_path / "runs")


@pytest.fixture
def run(runs: Runs, tmp_path: Path) -> Run:
    (tmp_path / "task.py").write_text("class Digits:\n    pass\n")
    (tmp_path / "job.yaml").write_text("name: digits\ntask: task:Digits\n")
    return runs.create(load_job(tmp_path / "job.yaml"))


def test_the_list_shows_each_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["runs", "list"]) == 0

    assert capsys.readouterr().out.splitlines()[2].split()[:2] == [run.id, "interrupted"]


def test_the_list_as_json_is_the_summaries(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["runs", "list", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == [run.summary()]


def test_an_unfinished_run_can_be_shown(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["runs", "show", run.id[:8]]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"Run {run.id}: interrupted",
        f"Go on with: ayni resume {run.id}",
    ]


def test_an_unfinished_run_has_no_report_to_open(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["runs", "open", "--print"]) == 2

    assert f"The run {run.id} has no report yet." in capsys.readouterr().err


def test_a_run_is_removed_after_yes(runs: Runs, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["runs", "remove", run.id[:8], "--yes"]) == 0

    assert capsys.readouterr().out == f"Deleted {run.id}.\n"
    assert runs.list() == []


def test_nothing_is_removed_where_nobody_can_be_asked(
    runs: Runs, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["runs", "remove", "latest"]) == 2

    assert "Nothing was deleted." in capsys.readouterr().err
    assert [one.id for one in runs.list()] == [run.id]


def test_a_damaged_run_can_be_removed(runs: Runs, run: Run) -> None:
    (run.folder / "status.json").write_text("{")

    assert main.run_command(["runs", "remove", run.id, "--yes"]) == 0
    assert runs.list() == []


def test_a_damaged_run_is_named_with_its_file(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.folder / "status.json").write_text("{")

    assert main.run_command(["runs", "show"]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith(f"Run {run.id}: damaged\n")
    assert f"{run.folder / 'status.json'} is not JSON any more" in shown


def test_several_runs_that_fit_are_named_and_none_removed(
    runs: Runs, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    other = runs.create(run.job)

    assert main.run_command(["runs", "remove", run.id[:4], "--yes"]) == 2

    assert f"2 runs begin with '{run.id[:4]}': {other.id}, {run.id}." in capsys.readouterr().err
    assert len(runs.list()) == 2
