import numpy as np
import pytest

from ayni.data.generation.copula import MAX_COLUMNS, fit_copula, sample_copula
from ayni.data.generation.input_form import InputForm
from ayni.data.records import Records, RecordsError

stats = pytest.importorskip("scipy.stats")
NUM = 3000


@pytest.fixture(scope="module")
def rows() -> Records:
    """A skewed number, a count and a category that hang together, and a class that shifts all three."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, NUM)
    hidden = rng.normal(size=NUM)
    skewed = np.exp(0.5 * hidden + labels)
    count = rng.poisson(3 + 2 * labels + np.clip(hidden, -2, 2))
    category = np.where(hidden + rng.normal(0, 0.5, NUM) > 0, 7.0, 2.0)
    inputs = np.stack([skewed, count, category], axis=1).astype(np.float32)
    return Records(inputs=inputs, labels=labels)


@pytest.fixture(scope="module")
def made(rows: Records) -> np.ndarray:
    form = InputForm.of(rows, category_columns=(2,))
    arrays = fit_copula(rows.inputs, rows.labels, form)
    return sample_copula(arrays, rows.labels, np.random.default_rng(1), num_columns=3)


def test_each_column_keeps_its_distribution_in_each_class(rows: Records, made: np.ndarray) -> None:
    for label in (0, 1):
        mask = rows.labels == label
        for column in range(3):
            found = stats.ks_2samp(rows.inputs[mask, column], made[mask, column])
            assert found.statistic < 0.06, (label, column)


def test_what_hangs_together_still_does(rows: Records, made: np.ndarray) -> None:
    for label in (0, 1):
        mask = rows.labels == label
        real = stats.spearmanr(rows.inputs[mask]).statistic
        np.testing.assert_allclose(stats.spearmanr(made[mask]).statistic, real, atol=0.08)


def test_counts_stay_whole_and_categories_among_those_there_were(rows: Records, made: np.ndarray) -> None:
    assert (made[:, 1] == np.rint(made[:, 1])).all()
    assert set(np.unique(made[:, 2])) == {2.0, 7.0}
    assert rows.inputs[:, 0].min() <= made[:, 0].min()


def test_a_number_is_kept_as_few_quantiles_and_not_as_its_values(rows: Records) -> None:
    arrays = fit_copula(rows.inputs, rows.labels, InputForm.of(rows))

    assert len(arrays["0.0.values"]) <= 33
    assert len(arrays["0.0.shares"]) == 0


def test_a_column_that_never_changes_stays(rows: Records) -> None:
    inputs = rows.inputs.copy()
    inputs[:, 0] = 1.5
    arrays = fit_copula(inputs, rows.labels, InputForm.of(rows))

    drawn = sample_copula(arrays, rows.labels, np.random.default_rng(0), num_columns=3)

    np.testing.assert_allclose(drawn[:, 0], 1.5)


def test_images_are_refused_with_another_way(rows: Records) -> None:
    wide = np.zeros((2, MAX_COLUMNS + 1), np.float32)
    with pytest.raises(RecordsError, match="gaussian"):
        fit_copula(wide, np.zeros(2, np.int64), InputForm.of(rows))
