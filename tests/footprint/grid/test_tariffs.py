from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.grid.intensity_series import HOUR
from ayni.footprint.grid.tariffs import (
    PriceBand,
    Tariff,
    electricity_cost,
    read_tariff_file,
    split_cost,
    time_of_use_tariff,
)

MIDNIGHT = datetime(2023, 1, 1, tzinfo=UTC)
KWH = 3_600_000_000_000


def hourly(*prices: int | None, flat: int | None = None) -> Tariff:
    return Tariff(
        name="market", first_hour=MIDNIGHT, microcredits_per_kwh=prices, flat_microcredits_per_kwh=flat
    )


def energy(*microjoules: int) -> dict[datetime, int]:
    return {MIDNIGHT + HOUR * index: value for index, value in enumerate(microjoules)}


def test_each_hour_costs_its_own_price() -> None:
    cost = electricity_cost(energy(2 * KWH, KWH), hourly(300_000, 50_000))

    assert cost.microcredits == 650_000
    assert (cost.num_hours, cost.num_flat_hours, cost.num_unknown_hours) == (2, 0, 0)


def test_a_negative_price_pays_for_what_is_drawn() -> None:
    assert electricity_cost(energy(KWH, KWH), hourly(-30_000, 10_000)).microcredits == -20_000


def test_a_hole_is_paid_at_the_flat_price_if_there_is_one_and_is_unknown_otherwise() -> None:
    with_flat = electricity_cost(energy(KWH, KWH), hourly(100, None, flat=7))
    without = electricity_cost(energy(KWH, KWH), hourly(100, None))
    unused = electricity_cost(energy(KWH, 0), hourly(100, None))

    assert (with_flat.microcredits, with_flat.num_flat_hours) == (107, 1)
    assert (without.microcredits, without.num_unknown_hours) == (None, 1)
    assert unused.microcredits == 100


def test_a_cost_is_rounded_once_and_not_hour_by_hour() -> None:
    cost = electricity_cost(energy(*[KWH // 10] * 10), hourly(*[3] * 10))

    assert cost.microcredits == 3


@given(
    jobs=st.lists(st.lists(st.integers(0, 10 * KWH), min_size=3, max_size=3), min_size=1, max_size=6),
    prices=st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=3),
)
def test_what_the_jobs_pay_is_what_the_node_costs(jobs: list[list[int]], prices: list[int]) -> None:
    tariff = hourly(*prices)
    node = electricity_cost(energy(*(sum(job[hour] for job in jobs) for hour in range(3))), tariff)
    parts = [electricity_cost(energy(*job), tariff).exact_microcredits or Fraction(0) for job in jobs]

    assert node.exact_microcredits == sum(parts)
    assert node.microcredits is not None
    shares = split_cost(node.microcredits, parts)
    assert sum(shares) == node.microcredits
    assert all(abs(share - part) <= len(jobs) for share, part in zip(shares, parts, strict=True))


def test_bands_follow_the_clock_of_their_place_over_the_change_to_summer_time() -> None:
    # Given night from 0 to 6 in Berlin, over 26 March 2023, when 2 o'clock is skipped
    bands = [
        PriceBand(from_hour=0, to_hour=6, microcredits_per_kwh=1),
        PriceBand(from_hour=6, to_hour=24, microcredits_per_kwh=9),
    ]
    start = datetime(2023, 3, 25, 23, tzinfo=UTC)

    tariff = time_of_use_tariff("night", bands, time_zone="Europe/Berlin", start=start, end=start + 23 * HOUR)

    # Then that night has five hours and the day has 23
    assert tariff.microcredits_per_kwh == (1,) * 5 + (9,) * 18


def test_weekend_bands_come_first_where_they_stand_first() -> None:
    weekend = PriceBand(from_hour=0, to_hour=24, microcredits_per_kwh=2, days=frozenset({5, 6}))
    always = PriceBand(from_hour=0, to_hour=24, microcredits_per_kwh=5)

    tariff = time_of_use_tariff(
        "week", [weekend, always], time_zone="UTC", start=MIDNIGHT, end=MIDNIGHT + 25 * HOUR
    )

    assert tariff.price_at(MIDNIGHT + 23 * HOUR) == 2
    assert tariff.price_at(MIDNIGHT + 24 * HOUR) == 5
    assert tariff.price_at(MIDNIGHT + 25 * HOUR) is None


def test_prices_of_a_market_come_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("datetime_utc,DE-LU,FR\n2023-01-01 00:00,-3.36,10\n2023-01-01 01:00,,20\n")

    tariff = read_tariff_file(path, zone="DE-LU", microcredits_per_unit=1_000_000)

    assert tariff.microcredits_per_kwh == (-3360, None)
    assert tariff.first_hour == MIDNIGHT


def test_bad_tariffs_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("utc,DE\n2023-01-01 00:00,\n")

    with pytest.raises(GridFileError, match="holds no price"):
        read_tariff_file(empty, microcredits_per_unit=1)
    with pytest.raises(ValueError, match="no rate"):
        read_tariff_file(empty, microcredits_per_unit=0)
    with pytest.raises(GridFileError, match="Berlim"):
        time_of_use_tariff("x", [], time_zone="Europe/Berlim", start=MIDNIGHT, end=MIDNIGHT + HOUR)
    with pytest.raises(ValueError, match="hours 22 to 6"):
        PriceBand(from_hour=22, to_hour=6, microcredits_per_kwh=1)
    with pytest.raises(ValueError, match="begin with"):
        Tariff(name="x", microcredits_per_kwh=(1,))
