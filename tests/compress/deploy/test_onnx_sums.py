"""Residual sums that ONNX Runtime does not fuse."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_file import describe_onnx, read_onnx, write_onnx
from ayni.compress.deploy.onnx_sums import separate_sums
from ayni.compress.deploy.runtimes import OnnxRuntime


class Residual(nn.Module):
    """Normalises a sum; `keeps` answers with the sum too, by way of a product."""

    def __init__(self, *, keeps: bool = False) -> None:
        super().__init__()
        self.dense, self.norm, self.keeps = nn.Linear(16, 16), nn.LayerNorm(16), keeps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x + torch.relu(self.dense(x))
        answer: torch.Tensor = self.norm(total)
        return answer + total * 2 if self.keeps else answer


def operators_as_loaded(file: Path) -> set[str]:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(file.with_suffix(".loaded.onnx"))
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return set(describe_onnx(file.with_suffix(".loaded.onnx")).num_nodes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    export_onnx(Residual(), [torch.randn(2, 5, 16)], tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_the_slow_fused_operator_is_not_made_and_the_answer_is_the_same(file: Path, tmp_path: Path) -> None:
    model, x = read_onnx(file), torch.randn(3, 5, 16)
    expected = OnnxRuntime(file)(x)

    num_sums = separate_sums(model.graph)
    write_onnx(model, tmp_path / "apart.onnx")

    assert num_sums == 1
    assert "SkipLayerNormalization" in operators_as_loaded(file)
    assert "SkipLayerNormalization" not in operators_as_loaded(tmp_path / "apart.onnx")
    torch.testing.assert_close(OnnxRuntime(tmp_path / "apart.onnx")(x), expected)


def test_sums_that_others_read_too_stay_and_nothing_is_done_twice(file: Path, tmp_path: Path) -> None:
    export_onnx(Residual(keeps=True), [torch.randn(2, 5, 16)], tmp_path / "keeps.onnx")
    once = read_onnx(file)

    assert separate_sums(read_onnx(tmp_path / "keeps.onnx").graph) == 0
    assert (separate_sums(once.graph), separate_sums(once.graph)) == (1, 0)
