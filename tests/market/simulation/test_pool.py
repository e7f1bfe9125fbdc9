"""Pools: integrals over hours, and what no pool can be."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.simulation.pool import HourlySums, HoursExhaustedError

from ..small_pools import HOUR, START, make_pool, make_site


@given(
    values=st.lists(st.floats(-50, 500), min_size=3, max_size=8),
    start=st.floats(0, 3),
    length=st.floats(0, 3),
)
def test_an_integral_is_the_sum_over_the_parts_of_hours(
    values: list[float], start: float, length: float
) -> None:
    end = min(start + length, float(len(values)))
    start = min(start, end)
    sums = HourlySums(np.array([values]))

    expected = sum(
        value * max(0.0, min(end, hour + 1) - max(start, hour)) for hour, value in enumerate(values)
    )
    assert sums.between([0], [start * HOUR], [end * HOUR])[0] == pytest.approx(expected, abs=1e-6)


def test_an_interval_beyond_the_last_hour_is_refused() -> None:
    sums = HourlySums(np.ones((1, 4)))

    with pytest.raises(HoursExhaustedError, match=r"cover 4 hours .* needs 6"):
        sums.between([0], [0.0], [5.5 * HOUR])
    assert sums.between([0], [0.0], [4 * HOUR])[0] == 4.0


def test_a_machine_hour_weighs_and_costs_what_its_facility_draws() -> None:
    pool = make_pool(make_site("a", 1, watts=500.0, pue=1.2), grams=[[200.0]])

    # 0.6 kWh: 120 g, and one credit of wear with 0.06 of electricity.
    assert pool.grams.between([0], [0.0], [HOUR])[0] == pytest.approx(120.0)
    assert pool.microcredits.between([0], [0.0], [HOUR])[0] == pytest.approx(1_060_000)


def test_members_own_the_sites_that_name_them_and_keep_their_data_at_the_first() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 2), make_site("c", 3, member="a"))
    pool = replace(pool, members=("a", "b", "guest"))

    assert pool.sites_of(0) == [0, 2] and pool.home_site_M.tolist() == [0, 1, -1]
    assert pool.num_machines == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"num_machines": 0},
        {"throughput": 0.0},
        {"watts": -1.0},
        {"pue": 0.9},
        {"reliability": 0.0},
        {"wear_microcredits_per_hour": -1},
        {"ask_microcredits_per_hour": -1},
    ],
)
def test_an_impossible_site_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a"):
        make_site("a", 1, **changes)


def test_an_impossible_pool_is_refused() -> None:
    site = make_site("a", 1)
    pool = make_pool(site)

    with pytest.raises(ValueError, match="name stands twice"):
        make_pool(site, site)
    with pytest.raises(ValueError, match="no members"):
        replace(pool, members=("b",))
    with pytest.raises(ValueError, match="one row a site"):
        replace(pool, grams_per_kwh_SH=np.ones((2, 5)))
    with pytest.raises(ValueError, match="no carbon intensity"):
        replace(pool, grams_per_kwh_SH=np.full((1, 2000), np.nan))
    assert pool.start == START
