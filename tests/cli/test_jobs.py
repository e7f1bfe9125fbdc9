"""`ayni jobs` as it is typed: submit, list, withdraw."""

import json
from pathlib import Path

import pytest

from ayni.cli import main

JOB = """
name: digits
task: task:Digits
member: lab-7
limits: {credits: 5, carbon_grams: 900}
bid: {done_within: 6h, machines: 2, residency: [DE, fr], classes: [v100], can_suspend: true}
"""


@pytest.fixture
def job(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "task.py").write_text("class Digits:\n    pass\n")
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return str(path)


def out_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.run_command(list(words)) == 0
    return capsys.readouterr().out


def test_a_job_is_submitted_as_its_file_says(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(out_of(capsys, "jobs", "submit", job, "--work", "12", "--worth", "20", "--json"))

    bid = found["bid"]
    assert (found["id"], found["state"], found["job_file"]) == ("digits", "waiting", job)
    assert (bid["member"], bid["gang"], bid["classes"]) == ("lab-7", 2, ["v100"])
    assert (bid["worth_microcredits"], bid["budget_microcredits"]) == (20_000_000, 5_000_000)
    assert (bid["carbon_cap_grams"], bid["residency"], bid["can_suspend"]) == (900.0, ["DE", "FR"], True)
    assert bid["work_reference_hours"] == 12.0


def test_jobs_are_listed_and_withdrawn(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    submitted = out_of(capsys, "jobs", "submit", job, "--work", "12")
    out_of(capsys, "jobs", "submit", job, "--work", "3")
    listed = out_of(capsys, "jobs", "list").splitlines()
    withdrawn = out_of(capsys, "jobs", "withdraw", "digits")

    assert submitted.splitlines()[-1].endswith("ayni jobs explain digits")
    assert [line.split()[0] for line in listed[2:]] == ["digits", "digits-2"]
    assert withdrawn == "Withdrawn: digits.\n"
    assert [each["id"] for each in json.loads(out_of(capsys, "jobs", "list", "--json"))] == ["digits-2"]
    assert len(json.loads(out_of(capsys, "jobs", "list", "--all", "--json"))) == 2


def test_an_empty_pool_says_how_to_submit(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "ayni jobs submit job.yaml" in out_of(capsys, "jobs", "list")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "How much work the job is, is not known to others"),
        (["--work", "12", "--set", "limits.credits=null"], "What the job is worth to you is not said"),
        (["--work", "0"], "reference-hours; it must be above 0"),
        (["--work", "nan"], "reference-hours; it must be above 0"),
        (["--work", "12", "--worth", "-1"], "credits; it must be 0 to"),
        (["--work", "12", "--worth", "inf"], "credits; it must be 0 to"),
        (["--work", "12", "--worth", "500", "--set", "limits.credits=400"], "lab-7 has 100 left"),
        (["--work", "12", "--set", "bid.residency=[Moon]"], "No grid is known by the name 'Moon'"),
        (["--work", "12", "--set", "bid.done_within=900d"], "more than a year"),
        (["--work", "12", "--set", "bid.machines=0"], "`bid.machines` is 0"),
    ],
)
def test_what_cannot_be_bid_is_refused_and_nothing_waits(
    job: str, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main.run_command(["jobs", "submit", job, *words]) == 2

    assert message in capsys.readouterr().err
    assert json.loads(out_of(capsys, "jobs", "list", "--all", "--json")) == []


def test_a_job_that_does_not_wait_cannot_be_withdrawn(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["jobs", "withdraw", "digits"]) == 2

    assert "No job is called 'digits'. There is none yet." in capsys.readouterr().err
