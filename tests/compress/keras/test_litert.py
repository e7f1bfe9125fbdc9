"""The interpreter, and how structures become names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.compress.keras.litert import (
    LiteRtFailedError,
    LiteRtRuntime,
    UnnamableStructureError,
    named,
    unnamed,
)

ARRAYS = st.integers(1, 3).map(lambda size: np.zeros(size, np.float32))
KEYS = st.text("abcxyz_", min_size=1, max_size=8)


@given(
    st.one_of(
        ARRAYS,
        st.lists(ARRAYS, min_size=1, max_size=12).map(tuple),
        st.dictionaries(KEYS, ARRAYS, min_size=1),
    )
)
def test_a_structure_comes_back_from_its_names(value: Any) -> None:
    back = unnamed(named(value, "input"), "input")

    assert type(back) is type(value)
    if isinstance(value, Mapping):
        assert all(back[key] is item for key, item in value.items()) and back.keys() == value.keys()
    elif isinstance(value, tuple):
        assert all(one is other for one, other in zip(back, value, strict=True))
    else:
        assert back is value


@pytest.mark.parametrize("value", [3.0, ["text"], {"a b": np.zeros(1)}, {"": np.zeros(1)}, [[np.zeros(1)]]])
def test_what_is_no_structure_of_arrays_is_refused(value: Any) -> None:
    with pytest.raises(UnnamableStructureError, match="input"):
        named(value, "input")


@pytest.mark.parametrize("content", [b"", b"short", b"\x1c\x00\x00\x00ONNX" + b"\x00" * 64])
def test_a_file_of_something_else_is_named_before_the_interpreter_sees_it(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "model.tflite").write_bytes(content)

    with pytest.raises(LiteRtFailedError, match=r"model\.tflite.*no LiteRT file"):
        LiteRtRuntime(tmp_path / "model.tflite")


def test_a_file_that_was_cut_off_is_refused_by_its_hash_before_it_ends_the_process(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\x00" * 8)

    with pytest.raises(LiteRtFailedError, match=r"model\.tflite.*SHA-256 is not 0123.*damaged"):
        LiteRtRuntime(tmp_path / "model.tflite", sha256="0123")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LiteRtFailedError, match=r"gone\.tflite"):
        LiteRtRuntime(tmp_path / "gone.tflite")


@pytest.fixture(scope="module")
def sum_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x + 1 for float32 [batch, 2], made here: no model and no other process."""
    return _file(tmp_path_factory, "sum", {"input": (None, 2)}, lambda input: {"output": input + 1.0})


@pytest.fixture(scope="module")
def two_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sum and difference of two vectors."""
    return _file(
        tmp_path_factory,
        "two",
        {"input_of_a": (None, 2), "input_of_b": (None, 2)},
        lambda input_of_a, input_of_b: {
            "output_0": input_of_a + input_of_b,
            "output_1": input_of_a - input_of_b,
        },
    )


def _file(
    factory: pytest.TempPathFactory,
    name: str,
    shapes: Mapping[str, tuple[int | None, ...]],
    function: Callable[..., Any],
) -> Path:
    tf = pytest.importorskip("tensorflow")
    module = tf.Module()
    module.serve = tf.function(function)
    concrete = module.serve.get_concrete_function(
        **{key: tf.TensorSpec(shape, name=key) for key, shape in shapes.items()}
    )
    folder = factory.mktemp(name)
    tf.saved_model.save(module, str(folder / "saved"), signatures={"serving_default": concrete})
    file = folder / f"{name}.tflite"
    file.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved")).convert())
    return file


@pytest.mark.keras
def test_batches_of_any_length_follow_each_other(sum_file: Path) -> None:
    runtime = LiteRtRuntime(sum_file)
    for num_examples in (1, 5, 2, 2, 1):
        inputs = np.arange(2.0 * num_examples, dtype=np.float32).reshape(num_examples, 2)

        np.testing.assert_array_equal(runtime(inputs), inputs + 1)


@pytest.mark.keras
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8, np.int8])
def test_numbers_are_widened_as_keras_does_it(sum_file: Path, dtype: type) -> None:
    outputs = LiteRtRuntime(sum_file)(np.array([[1, 2]], dtype))

    assert outputs.dtype == np.float32
    assert outputs.tolist() == [[2, 3]]


@pytest.mark.keras
def test_arrays_that_do_not_lie_in_order_are_taken(sum_file: Path) -> None:
    inputs = np.asfortranarray(np.arange(8, dtype=np.float32).reshape(4, 2))[::2]

    np.testing.assert_array_equal(LiteRtRuntime(sum_file)(inputs), inputs + 1)


@pytest.mark.keras
@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (np.zeros((1, 3), np.float32), r"\(1, 3\).*takes \('batch', 2\)"),
        (np.zeros((2,), np.float32), r"\(2,\)"),
        (np.zeros((0, 2), np.float32), r"\(0, 2\)"),
        (np.zeros((1, 2), np.complex64), "cast"),
        ({"a": np.zeros((1, 2), np.float32)}, r"takes \['input'\].*input_of_a"),
        ("text", "str"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_and_the_next_ones_served(
    sum_file: Path, inputs: Any, says: str
) -> None:
    runtime = LiteRtRuntime(sum_file)

    with pytest.raises(LiteRtFailedError, match=says):
        runtime(inputs)

    assert runtime(np.zeros((3, 2), np.float32)).tolist() == [[1, 1]] * 3


@pytest.mark.keras
def test_mappings_and_keywords_are_the_same_and_outputs_keep_their_order(two_file: Path) -> None:
    runtime = LiteRtRuntime(two_file)
    one, other = np.array([[3.0, 4.0]], np.float32), np.array([[1.0, 1.0]], np.float32)

    for outputs in (
        runtime({"a": one, "b": other}),
        runtime({"b": other, "a": one}),
        runtime(a=one, b=other),
    ):
        assert [output.tolist() for output in outputs] == [[[4, 5]], [[2, 3]]]


@pytest.mark.keras
def test_outputs_are_the_callers_own(sum_file: Path) -> None:
    runtime = LiteRtRuntime(sum_file)
    first = runtime(np.zeros((1, 2), np.float32))

    runtime(np.ones((1, 2), np.float32))

    assert first.tolist() == [[1, 1]]


@pytest.mark.keras
def test_training_mode_is_refused_and_evaluation_mode_is_where_it_stays(sum_file: Path) -> None:
    runtime = LiteRtRuntime(sum_file)

    assert runtime.eval() is runtime and runtime.training is False
    assert runtime(np.zeros((1, 2), np.float32), training=False).tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="evaluation"):
        runtime(np.zeros((1, 2), np.float32), training=True)
