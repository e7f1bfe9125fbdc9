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
def old_view(run_inputs: dict[str, Any]) -> dict[str, Any]:
    """The same run as it was written before there were changes, conditions, break-even and searches."""
    compressed = run_inputs["results"]["compress"]
    for key in ("inferences", "pays", "search", "warning"):
        del compressed[key]
    new = (
        *("companions", "steps", "peak_memory_bytes", "latencies", "latency_problem", "changes"),
        *("no_changes_reason", "making", "break_even", "break_even_text", "is_on_front"),
    )
    for variant in compressed["variants"]:
        for key in new:
            del variant[key]
    return run_view(**run_inputs, folder=Path("/runs") / run_inputs["run_id"])


@pytest.fixture
def unfinished_view(run_inputs: dict[str, Any]) -> dict[str, Any]:
    """A run of which nothing is finished yet."""
    bare = {**run_inputs, "results": {}, "receipts": [], "transactions": []}
    return run_view(**bare, folder=Path("/runs") / run_inputs["run_id"])


@pytest.fixture
def searched_view(run_inputs: dict[str, Any]) -> dict[str, Any]:
    """A run whose search measured twenty variants."""
    compressed = run_inputs["results"]["compress"]
    full, exported, pruned, distilled, int8 = compressed["variants"]
    others = []
    for index in range(15):
        kind = ("sparse30", "low-rank75-recovered", "pruned40-distilled-int8", "int4-stored", "bfloat16")[
            index % 5
        ]
        template = (distilled, int8, pruned)[index % 3]
        others.append(
            {
                **template,
                "name": f"{kind}-{index // 5 + 1}",
                "stored_bytes": template["stored_bytes"] + 30_000 * (index + 1),
                "latency_p50_seconds": template["latency_p50_seconds"] * (1 + index / 2),
                "energy_joules_per_1000": template["energy_joules_per_1000"] * (1 + index / 4),
                "test_drop": template["test_drop"] + index / 2000,
                "score": template["score"] - index / 50,
                "is_on_front": index == 1,
                "file": f"compress/{index}.onnx",
            }
        )
    compressed["variants"] = [full, exported, pruned, *others, distilled, int8]
    return run_view(**run_inputs, folder=Path("/runs") / run_inputs["run_id"])
