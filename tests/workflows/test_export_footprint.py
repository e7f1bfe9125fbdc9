import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ayni.footprint.exports.options import ExportOptions, NothingToExportError
from ayni.footprint.sums.kept_footprints import NoFootprintError
from ayni.footprint.sums.third_party import ImportRequest
from ayni.workflows.export_footprint import ExportForm, export_footprint
from ayni.workflows.import_footprint import import_footprint

GOLDEN = Path(__file__).parent.parent / "footprint" / "golden" / "receipt_2.json"
RECEIPT: dict[str, Any] = json.loads(GOLDEN.read_text())
NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def run(home: Path) -> Path:
    folder = home / "runs" / RECEIPT["run"]
    (folder / "receipts").mkdir(parents=True)
    (folder / "receipts" / "0001-train.json").write_text(json.dumps(RECEIPT))
    return folder


def with_job(run: Path, *, model: str | None = None, init_from: str | None = None) -> None:
    (run / "job.json").write_text(json.dumps({"spec": {"model": model, "train": {"init_from": init_from}}}))


def test_every_form_can_be_written_of_a_run(run: Path) -> None:
    texts = {form: export_footprint("latest", form, now=NOW) for form in ExportForm}

    assert all(text.endswith("\n") for text in texts.values())
    assert json.loads(texts[ExportForm.SCI])["score"]["sci_grams_co2e_per_unit"]["value"] == 210.0
    assert json.loads(texts[ExportForm.BOAMPS])["header"]["reportDatetime"] == "2026-12-01 00:00:00"
    assert len(list(csv.DictReader(texts[ExportForm.CODECARBON].splitlines()))) == 1
    assert "ayni_footprint_energy_joules{" in texts[ExportForm.PROMETHEUS]
    assert yaml.safe_load(texts[ExportForm.CARD])["co2_eq_emissions"]["emissions"] == 480.0


def test_an_export_is_written_where_it_was_asked_for(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "sci.json"

    text = export_footprint(RECEIPT["run"][:12], ExportForm.SCI, out=out)

    assert out.read_text() == text


def test_a_single_receipt_can_be_exported_by_its_path(run: Path) -> None:
    path = run / "receipts" / "0001-train.json"

    assert json.loads(export_footprint(str(path), ExportForm.SCI))["software"] == "digits"


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({}, "pre-training"),
        ({"model": "me/digits"}, "fine-tuning"),
        ({"init_from": "me/digits"}, "fine-tuning"),
    ],
)
def test_the_type_of_training_is_what_the_job_says(run: Path, job: dict[str, str], expected: str) -> None:
    with_job(run, **job)

    card = yaml.safe_load(export_footprint("latest", ExportForm.CARD))["co2_eq_emissions"]

    assert card["training_type"] == expected


def test_what_the_user_says_wins_and_without_a_job_nothing_is_said(run: Path) -> None:
    unsaid = yaml.safe_load(export_footprint("latest", ExportForm.CARD))["co2_eq_emissions"]
    with_job(run)
    said = export_footprint("latest", ExportForm.CARD, options=ExportOptions(training_type="fine-tuning"))

    assert "training_type" not in unsaid
    assert yaml.safe_load(said)["co2_eq_emissions"]["training_type"] == "fine-tuning"


def test_imported_figures_and_empty_folders_are_not_exported(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "emissions.csv"
    file.write_text(
        "timestamp,run_id,duration,emissions,energy_consumed,pue\n2026-03-01T14:00:00,r,60,0.6,1.5,1.5\n"
    )
    imported = import_footprint(file, ImportRequest(imported_by="maria"), now=NOW)

    with pytest.raises(NothingToExportError):
        export_footprint(imported["import"], ExportForm.PROMETHEUS)
    with pytest.raises(NoFootprintError):
        export_footprint(str(tmp_path), ExportForm.SCI)
