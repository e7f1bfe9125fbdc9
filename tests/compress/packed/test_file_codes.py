"""The codes of a packed file, without a model. Hostile files are in test_file_hostile."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.packed.file import (
    PackedFileError,
    describe_packed,
    load_packed,
    packed_weights,
    write_packed,
)
from ayni.compress.packed.kernels import use_packed_kernels
from ayni.compress.packed.weight import PackedWeight, QuantizedWeight, SharedWeight, dense_parameter
from ayni.compress.weights.grids import Grid
from ayni.compress.weights.sharing import share_weights
from ayni.compress.weights.weight_only import quantize_weights
from ayni.task import Task

GRIDS = [
    Grid(bits=8, granularity="tensor", scheme="symmetric"),
    Grid(bits=8),
    Grid(bits=4, granularity="group", group_size=32),
    Grid(bits=3, granularity="group", group_size=7, scheme="symmetric"),
    Grid(bits=4, granularity="group", group_size=16, scheme="minimum"),
    Grid(bits=2),
]


class Conv1D(nn.Module):
    """As Transformers' own: a linear layer whose weight is [inputs, outputs]."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf) * 0.1), nn.Parameter(torch.zeros(nf))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


def layers(*, seed: int = 0, share_of_zeros: float = 0.0, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(72, 64), Conv1D(64, 64), nn.Conv1d(64, 8, 3), nn.LayerNorm(8)).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[torch.rand(parameter.shape) < share_of_zeros] = 0
    return model


def is_sparse(path: Path, name: str) -> bool:
    return describe_packed(path)[0].tensors[name].num_kept is not None


def assert_same(read: PackedWeight, written: PackedWeight) -> None:
    assert type(read) is type(written) and read.is_transposed == written.is_transposed
    assert read.codes.dtype == torch.uint8 and torch.equal(read.codes, written.codes)
    if isinstance(read, SharedWeight) and isinstance(written, SharedWeight):
        assert torch.equal(read.codebook, written.codebook)
    if isinstance(read, QuantizedWeight) and isinstance(written, QuantizedWeight):
        assert read.grid == written.grid
        for name in ("scale", "zero", "minimum"):
            here, there = getattr(read.parameters, name), getattr(written.parameters, name)
            assert (here is None) == (there is None)
            assert here is None or (here.dtype == there.dtype and torch.equal(here, there))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("grid", "share_of_zeros"),
    [*((grid, 0.0) for grid in GRIDS), *((grid, 0.8) for grid in GRIDS if grid.keeps_zero)],
)
def test_codes_scales_and_minima_come_back_as_they_were(
    tmp_path: Path, grid: Grid, share_of_zeros: float, dtype: torch.dtype
) -> None:
    model = layers(share_of_zeros=share_of_zeros, dtype=dtype)
    weights = quantize_weights(model, grid).weights
    write_packed(tmp_path / "a", model, weights)

    read = packed_weights(tmp_path / "a")

    assert set(read) == set(weights) == {"0.weight", "1.weight", "2.weight"}
    for name, weight in read.items():
        assert_same(weight, weights[name])
    assert read["1.weight"].is_transposed
    assert is_sparse(tmp_path / "a", "0.weight") == (share_of_zeros > 0)


@pytest.mark.parametrize("share_of_zeros", [0.0, 0.8])
def test_codes_of_shared_values_come_back_as_they_were(tmp_path: Path, share_of_zeros: float) -> None:
    model = layers(share_of_zeros=share_of_zeros)
    weights = share_weights(model, num_values=16).weights
    write_packed(tmp_path / "a", model, weights)

    read = packed_weights(tmp_path / "a")

    assert set(read) == set(weights)
    for name, weight in read.items():
        assert_same(weight, weights[name])
    assert is_sparse(tmp_path / "a", "0.weight") == (share_of_zeros > 0)


@pytest.mark.parametrize("grid", GRIDS)
def test_codes_mean_what_a_filled_model_holds(tmp_path: Path, grid: Grid) -> None:
    model, fresh = layers(), layers(seed=1)
    write_packed(tmp_path / "a", model, quantize_weights(model, grid).weights)

    load_packed(tmp_path / "a", fresh)
    read = packed_weights(tmp_path / "a")

    for name, weight in read.items():
        parameter = fresh.get_parameter(name)
        assert torch.equal(dense_parameter(weight, parameter.shape, parameter.dtype), parameter)


def test_a_file_of_plain_tensors_has_no_codes(tmp_path: Path) -> None:
    write_packed(tmp_path / "a", layers(), {})

    assert packed_weights(tmp_path / "a") == {}


def test_codes_outlive_their_file(tmp_path: Path) -> None:
    model = layers()
    weights = quantize_weights(model, Grid(bits=8)).weights
    path = tmp_path / "a"
    write_packed(path, model, weights)

    read = packed_weights(path)
    path.write_bytes(b"\xff" * path.stat().st_size)

    for name, weight in read.items():
        assert_same(weight, weights[name])


def test_a_file_with_another_hash_than_the_expected_gives_no_codes(tmp_path: Path) -> None:
    write_packed(tmp_path / "a", layers(), {})

    with pytest.raises(PackedFileError, match="SHA-256 is not the expected"):
        packed_weights(tmp_path / "a", expected_sha256="0" * 64)


def test_a_tied_head_and_its_table_compute_with_the_codes_of_a_file(tmp_path: Path, symbols: Task) -> None:
    model: Any = symbols.build_model()
    fresh: Any = symbols.build_model()
    grid = Grid(bits=8, scheme="symmetric")
    write_packed(tmp_path / "a", model, quantize_weights(model, grid, embeddings=grid).weights)

    load_packed(tmp_path / "a", fresh)
    kernels = use_packed_kernels(fresh, packed_weights(tmp_path / "a"))

    ids = torch.arange(12)[None] % 8
    expected, actual = model(ids), fresh(ids)
    assert kernels.embeddings and kernels.int8
    assert float((actual - expected).detach().norm()) < 0.02 * float(expected.detach().norm())
