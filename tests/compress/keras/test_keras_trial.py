"""The steps of a job on an untrained Keras model."""

from pathlib import Path
from typing import Any

import pytest

from ayni.compress.config import CompressConfig, SearchConfig, StepEntry
from ayni.compress.frameworks import CannotCompressError
from ayni.compress.keras.keras_quantize import CannotQuantizeKerasError
from ayni.compress.keras.keras_trial import try_keras_steps
from ayni.compress.keras.litert_conversion import CannotConvertError
from ayni.compress.steps import DistillStep, QuantizeStep, Step

pytestmark = pytest.mark.keras


def attempt(task: Any, folder: Path, *steps: Step) -> None:
    try_keras_steps(task, CompressConfig(steps=tuple(map(StepEntry.of, steps))), seed=0, folder=folder)


def test_the_steps_that_a_network_of_dense_layers_allows_pass(mnist_task: Any, tmp_path: Path) -> None:
    attempt(mnist_task, tmp_path, QuantizeStep(mode="static"), QuantizeStep(bits=4))


def test_a_step_for_torch_is_refused(mnist_task: Any, tmp_path: Path) -> None:
    with pytest.raises(CannotCompressError, match="`distill`"):
        attempt(mnist_task, tmp_path, DistillStep())


def test_a_model_without_a_layer_that_keras_quantizes_is_refused(peaks_task: Any, tmp_path: Path) -> None:
    with pytest.raises(CannotQuantizeKerasError, match="none of the layers"):
        attempt(peaks_task, tmp_path, QuantizeStep(runtime="keras"))


def test_a_model_that_litert_cannot_run_is_refused(altered: Any, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    class Solves(keras.layers.Layer):  # type: ignore[name-defined,misc]
        def call(self, inputs: Any) -> Any:
            return keras.ops.qr(keras.ops.reshape(inputs, (-1, 28, 28)))[0][:, :, 0]

    task = altered(build_model=lambda _self: keras.Sequential([Solves()]))

    with pytest.raises(CannotConvertError):
        attempt(task, tmp_path, QuantizeStep())


def test_a_search_is_not_tried_before(altered: Any, tmp_path: Path) -> None:
    config = CompressConfig(search=SearchConfig())

    try_keras_steps(altered(build_model=lambda _self: None), config, seed=0, folder=tmp_path)
