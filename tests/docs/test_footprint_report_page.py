"""docs/footprint-report.md names every key of the object, every form and every column that it speaks of."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from ayni.footprint.exports.codecarbon_csv import COLUMNS
from ayni.footprint.sums.codecarbon_files import NEEDED
from ayni.footprint.sums.entries import entry_of_receipt
from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.reports.sustainability.inputs import ReportInputs
from ayni.reports.sustainability.view import sustainability_view
from ayni.workflows.export_footprint import ExportForm

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "footprint-report.md").read_text(encoding="utf-8")
GOLDEN = ROOT / "tests" / "footprint" / "golden" / "receipt_2.json"
RECEIPT = json.loads(GOLDEN.read_text())
VIEW = sustainability_view(
    ReportInputs(
        kept=[
            KeptFootprint(
                name="run", path=GOLDEN, entries=(entry_of_receipt(RECEIPT, GOLDEN),), receipts=(RECEIPT,)
            )
        ],
        made_at=datetime(2026, 12, 1, tzinfo=UTC),
    )
)


def first_cells(header: str) -> list[str]:
    """What stands in backquotes in the first cells of a table."""
    table = PAGE.partition(header)[2].splitlines()[2:]
    end = next(index for index, line in enumerate(table) if not line.startswith("|"))
    return [name for line in table[:end] for name in re.findall(r"`(\w+)`", line.split("|")[1])]


def test_every_key_of_the_object_is_named_and_no_other() -> None:
    assert sorted(first_cells("| key | meaning |")) == sorted(VIEW)


def test_every_key_of_a_sum_is_named_and_no_other() -> None:
    assert sorted(first_cells("### A sum\n\n| key | meaning |")) == sorted(VIEW["totals"])


def test_the_keys_inside_are_named() -> None:
    inside = [
        *VIEW["period"],
        *VIEW["imported"],
        *VIEW["nodes"][0],
        *VIEW["checks"],
        *VIEW["totals"]["cost"],
        *VIEW["totals"]["carbon"][0],
        *VIEW["totals"]["energy_microjoules"],
    ]

    assert [key for key in inside if f"`{key}`" not in PAGE] == []


def test_every_form_is_on_the_page() -> None:
    assert first_cells("| form | what it is |") == [form.value for form in ExportForm]


def test_the_columns_of_codecarbon_are_called_as_they_are() -> None:
    named = {name for name in first_cells("| in the file |") if name.islower()}

    # Files of tasks have this one besides.
    assert named <= {*COLUMNS, "task_name"}
    assert set(NEEDED) - {"duration"} <= named
