"""Nights by the clock on the wall, also where the clock jumps."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.daily_windows import InvalidDailyWindowError, daily_windows, parse_span, time_zone

BERLIN = time_zone("Europe/Berlin")


def nights(start: datetime, days: int, span: str = "20:00-06:00") -> list[float]:
    """Hours of each window."""
    begin, end = parse_span(span)
    windows = daily_windows(begin, end, zone=BERLIN, start=start, until=start + timedelta(days=days))
    return [(closes - opens).total_seconds() / 3600 for opens, closes in windows]


def test_a_night_is_an_hour_shorter_or_longer_where_the_clocks_change() -> None:
    noon_before_summer = datetime(2026, 3, 27, 11, tzinfo=UTC)
    noon_before_winter = datetime(2026, 10, 23, 10, tzinfo=UTC)

    assert nights(noon_before_summer, 3) == [10.0, 9.0, 10.0]
    assert nights(noon_before_winter, 3) == [10.0, 11.0, 10.0]


def test_a_time_that_the_clocks_skip_is_the_moment_of_the_jump() -> None:
    """In Berlin 02:30 does not exist on 2026-03-29; the clocks jump at 01:00 UTC."""
    start = datetime(2026, 3, 28, 23, tzinfo=UTC)

    (window,) = daily_windows(
        time(2, 30), time(5), zone=BERLIN, start=start, until=start + timedelta(hours=20)
    )

    assert window == (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 3, 29, 3, tzinfo=UTC))


def test_a_time_that_comes_twice_gives_the_longer_window() -> None:
    """In Berlin 02:30 is at 00:30 and at 01:30 UTC on 2026-10-25."""
    start = datetime(2026, 10, 24, 12, tzinfo=UTC)

    (window,) = daily_windows(
        time(2, 30), time(2, 45), zone=BERLIN, start=start, until=start + timedelta(hours=20)
    )

    assert window == (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 45, tzinfo=UTC))


def test_windows_are_cut_off_at_both_ends_of_the_offer() -> None:
    two_at_night = datetime(2026, 6, 1, 0, tzinfo=UTC)

    assert nights(two_at_night, 1) == [4.0, 6.0]


def test_equal_times_are_one_window_of_all_days() -> None:
    assert nights(datetime(2026, 10, 20, tzinfo=UTC), 10, "00:00-00:00") == [240.0]


@given(st.integers(0, 24 * 365), st.integers(0, 1439), st.integers(0, 1439), st.integers(1, 5))
def test_windows_of_any_span_are_in_order_inside_the_offer_and_apart(
    first_hour: int, begin: int, end: int, days: int
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=first_hour)
    until = start + timedelta(days=days)

    windows = daily_windows(
        time(begin // 60, begin % 60), time(end // 60, end % 60), zone=BERLIN, start=start, until=until
    )

    moments = [moment for window in windows for moment in window]
    assert moments == sorted(moments)
    assert len(set(moments)) == len(moments)
    assert all(start <= moment <= until for moment in moments)


@pytest.mark.parametrize("text", ["", "20-06", "25:00-06:00", "20:60-06:00", "20:00", "20:00-06:00 CET"])
def test_what_is_no_span_of_the_day_is_refused(text: str) -> None:
    with pytest.raises(InvalidDailyWindowError, match="20:00-06:00"):
        parse_span(text)


@pytest.mark.parametrize("name", ["", "Berlin", "../etc/passwd", "/etc/localtime", "CET+99"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidDailyWindowError, match="Europe/Berlin"):
        time_zone(name)
