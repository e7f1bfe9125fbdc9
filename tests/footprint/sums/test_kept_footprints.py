import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.receipts.receipt import DamagedReceiptError
from ayni.footprint.sums.entries import EarlierReceiptError
from ayni.footprint.sums.kept_footprints import NoFootprintError, read_kept, read_kept_leniently
from ayni.footprint.sums.third_party import import_codecarbon

RECEIPT: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "receipt_2.json").read_text())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two steps."""
    folder = tmp_path / "20260301-120000-000-digits"
    (folder / "receipts").mkdir(parents=True)
    for number, step in enumerate(("train", "compress"), start=1):
        write(folder / "receipts" / f"{number:04d}-{step}.json", step=step)
    return folder


def write(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**RECEIPT, **changes}))


def test_a_run_its_receipts_and_one_of_them_can_be_read(run: Path) -> None:
    whole, folder = read_kept(run), read_kept(run / "receipts")
    one = read_kept(run / "receipts" / "0002-compress.json")

    assert [entry.step for entry in whole.entries] == ["train", "compress"]
    assert folder.entries == whole.entries
    assert [entry.step for entry in one.entries] == ["compress"]
    assert whole.name == "20260301-120000-000-digits"
    assert not whole.is_third_party


def test_where_no_receipt_is_nothing_is_read_and_the_error_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NoFootprintError, match=r"holds no receipt. Give a run"):
        read_kept(tmp_path / "nowhere")
    assert read_kept_leniently(tmp_path).entries == ()


def test_a_damaged_receipt_is_an_error_or_a_sentence_beside_the_others(run: Path) -> None:
    (run / "receipts" / "0001-train.json").write_text("{")

    with pytest.raises(DamagedReceiptError):
        read_kept(run)
    found = read_kept_leniently(run)
    assert [entry.step for entry in found.entries] == ["compress"]
    assert len(found.problems) == 1 and "0001-train.json" in found.problems[0]


def test_receipts_of_an_earlier_version_are_refused_or_said_to_be_left_out(run: Path) -> None:
    write(run / "receipts" / "0001-train.json", schema="ayni/receipt/1")

    with pytest.raises(EarlierReceiptError):
        read_kept(run)
    assert "ayni/receipt/1" in read_kept_leniently(run).problems[0]


def test_an_import_is_read_as_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "emissions.csv"
    file.write_text(
        "timestamp,run_id,duration,emissions,energy_consumed,pue\n2026-03-01T14:00:00,r,60,0.6,1.5,1.5\n"
    )
    folder = import_codecarbon(file, imports=tmp_path / "in", now=datetime(2026, 4, 1, tzinfo=UTC)).folder

    assert read_kept(folder).is_third_party
    (folder / "emissions.csv").write_text("changed")
    assert "was changed after it was imported" in read_kept_leniently(folder).problems[0]
