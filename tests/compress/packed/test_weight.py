"""Weights as codes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ayni.compress.packed.weight import (
    SharedWeight,
    WeightChangedError,
    as_matrix,
    bits_for,
    check_unchanged,
    dense_parameter,
    quantized,
)
from ayni.compress.weights.grids import Grid


@given(
    grid=st.builds(
        Grid,
        bits=st.integers(2, 8),
        scheme=st.sampled_from(["affine", "symmetric"]),
        granularity=st.just("group"),
        group_size=st.integers(1, 40),
    ),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]),
    is_transposed=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_codes_are_found_from_rounded_weights_alone(
    grid: Grid, dtype: torch.dtype, is_transposed: bool, seed: int
) -> None:
    parameter = nn.Parameter(
        (torch.randn(9, 35, generator=torch.Generator().manual_seed(seed)) * 0.2).to(dtype)
    )
    matrix_OI = as_matrix(parameter.detach(), is_transposed=is_transposed)
    parameters = grid.fit(matrix_OI)
    matrix_OI.copy_(grid.dequantize(grid.quantize(matrix_OI, parameters), parameters))

    weight = quantized(parameter, grid, parameters, is_transposed=is_transposed)

    assert torch.equal(dense_parameter(weight, parameter.shape, dtype), parameter)


def test_a_weight_beside_its_grid_is_named() -> None:
    grid = Grid(bits=4)
    parameter = torch.tensor([[0.0, 0.5, 1.5, 15.0]])

    with pytest.raises(WeightChangedError, match=r"2 of the 4 values of body\.weight"):
        quantized(parameter, grid, grid.fit(parameter), name="body.weight")


def test_a_weight_of_another_size_or_with_nan_has_changed() -> None:
    grid = Grid(bits=4)
    weight_OI = torch.tensor([[0.0, 15.0]])
    weight = quantized(weight_OI, grid, grid.fit(weight_OI))

    for changed in (torch.zeros(1, 3), torch.tensor([[0.0, float("nan")]])):
        with pytest.raises(WeightChangedError):
            check_unchanged(weight, changed, name="w")


def test_zero_codes_are_known_where_zero_is_exact() -> None:
    weight_OI = torch.tensor([[-1.0, 0.0, 2.0], [0.0, 1.0, 3.0]])
    affine, minimum = (Grid(bits=2, scheme=scheme) for scheme in ("affine", "minimum"))

    assert quantized(weight_OI, affine, affine.fit(weight_OI)).zero_codes.tolist() == [[1], [0]]  # type: ignore[union-attr]
    assert quantized(weight_OI, minimum, minimum.fit(weight_OI)).zero_codes is None
    codes = torch.zeros(1, 1, dtype=torch.uint8)
    assert SharedWeight(codebook=torch.tensor([-1.0, 0.0]), codes=codes).zero_codes.tolist() == [[1]]  # type: ignore[union-attr]
    assert SharedWeight(codebook=torch.tensor([-1.0, 2.0]), codes=codes).zero_codes is None


def test_bits_for_shared_values() -> None:
    assert [bits_for(count) for count in (1, 2, 3, 4, 5, 16, 17, 256)] == [1, 1, 2, 2, 3, 4, 5, 8]
