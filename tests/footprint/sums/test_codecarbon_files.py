import csv
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.sums.codecarbon_files import read_codecarbon_file

# Two published rows of real runs (versions 2.3.5 and 2.2.3), and one in the columns of 3.3.2 with PUE 1.5.
OLD = (
    "timestamp,project_name,run_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,cpu_energy,"
    "gpu_energy,ram_energy,energy_consumed,country_name,country_iso_code,region,cloud_provider,cloud_region,os,"
    "python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,"
    "ram_total_size,tracking_mode,on_cloud,pue\n"
    "2024-07-19T15:57:43,codecarbon,9adda612-4ce8-49d0-9a55-e3b071a7b885,554.2081344127655,"
    "0.00015379434004080274,2.775028558607534e-07,42.5,0.0,377.7889337539673,0.006542585306697421,0,"
    "0.05815249035074544,0.06469507565744285,Canada,CAN,quebec,,,Linux-5.15.0,3.10.12,2.3.5,160,"
    "Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz,,,-71.2,46.8,1007.4371566772461,machine,N,1.0\n"
    "2023-12-15T03:06:03,codecarbon,119c2ff3-8008-4581-b7a3-d9dfe67d8517,38115.6783618927,1.902573047700639,"
    "4.991575985179878e-05,90.0,347.245,47.1240119934082,0.9528742625713376,3.6553566216007463,"
    "0.4986943486287465,5.10692523280082,United States,USA,massachusetts,,,Linux-5.10.0,3.10.13,2.2.3,32,"
    "AMD Ryzen Threadripper 2950X,1,1 x NVIDIA GeForce RTX 3090,-71.8262,42.2821,125.66,machine,N,1.0\n"
)
ROW = {
    "timestamp": "2026-03-01T14:00:00",
    "project_name": "vision",
    "run_id": "run-1",
    "duration": "7200",
    "emissions": "0.6",
    "cpu_energy": "0.3",
    "gpu_energy": "1.0",
    "ram_energy": "0.2",
    "energy_consumed": "1.5",
    "water_consumed": "2.7",
    "country_iso_code": "DEU",
    "codecarbon_version": "3.3.2",
    "cpu_model": "AMD EPYC",
    "gpu_model": "2 x A100",
    "pue": "1.5",
    "wue": "1.8",
}


def table(*rows: dict[str, str]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "emissions.csv"


def test_the_pue_that_codecarbon_folds_into_energy_is_taken_out(path: Path) -> None:
    path.write_text(table(ROW))

    (row,) = read_codecarbon_file(path).rows

    assert row.it_microjoules == 3_600_000_000_000
    assert row.facility_microjoules == 5_400_000_000_000
    assert row.pue == 1.5
    # WUE is litres per kWh of the machines: 1.8 L for 1 kWh, and CodeCarbon says 2.7.
    assert row.on_site_litres == pytest.approx(1.8)


def test_kilograms_become_grams_and_the_place_a_zone(path: Path) -> None:
    path.write_text(table(ROW))

    (row,) = read_codecarbon_file(path).rows

    assert (row.grams_co2e, row.zone, row.hardware) == (600.0, "DE", "AMD EPYC, 2 x A100")


def test_files_of_earlier_versions_are_read(path: Path) -> None:
    path.write_text(OLD)

    found = read_codecarbon_file(path)

    assert [(row.version, row.zone) for row in found.rows] == [("2.3.5", "CA"), ("2.2.3", "US")]
    assert found.rows[0].it_microjoules == round(0.06469507565744285 * 3.6e12)
    assert found.rows[1].grams_co2e == pytest.approx(1902.573047700639)
    assert "CodeCarbon says Canada also where it could not find out the place." in found.notes


@pytest.mark.parametrize(
    ("zone", "ended_at"),
    [
        (None, datetime(2026, 3, 1, 14, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 3, 1, 13, tzinfo=UTC)),
    ],
)
def test_times_without_a_zone_are_in_the_one_given_else_utc(
    path: Path, zone: str | None, ended_at: datetime
) -> None:
    path.write_text(table(ROW))

    found = read_codecarbon_file(path, time_zone=zone)

    assert found.rows[0].ended_at == ended_at
    assert (ended_at - found.rows[0].started_at).total_seconds() == 7200
    assert any("no zone" in note for note in found.notes) == (zone is None)


def test_a_wue_of_zero_is_what_codecarbon_writes_when_nobody_said_it(path: Path) -> None:
    path.write_text(table({**ROW, "wue": "0", "water_consumed": "0"}))

    assert read_codecarbon_file(path).rows[0].on_site_litres is None


def test_of_the_states_that_flush_writes_only_the_last_counts(path: Path) -> None:
    first = {**ROW, "duration": "3600", "energy_consumed": "0.75", "cpu_energy": "", "emissions": "0.3"}
    path.write_text(table(first, {**ROW, "run_id": "other"}, ROW))

    found = read_codecarbon_file(path)

    assert [(row.run, row.line) for row in found.rows] == [("other", 3), ("run-1", 4)]
    assert sum(row.it_microjoules for row in found.rows) == 7_200_000_000_000
    assert "1 rows are earlier states of a run that has a later row, and do not count." in found.notes


def test_two_runs_under_one_name_are_refused_and_not_guessed(path: Path) -> None:
    less = {**ROW, "energy_consumed": "0.75", "cpu_energy": ""}
    path.write_text(table(ROW, less))

    with pytest.raises(GridFileError, match=r"line 3: the run run-1 has less energy here than in line 2"):
        read_codecarbon_file(path)


def test_a_file_of_tasks_needs_the_pue_that_it_leaves_out(path: Path) -> None:
    task = {name: value for name, value in ROW.items() if name not in ("pue", "wue")} | {"task_name": "train"}
    path.write_text(table(task))

    with pytest.raises(GridFileError, match="--pue"):
        read_codecarbon_file(path)
    (row,) = read_codecarbon_file(path, pue=1.5).rows
    assert (row.task, row.it_microjoules) == ("train", 3_600_000_000_000)


def test_a_file_from_before_pue_was_known_has_the_energy_of_the_machines(path: Path) -> None:
    path.write_text(table({name: value for name, value in ROW.items() if name != "pue"}))

    assert read_codecarbon_file(path).rows[0].it_microjoules == 5_400_000_000_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy_consumed": ""}, "line 3: energy_consumed is empty"),
        ({"energy_consumed": "nan"}, "line 3: energy_consumed is empty"),
        ({"energy_consumed": "1,5"}, "line 3: '1,5' is not a number"),
        ({"energy_consumed": "-1.5", "cpu_energy": ""}, "line 3: energy_consumed is -1.5, below 0"),
        ({"energy_consumed": "inf"}, "line 3: 'inf' is not a number"),
        ({"emissions": ""}, "line 3: emissions is empty"),
        ({"duration": ""}, "line 3: duration is empty"),
        ({"run_id": ""}, "line 3: run_id is empty"),
        ({"timestamp": "last week"}, "line 3: 'last week' is not a time"),
        ({"pue": ""}, "line 3: pue is empty"),
        ({"pue": "0.5"}, "line 3: pue is 0.5"),
        ({"pue": "0"}, "line 3: pue is 0"),
        ({"cpu_energy": "0.4"}, r"line 3: cpu_energy \+ gpu_energy \+ ram_energy = 1.6 kWh"),
        ({"wue": "many"}, "line 3: 'many' is not a number"),
    ],
)
def test_a_hole_or_a_broken_row_names_its_line(path: Path, changes: dict[str, str], message: str) -> None:
    path.write_text(table(ROW, {**ROW, "run_id": "run-2", **changes}))

    with pytest.raises(GridFileError, match=message):
        read_codecarbon_file(path)


def test_a_row_that_was_cut_off_names_its_line(path: Path) -> None:
    path.write_text(table(ROW) + "2026-03-01T15:00:00,vision,run-2\n")

    with pytest.raises(GridFileError, match="line 3: has 3 cells, the header 16"):
        read_codecarbon_file(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows"),
        ("a,b\n1,2\n", "is no emissions.csv of CodeCarbon: it has no column timestamp, run_id"),
        (table(ROW).replace("wue", "pue", 1), "two columns of one name"),
    ],
)
def test_what_is_no_such_file_is_said_to_be_none(path: Path, text: str, message: str) -> None:
    path.write_text(text)

    with pytest.raises(GridFileError, match=message):
        read_codecarbon_file(path)


def test_a_pue_beside_the_column_is_refused(path: Path) -> None:
    path.write_text(table(ROW))

    with pytest.raises(GridFileError, match="has a column pue"):
        read_codecarbon_file(path, pue=1.2)
    with pytest.raises(GridFileError, match=r"PUE is between 1 and 10, not 0.2"):
        read_codecarbon_file(path, pue=0.2)
