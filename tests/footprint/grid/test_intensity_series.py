from datetime import UTC, datetime, timedelta, timezone

import pytest

from ayni.footprint.grid.basis import Basis, BasisMismatchError
from ayni.footprint.grid.intensity_series import (
    FORECAST,
    HOUR,
    GivenSeries,
    IntensitySeries,
    filled,
    hour_of,
    hourly_means,
    join_series,
    step_of,
)

MIDNIGHT = datetime(2023, 1, 1, tzinfo=UTC)


def series_of(*values: float | None, start: datetime = MIDNIGHT, **others: object) -> IntensitySeries:
    kept = {"zone": "DE", "basis": Basis(), "source": "a test", **others}
    return IntensitySeries(first_hour=start, grams_co2e_per_kwh=values, **kept)  # type: ignore[arg-type]


def test_a_moment_has_the_value_of_its_hour_and_a_hole_has_none() -> None:
    series = series_of(100.0, None, 300.0)

    assert series.at(MIDNIGHT + timedelta(minutes=59)) == 100
    assert series.at(MIDNIGHT + HOUR) is None
    assert series.at(MIDNIGHT - timedelta(seconds=1)) is None
    assert series.at(series.end) is None
    assert series.num_holes == 1


def test_the_hour_does_not_depend_on_the_clock_it_is_told_by() -> None:
    in_berlin = datetime(2023, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=1)))

    assert hour_of(in_berlin) == MIDNIGHT
    with pytest.raises(ValueError, match="no time zone"):
        hour_of(in_berlin.replace(tzinfo=None))


def test_a_part_of_a_series_covers_every_hour_that_it_touches() -> None:
    series = series_of(1.0, 2.0, 3.0, 4.0)

    part = series.between(MIDNIGHT + timedelta(minutes=90), MIDNIGHT + timedelta(minutes=121))

    assert part is not None
    assert part.first_hour == MIDNIGHT + HOUR
    assert part.grams_co2e_per_kwh == (2.0, 3.0)
    assert series.between(MIDNIGHT - HOUR, MIDNIGHT) is None
    assert series.between(series.end, series.end + HOUR) is None


def test_joined_series_fill_each_others_holes_and_the_first_counts() -> None:
    first = series_of(1.0, None, None)
    second = series_of(20.0, 30.0, start=MIDNIGHT + HOUR, low_factor=0.5)
    later = series_of(9.0, start=MIDNIGHT + 4 * HOUR, source="another")

    joined = join_series([first, second, later])

    assert joined.grams_co2e_per_kwh == (1.0, 20.0, 30.0, None, 9.0)
    assert joined.low_factor == 0.5
    assert joined.source == "a test; another"
    assert join_series([second, series_of(7.0, 8.0)]).grams_co2e_per_kwh == (7.0, 20.0, 30.0)


def test_series_of_other_bases_zones_or_kinds_are_not_joined() -> None:
    with pytest.raises(BasisMismatchError):
        join_series([series_of(1.0), series_of(1.0, basis=Basis(counting="direct"))])
    with pytest.raises(ValueError, match=r"DE .* FR"):
        join_series([series_of(1.0), series_of(1.0, zone="FR")])
    with pytest.raises(ValueError, match="forecast"):
        join_series([series_of(1.0), series_of(1.0, link=FORECAST)])
    with pytest.raises(BasisMismatchError):
        GivenSeries(series_of(1.0), series_of(1.0, basis=Basis(counting="direct"), zone="FR"))


def test_given_series_know_their_own_zone_alone() -> None:
    source = GivenSeries(series_of(1.0, zone="de"), series_of(5.0, zone="FR"))

    found = source.hours("DE", MIDNIGHT, MIDNIGHT + HOUR)

    assert found is not None
    assert found.grams_co2e_per_kwh == (1.0,)
    assert source.hours("ES", MIDNIGHT, MIDNIGHT + HOUR) is None


def test_quarters_become_hours_and_a_single_quarter_does_not_stand_for_one() -> None:
    quarter = timedelta(minutes=15)
    points = {MIDNIGHT + quarter * index: value for index, value in enumerate([10.0, 20.0, None, 30.0, 40.0])}

    hours = hourly_means(points, step_of(points))

    assert hours == {MIDNIGHT: 20.0, MIDNIGHT + HOUR: None}


def test_steps_that_do_not_divide_an_hour_are_refused() -> None:
    for step in (timedelta(days=1), timedelta(minutes=45), timedelta(0)):
        with pytest.raises(ValueError, match="do not divide an hour"):
            hourly_means({MIDNIGHT: 1.0}, step)


def test_hours_that_are_missing_between_become_holes() -> None:
    assert filled({MIDNIGHT + 2 * HOUR: 3.0, MIDNIGHT: 1.0}) == (MIDNIGHT, (1.0, None, 3.0))
    with pytest.raises(ValueError, match="no hour"):
        filled({})


def test_a_series_survives_json() -> None:
    series = series_of(1.5, None, notes=("1 of 2 hours has no value",))

    assert IntensitySeries.from_json(series.to_json()) == series


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e6])
def test_a_value_that_no_grid_has_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no intensity"):
        series_of(value)


def test_a_series_begins_at_a_whole_hour_and_its_interval_encloses_the_value() -> None:
    with pytest.raises(ValueError, match="whole hour"):
        series_of(1.0, start=MIDNIGHT + timedelta(minutes=30))
    with pytest.raises(ValueError, match="do not enclose 1"):
        series_of(1.0, low_factor=1.1)
