import numpy as np
import pytest

from ayni.data.generation.shrinkage import ledoit_wolf


@pytest.mark.parametrize(("num", "size"), [(12, 30), (200, 5), (40, 40)])
def test_it_is_the_estimate_of_scikit_learn(num: int, size: int) -> None:
    sklearn = pytest.importorskip("sklearn.covariance")
    x = np.random.default_rng(num).normal(size=(num, size)) @ np.diag(np.linspace(0.1, 2, size))
    centred = x - x.mean(axis=0)

    covariance, share = ledoit_wolf(centred)

    oracle, oracle_share = sklearn.ledoit_wolf(centred, assume_centered=True)
    np.testing.assert_allclose(covariance, oracle, rtol=1e-9, atol=1e-12)
    assert share == pytest.approx(oracle_share)


def test_one_example_has_no_directions_of_its_own() -> None:
    covariance, share = ledoit_wolf(np.array([[3.0, 4.0]]))

    assert share == 1.0
    np.testing.assert_allclose(covariance, 12.5 * np.eye(2))


def test_constant_columns_alone_have_no_spread() -> None:
    covariance, share = ledoit_wolf(np.zeros((5, 3)))

    assert share == 1.0
    assert (covariance == 0).all()
