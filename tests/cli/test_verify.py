"""`ayni verify` says what it looked at, whose key it was, and ends with 1 when something is wrong."""

import json
from pathlib import Path

import pytest

from ayni.cli import main
from ayni.files import write_json
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run, Runs
from ayni.signing import SigningKey, load_or_create_key
from ayni.workflows.seal_run import seal_run

CHECKS = ["finished", "key", "files", "receipts", "terms", "samples", "ledger", "published"]


@pytest.fixture
def key(home: Path) -> SigningKey:
    return load_or_create_key(home / "keys" / "signing.pem")


@pytest.fixture
def run(home: Path, tmp_path: Path, key: SigningKey) -> Run:
    """A run that was sealed without having done anything."""
    (tmp_path / "task.py").write_text("class Digits:\n    pass\n")
    (tmp_path / "job.yaml").write_text("name: digits\ntask: task:Digits\n")
    begun = Runs(home / "runs").create(load_job(tmp_path / "job.yaml"))
    write_json(begun.folder / "ledger.json", [])
    seal_run(begun, key)
    return begun


def test_each_check_is_a_line_and_a_failure_is_the_exit_code(
    run: Run, key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["verify", run.id[:8]]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(":") for line in lines] == CHECKS
    assert f"ok     key: {key.public_key[:12]}..., this home's" in lines
    assert lines[0].startswith("FAILED finished: the steps plan, train,")


def test_json_names_the_run_the_key_and_the_checks(
    run: Run, key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["verify", "--json", str(run.folder)]) == 1

    found = json.loads(capsys.readouterr().out)
    assert (found["run"], found["ok"]) == (run.id, False)
    assert found["key"] == {"public_key": key.public_key, "of": "home"}
    assert [check["name"] for check in found["checks"]] == CHECKS


def test_a_copy_says_that_its_key_is_its_own(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = run.folder.rename(tmp_path / "copy")

    main.run_command(["verify", str(copy)])

    captured = capsys.readouterr()
    assert "the one inside its manifest; ask the owner" in captured.out
    assert run.id in captured.err


def test_a_run_that_is_not_there_is_the_callers_mistake(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["verify", "nothing"]) == 2

    assert "There are no runs yet" in capsys.readouterr().err
