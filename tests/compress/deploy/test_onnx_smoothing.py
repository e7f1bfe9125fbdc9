"""Outliers of activations that move into the weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ayni.compress.config import QuantizeStep
from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_file import describe_onnx
from ayni.compress.deploy.onnx_quantize import quantize_onnx, quantize_smoothed
from ayni.compress.deploy.onnx_smoothing import smooth_onnx
from ayni.compress.deploy.runtimes import OnnxRuntime


class Wild(nn.Module):
    """What `dense` is given has one column of large numbers, to which it gives small weights."""

    def __init__(self, *, has_other_readers: bool) -> None:
        super().__init__()
        self.norm, self.dense = nn.LayerNorm(32), nn.Linear(32, 24)
        self.norm.weight.data[5] = 100
        self.dense.weight.data[:, 5] /= 100
        self.has_other_readers = has_other_readers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        answer: torch.Tensor = self.dense(x)
        return answer + x[..., :24] / 100 if self.has_other_readers else answer


def exported(model: nn.Module, folder: Path) -> tuple[nn.Module, Path]:
    model.eval().requires_grad_(False)
    export_onnx(model, [torch.randn(2, 4, 32)], folder / "float.onnx")
    return model, folder / "float.onnx"


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def relative_error(model: nn.Module, file: Path) -> float:
    x = torch.randn(16, 4, 32)
    return float((OnnxRuntime(file)(x) - model(x)).norm() / model(x).norm())


@pytest.mark.parametrize("has_other_readers", [True, False])
def test_the_graph_computes_the_same_and_only_other_readers_make_it_longer(
    tmp_path: Path, has_other_readers: bool
) -> None:
    model, source = exported(Wild(has_other_readers=has_other_readers), tmp_path)

    (smoothed,) = smooth_onnx(source, tmp_path / "smooth.onnx", [torch.randn(8, 4, 32)])

    before = describe_onnx(source).num_nodes.get("Mul", 0)
    after = describe_onnx(tmp_path / "smooth.onnx").num_nodes.get("Mul", 0)
    assert after - before == (1 if has_other_readers else 0)
    assert smoothed.is_free is not has_other_readers
    assert relative_error(model, tmp_path / "smooth.onnx") < 1e-5


@pytest.mark.parametrize("has_other_readers", [True, False])
def test_integers_lose_far_less_after_smoothing(tmp_path: Path, has_other_readers: bool) -> None:
    model, source = exported(Wild(has_other_readers=has_other_readers), tmp_path)
    quantize_onnx(source, tmp_path / "plain.onnx", QuantizeStep(mode="dynamic"), calibration=[])

    smoothed = quantize_smoothed(source, tmp_path / "smooth.onnx", [torch.randn(8, 4, 32)])

    assert len(smoothed) == 1
    assert (
        relative_error(model, tmp_path / "smooth.onnx") < relative_error(model, tmp_path / "plain.onnx") / 4
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["float.onnx", "plain.onnx", "smooth.onnx"]


def test_the_foreseen_loss_is_what_rounding_costs(tmp_path: Path) -> None:
    model, source = exported(Wild(has_other_readers=False), tmp_path)
    x = torch.randn(400, 4, 32)

    (smoothed,) = smooth_onnx(source, tmp_path / "smooth.onnx", [x])

    given_NI = model.norm(x).flatten(0, 1).numpy()  # type: ignore[operator, union-attr]
    weight_IO = model.dense.weight.numpy().T  # type: ignore[operator, union-attr]
    step = (given_NI.max() - given_NI.min()) / 255
    steps_O = np.abs(weight_IO).max(axis=0) / 127
    rounded_NO = (np.round(given_NI / step) * step) @ (np.round(weight_IO / steps_O) * steps_O)
    exact_NO = given_NI @ weight_IO
    loss = ((rounded_NO - exact_NO) ** 2).sum() / (exact_NO**2).sum()
    assert smoothed.loss_before == pytest.approx(loss, rel=0.3)
    assert smoothed.loss_after < smoothed.loss_before / 10


def test_an_activation_with_numbers_that_are_not_finite_is_left_alone(tmp_path: Path) -> None:
    _, source = exported(Wild(has_other_readers=True), tmp_path)
    x = torch.randn(8, 4, 32)
    x[0, 0, 0] = float("inf")

    assert smooth_onnx(source, tmp_path / "smooth.onnx", [x], max_loss=0) == ()


def test_products_that_share_an_activation_are_smoothed_together_and_2d_products_too(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(32, 8), nn.Linear(32, 6)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = torch.cat([x[:, :1] * 300, x[:, 1:]], dim=1)
            return self.left(x), self.right(x)

    model = Two().eval()
    export_onnx(model, [torch.randn(3, 32)], tmp_path / "float.onnx")

    (smoothed,) = smooth_onnx(tmp_path / "float.onnx", tmp_path / "smooth.onnx", [torch.randn(64, 32)])

    x = torch.randn(5, 32)
    assert describe_onnx(tmp_path / "smooth.onnx").num_nodes["Gemm"] == smoothed.num_products == 2
    for actual, expected in zip(OnnxRuntime(tmp_path / "smooth.onnx")(x), model(x), strict=True):
        torch.testing.assert_close(actual, expected.detach(), rtol=1e-4, atol=1e-3)


def test_weights_that_two_products_share_and_losses_within_the_bound_are_left_alone(tmp_path: Path) -> None:
    layer = nn.Linear(32, 32)
    _, source = exported(nn.Sequential(layer, nn.ReLU(), layer), tmp_path)
    (tmp_path / "wild").mkdir()
    _, wild_source = exported(Wild(has_other_readers=False), tmp_path / "wild")

    shared = smooth_onnx(source, tmp_path / "a.onnx", [torch.randn(8, 4, 32)], max_loss=0)
    bounded = smooth_onnx(wild_source, tmp_path / "b.onnx", [torch.randn(8, 4, 32)], max_loss=float("inf"))

    assert shared == bounded == ()
    with pytest.raises(ValueError, match="at least one batch"):
        smooth_onnx(source, tmp_path / "c.onnx", [])
    with pytest.raises(ValueError, match="at least one batch"):
        quantize_smoothed(source, tmp_path / "c.onnx", [])
