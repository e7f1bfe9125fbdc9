import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ayni.units import (
    credits_to_microcredits,
    joules_to_kwh,
    microcredits_to_credits,
    microjoules_to_kwh,
    split_exactly,
)

weights = st.lists(st.floats(0, 1e308, allow_nan=False, allow_infinity=False), min_size=1, max_size=12)


@given(st.integers(0, 10**30), weights)
@example(2**53 + 1, [1.0, 1.0])
@example(10**25, [1e-308, 1e308, 5e-324])
def test_a_split_sums_to_the_total_and_each_share_is_within_one_of_its_due(
    total: int, weights: list[float]
) -> None:
    shares = split_exactly(total, weights)

    assert sum(shares) == total
    if weight_sum := sum(Fraction(weight) for weight in weights):
        for share, weight in zip(shares, weights, strict=True):
            assert abs(share - total * Fraction(weight) / weight_sum) < 1


@given(st.integers(0, 10**18), weights)
def test_a_weight_of_zero_gets_nothing_beside_weights_above_zero(total: int, weights: list[float]) -> None:
    shares = split_exactly(total, [*weights, 0.0, 1.0])

    assert shares[len(weights)] == 0


@given(st.integers(0, 10**18), weights, st.floats(1e-3, 1e3))
def test_a_split_depends_on_proportions_alone(total: int, weights: list[float], factor: float) -> None:
    halves = [weight / 2 for weight in weights if weight > 1e-300]
    if halves:
        assert split_exactly(total, halves) == split_exactly(total, [half * 2 for half in halves])


def test_weights_that_are_all_zero_give_everything_to_the_rest() -> None:
    assert split_exactly(7, [0.0, 0, 0.0]) == [0, 0, 7]


def test_ties_go_to_the_earlier_entry() -> None:
    assert split_exactly(2, [1, 1, 1]) == [1, 1, 0]


@pytest.mark.parametrize(
    ("total", "weights"), [(-1, [1.0]), (1, []), (1, [-0.5, 1.0]), (1, [math.nan]), (1, [1.0, math.inf])]
)
def test_a_split_that_means_nothing_is_refused(total: int, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot split"):
        split_exactly(total, weights)


def test_a_kilowatt_hour_is_3_6_megajoules() -> None:
    assert joules_to_kwh(3.6e6) == 1.0
    assert microjoules_to_kwh(3_600_000_000_000) == 1.0


@given(st.integers(-(2**50), 2**50))
def test_microcredits_survive_being_shown_as_credits(microcredits: int) -> None:
    assert credits_to_microcredits(microcredits_to_credits(microcredits)) == microcredits
