"""TFMOT on legacy models; a clear word where there is no legacy model."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ayni.compress.keras.litert import LiteRtRuntime
from ayni.compress.keras.litert_conversion import convert_keras
from ayni.compress.keras.tfmot_steps import (
    LegacyKerasOnlyError,
    StepWithoutEffectError,
    TfmotRefusedError,
    cluster_with_tfmot,
    prune_with_tfmot,
    train_aware_with_tfmot,
)

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
pytestmark = pytest.mark.keras
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(256, 16)).astype(np.float32)
KINDS = (POINTS[:, :8].sum(1) > 0).astype(np.int64)


def train(model: Any, callbacks: Sequence[Any]) -> None:
    """Forty steps."""
    tf_keras = pytest.importorskip("tf_keras")
    model.compile(tf_keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(POINTS, KINDS, batch_size=64, epochs=10, verbose=0, callbacks=list(callbacks))


@pytest.fixture(scope="module")
def legacy() -> Any:
    """A trained tf_keras network."""
    pytest.importorskip("tensorflow_model_optimization")
    tf_keras = pytest.importorskip("tf_keras")
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [layers.InputLayer((16,)), layers.Dense(32, activation="relu"), layers.Dense(2, activation="softmax")]
    )
    train(model, [])
    return model


def accuracy(run: Any) -> float:
    return float((np.argmax(np.asarray(run(POINTS)), axis=1) == KINDS).mean())


def kernels(model: Any) -> list[np.ndarray]:
    return [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]


def test_a_keras_3_model_is_refused_with_what_to_use_instead() -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(2)])
    for step in (
        lambda: prune_with_tfmot(model, train, sparsity=0.5, end_step=10),
        lambda: cluster_with_tfmot(model, train, num_clusters=4),
        lambda: train_aware_with_tfmot(model, train),
    ):
        with pytest.raises(LegacyKerasOnlyError, match=r"Keras 3 model.*LiteRT"):
            step()


def test_a_torch_module_is_refused() -> None:
    with pytest.raises(LegacyKerasOnlyError, match=r"torch\.nn.*Linear"):
        train_aware_with_tfmot(torch.nn.Linear(2, 2), train)


@pytest.mark.parametrize(("sparsity", "begin", "end"), [(0.0, 0, 9), (1.0, 0, 9), (0.5, 9, 9), (0.5, -1, 9)])
def test_a_schedule_that_makes_no_sense_is_refused(sparsity: float, begin: int, end: int) -> None:
    with pytest.raises(ValueError, match=r"sparsity|begin"):
        prune_with_tfmot(object(), train, sparsity=sparsity, begin_step=begin, end_step=end)


def test_one_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        cluster_with_tfmot(object(), train, num_clusters=1)


def test_pruning_reaches_its_sparsity_on_a_copy(legacy: Any) -> None:
    before = [kernel.copy() for kernel in kernels(legacy)]

    result = prune_with_tfmot(legacy, train, sparsity=0.75, end_step=30, frequency=5)

    assert result.sparsity == pytest.approx(0.75, abs=0.01)
    assert [float((kernel == 0).mean()) for kernel in kernels(result.model)] == pytest.approx(
        [0.75, 0.75], abs=0.02
    )
    assert accuracy(result.model) > 0.9
    assert all(np.array_equal(one, other) for one, other in zip(before, kernels(legacy), strict=True))
    assert type(result.model.layers[0]).__name__ == "Dense"  # no wrapper is left


def test_training_without_the_callbacks_is_noticed(legacy: Any) -> None:
    def too_short(model: Any, callbacks: Sequence[Any]) -> None:
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(POINTS[:64], KINDS[:64], batch_size=64, epochs=1, verbose=0, callbacks=list(callbacks))

    with pytest.raises(StepWithoutEffectError, match=r"75%.*end_step"):
        prune_with_tfmot(legacy, too_short, sparsity=0.75, end_step=1000)


def test_clustered_kernels_share_a_few_values(legacy: Any) -> None:
    result = cluster_with_tfmot(legacy, train, num_clusters=8)

    assert [len(np.unique(kernel)) for kernel in kernels(result.model)] == [8, 8]
    assert result.num_clusters == 8
    assert accuracy(result.model) > 0.9


def test_a_model_that_was_trained_with_rounding_becomes_integers_without_calibration(
    legacy: Any, tmp_path: Path
) -> None:
    result = train_aware_with_tfmot(legacy, train)

    made = convert_keras(result.model, POINTS[:4], {"dynamic-int8": tmp_path / "aware.tflite"}).made[
        "dynamic-int8"
    ]

    runtime = LiteRtRuntime(made.file)
    assert accuracy(runtime) > 0.9
    assert made.largest_difference < 0.05
    assert sum(tensor["dtype"] == np.int8 for tensor in runtime._interpreter.get_tensor_details()) >= 4


def test_a_plain_legacy_model_has_litert_forms_too(legacy: Any, tmp_path: Path) -> None:
    made = convert_keras(
        legacy,
        POINTS[:4],
        {"float32": tmp_path / "f.tflite", "int8": tmp_path / "i.tflite"},
        calibration=[POINTS],
    ).made

    np.testing.assert_allclose(LiteRtRuntime(made["float32"].file)(POINTS), legacy(POINTS), atol=1e-5)
    assert accuracy(LiteRtRuntime(made["int8"].file)) > accuracy(legacy) - 0.02


def test_a_subclassed_model_is_refused(legacy: Any) -> None:
    tf_keras = pytest.importorskip("tf_keras")

    class Own(tf_keras.Model):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(TfmotRefusedError, match="prune this model"):
        prune_with_tfmot(Own(), train, sparsity=0.5, end_step=10)
