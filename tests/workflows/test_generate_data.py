import io

import numpy as np
import pytest

from ayni.data.records import Records
from ayni.workflows.generate_data import MAX_SHEET_COLUMNS, contact_sheet

Image = pytest.importorskip("PIL.Image")


def pixels_of(png: bytes | None) -> np.ndarray:
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_sheet_has_a_row_for_each_class_and_a_column_for_each_example() -> None:
    inputs = np.zeros((5, 20, 10), np.float32)
    inputs[3:] = 1.0
    records = Records(inputs=inputs, labels=np.array([0, 0, 0, 7, 7]))

    sheet = pixels_of(contact_sheet(records, image_shape=(1, 20, 10)))

    # Two pixels show one: sides of 2 * (2 * 21 + 1) and 2 * (3 * 11 + 1).
    assert sheet.shape == (86, 68)
    assert (sheet[2:42, 2:22] == 0).all()
    assert (sheet[44:84, 2:22] == 255).all()


def test_colours_stay_and_long_rows_are_cut() -> None:
    inputs = np.zeros((100, 3, 40, 40), np.float32)
    inputs[:, 1] = 1.0
    records = Records(inputs=inputs, labels=np.zeros(100, np.int64))

    sheet = pixels_of(contact_sheet(records, image_shape=(3, 40, 40)))

    assert sheet.shape == (42, MAX_SHEET_COLUMNS * 41 + 1, 3)
    assert sheet[5, 5].tolist() == [0, 255, 0]


def test_tables_have_no_sheet() -> None:
    records = Records(inputs=np.zeros((2, 4), np.float32), labels=np.zeros(2, np.int64))

    assert contact_sheet(records, image_shape=None) is None
