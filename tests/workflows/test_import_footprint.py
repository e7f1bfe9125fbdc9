from datetime import UTC, datetime
from pathlib import Path

from ayni.footprint.sums.third_party import ImportRequest
from ayni.workflows.import_footprint import import_footprint

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def test_an_import_lies_beside_the_measurements_of_the_home(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "emissions.csv"
    file.write_text(
        "timestamp,run_id,duration,emissions,energy_consumed,pue\n"
        "2026-03-01T14:00:00,a,60,0.6,1.5,1.5\n2026-03-01T15:00:00,b,60,0.6,3.0,1.5\n"
    )

    found = import_footprint(file, ImportRequest(member="lab-b", imported_by="maria"), now=NOW)

    assert (home / "footprint" / found["import"] / "import.json").is_file()
    assert (found["entries"], found["energy_microjoules"], found["grams_co2e"]) == (
        2,
        3 * 3_600_000_000_000,
        1200.0,
    )
