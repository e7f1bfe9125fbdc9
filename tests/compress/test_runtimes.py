"""Torch modules and ONNX files that look alike."""

from pathlib import Path

import pytest
import torch

from ayni.compress.export import export_onnx
from ayni.compress.runtimes import OnnxRuntime, RuntimeFailedError, TorchRuntime
from ayni.task import Task


def test_a_task_evaluates_both_runtimes_alike(bars: Task, tmp_path: Path) -> None:
    model = bars.build_model().eval()
    export_onnx(model, [torch.zeros(2, 1, 8, 8)], tmp_path / "model.onnx")
    batch = torch.utils.data.default_collate(bars.dataset("test"))

    results = [
        bars.evaluate(runtime.eval(), [batch])
        for runtime in (TorchRuntime(model), OnnxRuntime(tmp_path / "model.onnx"))
    ]

    assert results[0] == results[1]


def test_a_torch_runtime_keeps_no_gradients_and_answers_for_its_model(bars: Task) -> None:
    runtime = TorchRuntime(bars.build_model())

    assert not runtime(torch.zeros(1, 1, 8, 8)).requires_grad
    assert runtime.training is False


def test_an_onnx_runtime_survives_a_task_that_sets_modes(bars: Task, tmp_path: Path) -> None:
    export_onnx(bars.build_model(), [torch.zeros(2, 1, 8, 8)], tmp_path / "model.onnx")
    runtime = OnnxRuntime(tmp_path / "model.onnx")

    assert runtime.train().eval() is runtime
    assert list(runtime.parameters()) == []


def test_a_damaged_file_and_a_wrong_shape_are_named(bars: Task, tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"\x00" * 10)
    export_onnx(bars.build_model(), [torch.zeros(2, 1, 8, 8)], tmp_path / "model.onnx")

    with pytest.raises(RuntimeFailedError, match=r"damaged\.onnx"):
        OnnxRuntime(tmp_path / "damaged.onnx")
    with pytest.raises(RuntimeFailedError, match=r"model\.onnx"):
        OnnxRuntime(tmp_path / "model.onnx")(torch.zeros(1, 5))
