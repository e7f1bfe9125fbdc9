"""A trained Keras model as something that can be called."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayni.compress.keras.keras_quantize import (
    DamagedKerasFileError,
    quantize_keras,
    save_keras_weights,
)
from ayni.compress.keras.keras_runtime import (
    DamagedWeightsError,
    KerasRuntime,
    build_trained,
    open_quantized,
)
from ayni.task import TaskFailedError

pytestmark = pytest.mark.keras


def test_the_runtime_gives_arrays_in_evaluation_mode_and_answers_for_its_model() -> None:
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


def test_the_runtime_takes_and_gives_structures() -> None:
    keras = pytest.importorskip("keras")
    one, other = keras.Input((2,), name="one"), keras.Input((2,), name="other")
    model = keras.Model({"one": one, "other": other}, [one + other, one - other])
    value = np.ones((1, 2), np.float32)

    sums, differences = KerasRuntime(model)({"one": value, "other": value})

    assert (sums.tolist(), differences.tolist()) == ([[2, 2]], [[0, 0]])


def test_weights_that_are_not_what_they_were_are_refused(
    mnist_task: Any, mnist_weights: Path, tmp_path: Path
) -> None:
    content = mnist_weights.read_bytes()
    (tmp_path / "half.safetensors").write_bytes(content[: len(content) // 2])

    with pytest.raises(DamagedWeightsError, match=r"half\.safetensors"):
        build_trained(mnist_task, tmp_path / "half.safetensors")
    with pytest.raises(DamagedKerasFileError, match=r"half\.safetensors"):
        open_quantized(mnist_task, tmp_path / "half.safetensors")


def test_quantized_weights_are_opened_as_they_were_made(
    mnist_task: Any, mnist_weights: Path, tmp_path: Path
) -> None:
    model = build_trained(mnist_task, mnist_weights)
    done = quantize_keras(model, "int4")
    save_keras_weights(model, tmp_path / "int4.keras.safetensors", quantization=done)
    images = np.stack([image for image, _ in mnist_task.dataset("test")[:5]])

    runtime = open_quantized(mnist_task, tmp_path / "int4.keras.safetensors")

    np.testing.assert_array_equal(runtime(images), KerasRuntime(model)(images))


def test_code_of_the_task_that_raises_is_named(altered: Any, mnist_weights: Path) -> None:
    def build_model(_self: Any) -> Any:
        raise KeyError("width")

    with pytest.raises(TaskFailedError, match=r"build_model.*width"):
        build_trained(altered(build_model=build_model), mnist_weights)
