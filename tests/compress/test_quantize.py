"""Eight-bit integers."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from ayni.compress.calibration import model_inputs
from ayni.compress.config import QuantizeStep
from ayni.compress.export import export_onnx
from ayni.compress.quantize import QuantizationFailedError, quantize_onnx, suitable_mode
from ayni.compress.runtimes import OnnxRuntime
from ayni.task import Task


def exported(task: Task, folder: Path) -> tuple[nn.Module, list[torch.Tensor], Path]:
    torch.manual_seed(0)
    model = task.build_model().eval().requires_grad_(False)
    inputs = model_inputs(task, model, split="train", num_examples=64)
    export_onnx(model, inputs, folder / "float.onnx")
    return model, inputs, folder / "float.onnx"


def test_convolutions_are_quantized_statically_and_compute_nearly_the_same(
    bars: Task, tmp_path: Path
) -> None:
    model, inputs, source = exported(bars, tmp_path)

    mode = quantize_onnx(source, tmp_path / "int8.onnx", QuantizeStep(), calibration=inputs)

    expected, actual = model(inputs[0]), OnnxRuntime(tmp_path / "int8.onnx")(inputs[0])
    assert mode == "static"
    assert float((actual - expected).norm() / expected.norm()) < 0.1


def test_other_models_are_quantized_dynamically(symbols: Task, tmp_path: Path) -> None:
    model, inputs, source = exported(symbols, tmp_path)

    mode = quantize_onnx(source, tmp_path / "int8.onnx", QuantizeStep(), calibration=[])

    expected, actual = model(inputs[0]), OnnxRuntime(tmp_path / "int8.onnx")(inputs[0])
    assert mode == "dynamic"
    assert float((actual - expected).norm() / expected.norm()) < 0.1


def test_weights_are_stored_as_signed_bytes_with_a_scale_for_each_channel(bars: Task, tmp_path: Path) -> None:
    _, inputs, source = exported(bars, tmp_path)

    quantize_onnx(source, tmp_path / "int8.onnx", QuantizeStep(mode="static"), calibration=inputs)

    stored = {
        tuple(tensor.dims): tensor.data_type
        for tensor in onnx.load(str(tmp_path / "int8.onnx")).graph.initializer
    }
    assert stored[(16, 8, 3, 3)] == onnx.TensorProto.INT8
    assert (16,) in stored


def test_the_mode_of_the_job_wins_over_the_suitable_one(bars: Task, tmp_path: Path) -> None:
    _, inputs, source = exported(bars, tmp_path)

    mode = quantize_onnx(source, tmp_path / "int8.onnx", QuantizeStep(mode="dynamic"), calibration=inputs)

    assert (suitable_mode(source), mode) == ("static", "dynamic")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["float.onnx", "int8.onnx"]


def test_a_convolution_beside_attention_is_no_reason_for_static_ranges(tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.dense = nn.Conv1d(4, 4, 3, padding=1), nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.dense(self.convolution(x))
            mixed: torch.Tensor = nn.functional.scaled_dot_product_attention(x, x, x)
            return mixed

    export_onnx(Both(), [torch.randn(2, 4, 6)], tmp_path / "float.onnx")

    assert suitable_mode(tmp_path / "float.onnx") == "dynamic"


def test_a_damaged_source_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "float.onnx"
    source.write_bytes(b"not a graph")

    with pytest.raises(QuantizationFailedError, match=r"float\.onnx"):
        quantize_onnx(source, tmp_path / "int8.onnx", QuantizeStep(mode="dynamic"), calibration=[])

    assert [path.name for path in tmp_path.iterdir()] == ["float.onnx"]
