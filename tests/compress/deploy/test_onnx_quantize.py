"""Eight-bit integers."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from ayni.compress.calibration import model_inputs
from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_file import describe_onnx
from ayni.compress.deploy.onnx_quantize import (
    QuantizationFailedError,
    quantize_mixed,
    quantize_onnx,
    suitable_mode,
)
from ayni.compress.deploy.runtimes import OnnxRuntime
from ayni.compress.inputs import ModelInputs
from ayni.compress.steps import QuantizeStep
from ayni.task import Task


def exported(task: Task, folder: Path) -> tuple[nn.Module, list[ModelInputs], Path]:
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

    expected, actual = inputs[0].run(model), inputs[0].run(OnnxRuntime(tmp_path / "int8.onnx"))
    assert mode == "static"
    assert float((actual - expected).norm() / expected.norm()) < 0.1


def test_other_models_are_quantized_dynamically(symbols: Task, tmp_path: Path) -> None:
    model, inputs, source = exported(symbols, tmp_path)

    mode = quantize_onnx(source, tmp_path / "int8.onnx", QuantizeStep(), calibration=[])

    expected, actual = inputs[0].run(model), inputs[0].run(OnnxRuntime(tmp_path / "int8.onnx"))
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


class Encoder(nn.Module):
    """Ids and a mask by name; the vector of word 3 may be far larger than the others."""

    def __init__(self, *, boost: float = 1.0) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 32)
        self.rise, self.fall = nn.Linear(32, 64), nn.Linear(64, 32)
        self.words.weight.data[3] *= boost

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        x_NTE = self.words(input_ids)
        x_NTE = x_NTE + self.fall(torch.relu(self.rise(x_NTE)))
        return {"states": x_NTE * attention_mask.unsqueeze(-1)}


def encoder_batch(num_texts: int = 4, num_tokens: int = 9) -> ModelInputs:
    generator = torch.Generator().manual_seed(num_texts)
    ids = torch.randint(0, 40, (num_texts, num_tokens), generator=generator)
    ids[0, 0] = 3
    return ModelInputs(kwargs={"input_ids": ids, "attention_mask": torch.ones_like(ids)})


def relative_error(model: nn.Module, file: Path) -> float:
    batch = encoder_batch(3, 6)
    expected = batch.run(model)["states"]
    errors_NT = (batch.run(OnnxRuntime(file)).states - expected).norm(dim=-1) / expected.norm(dim=-1)
    return float(errors_NT.mean())


def encoder_file(folder: Path, *, boost: float = 1.0) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = Encoder(boost=boost).eval().requires_grad_(False)
    export_onnx(model, [encoder_batch()], folder / "float.onnx")
    return model, folder / "float.onnx"


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_models_with_several_inputs_are_quantized_and_keep_names_and_form(tmp_path: Path, mode: Any) -> None:
    model, source = encoder_file(tmp_path)

    quantize_onnx(source, tmp_path / "int8.onnx", QuantizeStep(mode=mode), calibration=[encoder_batch(8)])

    assert relative_error(model, tmp_path / "int8.onnx") < 0.05
    assert list(describe_onnx(tmp_path / "int8.onnx").inputs) == ["input_ids", "attention_mask"]


def test_embeddings_are_bytes_with_a_scale_for_each_row(tmp_path: Path) -> None:
    _, source = encoder_file(tmp_path)

    quantize_onnx(source, tmp_path / "int8.onnx", QuantizeStep(mode="dynamic"), calibration=[])

    stored = {
        tuple(tensor.dims): tensor.data_type
        for tensor in onnx.load(str(tmp_path / "int8.onnx")).graph.initializer
    }
    assert stored[(40, 32)] == onnx.TensorProto.INT8
    assert stored[(40, 1)] == onnx.TensorProto.FLOAT


def test_layers_that_see_an_outlier_get_blocks_and_the_error_falls(tmp_path: Path) -> None:
    model, source = encoder_file(tmp_path, boost=100.0)
    quantize_onnx(source, tmp_path / "plain.onnx", QuantizeStep(mode="dynamic"), calibration=[])

    result = quantize_mixed(source, tmp_path / "mixed.onnx", [encoder_batch()], max_noise=1e-4)

    assert len(result.in_blocks) == result.num_products == 2
    assert describe_onnx(tmp_path / "mixed.onnx").num_nodes["MatMulNBits"] == 2
    assert relative_error(model, tmp_path / "mixed.onnx") < relative_error(model, tmp_path / "plain.onnx") / 5


def test_the_bound_on_noise_decides_between_no_blocks_and_blocks_everywhere(tmp_path: Path) -> None:
    _, source = encoder_file(tmp_path)

    everywhere = quantize_mixed(source, tmp_path / "all.onnx", [encoder_batch()], max_noise=0)
    nowhere = quantize_mixed(source, tmp_path / "none.onnx", [encoder_batch()], max_noise=float("inf"))

    assert (len(everywhere.in_blocks), nowhere.in_blocks) == (2, ())
    assert describe_onnx(tmp_path / "all.onnx").num_nodes["MatMulNBits"] == 2
    assert "MatMulNBits" not in describe_onnx(tmp_path / "none.onnx").num_nodes
    with pytest.raises(ValueError, match="at least one batch"):
        quantize_mixed(source, tmp_path / "none.onnx", [])


def test_weights_that_two_layers_share_are_turned_once(tmp_path: Path) -> None:
    layer = nn.Linear(8, 8)
    model = nn.Sequential(layer, nn.ReLU(), layer).eval()
    export_onnx(model, [torch.randn(3, 8)], tmp_path / "float.onnx")

    for mode in ("static", "dynamic"):
        step = QuantizeStep(mode=mode)  # type: ignore[arg-type]
        quantize_onnx(tmp_path / "float.onnx", tmp_path / "int8.onnx", step, calibration=[torch.randn(64, 8)])

        x = torch.randn(16, 8)
        expected, actual = model(x).detach(), OnnxRuntime(tmp_path / "int8.onnx")(x)
        assert float((actual - expected).norm() / expected.norm()) < 0.1
