"""From Keras models to LiteRT files."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayni.compress.keras import litert_conversion
from ayni.compress.keras.litert import LITERT_FORMS, LiteRtForm, LiteRtRuntime
from ayni.compress.keras.litert_conversion import CannotConvertError, LiteRtConversion, convert_keras

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
pytestmark = pytest.mark.keras

Made = tuple[Any, list[Any], LiteRtConversion]


def targets(folder: Path, *forms: LiteRtForm) -> dict[LiteRtForm, Path]:
    return {form: folder / f"{form}.tflite" for form in forms}


def small_network() -> Any:
    """Convolution, batch norm with moved means, dropout: what evaluation mode has to treat."""
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)), layers.Conv2D(16, 3), layers.BatchNormalization(), layers.ReLU(),
            layers.Flatten(), layers.Dropout(0.5), layers.Dense(32, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )  # fmt: skip
    for weight in model.weights:
        if "moving" in weight.path:
            weight.assign(np.linspace(0.5, 1.5, weight.shape[0]))
    return model


def digits(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(size=(1, 8, 8, 1)).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All four forms of the small network, from one conversion."""
    model, inputs = small_network(), digits(24)
    folder = tmp_path_factory.mktemp("forms")
    return model, inputs, convert_keras(model, inputs[0], targets(folder, *LITERT_FORMS), calibration=inputs)


def test_every_form_computes_what_the_model_does_in_evaluation_mode(made: Made) -> None:
    model, inputs, conversion = made
    batch = np.concatenate(inputs)
    expected = np.asarray(model(batch, training=False))

    assert not conversion.refused
    for form, bound in {"float32": 1e-5, "float16": 2e-3, "dynamic-int8": 0.03, "int8": 0.03}.items():
        actual = LiteRtRuntime(conversion.made[form].file)(batch)  # type: ignore[index]
        assert np.abs(actual - expected).max() < bound, form


def test_sizes_are_those_of_the_files_and_shrink_with_the_bits(made: Made) -> None:
    files = made[2].made

    assert all(each.stored_bytes == each.file.stat().st_size for each in files.values())
    sizes = {form: each.stored_bytes for form, each in files.items()}
    assert sizes["float16"] < 0.6 * sizes["float32"]
    assert max(sizes["int8"], sizes["dynamic-int8"]) < 0.4 * sizes["float32"]


def test_int8_takes_and_gives_floats_and_computes_in_integers(made: Made) -> None:
    runtime = LiteRtRuntime(made[2].made["int8"].file)

    assert runtime(made[1][0]).dtype == np.float32
    tensors = runtime._interpreter.get_tensor_details()
    assert sum(tensor["dtype"] == np.int8 for tensor in tensors) > 8


def test_the_difference_is_measured_against_the_model(made: Made) -> None:
    differences = {form: each.largest_difference for form, each in made[2].made.items()}

    assert differences["float32"] <= litert_conversion.RELATIVE_TOLERANCE
    assert 0 < differences["float16"] < differences["dynamic-int8"] < 0.05


def test_the_model_is_not_changed(made: Made) -> None:
    model, inputs, _ = made
    twin = small_network()

    for one, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(model(inputs[0], training=False), twin(inputs[0], training=False))


def test_mappings_go_in_and_come_out(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    words, number = keras.Input((5,), dtype="int32", name="words"), keras.Input((3,), name="number")
    hidden = keras.layers.Concatenate()(
        [keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(64, 32)(words)), number]
    )
    model = keras.Model(
        {"words": words, "number": number},
        {"kind": keras.layers.Dense(2)(hidden), "age": keras.layers.Dense(1)(hidden)},
    )
    rng = np.random.default_rng(0)
    inputs = {
        "words": rng.integers(0, 64, (4, 5), dtype=np.int32),
        "number": rng.normal(size=(4, 3)),  # float64, as numpy makes it
    }

    conversion = convert_keras(model, inputs, targets(tmp_path, "float32", "int8"), calibration=[inputs])

    expected = model(inputs, training=False)
    for form, bound in (("float32", 1e-5), ("int8", 0.1)):
        actual = LiteRtRuntime(conversion.made[form].file)(inputs)  # type: ignore[index]
        assert actual.keys() == {"kind", "age"}
        for name, value in actual.items():
            np.testing.assert_allclose(value, expected[name], atol=bound)


def test_a_subclassed_model_of_two_inputs_with_unregistered_code_is_converted(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    class Distance(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def call(self, inputs: Any) -> Any:
            one, other = inputs
            return keras.ops.sum((self.dense(one) - self.dense(other)) ** 2, axis=-1, keepdims=True)

    model, inputs = Distance(), [np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)]
    expected = np.asarray(model(inputs))

    made = convert_keras(model, inputs, targets(tmp_path, "float32")).made

    np.testing.assert_allclose(LiteRtRuntime(made["float32"].file)(*inputs), expected, rtol=1e-5)


def test_only_what_was_asked_for_is_left_behind(tmp_path: Path) -> None:
    convert_keras(small_network(), digits(1)[0], targets(tmp_path, "dynamic-int8"))

    assert [file.name for file in tmp_path.iterdir()] == ["dynamic-int8.tflite"]


def test_a_model_that_draws_at_random_has_no_form_and_leaves_nothing(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    (tmp_path / "float32.tflite").write_bytes(b"earlier")

    class Noise(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs + keras.random.normal(keras.ops.shape(inputs))

    model = keras.Sequential([keras.Input((3,)), Noise()])

    with pytest.raises(CannotConvertError, match=r"differs|kernel"):
        convert_keras(model, np.zeros((1, 3), np.float32), targets(tmp_path, "float32"))
    assert (tmp_path / "float32.tflite").read_bytes() == b"earlier"


def test_an_operation_without_a_kernel_is_named(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    import tensorflow as tf

    class Determinant(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return tf.linalg.det(inputs)

    model = keras.Sequential([keras.Input((3, 3)), Determinant()])

    with pytest.raises(CannotConvertError, match=r"no kernel for tf\.MatrixDeterminant"):
        convert_keras(model, np.eye(3, dtype=np.float32)[None], targets(tmp_path, "float32"))


@pytest.mark.parametrize(
    ("example", "calibration", "says"),
    [
        (np.zeros((1, 4), np.float32), [], "calibration inputs, and there are none"),
        (np.zeros((1, 4), np.float32), [np.zeros((2, 5), np.float32)], "another form"),
        (np.zeros((1, 4), np.float32), [np.full((2, 4), np.nan, np.float32)], "not finite"),
        (np.zeros((1, 4), np.float32), [np.zeros((0, 4), np.float32)], r"\(0, 4\)"),
        (np.array(["text"]), [], "no number"),
        (np.float32(1), [], "batch"),
        ({"a b": np.zeros((1, 4))}, [], "a b"),
        ("text", [], "str"),
    ],
)
def test_requests_that_make_no_sense_are_refused_before_anything_starts(
    example: Any, calibration: list[Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(CannotConvertError, match=says):
        convert_keras(object(), example, targets(tmp_path, "int8"), calibration=calibration)


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    unknown: Mapping[Any, Path] = {"int3": tmp_path / "x"}

    with pytest.raises(ValueError, match="int3"):
        convert_keras(object(), np.zeros((1, 4)), unknown)


def test_code_of_the_model_that_raises_is_reported(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    class Broken(keras.Model):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            raise KeyError("colour")

    with pytest.raises(CannotConvertError, match=r"colour|built"):
        convert_keras(Broken(), np.zeros((1, 4), np.float32), targets(tmp_path, "float32"))


def test_a_model_with_weights_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    model = small_network()
    model.layers[-1].kernel.assign(np.full((32, 4), np.nan))

    with pytest.raises(CannotConvertError, match="not finite"):
        convert_keras(model, digits(1)[0], targets(tmp_path, "float32"))


def test_a_converter_that_dies_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        litert_conversion, "_CHILD", "import os, sys; print('CHECK failed', file=sys.stderr); os.abort()"
    )

    with pytest.raises(CannotConvertError, match=r"code -6 \(CHECK failed\)"):
        convert_keras(small_network(), digits(1)[0], targets(tmp_path, "float32"))


def test_a_converter_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_conversion, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(litert_conversion, "TIMEOUT_SECONDS", 0.2)

    with pytest.raises(CannotConvertError, match=r"ended after 0\.2 seconds"):
        convert_keras(small_network(), digits(1)[0], targets(tmp_path, "float32"))


def test_a_model_on_the_torch_backend_is_converted(tmp_path: Path) -> None:
    program = f"""
import numpy as np, keras, pathlib
from ayni.compress.keras.litert import LiteRtRuntime
from ayni.compress.keras.litert_conversion import convert_keras
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(2)])
inputs = np.ones((2, 6), np.float32)
made = convert_keras(model, inputs, {{"float32": pathlib.Path({str(tmp_path / "m.tflite")!r})}}).made
assert made["float32"].largest_difference < 1e-5
assert LiteRtRuntime(made["float32"].file)(inputs).shape == (2, 2)
"""
    environment = {**os.environ, "KERAS_BACKEND": "torch"}

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
