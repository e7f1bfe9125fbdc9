import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.train import gram_weights


def _updates(num_updates: int, seed: int, num_parameters: int = 11) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_updates, num_parameters))


@given(st.integers(1, 7), st.integers(1, 40), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_inner_products_add_up_over_chunks(num_updates: int, size: int, cut: int, seed: int) -> None:
    updates_ND = _updates(num_updates, seed, size + 1)
    cut = 1 + min(cut, size - 1)

    summed = gram_weights.gram_matrix(updates_ND[:, :cut]) + gram_weights.gram_matrix(updates_ND[:, cut:])

    np.testing.assert_allclose(summed, updates_ND @ updates_ND.T, atol=1e-12)


def test_inner_products_of_more_than_one_block_are_exact() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 300_000)).astype(np.float32)

    found = gram_weights.gram_matrix(rows)

    np.testing.assert_allclose(found, rows.astype(np.float64) @ rows.astype(np.float64).T, rtol=1e-12)


def test_squares_of_the_largest_float32_do_not_overflow() -> None:
    huge = np.full(4, np.finfo(np.float32).max, np.float32)

    assert np.isfinite(gram_weights.gram_matrix([huge, -huge])).all()


@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_distances_follow_from_inner_products(num_updates: int, seed: int) -> None:
    updates_ND = _updates(num_updates, seed)

    found = gram_weights.squared_distances(gram_weights.gram_matrix(updates_ND))

    expected = ((updates_ND[:, None] - updates_ND[None, :]) ** 2).sum(axis=2)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_krum_scores_are_those_of_a_plain_loop() -> None:
    updates_ND, num_faulty = _updates(7, 3), 2

    found = gram_weights.krum_scores(gram_weights.gram_matrix(updates_ND), num_faulty=num_faulty)

    for i, score in enumerate(found):
        others = sorted(float(np.sum((updates_ND[i] - updates_ND[j]) ** 2)) for j in range(7) if j != i)
        assert score == pytest.approx(sum(others[: 7 - num_faulty - 2]))


def test_lengths_within_the_limit_are_left_alone_and_two_updates_always_are() -> None:
    np.testing.assert_array_equal(
        gram_weights.clip_scales(np.array([1.0, 1.0, 16.0]), factor=2.0), [1, 1, 0.5]
    )
    np.testing.assert_array_equal(gram_weights.clip_scales(np.array([1.0, 1e9]), factor=2.0), [1, 1])
    np.testing.assert_array_equal(gram_weights.clip_scales(np.zeros(3), factor=2.0), [1, 1, 1])


@given(st.integers(1, 20), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_each_update_is_in_exactly_one_bucket(num_updates: int, bucket_size: int, seed: int) -> None:
    mix_MN = gram_weights.bucket_matrix(num_updates, bucket_size, seed=seed)

    assert len(mix_MN) == -(-num_updates // bucket_size)
    assert ((mix_MN > 0).sum(axis=0) == 1).all()
    np.testing.assert_allclose(mix_MN.sum(axis=1), 1.0)


def test_the_geometric_median_has_the_smallest_sum_of_distances() -> None:
    updates_ND = _updates(6, 5)
    median_D = gram_weights.geometric_median_weights(gram_weights.gram_matrix(updates_ND)) @ updates_ND

    def cost(point_D: np.ndarray) -> float:
        return float(np.linalg.norm(updates_ND - point_D, axis=1).sum())

    rng = np.random.default_rng(1)
    assert all(cost(median_D) <= cost(median_D + 1e-3 * rng.normal(size=11)) for _ in range(200))


def test_an_outlier_of_any_length_does_not_disturb_the_geometric_median() -> None:
    updates_ND = np.vstack([_updates(5, 5), 1e20 * np.ones(11)])

    weights = gram_weights.geometric_median_weights(gram_weights.gram_matrix(updates_ND))

    assert np.linalg.norm(weights @ updates_ND) < 10


def test_centered_clipping_is_that_of_a_plain_loop() -> None:
    updates_ND, start_D = _updates(5, 7), np.full(11, 0.3)

    rows = np.vstack([start_D, updates_ND])
    weights = gram_weights.centered_clip_weights(gram_weights.gram_matrix(rows), num_iterations=3)

    point_D = start_D
    for _ in range(3):
        distances = np.linalg.norm(updates_ND - point_D, axis=1)
        shares = np.minimum(1, np.median(distances) / distances)
        point_D = point_D + (shares[:, None] * (updates_ND - point_D)).mean(axis=0)
    np.testing.assert_allclose(weights @ rows, point_D, atol=1e-12)


def test_rda_has_the_mean_length_and_the_mean_direction() -> None:
    updates_ND, weights_N = _updates(4, 9), np.array([1.0, 2.0, 3.0, 4.0])

    merged_D = gram_weights.rda_weights(gram_weights.gram_matrix(updates_ND), weights_N) @ updates_ND

    lengths_N = np.linalg.norm(updates_ND, axis=1)
    direction_D = weights_N @ (updates_ND / lengths_N[:, None])
    assert np.linalg.norm(merged_D) == pytest.approx(weights_N @ lengths_N / 10)
    np.testing.assert_allclose(merged_D / np.linalg.norm(merged_D), direction_D / np.linalg.norm(direction_D))


def test_rda_of_directions_that_cancel_and_of_nothing_is_zero() -> None:
    opposite = np.array([[1.0, 0.0], [-3.0, 0.0]])

    for updates_ND in (opposite, np.zeros((2, 2))):
        weights_N = gram_weights.rda_weights(gram_weights.gram_matrix(updates_ND), np.ones(2))
        np.testing.assert_array_equal(weights_N, [0, 0])
