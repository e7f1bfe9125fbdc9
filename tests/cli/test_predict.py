"""`ayni predict` on a model of text that was put into the hub by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni import wiring
from ayni.cli import main
from ayni.hub.config import ModelConfig
from ayni.settings import read_settings

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def letters(home: Path) -> None:
    """After a comes b, and after b comes a; published as me/letters."""
    helper, types = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "text"], ["logits"], axis=0)],
        "letters",
        [helper.make_tensor_value_info("text", types.INT64, ["batch", 4])],
        [helper.make_tensor_value_info("logits", types.FLOAT, ["batch", 4, 2])],
        [onnx.numpy_helper.from_array(np.array([[0, 9], [9, 0]], dtype=np.float32), "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    config = ModelConfig(
        task="task:Letters",
        task_sha256="ab" * 32,
        architecture="Letters",
        input_shape=(4,),
        input_dtype="int64",
        labels=("a", "b"),
        pipeline_tag="text-generation",
        variants={"small": "small.onnx"},
        chosen="small",
    )
    wiring.Installation(read_settings(home=home)).hub.publish(
        "me/letters",
        {"config.json": json.dumps(config.to_json()).encode(), "small.onnx": model.SerializeToString()},
        message="Publish",
        author="Ada <ada@x>",
        when=datetime(2026, 3, 4, tzinfo=UTC),
    )


def test_the_next_character_is_shown_with_its_probability(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "x.txt").write_text("aba\n")

    assert main.run_command(["predict", "letters", str(tmp_path / "x.txt")]) == 0

    assert capsys.readouterr().out.splitlines()[-1].split() == [str(tmp_path / "x.txt"), "b", "100.0%"]


def test_json_holds_the_likeliest_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text('"ab"')

    assert main.run_command(["predict", "--json", "me/letters", str(tmp_path / "x.json")]) == 0

    (answer,) = json.loads(capsys.readouterr().out)
    assert (answer["variant"], answer["label"], list(answer["probabilities"])) == ("small", "a", ["a", "b"])


def test_a_text_that_the_model_does_not_know_is_the_callers_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.txt").write_text("abc")

    assert main.run_command(["predict", "letters", str(tmp_path / "x.txt")]) == 2

    assert "does not know the characters 'c'" in capsys.readouterr().err
