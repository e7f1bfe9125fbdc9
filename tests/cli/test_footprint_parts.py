import copy
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from ayni.cli.footprint_parts import report_parts
from ayni.footprint.sums.entries import entry_of_receipt
from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.reports.sustainability.inputs import ReportInputs
from ayni.reports.sustainability.view import sustainability_view

GOLDEN = Path(__file__).parent.parent / "footprint" / "golden" / "receipt_2.json"
RECEIPT: dict[str, Any] = json.loads(GOLDEN.read_text())
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def view(*changes: dict[str, Any]) -> dict[str, Any]:
    kept = []
    for number, change in enumerate(changes):
        receipt = {**copy.deepcopy(RECEIPT), "run": f"run-{number}", **change}
        entry = entry_of_receipt(receipt, GOLDEN)
        kept.append(
            KeptFootprint(name=entry.run, path=Path(entry.run), entries=(entry,), receipts=(receipt,))
        )
    return sustainability_view(ReportInputs(kept=kept, made_at=NOW))


def shown(found: dict[str, Any]) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=80, highlight=False)
    for part in report_parts(found, None):
        console.print(part, markup=False)
    return stream.getvalue().replace("\N{NO-BREAK SPACE}", " ")


def test_a_row_fits_into_80_columns_with_its_intervals() -> None:
    text = shown(view({"member": "a-member-with-a-name-that-is-too-long"}))

    assert "a-member-with-a-n\N{HORIZONTAL ELLIPSIS}  1.0 kWh (0.50\N{EN DASH}2.0)" in text
    assert "480 g (240\N{EN DASH}960)" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_bases_are_columns_with_their_names_below() -> None:
    direct = {**RECEIPT["carbon"], "basis": "average, location-based, direct"}

    text = shown(view({}, {"carbon": direct}))

    assert "carbon 1: average, location-based, direct" in text
    assert "carbon 2: average, location-based, life-cycle" in text


def test_what_is_wrong_is_said() -> None:
    # The golden receipt is not really signed.
    assert "Not as signed: run-0: " in shown(view({}))


def test_without_receipts_no_table_is_drawn() -> None:
    assert "No receipt lies in this period." in shown(view())
    assert "member" not in shown(view())
