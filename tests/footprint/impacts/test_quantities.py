import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.impacts.quantities import Quantity, correlated_sum, product, sum_of_groups

POSITIVE = st.floats(min_value=1e-6, max_value=1e6)
FACTORS = st.floats(min_value=1.0, max_value=20.0)


@st.composite
def quantities(draw: st.DrawFn) -> Quantity:
    value = draw(POSITIVE)
    return Quantity(value=value, low=value / draw(FACTORS), high=value * draw(FACTORS))


def test_the_factors_of_a_product_add_in_quadrature() -> None:
    energy = Quantity.within(2.0, low_factor=1 / math.exp(0.3), high_factor=math.exp(0.3))
    weight = Quantity.within(3.0, low_factor=1 / math.exp(0.4), high_factor=math.exp(0.4))

    grams = product(energy, weight)

    assert grams.value == 6
    assert grams.high == pytest.approx(6 * math.exp(0.5))
    assert grams.low == pytest.approx(6 / math.exp(0.5))


@given(st.lists(quantities(), min_size=1, max_size=5))
def test_a_product_is_no_surer_than_any_factor_and_surer_than_all_ends_together(
    parts: list[Quantity],
) -> None:
    whole = product(*parts)

    for part in parts:
        assert whole.high / whole.value >= part.high / part.value * (1 - 1e-9)
    assert whole.high <= math.prod(part.high for part in parts) * (1 + 1e-9)
    assert whole.low >= math.prod(part.low for part in parts) * (1 - 1e-9)


def test_a_product_with_a_measured_zero_is_zero_and_with_an_open_lower_end_reaches_down_to_it() -> None:
    assert product(Quantity.exact(0.0), Quantity(value=2, low=0, high=9)) == Quantity.exact(0.0)
    assert product(Quantity(value=2, low=0, high=4), Quantity.exact(3.0)) == Quantity(value=6, low=0, high=12)


def test_errors_that_are_shared_do_not_shrink_and_those_of_groups_do() -> None:
    part = Quantity(value=10, low=7, high=14)

    shared = correlated_sum([part] * 4)
    apart = sum_of_groups([[part]] * 4)

    assert (shared.low, shared.value, shared.high) == (28, 40, 56)
    assert (apart.low, apart.value, apart.high) == (40 - 2 * 3, 40, 40 + 2 * 4)
    assert sum_of_groups([[part, part], [part]]).high == pytest.approx(30 + math.hypot(8, 4))


def test_a_figure_outside_its_interval_is_refused() -> None:
    for low, value, high in [(2, 1, 3), (0, 4, 3), (-1, 1, 2), (0, 1, math.inf), (math.nan, 1, 2)]:
        with pytest.raises(ValueError, match="no figure with its interval"):
            Quantity(value=value, low=low, high=high)
