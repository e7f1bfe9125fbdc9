"""How much 8-bit ranges disturb activations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ayni.compress.deploy.activation_noise import activation_noise, rounding_noise, sensitive_nodes
from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_file import UnreadableOnnxError
from ayni.compress.deploy.runtimes import RuntimeFailedError
from ayni.compress.inputs import ModelInputs


def test_a_calculated_case() -> None:
    # Tensor: range 0 .. 255, step 1. Rows: steps 1 and 0.1. Power: (255^2 + 25.5^2) / 4.
    noise = rounding_noise(np.array([[0.0, 255.0], [0.0, 25.5]]))

    power = (255**2 + 25.5**2) / 4
    assert noise.per_tensor == pytest.approx(1 / 12 / power)
    assert noise.per_row == pytest.approx((1 + 0.01) / 2 / 12 / power)


def test_one_outlier_spoils_the_range_of_the_tensor_and_not_that_of_other_rows() -> None:
    values = np.random.default_rng(0).standard_normal((64, 32))
    plain = rounding_noise(values)
    values[3, 5] = 500.0

    spoiled = rounding_noise(values)

    assert spoiled.per_tensor > 3 * plain.per_tensor
    assert spoiled.per_row < spoiled.per_tensor / 50


@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_noise_does_not_depend_on_the_unit_and_rows_are_never_noisier(seed: int, unit: float) -> None:
    values = np.random.default_rng(seed).standard_normal((5, 7))

    noise, scaled = rounding_noise(values), rounding_noise(values * unit)

    assert scaled.per_tensor == pytest.approx(noise.per_tensor, rel=1e-6)
    assert noise.per_row <= noise.per_tensor * (1 + 1e-12)


def test_zeros_make_no_noise_and_nothing_is_refused() -> None:
    assert rounding_noise(np.zeros((2, 3))).per_tensor == 0
    with pytest.raises(ValueError, match="without values"):
        rounding_noise(np.zeros((0, 3)))


class Outlier(nn.Module):
    """The second layer sees one column that is a thousand times the others."""

    def __init__(self) -> None:
        super().__init__()
        self.calm, self.wild = nn.Linear(16, 16, bias=False), nn.Linear(16, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        boost = torch.ones(16)
        boost[3] = 1000
        wild: torch.Tensor = self.wild(self.calm(x) * boost) + (x @ x.transpose(-1, -2))[..., :1]
        return wild


def test_the_layer_with_the_outlier_is_found_and_products_without_weights_are_not_looked_at(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    export_onnx(Outlier(), [torch.randn(2, 5, 16)], tmp_path / "model.onnx")

    noises = activation_noise(
        tmp_path / "model.onnx", [ModelInputs(args=(torch.randn(4, 5, 16),)) for _ in range(2)]
    )

    worst = sensitive_nodes(noises, max_noise=min(noise.per_tensor for noise in noises.values()))
    assert len(noises) == 2
    assert len(worst) == 1
    assert "wild" in worst[0]


def test_what_cannot_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no")
    export_onnx(nn.Linear(4, 3), [torch.randn(2, 4)], tmp_path / "model.onnx")

    with pytest.raises(UnreadableOnnxError):
        activation_noise(tmp_path / "bad.onnx", [])
    with pytest.raises(RuntimeFailedError, match=r"model\.onnx"):
        activation_noise(tmp_path / "model.onnx", [ModelInputs(args=(torch.randn(2, 9),))])
