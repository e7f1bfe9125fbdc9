"""OpenVINO, where the extra is installed."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.openvino_variants import (
    OpenVinoFailedError,
    OpenVinoForm,
    OpenVinoRuntime,
    convert_openvino,
    has_bf16,
    openvino_files,
)
from ayni.compress.deploy.runtimes import RuntimeFailedError
from ayni.compress.inputs import ModelInputs
from ayni.errors import MissingExtraError


class Reader(nn.Module):
    """Ids and a mask by name to named answers."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 32)
        self.rise, self.fall = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        x_NTE = self.words(input_ids)
        x_NTE = (x_NTE + self.fall(torch.relu(self.rise(x_NTE)))) * attention_mask.unsqueeze(-1)
        return {"states": x_NTE, "pooled": x_NTE.mean(1)}


def batch(num_texts: int, num_tokens: int = 9) -> ModelInputs:
    generator = torch.Generator().manual_seed(num_texts)
    ids = torch.randint(0, 40, (num_texts, num_tokens), generator=generator)
    return ModelInputs(kwargs={"input_ids": ids, "attention_mask": torch.ones_like(ids)})


@pytest.fixture
def reader(tmp_path: Path) -> nn.Module:
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    model = Reader().eval().requires_grad_(False)
    export_onnx(model, [batch(3)], tmp_path / "model.onnx")
    return model


@pytest.mark.parametrize("form", ["float", "int8", "weights8", "weights4"])
def test_every_form_answers_like_the_model_for_any_size(reader: nn.Module, tmp_path: Path, form: Any) -> None:
    if form != "float":
        pytest.importorskip("nncf")

    num_bytes = convert_openvino(
        tmp_path / "model.onnx", tmp_path / "model.xml", OpenVinoForm(form=form), calibration=[batch(8)]
    )

    runtime = OpenVinoRuntime(tmp_path / "model.xml")
    assert num_bytes == sum(file.stat().st_size for file in openvino_files(tmp_path / "model.xml"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.bin", "model.onnx", "model.xml"]
    assert runtime.input_names == ("input_ids", "attention_mask")
    for size in (1, 5):
        expected, actual = batch(size, 4 + size).run(reader), batch(size, 4 + size).run(runtime)
        assert list(actual) == ["states", "pooled"]
        error = (actual.states - expected["states"]).norm() / expected["states"].norm()
        assert float(error) < (0.2 if form == "weights4" else 0.05 if form != "float" else 1e-4)


@pytest.mark.parametrize("symmetric", [True, False])
def test_ranges_around_zero_and_with_a_zero_point_both_answer_like_the_model(
    reader: nn.Module, tmp_path: Path, symmetric: bool
) -> None:
    pytest.importorskip("nncf")
    form = OpenVinoForm(symmetric=symmetric)

    convert_openvino(tmp_path / "model.onnx", tmp_path / "model.xml", form, calibration=[batch(8)])

    expected = batch(5).run(reader)["states"]
    error = (batch(5).run(OpenVinoRuntime(tmp_path / "model.xml")).states - expected).norm()
    assert float(error / expected.norm()) < 0.05
    # Eight-bit codes reach one further below zero than above.
    assert all(low in (0, pytest.approx(-high * 128 / 127)) for low, high in ranges(tmp_path)) is symmetric


def ranges(folder: Path) -> list[tuple[float, float]]:
    """Lowest and highest value of each activation that is rounded."""
    import openvino

    graph = openvino.Core().read_model(str(folder / "model.xml"))
    found = [
        [float(node.input_value(place).get_node().data.min()) for place in (1, 2)]
        for node in graph.get_ordered_ops()
        if node.get_type_name() == "FakeQuantize"
        and node.input_value(0).get_node().get_type_name() not in ("Constant", "Convert")
    ]
    assert found
    return [(low, high) for low, high in found]


def test_fixed_shapes_give_the_same_answers_and_refuse_other_sizes(reader: nn.Module, tmp_path: Path) -> None:
    convert_openvino(tmp_path / "model.onnx", tmp_path / "model.xml", OpenVinoForm(form="float"))
    shapes = {"input_ids": (3, 9), "attention_mask": (3, 9)}

    runtime = OpenVinoRuntime(tmp_path / "model.xml", shapes=shapes)

    torch.testing.assert_close(
        batch(3).run(runtime).states, batch(3).run(reader)["states"], rtol=1e-4, atol=1e-5
    )
    with pytest.raises(RuntimeFailedError, match=r"model\.xml"):
        batch(4).run(runtime)
    with pytest.raises(RuntimeFailedError, match=r"model\.xml"):
        OpenVinoRuntime(tmp_path / "model.xml", shapes={"words": (3, 9)})


def test_half_precision_is_close_and_named_as_an_ability_of_the_processor(
    reader: nn.Module, tmp_path: Path
) -> None:
    convert_openvino(tmp_path / "model.onnx", tmp_path / "model.xml", OpenVinoForm(form="float"))

    answer = batch(3).run(OpenVinoRuntime(tmp_path / "model.xml", precision="bf16")).states

    expected = batch(3).run(reader)["states"]
    error = float((answer - expected).norm() / expected.norm())
    assert error < 0.02
    assert (error > 1e-4) == has_bf16()


def test_answers_of_two_calls_are_their_own(reader: nn.Module, tmp_path: Path) -> None:
    convert_openvino(tmp_path / "model.onnx", tmp_path / "model.xml", OpenVinoForm(form="float"))
    runtime = OpenVinoRuntime(tmp_path / "model.xml").train().eval()

    first = batch(2).run(runtime).pooled
    before = first.clone()
    batch(3).run(runtime)

    assert torch.equal(first, before)
    assert list(runtime.parameters()) == []


def test_a_plain_model_answers_with_a_tensor(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model = nn.Linear(4, 3).eval()
    export_onnx(model, [torch.randn(2, 4)], tmp_path / "model.onnx")

    convert_openvino(tmp_path / "model.onnx", tmp_path / "model.xml", OpenVinoForm(form="float"))

    x = torch.randn(5, 4)
    torch.testing.assert_close(
        OpenVinoRuntime(tmp_path / "model.xml")(x), model(x).detach(), rtol=1e-4, atol=1e-5
    )


def test_damaged_files_and_wrong_inputs_are_named(reader: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "bad.xml").write_text("<net>")
    with pytest.raises(RuntimeFailedError, match=r"OpenVINO cannot use bad\.xml"):
        OpenVinoRuntime(tmp_path / "bad.xml")

    convert_openvino(tmp_path / "model.onnx", tmp_path / "model.xml", OpenVinoForm(form="float"))
    with pytest.raises(RuntimeFailedError, match="input_ids, attention_mask"):
        OpenVinoRuntime(tmp_path / "model.xml")(batch(1).kwargs["input_ids"])


def test_a_failed_conversion_leaves_the_earlier_files(reader: nn.Module, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    convert_openvino(tmp_path / "model.onnx", tmp_path / "model.xml", OpenVinoForm(form="float"))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    wrong = ModelInputs(kwargs={"input_ids": torch.ones(2, 3)})
    with pytest.raises(OpenVinoFailedError, match="int8"):
        convert_openvino(tmp_path / "model.onnx", tmp_path / "model.xml", OpenVinoForm(), calibration=[wrong])

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.xml"):
        convert_openvino(tmp_path / "a.onnx", tmp_path / "a.onnx", OpenVinoForm(form="float"))
    with pytest.raises(ValueError, match="calibration"):
        convert_openvino(tmp_path / "a.onnx", tmp_path / "a.xml", OpenVinoForm())
    with pytest.raises(ValueError, match="weights4"):
        OpenVinoForm(form="int3")  # type: ignore[arg-type]


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(MissingExtraError, match=r"ayni\[openvino\]"):
        OpenVinoRuntime(tmp_path / "model.xml")
