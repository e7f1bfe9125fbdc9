from hypothesis import given
from hypothesis import strategies as st

from ayni.cli.sparkline import BARS, sparkline

NUMBERS = st.lists(st.floats(-1e6, 1e6), max_size=200)


def test_bars_rise_with_the_values() -> None:
    assert sparkline(range(8)) == BARS


def test_equal_values_are_low_and_no_values_are_no_line() -> None:
    assert sparkline([3.0, 3.0]) == 2 * BARS[0]
    assert sparkline([]) == ""


def test_more_values_than_bars_are_averaged() -> None:
    assert sparkline([0, 0, 4, 4, 8, 8], width=3) == BARS[0] + BARS[4] + BARS[7]


@given(NUMBERS, st.integers(1, 60))
def test_a_line_is_never_wider_than_asked_for_nor_than_its_values(values: list[float], width: int) -> None:
    line = sparkline(values, width=width)

    assert len(line) == min(width, len(values))
    assert set(line) <= set(BARS)
