"""A grid file is described by what it says, and what it does not say is null."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.grid.importers import read_intensity_file
from ayni.footprint.grid.intensity_series import IntensitySeries
from ayni.workflows.describe_grid import api_json, describe_file, describe_series

FIRST = datetime(2026, 3, 1, 22, tzinfo=UTC)


def series_of(*values: float | None, counting: str = "life-cycle") -> IntensitySeries:
    return IntensitySeries(
        zone="DE",
        basis=Basis(counting=counting),  # type: ignore[arg-type]
        source="a test",
        first_hour=FIRST,
        grams_co2e_per_kwh=values,
    )


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "grid.csv"
    path.write_text(content)
    return path


def test_span_holes_and_figures_are_told() -> None:
    found = describe_series(series_of(100.0, None, 300.0, None, None, 200.0))

    assert (found["num_hours"], found["num_holes"]) == (6, 3)
    assert found["longest_hole"] == {"first_hour": "2026-03-02T01:00:00+00:00", "num_hours": 2}
    assert (found["mean"], found["lowest"], found["highest"]) == (200, 100, 300)
    assert found["variation"] == pytest.approx((20000 / 3) ** 0.5 / 200)
    assert found["end"] == "2026-03-02T04:00:00+00:00"


def test_the_mean_day_is_of_utc_from_midnight_on() -> None:
    found = describe_series(series_of(*[1.0, 2.0, 3.0], *[None] * 21, *[3.0, 4.0]))

    # The series begins at 22 hours.
    assert found["mean_day"] == [3.0, *[None] * 21, 2.0, 3.0]


def test_a_series_of_holes_has_no_figures() -> None:
    found = describe_series(series_of(None, None))

    assert (found["mean"], found["lowest"], found["variation"]) == (None, None, None)
    assert found["longest_hole"]["num_hours"] == 2


def test_of_several_zones_the_names_are_told_and_one_is_described_when_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, "utc,DE,FR\n2026-03-01 00:00,1,2\n")

    several, chosen = describe_file(path), describe_file(path, zone="fr", counting="direct")

    assert (several["zones"], several["series"]) == (["DE", "FR"], None)
    assert chosen["series"]["mean"] == 2
    assert chosen["series"]["basis"] == "average, location-based, direct"


def test_a_table_that_does_not_say_what_it_counts_has_no_basis(tmp_path: Path) -> None:
    found = describe_file(written(tmp_path, "utc,DE\n2026-03-01 00:00,1\n"))

    assert not found["states_basis"]
    assert found["series"]["basis"] is None
    assert found["series"]["mean"] == 1


def test_a_file_that_says_what_it_counts_is_believed(tmp_path: Path) -> None:
    path = written(
        tmp_path, "datetime,forecast,actual,index\n2026-03-01T00:00,1,2,low\n2026-03-01T00:30,1,2,low\n"
    )

    found = describe_file(path)

    assert (found["kind"], found["zones"]) == ("CSV of NESO, Great Britain", ["GB"])
    assert found["series"]["basis"].endswith("direct")
    with pytest.raises(GridFileError, match="direct, not life-cycle"):
        describe_file(path, counting="life-cycle")


@pytest.mark.parametrize("counting", ["life-cycle", "direct"])
def test_what_the_network_gave_is_kept_in_a_form_that_is_read_again(tmp_path: Path, counting: str) -> None:
    series = series_of(100.0, None, 300.5, counting=counting)
    path = tmp_path / "de.json"
    path.write_text(api_json(series))

    again = read_intensity_file(path)

    assert again.grams_co2e_per_kwh == series.grams_co2e_per_kwh
    assert (again.zone, again.first_hour, again.basis) == (series.zone, series.first_hour, series.basis)
    assert json.loads(path.read_text())["zone"] == "DE"
