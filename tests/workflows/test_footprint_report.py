import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.sums.third_party import ImportRequest
from ayni.reports.sustainability.inputs import Period
from ayni.signing import FIRST_OF_CHAIN, load_or_create_key, sign_record
from ayni.workflows.footprint_report import footprint_report, write_footprint_report
from ayni.workflows.import_footprint import import_footprint

GOLDEN = Path(__file__).parent.parent / "footprint" / "golden" / "receipt_2.json"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
KWH = 3_600_000_000_000
RUN, MEASUREMENT = "20260301-120000-000-digits", "20260302-120000-nightly"


def keep(folder: Path, home: Path, **changes: Any) -> None:
    """One receipt in a folder, signed by the home's key."""
    body = {**copy.deepcopy(json.loads(GOLDEN.read_text())), "run": folder.name, **changes}
    for name in ("hash", "public_key", "signature"):
        del body[name]
    body["previous_hash"] = FIRST_OF_CHAIN
    receipt = sign_record(body, load_or_create_key(home / "keys" / "signing.pem"))
    (folder / "receipts").mkdir(parents=True)
    (folder / "receipts" / f"0001-{body['step']}.json").write_text(json.dumps(receipt))


@pytest.fixture
def filled(home: Path, tmp_path: Path) -> Path:
    """A home with a run that published, a measurement, and an import."""
    keep(home / "runs" / RUN, home)
    (home / "runs" / RUN / "steps").mkdir()
    (home / "runs" / RUN / "steps" / "publish.json").write_text('{"repository": "lab-a/digits"}')
    keep(home / "footprint" / MEASUREMENT, home, step="run", member="me", functional_unit=None)
    (home / "footprint" / ".open").mkdir()
    file = tmp_path / "emissions.csv"
    file.write_text(
        "timestamp,run_id,duration,emissions,energy_consumed,pue\n2026-03-01T14:00:00,r,60,0.6,1.5,1.5\n"
    )
    import_footprint(file, ImportRequest(imported_by="maria"), now=NOW)
    return home


def test_runs_measurements_and_imports_of_a_home_are_in_the_report(filled: Path) -> None:
    view = footprint_report(now=NOW)

    assert [entry["run"] for entry in view["entries"]] == [RUN, MEASUREMENT]
    assert view["totals"]["energy_microjoules"]["value"] == 2 * KWH
    assert view["imported"]["totals"]["energy_microjoules"]["value"] == KWH
    assert [group["model"] for group in view["by_model"]] == ["lab-a/digits", None]
    assert view["checks"]["keys"][0]["is_of_this_home"]
    assert view["left_out"] == []


def test_a_report_may_be_of_a_period_and_a_member(filled: Path) -> None:
    assert footprint_report(period=Period(last="2026-02"), now=NOW)["entries"] == []
    assert [entry["run"] for entry in footprint_report(member="me", now=NOW)["entries"]] == [MEASUREMENT]


def test_page_and_object_lie_in_the_home_or_where_they_were_asked_for(filled: Path, tmp_path: Path) -> None:
    view = footprint_report(now=NOW)
    year = footprint_report(period=Period(first="2026-01"), member="lab a/b", now=NOW)

    assert write_footprint_report(view) == filled / "footprint-report" / "footprint.html"
    path = write_footprint_report(year, out=tmp_path / "out")
    assert path.name == "footprint-2026-01-to-now-lab-a-b.html"
    assert json.loads(path.with_suffix(".json").read_text()) == year


def test_what_cannot_be_read_is_named_without_the_place_of_the_home(filled: Path) -> None:
    (filled / "runs" / RUN / "receipts" / "0001-train.json").write_text("{")
    next((filled / "footprint").glob("*emissions/emissions.csv")).write_text("changed")

    view = footprint_report(now=NOW)

    assert [entry["run"] for entry in view["entries"]] == [MEASUREMENT]
    assert view["left_out"][0].startswith(f"runs/{RUN}/receipts/0001-train.json does not hold a receipt")
    assert view["left_out"][1].startswith("footprint/20261201-000000-emissions/emissions.csv was changed")
    assert str(filled) not in json.dumps(view)


def test_receipts_of_an_earlier_version_are_left_out_by_name(filled: Path) -> None:
    keep(filled / "runs" / "20250101-000000-000-old", filled, schema="ayni/receipt/1")

    view = footprint_report(now=NOW)

    assert len(view["entries"]) == 2
    assert "ayni/receipt/1" in view["left_out"][0]


def test_a_home_with_nothing_in_it_has_a_report(home: Path) -> None:
    view = footprint_report(now=NOW)

    assert view["entries"] == []
    assert write_footprint_report(view).is_file()
