import json
from pathlib import Path
from typing import Any

import pytest

from ayni.reports.run_view import run_view

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def run_inputs() -> dict[str, Any]:
    """What the files of a finished run hold, as its steps wrote them."""
    inputs: dict[str, Any] = json.loads((GOLDEN / "run_inputs.json").read_text())
    return inputs


@pytest.fixture
def view(run_inputs: dict[str, Any]) -> dict[str, Any]:
    return run_view(**run_inputs, folder=Path("/runs") / run_inputs["run_id"])


@pytest.fixture
def unfinished_view(run_inputs: dict[str, Any]) -> dict[str, Any]:
    """A run of which nothing is finished yet."""
    bare = {**run_inputs, "results": {}, "receipts": [], "transactions": []}
    return run_view(**bare, folder=Path("/runs") / run_inputs["run_id"])
