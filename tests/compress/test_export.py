"""Export to ONNX."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ayni.compress.calibration import model_inputs
from ayni.compress.export import CannotExportError, export_onnx, largest_difference
from ayni.compress.runtimes import OnnxRuntime
from ayni.task import Task


def test_the_file_computes_what_the_model_computes_for_any_batch_size(bars: Task, tmp_path: Path) -> None:
    model = bars.build_model().eval()
    inputs = model_inputs(bars, model, split="validation", num_examples=9, batch_size=3)

    exporter = export_onnx(model, inputs, tmp_path / "model.onnx")

    batches = [torch.randn(size, 1, 8, 8) for size in (1, 2, 7)]
    assert exporter == "tracing"
    assert largest_difference(model, OnnxRuntime(tmp_path / "model.onnx"), batches) < 1e-5


def test_integer_inputs_and_a_tied_embedding_are_exported(symbols: Task, tmp_path: Path) -> None:
    model = symbols.build_model().eval()
    inputs = model_inputs(symbols, model, split="validation", num_examples=4)

    export_onnx(model, inputs, tmp_path / "model.onnx")

    assert OnnxRuntime(tmp_path / "model.onnx")(inputs[0][:3]).shape == (3, 12, 8)


def test_nothing_is_printed_and_no_temporary_file_stays(
    bars: Task, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export_onnx(bars.build_model(), [torch.zeros(1, 1, 8, 8)], tmp_path / "model.onnx")

    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
def test_what_tracing_cannot_export_the_other_exporter_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.RMSNorm(6), nn.Linear(6, 2)).eval()

    exporter = export_onnx(model, [torch.randn(3, 4)], tmp_path / "model.onnx")

    assert exporter == "torch.export"
    assert largest_difference(model, OnnxRuntime(tmp_path / "model.onnx"), [torch.randn(5, 4)]) < 1e-5
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_noticed(tmp_path: Path) -> None:
    class FreezesTheBatch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # int() makes a constant of the size of the first batch.
            logits: torch.Tensor = self.dense(x).reshape(int(x.shape[0]), 3)
            return logits

    with pytest.raises(CannotExportError, match="tracing: ONNX Runtime cannot use"):
        export_onnx(FreezesTheBatch(), [torch.randn(3, 4)], tmp_path / "model.onnx")


@pytest.mark.slow
def test_a_model_that_branches_on_values_is_refused_with_the_reasons_of_both(tmp_path: Path) -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 100 if x.mean() > 0 else x - 7

    with pytest.raises(CannotExportError) as caught:
        export_onnx(Branches(), [torch.ones(3, 4), -torch.ones(3, 4)], tmp_path / "model.onnx")

    assert len(caught.value.reasons) == 2
    assert list(tmp_path.iterdir()) == []
