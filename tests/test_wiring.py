"""The public functions on small things; whole jobs are in tests/workflows and tests/end_to_end."""

import subprocess
import sys
from pathlib import Path

import pytest

from ayni import wiring
from ayni.errors import UserError
from ayni.hub.repositories import RepositoryNotFoundError
from ayni.jobs.runs import RunNotFoundError


def test_a_fresh_home_has_no_runs_and_looking_makes_nothing(home: Path) -> None:
    assert wiring.runs_list() == []
    assert not home.exists()


@pytest.mark.parametrize(
    "ask",
    [wiring.runs_show, wiring.runs_report_path, wiring.runs_remove, wiring.resume, wiring.train_status],
)
def test_a_run_that_is_not_there_is_the_users_mistake(ask: object, home: Path) -> None:
    with pytest.raises(RunNotFoundError):
        ask("nothing")  # type: ignore[operator]


def test_a_repository_that_is_not_there_is_the_users_mistake(home: Path) -> None:
    with pytest.raises(RepositoryNotFoundError) as caught:
        wiring.load("me/nothing")

    assert isinstance(caught.value, UserError)


def test_the_home_given_by_the_caller_wins(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"

    with pytest.raises(RepositoryNotFoundError):
        wiring.load("me/nothing", home=other)

    assert other.exists() and not home.exists()


@pytest.mark.parametrize(
    "module",
    [
        "workflows.verify_run",
        "workflows.report_run",
        "workflows.watch_training",
        "jobs.runs",
        "footprint.windows.node_meter",
        "footprint.receipts.receipt",
        "footprint.receipts.verification",
    ],
)
def test_what_the_light_install_offers_imports_nothing_heavy(module: str) -> None:
    heavy = {"torch", "numpy", "sqlalchemy", "alembic", "dask", "distributed", "pandas", "matplotlib"}
    heavy |= {"sklearn", "onnx", "captum"}
    code = f"import sys, ayni.{module}; print(sorted({heavy} & set(sys.modules)))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
