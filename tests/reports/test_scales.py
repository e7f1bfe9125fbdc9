import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.reports.scales import Axis, linear_ticks, padded

VALUES = st.floats(min_value=1e-6, max_value=1e9)


@given(VALUES, st.floats(min_value=1.001, max_value=1e6), st.booleans())
def test_the_ends_of_a_domain_lie_at_the_ends_of_the_range(low: float, factor: float, is_log: bool) -> None:
    axis = Axis(low=low, high=low * factor, start=250, end=30, is_logarithmic=is_log)

    assert axis.position(axis.low) == pytest.approx(250)
    assert axis.position(axis.high) == pytest.approx(30)


@given(VALUES, st.floats(min_value=1.001, max_value=1e6), st.booleans())
def test_ticks_are_few_ordered_and_inside(low: float, factor: float, is_log: bool) -> None:
    axis = Axis(low=low, high=low * factor, start=0, end=100, is_logarithmic=is_log)

    ticks = axis.ticks()

    assert ticks == sorted(ticks)
    assert 1 <= len(ticks) <= 7
    assert all(-1e-6 <= axis.position(tick) <= 100 + 1e-6 for tick in ticks)


def test_linear_ticks_are_round_numbers() -> None:
    assert linear_ticks(0.13, 1.05, 5) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_logarithmic_axis_gives_equal_factors_equal_lengths() -> None:
    axis = Axis(low=1, high=1000, start=0, end=300, is_logarithmic=True)

    assert axis.position(10) == pytest.approx(100)
    assert axis.position(100) == pytest.approx(200)


def test_one_single_value_still_gets_a_domain() -> None:
    for is_log in (False, True):
        low, high = padded([42.0, 42.0], is_logarithmic=is_log)
        assert low < 42 < high
    low, high = padded([0.0])
    assert low < 0 < high


@pytest.mark.parametrize(
    ("low", "high", "is_log"), [(2, 1, False), (1, 1, False), (0, 1, True), (math.nan, 1, False)]
)
def test_a_domain_that_cannot_be_drawn_is_refused(low: float, high: float, is_log: bool) -> None:
    with pytest.raises(ValueError, match="axis needs"):
        Axis(low=low, high=high, start=0, end=1, is_logarithmic=is_log)
