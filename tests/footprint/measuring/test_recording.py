from pathlib import Path

import pytest

from ayni.files import NotWritableError, read_json_lines
from ayni.footprint.grid.carbon import UnknownZoneError
from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.measuring.measurement_folder import abandoned_folders, read_result
from ayni.footprint.measuring.recording import Recording, Request
from ayni.footprint.receipts.verification import verify_receipts
from ayni.footprint.windows.cpu_time import ScriptedCpuClock


def recording(home: Path, clock: ScriptedCpuClock | None = None, **request: object) -> Recording:
    values = {"name": "work", "home": home, "uses_gpu": False, **request}
    return Recording(Request(**values), cpu_clock=clock)  # type: ignore[arg-type]


def test_a_recording_ends_as_a_signed_chain_that_verifies(home: Path) -> None:
    under_way = recording(home)
    under_way.begin_step("epoch")

    recorded = under_way.finish("finished")

    assert [receipt["step"] for receipt in recorded.receipts] == ["run", "epoch"]
    assert recorded.problems == ()
    assert verify_receipts(under_way.folder) == []
    assert read_result(under_way.folder)["status"] == "finished"
    assert list(abandoned_folders(under_way.folder.parent)) == []


def test_the_steps_add_up_to_what_was_metered_to_the_microjoule(home: Path) -> None:
    clock = ScriptedCpuClock()
    under_way = recording(home, clock)
    for step in ("one", "two", "three"):
        clock.node_seconds += 1.0
        clock.job_seconds += 0.7
        under_way.begin_step(step)

    recorded = under_way.finish("finished")

    windows = read_json_lines(under_way.folder / "meter" / "windows.jsonl")
    metered = sum(
        sum(value for name, value in row["jobs"][under_way.id].items() if name.endswith("microjoules"))
        for row in windows
        if row["kind"] == "window" and row["step"] != "end"
    )
    assert sum(receipt["energy_microjoules"] for receipt in recorded.receipts) == metered
    assert recorded.footprint is not None and recorded.footprint.cpu_seconds == pytest.approx(2.1)


def test_names_of_steps_are_made_unique_and_fit_into_names_of_files(home: Path) -> None:
    under_way = recording(home)

    names = [under_way.begin_step(name) for name in ("epoch", "epoch", "val/top 1", "run", "end")]

    assert names == ["epoch", "epoch-2", "val-top-1", "run-2", "end-2"]
    under_way.finish("finished")
    assert verify_receipts(under_way.folder) == []


def test_a_step_that_goes_on_has_one_receipt_over_all_of_its_windows(home: Path) -> None:
    under_way = recording(home)
    under_way.begin_step("inside")
    under_way.go_on_with("run")

    recorded = under_way.finish("finished")

    first = recorded.receipts[0]
    assert (first["step"], len(first["windows"]["ranges"])) == ("run", 2)
    assert verify_receipts(under_way.folder) == []


def test_functional_units_stand_on_the_receipt_of_their_step(home: Path) -> None:
    under_way = recording(home, functional_unit=FunctionalUnit(name="1k images", count=2000))
    under_way.count(FunctionalUnit(name="1k images", count=500))
    with pytest.raises(ValueError, match="counts 1k images, not epoch"):
        under_way.count(FunctionalUnit(name="epoch", count=1))
    under_way.begin_step("epoch-1")
    under_way.count(FunctionalUnit(name="epoch", count=1))

    recorded = under_way.finish("finished")

    assert [receipt["functional_unit"] for receipt in recorded.receipts] == [
        {"name": "1k images", "count": 2500.0},
        {"name": "epoch", "count": 1.0},
    ]


def test_without_saving_nothing_stays_and_nothing_is_signed(home: Path) -> None:
    under_way = recording(home, save=False)

    recorded = under_way.finish("finished")

    assert recorded.footprint is not None
    assert "signature" not in recorded.receipts[0]
    assert not home.exists() and not under_way.folder.parent.exists()


def test_what_cannot_be_measured_is_refused_before_any_work_and_leaves_nothing(home: Path) -> None:
    with pytest.raises(UnknownZoneError, match="Did you mean"):
        recording(home, zone="GERMANY")
    with pytest.raises(GridFileError):
        recording(home, zone="DE", grid_files=(home / "nowhere.csv",))

    assert not home.exists()


@pytest.mark.parametrize(
    ("request_values", "message"),
    [
        ({"name": ""}, "no name"),
        ({"pue": 0.9}, "at least 1"),
        ({"pue": float("nan")}, "at least 1"),
        ({"reserved_cores": 0}, "at least one core"),
    ],
)
def test_a_request_that_cannot_be_is_refused(request_values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Request(**{"name": "work", **request_values})  # type: ignore[arg-type]


def test_a_home_that_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file stands here")

    with pytest.raises(NotWritableError):
        recording(tmp_path / "home")


def test_hourly_figures_of_a_file_weigh_the_energy_and_name_their_zone(home: Path, tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now + timedelta(hours=late) for late in range(-2, 3)]
    rows = [f"{hour:%Y-%m-%d %H:%M:%S},Germany,Germany,DE,300,400" for hour in hours]
    grid = tmp_path / "grid.csv"
    head = "Datetime (UTC),Country,Zone name,Zone id,"
    head += "Carbon intensity gCO2eq/kWh (direct),Carbon intensity gCO2eq/kWh (Life cycle)"
    grid.write_text("\n".join([head, *rows]) + "\n")
    under_way = recording(home, grid_files=(grid,))

    carbon = under_way.finish("finished").receipts[0]["carbon"]

    assert (carbon["zone"], carbon["worst_link"]) == ("DE", "metered hour")
    assert carbon["grams_co2e_per_kwh"] == pytest.approx(400)


def test_a_meter_that_fails_is_told_at_the_end_and_what_was_metered_is_kept(home: Path) -> None:
    under_way = recording(home)
    under_way.begin_step("second")
    # No window can be written any more: a folder stands where the file was, as after a mistake of somebody.
    windows = under_way.folder / "meter" / "windows.jsonl"
    kept = windows.rename(windows.with_name("aside"))
    windows.mkdir()

    recorded = under_way.finish("finished")

    assert recorded.problems and recorded.footprint is None
    # Mended, the receipts are written by the next measurement of this home.
    windows.rmdir()
    kept.rename(windows)
    recording(home).finish("finished")
    assert read_result(under_way.folder)["status"] == "interrupted"
    assert verify_receipts(under_way.folder) == []


def test_a_gpu_that_is_in_use_and_that_nothing_meters_makes_the_energy_unknown(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    request = Request(name="work", home=home)
    before = Recording(request, devices=tmp_path / "dev")
    assert before.finish("finished").footprint.tier == "W3"  # type: ignore[union-attr]

    later = Recording(request, devices=tmp_path / "dev")
    later.begin_step("on-the-gpu")
    with (tmp_path / "dev" / "nvidia0").open():
        recorded = later.finish("finished")

    assert recorded.footprint is not None
    assert (recorded.footprint.energy_joules, recorded.footprint.tier) == (None, "W5")
    assert recorded.footprint.unknown_parts == ("gpu",)
    assert recorded.receipts[0]["energy_microjoules"] is not None
    assert verify_receipts(later.folder) == []


def test_who_says_that_no_gpu_is_used_is_believed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    with (tmp_path / "nvidia0").open():
        under_way = Recording(Request(name="work", home=home, uses_gpu=False), devices=tmp_path)
        recorded = under_way.finish("finished")

    assert recorded.footprint is not None and recorded.footprint.energy_joules is not None


def test_a_measurement_of_nothing_leaves_nothing_behind(home: Path) -> None:
    under_way = recording(home)

    under_way.discard()

    assert list((home / "footprint").iterdir()) == [home / "footprint" / ".open"]
    assert list((home / "footprint" / ".open").iterdir()) == []
