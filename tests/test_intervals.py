"""Wilson's interval meets SciPy and the textbook."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ayni.intervals import LEVEL, wilson_interval

shares = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(shares)
def test_wilsons_interval_is_that_of_scipy(counts: tuple[int, int]) -> None:
    oracle = binomtest(*counts).proportion_ci(LEVEL, method="wilson")

    assert wilson_interval(*counts) == pytest.approx((oracle.low, oracle.high), abs=1e-6)


@given(shares)
def test_the_interval_holds_the_share_and_stays_in_the_unit_interval(counts: tuple[int, int]) -> None:
    low, high = wilson_interval(*counts)

    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1


def test_the_interval_agrees_with_the_textbook() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263, and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize("counts", [(5, 4), (-1, 4), (0, 0)])
def test_no_share_has_no_interval(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{counts[0]} of {counts[1]}"):
        wilson_interval(*counts)
