"""Keras' own quantization, and sizes without an optimizer."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from ayni.compress.keras.keras_quantize import (
    CannotQuantizeKerasError,
    DamagedKerasFileError,
    KerasQuantizationFailedError,
    load_quantized,
    optimizer_bytes,
    quantize_keras,
    save_keras_weights,
)
from ayni.keras_weights import load_weights

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
pytestmark = pytest.mark.keras
INPUTS = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)


def network(seed: int = 1) -> Any:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten(),
            keras.Sequential([layers.Dense(64, activation="relu", name="inner")]),
            layers.Dense(10, name="head"),
        ]
    )  # fmt: skip


def outputs(model: Any) -> np.ndarray:
    return np.asarray(model(INPUTS, training=False))


def weights(model: Any) -> list[np.ndarray]:
    return [np.asarray(weight.numpy()) for weight in model.weights]


@pytest.mark.parametrize(("mode", "bound", "largest_ratio"), [("int8", 0.03, 0.29), ("int4", 0.2, 0.21)])
def test_a_quantized_model_is_smaller_and_computes_nearly_the_same(
    mode: Any, bound: float, largest_ratio: float, tmp_path: Path
) -> None:
    model = network()
    expected, before = outputs(model), save_keras_weights(model, tmp_path / "float.safetensors")

    done = quantize_keras(model, mode)
    after = save_keras_weights(model, tmp_path / "small.safetensors", quantization=done)

    error = float(np.linalg.norm(outputs(model) - expected) / np.linalg.norm(expected))
    assert 0 < error < bound
    assert after == (tmp_path / "small.safetensors").stat().st_size
    assert after / before < largest_ratio
    assert done.layers == ("inner", "head")
    assert sorted(reason.split()[-1] for reason in done.skipped.values()) == ["BatchNormalization", "Conv2D"]


def test_int8_weights_are_rounded_to_127_steps_of_each_output() -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    model.layers[0].kernel.assign([[1.0, -0.02], [0.6, 0.005]])

    quantize_keras(model, "int8")

    codes = model.layers[0]._kernel.numpy()
    assert codes.tolist() == [[127, -127], [76, 32]]


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_file_opens_into_a_new_model_that_computes_bit_for_bit_the_same(mode: Any, tmp_path: Path) -> None:
    model = network()
    done = quantize_keras(model, mode)
    save_keras_weights(model, tmp_path / "small.safetensors", quantization=done)

    again = network(seed=5)
    loaded = load_quantized(again, tmp_path / "small.safetensors", example=INPUTS[:1])

    np.testing.assert_array_equal(outputs(again), outputs(model))
    assert loaded.places == done.places


def test_layers_that_were_left_out_stay_so_when_the_file_is_opened(tmp_path: Path) -> None:
    model = network()
    done = quantize_keras(model, "int8", skip=["head"])
    save_keras_weights(model, tmp_path / "small.safetensors", quantization=done)
    again = network(seed=5)

    load_quantized(again, tmp_path / "small.safetensors", example=INPUTS[:1])

    assert done.layers == ("inner",) and done.skipped["head"] == "asked for"
    np.testing.assert_array_equal(outputs(again), outputs(model))


def test_embeddings_and_all_zero_weights_survive(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), keras.layers.Embedding(20, 8), keras.layers.Dense(4)]
    )
    model.layers[1].kernel.assign(np.zeros((8, 4)))

    done = quantize_keras(model, "int8")

    answer = np.asarray(model(np.array([[0, 1, 19]], np.int32)))
    assert len(done.layers) == 2
    assert answer.tolist() == np.zeros((1, 3, 4)).tolist()


def test_a_layer_that_is_used_twice_is_quantized_once() -> None:
    keras = pytest.importorskip("keras")
    shared, start = keras.layers.Dense(8, name="shared"), keras.Input((8,))
    model = keras.Model(start, shared(shared(start)))
    expected = np.asarray(model(np.eye(8, dtype=np.float32)))

    done = quantize_keras(model, "int8")

    assert done.layers == ("shared",)
    np.testing.assert_allclose(model(np.eye(8, dtype=np.float32)), expected, atol=0.05)


def test_a_compiled_model_predicts_with_its_new_weights() -> None:
    model = network()
    model.predict(INPUTS, verbose=0)

    quantize_keras(model, "int4")

    np.testing.assert_allclose(model.predict(INPUTS, verbose=0), outputs(model), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_quantized_is_refused_and_left_alone() -> None:
    keras = pytest.importorskip("keras")
    import torch

    class Own(keras.layers.Dense):  # type: ignore[misc]
        pass

    nan = network()
    nan.layers[-1].bias.assign(np.full(10, np.nan))
    twice = network()
    quantize_keras(twice, "int8")
    convolution = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    own = keras.Sequential([keras.Input((4,)), Own(2)])
    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    for model, says in (
        (nan, "not finite"),
        (twice, "int8 already"),
        (convolution, "none of the layers"),
        (own, "none of the layers"),
        (unbuilt, "no weights yet"),
        (torch.nn.Linear(2, 2), "no class of Keras"),
    ):
        before = [] if isinstance(model, torch.nn.Module) else weights(model)

        with pytest.raises(CannotQuantizeKerasError, match=says):
            quantize_keras(model, "int4")

        after = [] if isinstance(model, torch.nn.Module) else weights(model)
        assert all(
            np.array_equal(one, other, equal_nan=True) for one, other in zip(before, after, strict=True)
        )


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="float8"):
        quantize_keras(network(), "float8")  # type: ignore[arg-type]


def test_a_failure_in_the_middle_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()

    def broken(mode: str) -> None:
        raise AttributeError(f"no {mode}")

    monkeypatch.setattr(model.layers[-1], "quantize", broken)

    with pytest.raises(KerasQuantizationFailedError, match=r"head.*no int8.*build it again"):
        quantize_keras(model, "int8")


def test_plain_weights_open_as_published_ones_do(tmp_path: Path) -> None:
    model = network()
    save_keras_weights(model, tmp_path / "float.safetensors")
    again = network(seed=5)

    load_weights(again, tmp_path / "float.safetensors", example=INPUTS[:1])

    np.testing.assert_array_equal(outputs(again), outputs(model))


@pytest.mark.parametrize(
    "recipe",
    [
        None,
        "not json",
        "[]",
        {"mode": "pickle", "places": [1], "keras": "3.15"},
        {"mode": "int8", "places": [], "keras": "3.15"},
        {"mode": "int8", "places": [-1], "keras": "3.15"},
        {"mode": "int8", "places": [True], "keras": "3.15"},
        {"mode": "int8", "places": [999], "keras": "own"},
        {"mode": "int8", "places": [1, 1], "keras": "own"},
        {"mode": "int8", "places": "12", "keras": "own"},
        {"mode": "int4", "places": [5], "keras": "2.0"},
    ],
)
def test_a_hostile_recipe_is_refused_before_the_model_changes(recipe: Any, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    if isinstance(recipe, dict) and recipe["keras"] == "own":
        recipe["keras"] = ".".join(keras.__version__.split(".")[:2])
    metadata = (
        {}
        if recipe is None
        else {"ayni.keras_quantization": recipe if isinstance(recipe, str) else json.dumps(recipe)}
    )
    file = tmp_path / "bad.safetensors"
    safetensors.numpy.save_file({"x": np.zeros(1, np.float32)}, file, metadata)
    model = network()
    before = weights(model)

    with pytest.raises(DamagedKerasFileError, match=r"bad\.safetensors"):
        load_quantized(model, file, example=INPUTS[:1])

    assert all(np.array_equal(one, other) for one, other in zip(before, weights(model), strict=True))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    model = network()
    done = quantize_keras(model, "int8")
    save_keras_weights(model, tmp_path / "small.safetensors", quantization=done)
    with safe_open(tmp_path / "small.safetensors", framework="np") as opened:
        metadata = opened.metadata()
    arrays = safetensors.numpy.load_file(tmp_path / "small.safetensors")
    arrays.popitem()
    safetensors.numpy.save_file(arrays, tmp_path / "small.safetensors", metadata)

    with pytest.raises(DamagedKerasFileError, match="not in both"):
        load_quantized(network(), tmp_path / "small.safetensors", example=INPUTS[:1])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedKerasFileError, match=r"gone\.safetensors"):
        load_quantized(network(), tmp_path / "gone.safetensors", example=INPUTS[:1])


def test_the_optimizer_in_a_keras_file_is_counted_apart(tmp_path: Path) -> None:
    model = network()
    model.save(tmp_path / "plain.keras")
    model.compile("adam", "mse")
    model.fit(INPUTS, np.zeros((6, 10)), verbose=0)
    model.save(tmp_path / "trained.keras")
    model.save_weights(tmp_path / "trained.weights.h5")

    num_learning = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    for name in ("trained.keras", "trained.weights.h5"):
        assert 0 <= optimizer_bytes(tmp_path / name) - 2 * 4 * num_learning < 32  # and two counters
    assert optimizer_bytes(tmp_path / "plain.keras") == 0
    (tmp_path / "other.keras").write_bytes(b"text")
    with pytest.raises(DamagedKerasFileError, match=r"other\.keras"):
        optimizer_bytes(tmp_path / "other.keras")
