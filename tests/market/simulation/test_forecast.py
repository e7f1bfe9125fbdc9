"""Recent hours: what is usual, what strayed lately, and nothing at or after the hour of the forecast."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.simulation.forecast import DAY_WEIGHT, HOUR_WEIGHT, NUM_DAYS, RecentHours


def test_of_one_day_an_hour_is_expected_to_be_like_that_day() -> None:
    forecast = RecentHours(np.arange(100.0)[None, :], before_SH=np.arange(24.0)[None, :])

    assert forecast.hours(0, 26)[0].tolist() == [*range(24), 0, 1]


def test_newer_days_weigh_more() -> None:
    days = np.repeat([100.0, 200.0, 400.0], 24)[None, :]

    forecast = RecentHours(np.full((1, 24), 400.0), before_SH=days).hours(0, 24)[0]

    # The hour that ended weighs 400 g; the two days before it say less.
    usual = (400 + DAY_WEIGHT * 200 + DAY_WEIGHT**2 * 100) / (1 + DAY_WEIGHT + DAY_WEIGHT**2)
    usual_then = (200 + DAY_WEIGHT * 100) / (1 + DAY_WEIGHT)
    strayed = 400 - usual_then
    assert forecast[0] == pytest.approx(usual + strayed * HOUR_WEIGHT)
    assert forecast[23] == pytest.approx(usual + strayed * HOUR_WEIGHT**24)


def test_days_before_the_newest_fourteen_are_forgotten() -> None:
    old = np.full((1, 24 * 5), 999.0)
    new = np.random.default_rng(0).random((1, 24 * (NUM_DAYS + 1)))

    with_old = RecentHours(new, before_SH=np.concatenate([old, new], axis=1))

    assert with_old.hours(0, 24) == pytest.approx(RecentHours(new, before_SH=new).hours(0, 24))


def test_what_strayed_makes_nothing_less_than_nothing() -> None:
    before = np.full((1, 48), 10.0)
    before[0, :23] = 1000.0  # all of the first day but its last hour
    before[0, 23] = 500.0

    assert RecentHours(np.zeros((1, 24)), before_SH=before).hours(0, 24).min() >= 0


def test_without_a_day_before_the_first_day_stands_for_it() -> None:
    forecast = RecentHours(np.arange(50.0)[None, :])

    assert forecast.hours(0, 2)[0].tolist() == [0, 1]


@given(now=st.integers(0, 60), num_hours=st.integers(1, 80), num_days=st.integers(1, 16))
def test_a_forecast_does_not_change_with_what_comes_after_it(now: int, num_hours: int, num_days: int) -> None:
    rng = np.random.default_rng(0)
    truth, before = rng.random((2, 200)), rng.random((2, 24 * num_days))
    other = truth.copy()
    other[:, now:] = 1e6

    first, second = (RecentHours(values, before_SH=before).hours(now, num_hours) for values in (truth, other))

    assert (first == second).all()


@pytest.mark.parametrize("shape", [(1, 23), (1, 30), (1, 0), (2, 24)])
def test_hours_before_that_are_no_whole_days_for_each_site_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="whole days of 24 for each of 1"):
        RecentHours(np.ones((1, 50)), before_SH=np.ones(shape))
