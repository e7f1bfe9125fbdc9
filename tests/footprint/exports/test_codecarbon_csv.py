import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ayni.footprint.exports.codecarbon_csv import COLUMNS, codecarbon_csv
from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.sums.codecarbon_files import read_codecarbon_file
from ayni.footprint.sums.entries import FootprintEntry, entry_of_receipt

GOLDEN = Path(__file__).parent.parent / "golden" / "receipt_2.json"
ENTRY = entry_of_receipt(json.loads(GOLDEN.read_text()), GOLDEN)
# The header that codecarbon 3.3.2 writes.
HEADER = (
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,"
    "ram_power,cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,"
    "country_iso_code,region,cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,"
    "cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,tracking_mode,"
    "cpu_utilization_percent,gpu_utilization_percent,ram_utilization_percent,ram_used_gb,on_cloud,pue,wue"
)


def rows(*entries: FootprintEntry) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(codecarbon_csv(entries))))


def test_the_columns_are_those_of_codecarbon_in_their_order() -> None:
    assert codecarbon_csv([ENTRY]).splitlines()[0] == HEADER == ",".join(COLUMNS)


def test_carbon_is_in_kilograms_and_energy_in_kilowatt_hours_of_the_facility() -> None:
    (row,) = rows(ENTRY)

    assert float(row["emissions"]) == pytest.approx(0.48)
    assert float(row["emissions_rate"]) == pytest.approx(0.48 / 7200)
    assert float(row["energy_consumed"]) == pytest.approx(1.2)
    # As CodeCarbon's readers do: what the machines drew is that over the PUE.
    assert float(row["energy_consumed"]) / float(row["pue"]) == pytest.approx(1.0)
    assert float(row["water_consumed"]) == pytest.approx(1.8)


def test_a_place_is_a_country_of_three_letters_and_a_region() -> None:
    (germany, california, unknown) = rows(ENTRY, replace(ENTRY, zone="US-CA"), replace(ENTRY, zone="unknown"))

    assert (germany["country_iso_code"], germany["region"]) == ("DEU", "")
    assert (california["country_iso_code"], california["region"]) == ("USA", "ca")
    assert (unknown["country_iso_code"], unknown["region"]) == ("", "")


def test_what_is_unknown_is_empty_and_never_zero() -> None:
    (row,) = rows(replace(ENTRY, energy=None, facility_microjoules=None, carbon=None, on_site_litres=None))

    empty = ("emissions", "emissions_rate", "energy_consumed", "water_consumed", "cpu_power", "cpu_energy")
    assert [row[name] for name in empty] == [""] * len(empty)


def test_names_cannot_become_formulas_of_a_spreadsheet_or_new_rows() -> None:
    (row,) = rows(replace(ENTRY, job='=HYPERLINK("http://x")', run="a,b\n\"c'"))

    assert row["project_name"] == '\'=HYPERLINK("http://x")'
    assert row["run_id"] == "a,b\n\"c'"


def test_the_file_is_not_imported_as_if_another_tool_had_measured(tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    path.write_text(codecarbon_csv([ENTRY]))

    with pytest.raises(GridFileError, match="line 2: was exported by Ayni"):
        read_codecarbon_file(path)
