import numpy as np
import pytest

from ayni.data.generation.gaussian import MAX_WIDTH, fit_gaussian, sample_gaussian
from ayni.data.records import RecordsError


def test_samples_have_mean_and_covariance_of_their_class() -> None:
    rng = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.8], [0.0, 0.5]])
    labels = np.repeat([1, 4], 4000)
    examples = rng.normal(size=(8000, 2)) @ mixing + np.where(labels[:, None] == 4, 10.0, -3.0)

    arrays = fit_gaussian(examples.astype(np.float32), labels)
    drawn = sample_gaussian(arrays, np.repeat([4, 1], 20_000), np.random.default_rng(1))

    np.testing.assert_allclose(drawn[:20_000].mean(axis=0), [10, 10], atol=0.08)
    np.testing.assert_allclose(drawn[20_000:].mean(axis=0), [-3, -3], atol=0.08)
    np.testing.assert_allclose(np.cov(drawn[:20_000].T), mixing.T @ mixing, atol=0.05)


def test_full_shrinkage_leaves_a_sphere() -> None:
    rng = np.random.default_rng(0)
    examples = (rng.normal(size=(500, 3)) * [1, 2, 3]).astype(np.float32)

    arrays = fit_gaussian(examples, np.zeros(500, np.int64), shrinkage=1.0)

    factor = arrays["factor"][0]
    np.testing.assert_allclose(factor, factor[0, 0] * np.eye(3), atol=1e-5)


def test_pixels_that_never_change_do_not_stop_it() -> None:
    examples = np.zeros((6, 3), np.float32)
    examples[:, 0] = np.arange(6)

    arrays = fit_gaussian(examples, np.zeros(6, np.int64), shrinkage=0.0)
    drawn = sample_gaussian(arrays, np.zeros(100, np.int64), np.random.default_rng(0))

    assert np.isfinite(drawn).all()
    assert np.abs(drawn[:, 1:]).max() < 0.05


def test_inputs_too_wide_for_a_covariance_are_refused_with_another_way() -> None:
    with pytest.raises(RecordsError, match="flow"):
        fit_gaussian(np.zeros((2, MAX_WIDTH + 1), np.float32), np.zeros(2, np.int64))
