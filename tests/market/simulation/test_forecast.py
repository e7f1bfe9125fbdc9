"""Yesterday's hours: nothing at or after the hour of the forecast is looked at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.simulation.forecast import YesterdaysHours


def test_an_hour_is_expected_to_be_like_the_newest_at_the_same_hour_of_the_day() -> None:
    truth = np.arange(100.0)[None, :]
    before = np.arange(-24.0, 0.0)[None, :]

    forecast = YesterdaysHours(truth, before_SD=before)

    # At hour 30: hours 30..53 are those of 6..29, and hour 54 is again that of hour 6.
    assert forecast.hours(30, 26)[0].tolist() == [*range(6, 30), 6, 7]
    assert forecast.hours(0, 3)[0].tolist() == [-24, -23, -22]


def test_without_a_day_before_the_first_day_stands_for_it() -> None:
    forecast = YesterdaysHours(np.arange(50.0)[None, :])

    assert forecast.hours(0, 2)[0].tolist() == [0, 1]


@given(now=st.integers(0, 60), num_hours=st.integers(1, 80))
def test_a_forecast_does_not_change_with_what_comes_after_it(now: int, num_hours: int) -> None:
    rng = np.random.default_rng(0)
    truth, before = rng.random((2, 200)), rng.random((2, 24))
    other = truth.copy()
    other[:, now:] = -1.0

    first, second = (
        YesterdaysHours(values, before_SD=before).hours(now, num_hours) for values in (truth, other)
    )

    assert (first == second).all()


def test_a_day_before_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="24 for each site"):
        YesterdaysHours(np.ones((1, 50)), before_SD=np.ones((1, 23)))
