"""Files of records: what is written comes back, and what is no such file is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayni.data.arrays_file import read_records, write_records
from ayni.data.records import Records, RecordsError


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    records = Records(
        inputs=np.random.default_rng(0).random((5, 1, 2, 3), dtype=np.float32), labels=np.arange(5)
    )
    write_records(records, tmp_path / "some.npz")

    again = read_records(tmp_path / "some.npz")

    assert np.array_equal(again.inputs, records.inputs) and np.array_equal(again.labels, records.labels)


def test_bytes_become_fractions_and_other_names_are_understood(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.array([[0, 255]], dtype=np.uint8), y=np.array([3], dtype=np.uint8))

    records = read_records(path)

    assert records.inputs.tolist() == [[0, 1]] and records.labels.tolist() == [3]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 2))}, "arrays x: expected one called labels"),
        ({"x": np.zeros((2, 2)), "y": np.array([0.0, 1.0])}, "labels of .* are float64"),
        ({"x": np.array([["a"], ["b"]]), "y": np.arange(2)}, "inputs of .* are <U1"),
        ({"x": np.array([[0.0], [np.nan]]), "y": np.arange(2)}, r"a\.npz: 1 of 2 .* row 1"),
        ({"x": np.array([{}, {}], dtype=object), "y": np.arange(2)}, "cannot be read as an .npz"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        read_records(save(tmp_path / "a.npz", **arrays))


def test_no_file_and_no_npz_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="There is no file"):
        read_records(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("inputs")
    with pytest.raises(RecordsError, match="cannot be read"):
        read_records(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(RecordsError, match="single array"):
        read_records(tmp_path / "one.npy")
