import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.train.sorting_network import batcher_network, exchanges_for_sum, reduce_sorted, sum_of_ranks


@pytest.mark.parametrize("num_rows", range(1, 12))
def test_the_network_sorts_every_input_of_zeros_and_ones(num_rows: int) -> None:
    # A network that sorts all of these sorts everything (Knuth, 5.3.4, theorem Z).
    inputs = (np.arange(2**num_rows)[None, :] >> np.arange(num_rows)[:, None]) & 1

    for low, high in batcher_network(num_rows):
        lower, higher = np.minimum(inputs[low], inputs[high]), np.maximum(inputs[low], inputs[high])
        inputs[low], inputs[high] = lower, higher

    assert (np.diff(inputs, axis=0) >= 0).all()


@given(st.integers(1, 20), st.integers(0, 19), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_the_sum_of_some_ranks_is_that_of_a_sort(num_rows: int, first: int, length: int, seed: int) -> None:
    first = min(first, num_rows - 1)
    stop = min(num_rows, first + max(1, length))
    rows_NE = np.random.default_rng(seed).normal(size=(num_rows, 7))

    found = sum_of_ranks(rows_NE, first, stop)

    np.testing.assert_allclose(found, np.sort(rows_NE, axis=0)[first:stop].sum(axis=0), atol=1e-12)


def test_exchanges_that_cannot_change_the_sum_are_left_out() -> None:
    assert exchanges_for_sum(16, 0, 16) == ()
    assert len(exchanges_for_sum(16, 7, 9)) < len(batcher_network(16))


def test_more_coordinates_than_fit_one_block_are_all_sorted_and_the_input_stays() -> None:
    rows_NE = np.random.default_rng(0).normal(size=(3, 200_001)).astype(np.float32)
    before = rows_NE.copy()

    middle = reduce_sorted(rows_NE, lambda rows, out: np.copyto(out, rows[1]))

    np.testing.assert_array_equal(middle, np.median(rows_NE, axis=0))
    np.testing.assert_array_equal(rows_NE, before)


def test_a_nan_is_not_hidden() -> None:
    rows_NE = np.array([[1.0, 1.0], [np.nan, 2.0], [3.0, 3.0]])

    with np.errstate(invalid="ignore"):
        found = sum_of_ranks(rows_NE, 1, 2)

    assert np.isnan(found[0])
    assert found[1] == 2.0
