"""Arrays of NumPy, in the forms that people keep them."""

import io
import pickle
from typing import Any

import numpy as np
import pytest

from ayni.data.config import DataConfig
from ayni.data.sources.collection import Collection, SourceError
from ayni.data.sources.file_trees import GivenFiles
from ayni.data.sources.reading import read_collection, rows_of_splits


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def read(content: bytes, name: str = "set.npz") -> Collection:
    return read_collection(GivenFiles(name="set", files={name: content}), DataConfig(source="x"))


@pytest.mark.parametrize("shape", [(6, 8, 9), (6, 8, 9, 1), (6, 1, 8, 9)])
def test_bytes_become_images_with_channels_first(shape: tuple[int, ...]) -> None:
    levels = np.arange(6 * 72, dtype=np.int64).reshape(shape) % 256

    found = read(npz(x=levels.astype(np.uint8), y=np.array([3, 5, 3, 5, 3, 5])))

    inputs = np.asarray(found.inputs)
    assert found.kind == "images"
    assert inputs.shape == (6, 1, 8, 9)
    assert np.allclose(inputs.reshape(-1) * 255, levels.reshape(-1))
    assert (found.classes, found.labels.tolist()) == (("3", "5"), [0, 1, 0, 1, 0, 1])


def test_arrays_of_keras_names_are_splits() -> None:
    found = read(
        npz(
            x_train=np.zeros((8, 3)),
            y_train=np.arange(8) % 2,
            x_test=np.ones((2, 3)),
            y_test=np.array([0, 1]),
        )
    )

    rows = rows_of_splits(found, DataConfig(source="x", validation_share=0.25))
    assert found.kind == "table"
    assert {name: len(each) for name, each in rows.items()} == {"train": 6, "validation": 2, "test": 2}
    assert (np.asarray(found.inputs)[rows["test"]] == 1).all()


def test_two_files_of_one_array_each_are_a_set() -> None:
    files = {}
    for name, array in (("inputs", np.zeros((4, 2, 3, 5, 6))), ("labels", np.array([0, 1, 0, 1]))):
        out = io.BytesIO()
        np.save(out, array)
        files[f"{name}.npy"] = out.getvalue()

    found = read_collection(GivenFiles(name="set", files=files), DataConfig(source="x"))

    assert found.kind == "arrays"
    assert len(found) == 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2))}, "its arrays are x; expected inputs and labels"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, dtype=int)}, "do not fit"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3)}, "float64, expected whole numbers"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, -1, 1])}, "the label of row 1 is -1"),
        ({"x": np.array([[0.0], [np.nan]]), "y": np.array([0, 1])}, "1 inputs .* first at row 1"),
        ({"x": np.array([["a"], ["b"]]), "y": np.array([0, 1])}, "expected numbers"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0, dtype=int)}, "no examples"),
        ({"x": np.zeros((2, 2)), "y": np.array([4, 4])}, "one class, '4'"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(npz(**arrays))


def test_pickled_arrays_are_never_loaded() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return pytest.fail, ("pickle was loaded",)

    with pytest.raises(SourceError, match="holds no plain arrays"):
        read(pickle.dumps(Bomb()), "set.npy")
    with pytest.raises((SourceError, ValueError)):
        read(npz(x=np.array([Bomb()], dtype=object), y=np.array([0])))
