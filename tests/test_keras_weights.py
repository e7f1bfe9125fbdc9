"""Names of weights and files of them, on a stand-in for a model: Keras itself is in test_keras_replica.py."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ayni.keras_weights import load_weights, named_weights


class Weight:
    def __init__(self, path: str, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        self.value = np.zeros(shape, np.float32)

    def assign(self, array: np.ndarray) -> None:
        self.value[...] = array


class Model(SimpleNamespace):
    def __call__(self, inputs: Any, *, training: bool) -> None:
        assert not training


def model() -> Model:
    return Model(weights=[Weight("sequential_3/dense_7/kernel", (2, 3)), Weight("scale_1", (3,))])


def test_names_are_free_of_what_keras_counts_over_a_process() -> None:
    assert list(named_weights(model())) == ["000.dense.kernel", "001.model.scale"]


def test_names_of_a_thousand_weights_sort_as_they_stand() -> None:
    many = Model(weights=[Weight(f"a/dense_{index}/kernel", (1,)) for index in range(1_001)])

    names = list(named_weights(many))

    assert names == sorted(names)
    assert names[-1] == "1000.dense.kernel"


def test_a_model_is_filled_from_a_file(tmp_path: Path) -> None:
    arrays = {"000.dense.kernel": np.ones((2, 3), np.float32), "001.model.scale": np.ones(3, np.float32)}
    save_file(arrays, tmp_path / "model.safetensors")
    found = model()

    load_weights(found, tmp_path / "model.safetensors", example=None)

    assert all((weight.value == 1).all() for weight in found.weights)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"000.dense.kernel": (2, 3)}, r"1 weights are not in both, such as 001\.model\.scale"),
        ({"000.dense.kernel": (3, 2), "001.model.scale": (3,)}, r"shape \(3, 2\), the model's is \(2, 3\)"),
    ],
)
def test_weights_of_another_model_change_nothing(
    arrays: dict[str, tuple[int, ...]], says: str, tmp_path: Path
) -> None:
    save_file(
        {name: np.ones(shape, np.float32) for name, shape in arrays.items()}, tmp_path / "x.safetensors"
    )
    found = model()

    with pytest.raises(ValueError, match=says):
        load_weights(found, tmp_path / "x.safetensors", example=None)

    assert all((weight.value == 0).all() for weight in found.weights)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"not arrays")

    with pytest.raises(ValueError, match="header"):
        load_weights(model(), tmp_path / "x.safetensors", example=None)
