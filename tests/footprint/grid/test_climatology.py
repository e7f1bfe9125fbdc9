import gzip
import runpy
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.climatology import (
    Climatology,
    ShippedClimatologies,
    fit_climatology,
    shipped_climatologies,
    shipped_climatology,
)
from ayni.footprint.grid.intensity_series import CLIMATOLOGY, HOUR, IntensitySeries

ROOT = Path(__file__).parents[3]
US_2022 = ROOT.parent / "shared" / "data" / "carbon" / "us_ba_hourly_2022_avgCI_gperkwh.csv.gz"
JANUARY = datetime(2023, 1, 1, tzinfo=UTC)


def series_of(*values: float | None) -> IntensitySeries:
    return IntensitySeries(
        zone="DE", basis=Basis(), source="a test", first_hour=JANUARY, grams_co2e_per_kwh=values
    )


def test_a_cell_is_the_mean_of_its_hours_and_a_month_without_data_is_a_hole() -> None:
    day_one = [100.0] + [200.0] * 23
    day_two = [300.0] + [None] * 23

    climatology = fit_climatology(series_of(*day_one, *day_two))

    assert climatology.at(JANUARY + 480 * HOUR) == 200
    assert climatology.at(JANUARY + 481 * HOUR) == 200
    assert climatology.at(datetime(2023, 2, 1, tzinfo=UTC)) is None
    assert climatology.years == "2023"


def test_a_grid_that_repeats_itself_has_no_spread_but_that_between_sources() -> None:
    climatology = fit_climatology(series_of(*([100.0] * 12 + [300.0] * 12) * 20))

    assert (climatology.low_factor, climatology.high_factor) == (0.84, 1.19)


def test_a_restless_grid_has_a_wider_interval() -> None:
    # Given days that are half or twice as heavy as usual, in turn
    days = [[50.0] * 24, [200.0] * 24] * 10

    climatology = fit_climatology(series_of(*(value for day in days for value in day)))

    # Then hours lie at 0.4 and 1.6 of their cell, and the sources' disagreement comes on top
    assert climatology.low_factor < 0.4
    assert climatology.high_factor > 1.6


def test_too_few_hours_make_no_climatology() -> None:
    with pytest.raises(ValueError, match="1 known hours"):
        fit_climatology(series_of(None, 3.0))


def test_the_shipped_areas_are_found_by_both_of_their_names() -> None:
    assert shipped_climatology("us-cal-ciso") is shipped_climatology("CISO")
    assert shipped_climatology("DE") is None
    assert len(shipped_climatologies()) == 8


def test_a_spring_noon_in_california_is_lighter_than_its_evening() -> None:
    california = shipped_climatology("CISO")
    assert california is not None

    noon, evening = (
        california.at(datetime(2025, 4, 10, 20, tzinfo=UTC)),
        california.at(datetime(2025, 4, 10, 4, tzinfo=UTC)),
    )

    assert noon is not None
    assert evening is not None
    assert noon < evening / 2


def test_hours_of_a_climatology_are_named_as_such() -> None:
    found = ShippedClimatologies().hours("US-TEX-ERCO", JANUARY, JANUARY + 30 * HOUR)

    assert found is not None
    assert found.link == CLIMATOLOGY
    assert len(found.grams_co2e_per_kwh) == 30
    assert found.grams_co2e_per_kwh[0] == found.grams_co2e_per_kwh[24]
    assert ShippedClimatologies().hours("DE", JANUARY, JANUARY + HOUR) is None
    assert ShippedClimatologies().hours("CISO", JANUARY, JANUARY) is None


def test_a_climatology_survives_json() -> None:
    for climatology in shipped_climatologies().values():
        assert Climatology.from_json(climatology.to_json()) == climatology


def test_a_table_of_another_shape_is_refused() -> None:
    data = shipped_climatologies()["US-CAL-CISO"].to_json()

    with pytest.raises(ValueError, match="12 months of 24 hours"):
        Climatology.from_json({**data, "cells": data["cells"][:11]})


@pytest.mark.skipif(not US_2022.exists(), reason="the hourly data are not here")
def test_the_shipped_table_is_what_its_script_makes() -> None:
    script = runpy.run_path(str(ROOT / "dev" / "make_climatology.py"))

    assert script["climatology_file"](US_2022) == script["TARGET"].read_text(encoding="utf-8")


def test_the_script_moves_stamps_to_the_start_of_the_hour_and_drops_what_cannot_be(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "dev" / "make_climatology.py"))
    areas = ",".join(script["AREAS"])
    rows = [f"utc,{areas}", "2022-01-01 01:00Z,1,2,3,4,5,6,300,8", "2022-01-01 02:00Z,1,2,,4,5,6,45,8"]
    path = tmp_path / "hours.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))

    series = script["read_areas"](path)

    assert series["PJM"].first_hour == datetime(2022, 1, 1, tzinfo=UTC)
    assert series["PJM"].grams_co2e_per_kwh == (300.0, None)
    assert series["CISO"].grams_co2e_per_kwh == (3.0, None)
