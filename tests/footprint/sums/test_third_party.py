import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.footprint.counters.meters import TIERS, worst_tier
from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.sums.amounts import Amount
from ayni.footprint.sums.third_party import (
    AlreadyImportedError,
    DamagedImportError,
    ImportRequest,
    import_codecarbon,
    import_folders,
    read_import,
    without_repeats,
)
from ayni.signing import SIGNATURE_FIELDS

NOW = datetime(2026, 4, 1, 9, 30, tzinfo=UTC)
HEADER = (
    "timestamp,project_name,run_id,duration,emissions,energy_consumed,country_iso_code,codecarbon_version,pue"
)
FIRST = "2026-03-01T14:00:00,vision,run-1,7200,0.6,1.5,DEU,3.3.2,1.5"
SECOND = "2026-03-02T14:00:00,vision,run-2,3600,0.3,0.75,DEU,3.3.2,1.5"
REQUEST = ImportRequest(member="lab-b", imported_by="maria")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "emissions.csv"
    path.write_text(f"{HEADER}\n{FIRST}\n")
    return path


@pytest.fixture
def imports(tmp_path: Path) -> Path:
    return tmp_path / "footprint"


def test_an_import_keeps_the_file_as_it_came_and_says_whose_word_it_is(file: Path, imports: Path) -> None:
    imported = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW)

    assert imported.folder == imports / "20260401-093000-emissions"
    assert (imported.folder / "emissions.csv").read_bytes() == file.read_bytes()
    statement = json.loads((imported.folder / "import.json").read_text())
    assert statement["statement"].startswith("maria imported these figures of CodeCarbon.")
    assert (statement["tool"], statement["imported_by"], statement["member"]) == (
        "CodeCarbon 3.3.2",
        "maria",
        "lab-b",
    )


def test_an_import_is_no_receipt_and_nothing_of_it_is_signed(file: Path, imports: Path) -> None:
    folder = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW).folder

    statement = json.loads((folder / "import.json").read_text())
    assert not set(SIGNATURE_FIELDS) & set(statement)
    assert statement["schema"] == "ayni/import/1"
    assert sorted(path.name for path in folder.rglob("*")) == ["emissions.csv", "import.json"]


def test_imported_figures_are_of_their_own_tier_without_interval_and_basis(file: Path, imports: Path) -> None:
    (entry,) = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW).entries

    assert (entry.tier, entry.origin, entry.basis, entry.member) == (
        "third-party",
        "third-party",
        None,
        "lab-b",
    )
    assert entry.energy == Amount(value=3_600_000_000_000)
    assert entry.carbon == Amount(value=600.0)
    assert entry.embodied is None and entry.off_site_litres is None and entry.node_account is None
    assert entry.meter == "CodeCarbon 3.3.2 on unknown"


def test_their_tier_is_the_worst_of_all_figures_and_better_than_none() -> None:
    assert TIERS[-2:] == ("third-party", "W5")
    assert worst_tier(["W0", "third-party", "W4"]) == "third-party"


def test_what_is_read_later_is_what_was_imported(file: Path, imports: Path) -> None:
    imported = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW)

    assert read_import(imported.folder) == imported


def test_the_same_file_is_not_imported_twice(file: Path, imports: Path) -> None:
    import_codecarbon(file, imports=imports, request=REQUEST, now=NOW)

    with pytest.raises(AlreadyImportedError, match="20260401-093000-emissions"):
        import_codecarbon(file, imports=imports, request=REQUEST, now=NOW)
    assert len(import_folders(imports)) == 1


def test_a_file_that_grew_is_imported_again_and_its_runs_count_once(file: Path, imports: Path) -> None:
    first = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW)
    file.write_text(f"{HEADER}\n{FIRST}\n{SECOND}\n")

    second = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW)

    assert second.folder.name == "20260401-093000-emissions-2"
    counted, num_repeats = without_repeats([*first.entries, *second.entries])
    assert ([entry.run for entry in counted], num_repeats) == (["run-1", "run-2"], 1)


def test_of_a_run_that_went_on_the_larger_state_counts(file: Path, imports: Path) -> None:
    (entry,) = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW).entries
    grown = replace(entry, facility_microjoules=2 * (entry.facility_microjoules or 0))

    assert without_repeats([entry, grown])[0] == without_repeats([grown, entry])[0] == [grown]


def test_tasks_count_only_where_their_run_is_not_there(file: Path, imports: Path, tmp_path: Path) -> None:
    tasks = tmp_path / "emissions_tasks.csv"
    tasks.write_text(
        "task_name,timestamp,project_name,run_id,duration,emissions,energy_consumed\n"
        "load,2026-03-01T13:00:00,vision,run-1,3600,0.2,0.5\n"
        "fit,2026-03-01T14:00:00,vision,run-1,3600,0.4,1.0\n"
    )
    alone = import_codecarbon(tasks, imports=imports, request=replace(REQUEST, pue=1.5), now=NOW)
    whole = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW)

    assert [entry.step for entry in without_repeats(alone.entries)[0]] == ["load", "fit"]
    counted, num_left_out = without_repeats([*alone.entries, *whole.entries])
    assert ([entry.run for entry in counted], num_left_out) == (["run-1"], 2)


def test_a_broken_file_leaves_nothing_behind(file: Path, imports: Path) -> None:
    file.write_text(f"{HEADER}\n{FIRST}\n{SECOND.replace('0.75', '')}\n")

    with pytest.raises(GridFileError, match="line 3"):
        import_codecarbon(file, imports=imports, request=REQUEST, now=NOW)
    assert not imports.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("emissions.csv", f"{HEADER}\n{FIRST.replace('0.6,', '0.1,')}\n"),
        ("import.json", "{}"),
        ("import.json", '{"schema": "ayni/receipt/2"}'),
        ("import.json", "no json"),
    ],
)
def test_an_import_that_was_changed_is_an_error(file: Path, imports: Path, name: str, content: str) -> None:
    folder = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW).folder
    (folder / name).write_text(content)

    with pytest.raises(DamagedImportError):
        read_import(folder)


def test_a_kept_file_that_is_gone_is_an_error(file: Path, imports: Path) -> None:
    folder = import_codecarbon(file, imports=imports, request=REQUEST, now=NOW).folder
    (folder / "emissions.csv").unlink()

    with pytest.raises(DamagedImportError, match="cannot be read"):
        read_import(folder)
