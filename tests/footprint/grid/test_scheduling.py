import json
import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.climatology import shipped_climatology
from ayni.footprint.grid.intensity_series import FORECAST, HOUR, IntensitySeries
from ayni.footprint.grid.scheduling import (
    FORTNIGHT,
    PUBLISHED,
    USUAL,
    YESTERDAY,
    Work,
    replay,
    replay_fortnight,
    replay_usual_days,
    when_to_run,
)

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "data" / "carbon"
MIDNIGHT = datetime(2023, 1, 1, tzinfo=UTC)
FOUR_HOURS = Work(hours=4, within_hours=24)
# 12 heavy hours, 4 light ones, 8 middling ones.
SUNNY_DAY = [300.0] * 12 + [100.0] * 4 + [200.0] * 8


def series_of(values: list[float | None] | list[float], **others: object) -> IntensitySeries:
    kept = {"zone": "DE", "basis": Basis(), "source": "a test", "first_hour": MIDNIGHT, **others}
    return IntensitySeries(grams_co2e_per_kwh=tuple(values), **kept)  # type: ignore[arg-type]


def test_on_a_grid_that_repeats_itself_the_light_hours_are_found_and_the_promise_kept() -> None:
    # Given thirty equal days and a job that comes at midnight
    series = series_of(SUNNY_DAY * 30)

    advice = when_to_run(FOUR_HOURS, now=series.end, series=series)

    assert advice.verdict == "wait"
    assert advice.start_at == series.end + 12 * HOUR
    assert (advice.grams_per_kwh_now, advice.grams_per_kwh_then) == (300, 100)
    assert advice.expected_saving == pytest.approx(2 / 3)
    assert advice.forecast == FORTNIGHT
    assert advice.replayed is not None
    assert advice.replayed.forecast == FORTNIGHT
    assert advice.replayed.realised == pytest.approx(advice.replayed.oracle)
    assert advice.replayed.share_worse == 0
    assert advice.replayed.num_jobs == 30 * 24 - 7 * 24 - 23
    assert (advice.first_hour, advice.grams_per_kwh_by_hour) == (series.end, tuple(SUNNY_DAY))


def test_a_replay_counts_the_losses_of_a_grid_that_does_the_opposite_every_day() -> None:
    # Given days that are light at night and at noon in turn: yesterday is the worst adviser
    days = [[100.0] * 12 + [300.0] * 12, [300.0] * 12 + [100.0] * 12] * 15
    series = series_of([value for day in days for value in day])

    savings = replay(series, Work(hours=4, within_hours=12))

    assert savings is not None
    assert savings.oracle > 0.15
    assert savings.realised < 0
    assert savings.share_worse > 0.2
    assert savings.low < savings.median <= savings.high
    assert len(savings.percentiles) == 19
    assert (savings.percentiles[0], savings.percentiles[9]) == (savings.low, savings.median)


def test_on_a_flat_grid_waiting_is_no_use() -> None:
    series = series_of([500.0, 505.0, 495.0] * 160)

    advice = when_to_run(FOUR_HOURS, now=series.end, series=series)

    assert advice.verdict == "no use"
    assert advice.start_at == series.end
    assert "too flat" in advice.reason


def test_at_the_best_hour_the_answer_is_to_start() -> None:
    series = series_of(SUNNY_DAY * 30)

    advice = when_to_run(FOUR_HOURS, now=series.end + 12 * HOUR, series=series)

    assert advice.verdict == "start now"
    assert advice.expected_saving == 0


def test_without_hours_it_says_what_it_needs() -> None:
    nothing = when_to_run(FOUR_HOURS, now=MIDNIGHT)
    too_short = when_to_run(FOUR_HOURS, now=MIDNIGHT + 100 * HOUR, series=series_of([1.0, 2.0]))

    assert nothing.verdict == too_short.verdict == "needs data"
    assert "Electricity Maps, ENTSO-E or NESO" in nothing.reason
    assert "ends at 2023-01-01 02:00" in too_short.reason
    assert nothing.expected_saving is None
    assert nothing.grams_per_kwh_by_hour == ()


def test_advice_is_plain_json() -> None:
    series = series_of(SUNNY_DAY * 30)

    advice = when_to_run(FOUR_HOURS, now=series.end, series=series)

    assert json.loads(json.dumps(advice.to_json())) == advice.to_json()
    assert advice.to_json()["grams_per_kwh_by_hour"] == SUNNY_DAY


def test_a_shipped_climatology_advises_without_any_file() -> None:
    now = datetime(2026, 4, 10, 3, tzinfo=UTC)

    california = when_to_run(FOUR_HOURS, now=now, climatology=shipped_climatology("CISO"))
    southern = when_to_run(FOUR_HOURS, now=now, climatology=shipped_climatology("SOCO"))

    # Local noon is 20 hours UTC.
    assert (california.verdict, california.forecast) == ("wait", USUAL)
    assert 16 <= california.start_at.hour <= 20
    assert california.replayed is None
    assert southern.verdict == "no use"


def test_a_file_of_another_year_advises_by_what_is_usual_in_it() -> None:
    series = series_of(SUNNY_DAY * 30)

    advice = when_to_run(FOUR_HOURS, now=datetime(2026, 1, 10, tzinfo=UTC), series=series)

    assert advice.forecast == USUAL
    assert advice.start_at.hour == 12


def test_of_days_that_are_expected_alike_the_first_is_taken() -> None:
    # Given hours whose sums do not come out even
    series = series_of([value + 0.9 * index for index, value in enumerate(SUNNY_DAY)] * 30)

    advice = when_to_run(Work(hours=4, within_hours=96), now=series.end, series=series)

    assert advice.start_at == series.end + 12 * HOUR


def test_a_week_is_needed_for_a_mean_of_days_and_yesterday_serves_before() -> None:
    short, long = series_of(SUNNY_DAY * 6), series_of(SUNNY_DAY * 7)

    assert when_to_run(FOUR_HOURS, now=short.end, series=short).forecast == YESTERDAY
    assert when_to_run(FOUR_HOURS, now=long.end, series=long).forecast == FORTNIGHT


@given(
    days=st.lists(
        st.lists(st.one_of(st.none(), st.floats(1, 900)), min_size=24, max_size=24), min_size=9, max_size=18
    ),
    within=st.integers(4, 60),
)
@settings(max_examples=30)
def test_the_mean_of_two_weeks_looks_at_nothing_after_the_start(
    days: list[list[float | None]], within: int
) -> None:
    # Given a series with holes, and the days before the last two
    series = series_of([value for day in days for value in day])
    start = 24 * (len(days) - 2)
    past = series.between(series.first_hour, series.first_hour + start * HOUR)

    advice = when_to_run(Work(hours=4, within_hours=within), now=past.end, series=past)

    if advice.forecast == FORTNIGHT:
        for ahead, expected in enumerate(advice.grams_per_kwh_by_hour):
            same_hours = [days[day][ahead % 24] for day in range(max(0, len(days) - 16), len(days) - 2)]
            known = [value for value in same_hours if value is not None]
            assert expected == pytest.approx(sum(known) / len(known))


def test_a_mean_of_days_is_not_fooled_by_one_odd_day_as_yesterday_is() -> None:
    # Given a grid that is light at noon but for every seventh day, which is light at night
    odd_day = [100.0] * 4 + [300.0] * 20
    series = series_of(([*SUNNY_DAY] * 6 + odd_day) * 8)

    by_mean, by_yesterday = replay_fortnight(series, FOUR_HOURS), replay(series, FOUR_HOURS)

    assert by_mean is not None
    assert by_yesterday is not None
    assert by_mean.realised > by_yesterday.realised
    assert by_mean.share_worse < by_yesterday.share_worse


def test_what_is_usual_leaves_the_hour_itself_out() -> None:
    # Given one cheap hour on one day of two: its own value must not betray it
    ordinary, lucky = [300.0] * 24, [*[300.0] * 5, 10.0, *[300.0] * 18]
    series = series_of([*ordinary * 20, *lucky, *ordinary * 9])

    savings = replay_usual_days(series, Work(hours=1, within_hours=24))

    assert savings is not None
    assert savings.forecast == USUAL
    # All other days expect a little of it at 5; only the day itself would gain.
    assert savings.realised < savings.oracle / 2


def test_a_file_that_ended_long_ago_is_judged_by_what_is_usual_in_it() -> None:
    series = series_of(SUNNY_DAY * 30)

    advice = when_to_run(FOUR_HOURS, now=datetime(2026, 1, 10, tzinfo=UTC), series=series)

    assert advice.replayed is not None
    assert advice.replayed.forecast == USUAL


def test_a_published_forecast_goes_before_yesterday() -> None:
    series = series_of(SUNNY_DAY * 30)
    forecast = series_of([300.0] * 4 + [50.0] * 20, link=FORECAST, first_hour=series.end)

    advice = when_to_run(FOUR_HOURS, now=series.end, series=series, forecast=forecast)

    assert advice.forecast == PUBLISHED
    assert advice.start_at == series.end + 4 * HOUR


def test_what_waiting_draws_is_charged_to_the_job_that_waits() -> None:
    series = series_of(SUNNY_DAY * 30)

    free = when_to_run(FOUR_HOURS, now=series.end, series=series)
    paid = when_to_run(Work(hours=4, within_hours=24, waiting_share=0.1), now=series.end, series=series)
    dear = when_to_run(Work(hours=4, within_hours=24, waiting_share=1.0), now=series.end, series=series)

    assert free.grams_per_kwh_then == 100
    assert paid.grams_per_kwh_then == pytest.approx((4 * 100 + 0.1 * 12 * 300) / 4)
    assert dear.verdict != "wait"


def test_a_start_within_an_hour_and_part_of_an_hour_of_work_are_weighed_by_the_minute() -> None:
    series = series_of([100.0, 300.0] * 400)
    now = series.end + timedelta(minutes=30)

    advice = when_to_run(Work(hours=0.75, within_hours=1.75), now=now, series=series)

    # Half an hour at 100 and a quarter at 300; an hour later half at 300 and a quarter at 100
    assert advice.grams_per_kwh_now == pytest.approx((0.5 * 100 + 0.25 * 300) / 0.75)
    assert advice.expected_saving == 0


def test_starts_with_a_hole_are_left_out_and_too_few_are_no_replay() -> None:
    whole = series_of(SUNNY_DAY * 30)
    holed = series_of([*SUNNY_DAY * 15, *[None] * 24, *SUNNY_DAY * 14])

    with_holes, complete = replay(holed, FOUR_HOURS), replay(whole, FOUR_HOURS)

    assert complete is not None
    assert with_holes is not None
    assert with_holes.num_jobs == complete.num_jobs - 24 - 23
    assert replay(series_of(SUNNY_DAY * 10), FOUR_HOURS) is None


def test_a_long_time_is_replayed_at_fewer_starts_of_all_hours_of_the_day() -> None:
    series = series_of(SUNNY_DAY * 120)

    short = replay_fortnight(series, Work(hours=4, within_hours=24))
    long = replay_fortnight(series, Work(hours=4, within_hours=24 * 14))

    assert short is not None
    assert long is not None
    assert short.num_jobs == 120 * 24 - 7 * 24 - 23
    assert long.num_jobs == pytest.approx((120 - 7 - 14) * 24 / 5, abs=2)
    # All hours of the day in equal numbers, each against the light ones.
    assert long.oracle == pytest.approx(1 - 100 / (sum(SUNNY_DAY) / 24), abs=0.005)


def test_work_that_does_not_fit_is_refused() -> None:
    for hours, within, waiting in [(5, 4, 0), (0, 4, 0), (1, 4, 2)]:
        with pytest.raises(ValueError, match=r"do not fit|waiting draws"):
            Work(hours=hours, within_hours=within, waiting_share=waiting)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the hourly data are not here")
def test_the_published_savings_of_real_grids_are_found_again() -> None:
    script = runpy.run_path(str(ROOT / "dev" / "make_climatology.py"))
    areas = script["read_areas"](SHARED / "us_ba_hourly_2022_avgCI_gperkwh.csv.gz")

    california, texas = replay(areas["CISO"], FOUR_HOURS), replay(areas["ERCO"], FOUR_HOURS)

    assert california is not None
    assert (california.oracle, california.realised) == (
        pytest.approx(0.322, abs=0.003),
        pytest.approx(0.303, abs=0.003),
    )
    assert texas is not None
    assert (texas.oracle, texas.realised) == (
        pytest.approx(0.144, abs=0.003),
        pytest.approx(0.044, abs=0.003),
    )
    assert texas.share_worse == pytest.approx(0.24, abs=0.01)
