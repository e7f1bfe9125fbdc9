"""Where a grid lies best, and columns that are rounded to it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.compress.weights.column_rounding import ColumnRounding, search_ranges
from ayni.compress.weights.grids import Grid, GridParameters
from ayni.compress.weights.reconstruct import Curvature

GRIDS = [
    Grid(bits=3),
    Grid(bits=4, scheme="symmetric", granularity="tensor"),
    Grid(bits=2, granularity="group", group_size=5),
    Grid(bits=4, scheme="minimum", granularity="group", group_size=4),
]


def weighted_error(
    grid: Grid, weights: torch.Tensor, importance: torch.Tensor, parameters: GridParameters
) -> float:
    values = grid.dequantize(grid.quantize(weights, parameters), parameters)
    return float(((weights - values).square() * importance).sum())


@given(seed=st.integers(0, 1000), grid=st.sampled_from(GRIDS))
@settings(max_examples=25, deadline=None)
def test_searched_ranges_never_lose(seed: int, grid: Grid) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, 12, generator=generator)
    importance = torch.rand(3, 12, generator=generator)

    searched = weighted_error(grid, weights, importance, search_ranges(grid, weights, importance))

    assert searched <= weighted_error(grid, weights, importance, grid.fit(weights)) * (1 + 1e-5)


def test_an_outlier_that_matters_little_is_clipped() -> None:
    weights = torch.cat([torch.linspace(-1, 1, 63), torch.tensor([1.4])])[None]
    importance = torch.ones_like(weights)
    importance[:, -1] = 0.0
    grid = Grid(bits=3)

    full, searched = grid.fit(weights), search_ranges(grid, weights, importance)

    assert float(searched.scale) < 0.9 * float(full.scale)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.granularity + str(grid.bits))
@pytest.mark.parametrize("search", [True, False])
@pytest.mark.parametrize(
    "ranking", [torch.arange(12), torch.arange(12).flip(0)], ids=["in order", "reversed"]
)
def test_rounded_columns_are_on_the_grid_of_the_parameters(
    grid: Grid, search: bool, ranking: torch.Tensor
) -> None:
    weight = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0))
    curvature = Curvature.of(torch.eye(12).expand(2, 12, 12), damping=0.0)
    rounding = ColumnRounding(grid, weight, curvature, ranking, search=search)

    columns = [rounding.round(weight[..., j], j, weight) for j in range(12)]

    rounded = torch.stack(columns, -1)[..., ranking.argsort()].flatten(0, 1)
    codes = grid.quantize(rounded, rounding.parameters)
    assert torch.equal(grid.dequantize(codes, rounding.parameters), rounded)
    assert torch.equal(rounding.round_again(columns[3], 3, weight), columns[3])
