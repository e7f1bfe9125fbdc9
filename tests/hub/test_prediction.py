import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from ayni.hub.prediction import (
    InferenceFailedError,
    InputShapeError,
    UnknownVariantError,
    UnreadableInputError,
    predict,
    read_example,
    read_text,
)
from ayni.hub.snapshots import DamagedFileError

np = pytest.importorskip("numpy")


@pytest.fixture
def ones(tmp_path: Path) -> Path:
    """An input whose second pixel is 1."""
    path = tmp_path / "ones.npy"
    np.save(path, np.array([[[0, 1], [0, 0]]], dtype=np.float32))
    return path


def test_the_chosen_variant_and_the_full_model_say_the_same(published_model: Any, ones: Path) -> None:
    snapshot = published_model.publish()

    (chosen,) = predict(snapshot, [ones])
    (full,) = predict(snapshot, [ones], variant="full")

    total = 1 + math.e + math.exp(0.25)
    assert chosen["variant"] == "int8"
    assert (chosen["file"], chosen["prediction"], chosen["label"]) == (str(ones), 1, "one")
    assert chosen["probabilities"] == pytest.approx(
        {"one": math.e / total, "two": math.exp(0.25) / total, "zero": 1 / total}
    )
    assert list(chosen["probabilities"]) == ["one", "two", "zero"]
    assert full["probabilities"] == pytest.approx(chosen["probabilities"])
    assert json.loads(json.dumps(chosen)) == chosen


def test_numbers_and_images_give_the_same_answer(published_model: Any, ones: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "x.json").write_text("[[0, 1], [0, 0]]")
    image.fromarray(np.array([[0, 255], [0, 0]], dtype=np.uint8)).save(tmp_path / "x.png")

    answers = predict(published_model.publish(), [ones, tmp_path / "x.json", tmp_path / "x.png"])

    assert len({json.dumps(answer["probabilities"]) for answer in answers}) == 1


def test_a_keras_model_gets_an_image_with_its_channels_last(published_model: Any, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3)).save(tmp_path / "x.png")
    config = dataclasses.replace(
        published_model.config, library="keras", input_shape=(2, 2, 3), value_range=(0.0, 255.0)
    )

    example = read_example(tmp_path / "x.png", config)

    assert example.shape == (1, 2, 2, 3)
    assert example[0, 0, 1].tolist() == [3, 4, 5]


def test_an_image_is_scaled_to_the_range_of_the_model(published_model: Any, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.array([[0, 255], [51, 0]], dtype=np.uint8)).save(tmp_path / "x.png")
    config = dataclasses.replace(published_model.config, value_range=(-1.0, 1.0))

    example = read_example(tmp_path / "x.png", config)

    assert example.dtype == np.float32
    assert example == pytest.approx(np.array([[[[-1, 1], [-0.6, -1]]]]))


def test_a_colour_image_has_its_channels_first(published_model: Any, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "x.png")
    config = dataclasses.replace(published_model.config, input_shape=(3, 2, 3))

    example = read_example(tmp_path / "x.png", config)

    assert example[0, :, 0, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 1, 2), (4,), (0,), ()])
def test_another_shape_is_refused_with_both_shapes(published_model: Any, tmp_path: Path, shape: Any) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape))

    with pytest.raises(InputShapeError, match=r"takes \[1, 2, 2\]"):
        read_example(tmp_path / "x.npy", published_model.config)


def test_a_picture_of_another_size_is_refused_before_it_is_decoded(
    published_model: Any, tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("L", (30, 20)).save(tmp_path / "x.png")

    with pytest.raises(InputShapeError, match=r"\[1, 20, 30\]"):
        read_example(tmp_path / "x.png", published_model.config)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.npy", None),
        ("x.txt", b"1"),
        ("x.npy", b"no numpy"),
        ("y.npy", b""),
        ("x.json", b"[[1, 2], [3"),
        ("y.json", b'[["a", "b"], ["c", "d"]]'),
        ("z.json", b"[[1, 2], [3, NaN]]"),
        ("deep.json", b"[" * 100_000),
        ("ragged.json", b"[[1, 2], [3]]"),
        ("x.png", b"\x89PNG\r\n\x1a\nno"),
        ("x.jpg", b"GIF89a"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(
    published_model: Any, tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(UnreadableInputError, match="cannot be used"):
        read_example(tmp_path / name, published_model.config)


def test_an_array_file_cannot_run_code(published_model: Any, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    np.save(tmp_path / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)

    with pytest.raises(UnreadableInputError):
        read_example(tmp_path / "x.npy", published_model.config)
    assert not (tmp_path / "ran").exists()


def test_fractions_are_refused_where_whole_numbers_are_meant(published_model: Any, tmp_path: Path) -> None:
    config = dataclasses.replace(published_model.config, input_dtype="int64", input_shape=(2,))
    (tmp_path / "x.json").write_text("[1, 2]")
    (tmp_path / "y.json").write_text("[1, 2.5]")

    assert read_example(tmp_path / "x.json", config).tolist() == [[1, 2]]
    with pytest.raises(UnreadableInputError, match="whole numbers"):
        read_example(tmp_path / "y.json", config)


def test_an_unknown_variant_names_the_nearest(published_model: Any, ones: Path) -> None:
    with pytest.raises(UnknownVariantError, match="Did you mean int8"):
        predict(published_model.publish(), [ones], variant="int4")


def test_a_changed_variant_is_not_run(published_model: Any, ones: Path) -> None:
    snapshot = published_model.publish()
    with (snapshot.folder / "int8.onnx").open("ab") as file:
        file.write(b"\0")

    with pytest.raises(DamagedFileError):
        predict(snapshot, [ones])


def test_a_variant_that_the_runtime_refuses_is_explained(published_model: Any, ones: Path) -> None:
    snapshot = published_model.publish(int8_onnx=b"no model")

    with pytest.raises(InferenceFailedError, match="--variant full"):
        predict(snapshot, [ones])


def test_an_output_without_classes_is_given_as_it_is(published_model: Any, ones: Path) -> None:
    config = dataclasses.replace(published_model.config, labels=None, pipeline_tag="other")
    snapshot = published_model.publish(config_json=json.dumps(config.to_json()).encode())

    (answer,) = predict(snapshot, [ones])

    assert answer["prediction"] == pytest.approx([0, 1, 0.25])
    assert answer["label"] is None


def text_config(published_model: Any, vocabulary: tuple[str, ...] | None = ("a", "b", "c", "\n")) -> Any:
    return dataclasses.replace(
        published_model.config,
        labels=vocabulary,
        pipeline_tag="text-generation",
        input_shape=(4,),
        input_dtype="int64",
    )


@pytest.mark.parametrize(
    ("name", "content", "numbers"),
    [
        ("x.txt", "abcabc", [2, 0, 1, 2]),
        ("x.txt", "ab\n", [0, 1]),
        ("x.txt", "ab\n\n", [0, 1, 3]),
        ("x.json", '"cab"', [2, 0, 1]),
        ("x.json", "[2, 1]", [2, 1]),
        ("x.json", "[[0, 1, 2, 3, 2]]", [1, 2, 3, 2]),
    ],
)
def test_text_becomes_the_last_numbers_of_its_characters(
    published_model: Any, tmp_path: Path, name: str, content: str, numbers: list[int]
) -> None:
    (tmp_path / name).write_text(content)

    example, last = read_text(tmp_path / name, text_config(published_model))

    assert (example.shape, example.dtype) == ((1, 4), np.int64)
    assert example[0, : last + 1].tolist() == numbers


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.txt", None, "no such file"),
        ("x.txt", b"", "empty"),
        ("x.txt", b"\n", "empty"),
        ("x.json", b"[]", "empty"),
        ("x.txt", "ab\u00e9".encode(), "does not know the characters '\u00e9'"),
        ("x.txt", b"\xff", "not text in UTF-8"),
        ("x.json", b"[1, 4]", "whole numbers from 0 to 3"),
        ("x.json", b"[1, -1]", "whole numbers from 0 to 3"),
        ("x.json", b"[0.5]", "whole numbers from 0 to 3"),
        ("x.json", b'["a", "b"]', "whole numbers from 0 to 3"),
        ("x.json", b"{}", "whole numbers from 0 to 3"),
    ],
)
def test_text_that_the_model_cannot_read_is_explained(
    published_model: Any, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(UnreadableInputError, match=words):
        read_text(tmp_path / name, text_config(published_model))


@pytest.mark.parametrize("vocabulary", [None, ("a", "bc")])
def test_a_model_without_a_vocabulary_of_characters_takes_numbers(
    published_model: Any, tmp_path: Path, vocabulary: tuple[str, ...] | None
) -> None:
    (tmp_path / "x.txt").write_text("a")
    (tmp_path / "x.json").write_text("[1, 0]")
    config = text_config(published_model, vocabulary)

    assert read_text(tmp_path / "x.json", config)[1] == 1
    with pytest.raises(UnreadableInputError, match=r"give numbers in \.json"):
        read_text(tmp_path / "x.txt", config)


def test_a_model_of_text_answers_what_comes_after_the_last_character(
    published_model: Any, tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text("cab\n")
    (tmp_path / "long.txt").write_text("abcabcabcab")
    config = text_config(published_model)
    snapshot = published_model.publish(
        config_json=json.dumps(config.to_json()).encode(), int8_onnx=next_letter_onnx()
    )

    short, long = predict(snapshot, [tmp_path / "short.txt", tmp_path / "long.txt"])

    assert (short["prediction"], short["label"], long["label"]) == (2, "c", "c")
    assert len(short["probabilities"]) == 4
    assert short["probabilities"]["c"] == pytest.approx(math.e**5 / (math.e**5 + 3))


def next_letter_onnx() -> bytes:
    """Logits (1, 4, 4) by hand: after a comes b, then c, newline, and a again; each with a lead of 5."""
    from onnx import TensorProto, helper, numpy_helper

    table = 5 * np.roll(np.eye(4, dtype=np.float32), 1, axis=1)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "text"], ["logits"], axis=0)],
        "letters",
        [helper.make_tensor_value_info("text", TensorProto.INT64, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4, 4])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content
