import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.sums.amounts import Amount, add_up

WHOLE = st.integers(min_value=0, max_value=10**15)
PARTS = st.lists(
    st.tuples(
        st.builds(
            lambda low, up, upper: Amount(value=low + up, low=low, high=low + up + upper), WHOLE, WHOLE, WHOLE
        ),
        st.sets(st.sampled_from("abcd"), min_size=1, max_size=2),
    ),
    max_size=8,
)


def test_parts_that_share_an_error_add_their_ends_and_others_their_distances_in_quadrature() -> None:
    one, other = Amount(value=10.0, low=7.0, high=16.0), Amount(value=20.0, low=16.0, high=28.0)

    shared = add_up([(one, ["meter"]), (other, ["meter"])])
    apart = add_up([(one, ["meter"]), (other, ["another"])])

    assert shared.amount == Amount(value=30.0, low=23.0, high=44.0)
    assert apart.amount == Amount(value=30.0, low=25.0, high=40.0)


def test_sharing_is_passed_on() -> None:
    third = Amount(value=1.0, low=0.0, high=2.0)

    total = add_up([(third, ["a"]), (third, ["a", "grid"]), (third, ["grid", "b"])])

    assert total.amount == Amount(value=3.0, low=0.0, high=6.0)


def test_an_unknown_part_makes_the_sum_unknown_and_what_is_known_stands_beside_it() -> None:
    total = add_up([(Amount(value=5, low=4, high=6), ["a"]), (None, ["a"])])

    assert total.amount is None
    assert total.to_json() == {
        "value": None,
        "low": None,
        "high": None,
        "known": {"value": 5, "low": 4, "high": 6},
        "num_known": 1,
        "num_unknown": 1,
    }


def test_a_part_without_an_interval_leaves_the_sum_without_one() -> None:
    total = add_up([(Amount(value=5, low=4, high=6), ["a"]), (Amount(value=7), ["b"])])

    assert total.amount == Amount(value=12)


def test_the_sum_of_nothing_is_zero_and_of_unknowns_alone_is_nothing_known() -> None:
    assert add_up([]).amount == Amount(value=0, low=0, high=0)
    assert add_up([(None, ["a"])]).to_json()["known"] is None


@given(PARTS)
def test_sums_of_integers_are_exact_and_no_grouping_is_wider_than_adding_all_ends(
    parts: list[tuple[Amount, set[str]]],
) -> None:
    total = add_up(parts).known

    assert total.value == sum(part.value for part, _ in parts)
    assert isinstance(total.value, int)
    assert total.low is not None and total.high is not None
    slack = 1 + 1e-9 * total.high
    assert sum(part.low or 0 for part, _ in parts) <= total.low + slack
    assert total.high <= sum(part.high or 0 for part, _ in parts) + slack


@given(PARTS)
def test_the_order_of_the_parts_does_not_matter(parts: list[tuple[Amount, set[str]]]) -> None:
    forward, backward = add_up(parts).known, add_up(parts[::-1]).known

    assert forward.value == backward.value
    assert math.isclose(forward.high or 0, backward.high or 0, rel_tol=1e-9, abs_tol=2)


@pytest.mark.parametrize("ends", [(3.0, None), (None, 3.0), (3.0, 5.0), (0.0, 1.0), (-1.0, 5.0)])
def test_an_interval_has_two_ends_around_its_value(ends: tuple[float | None, float | None]) -> None:
    with pytest.raises(ValueError, match="interval"):
        Amount(value=2.0, low=ends[0], high=ends[1])
