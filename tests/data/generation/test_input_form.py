import numpy as np
import pytest

from ayni.data.generation.input_form import InputForm
from ayni.data.records import Records, RecordsError


def table() -> Records:
    rng = np.random.default_rng(0)
    rows = np.stack(
        [rng.normal(5, 2, 40), rng.integers(0, 9, 40), rng.choice([1.0, 4.0, 7.0], 40), np.full(40, 2.5)],
        axis=1,
    )
    return Records(inputs=rows.astype(np.float32), labels=rng.integers(0, 2, 40))


def images(*shape: int) -> Records:
    rng = np.random.default_rng(0)
    return Records(inputs=rng.random((6, *shape), dtype=np.float32), labels=np.arange(6) % 2)


def test_a_table_comes_back_from_its_encoding() -> None:
    records = table()
    form = InputForm.of(records, category_columns=(2,))

    encoded = form.encode(records.inputs)

    # Three numbers, and one for each of three categories.
    assert encoded.shape == (40, form.num_encoded) == (40, 6)
    np.testing.assert_allclose(encoded[:, 0].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(encoded[:, 3:].sum(axis=1), 1)
    np.testing.assert_allclose(form.decode(encoded), records.inputs, rtol=1e-5)


def test_what_is_decoded_has_the_form_of_real_rows() -> None:
    records = table()
    form = InputForm.of(records, category_columns=(2,))
    noise = np.random.default_rng(1).normal(0, 5, (200, form.num_encoded)).astype(np.float32)

    rows = form.decode(noise)

    assert form.whole == (1,)
    assert (rows[:, 1] == np.rint(rows[:, 1])).all()
    assert set(np.unique(rows[:, 2])) <= {1.0, 4.0, 7.0}
    assert (rows >= records.inputs.min(axis=0)).all()
    assert (rows <= records.inputs.max(axis=0)).all()


def test_images_are_scaled_to_one_range_and_come_back() -> None:
    records = images(3, 8, 9)
    form = InputForm.of(records)

    encoded = form.encode(records.inputs)

    assert encoded.shape == (6, 216)
    assert (encoded.min(), encoded.max()) == (pytest.approx(-1), pytest.approx(1))
    np.testing.assert_allclose(form.decode(encoded), records.inputs, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "expected"), [((8, 9), (1, 8, 9)), ((3, 8, 9), (3, 8, 9)), ((8, 9, 3), None), ((5, 1), None)]
)
def test_images_have_their_channels_first(shape: tuple[int, ...], expected: object) -> None:
    assert InputForm.of(images(*shape)).image_shape == expected


def test_equal_inputs_divide_by_no_zero() -> None:
    records = Records(inputs=np.ones((4, 2, 2), np.float32), labels=np.zeros(4, np.int64))
    form = InputForm.of(records)

    np.testing.assert_array_equal(form.decode(form.encode(records.inputs)), records.inputs)


def test_a_category_column_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(RecordsError, match=r"no column 4 .* 0 to 3"):
        InputForm.of(table(), category_columns=(4,))
    with pytest.raises(RecordsError, match="no columns of categories"):
        InputForm.of(images(8, 8), category_columns=(0,))
    many = Records(inputs=np.arange(150, dtype=np.float32).reshape(-1, 1), labels=np.zeros(150, np.int64))
    with pytest.raises(RecordsError, match="150 different values"):
        InputForm.of(many, category_columns=(0,))


def test_a_form_comes_back_from_json() -> None:
    form = InputForm.of(table(), category_columns=(2,))

    assert InputForm.from_json(form.to_json()) == form
