"""`ayni train privacy` on a terminal."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.cli.main import run_command
from ayni.database import Database
from ayni.settings import read_settings
from ayni.train.privacy_ledger import DatasetIdentity, PrivacyLedger, PrivacySpend


def book(home: Path, run: str, epsilon: float, cap: float | None = None) -> None:
    spend = PrivacySpend(
        run=run,
        dataset=DatasetIdentity(name="digits", sha256="ab" * 32),
        epsilon=epsilon,
        delta=1e-5,
        cap_epsilon=cap,
        is_settled=False,
        booked_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    PrivacyLedger(Database(read_settings(home=home).database)).book(spend)


def test_a_home_without_private_trainings_says_how(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["train", "privacy"]) == 0

    assert "train.privacy in job.yaml" in capsys.readouterr().out


def test_runs_stand_below_the_sum_of_their_data_set(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book(home, "first", 1.0, cap=4.0)
    book(home, "second", 2.5)

    assert run_command(["train", "privacy"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert any(
        "digits" in line and "2 together" in line and "3.50" in line and "4.00" in line for line in lines
    )
    assert any("second" in line and "2.50 booked" in line for line in lines)
    assert any("basic composition" in line for line in lines)
