"""Columns of a weight to their grid, one after the other, and where the grid lies best.

    weight_GOI      G groups of a convolution (1 for other layers), O outputs and I inputs of a group
    importance      what an error of a weight costs: the diagonal of the layer's Hessian

Not covered: grids whose scales depend on codes chosen later.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ayni.compress.weights.grids import Grid, GridParameters, join_groups
from ayni.compress.weights.reconstruct import Curvature

SHRINKAGES = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79, 0.75, 0.7)
"""Shares of the full range that are tried for each scale."""


class ColumnRounding:
    """Columns to their grid. Grids in groups of columns that come in order are placed as the groups come."""

    def __init__(
        self,
        grid: Grid,
        kept: Tensor,
        curvature: Curvature,
        ranking: Tensor,
        *,
        search: bool,
    ) -> None:
        self._grid, self._search = grid, search
        self._columns = ranking.tolist()
        self._importance = curvature.hessian.diagonal(dim1=1, dim2=2)
        self._parts: list[GridParameters] = []
        in_order = self._columns == sorted(self._columns)
        self._group_size = grid.group_size if in_order else None
        if self._group_size is None:
            back = ranking.argsort()
            self._parts = [self._place(grid, kept[..., back], self._importance[:, back])]

    @property
    def parameters(self) -> GridParameters:
        """Of the whole weight."""
        return self._parts[0] if len(self._parts) == 1 else join_groups(self._parts)

    def round(self, column_GO: Tensor, j: int, work_GOI: Tensor) -> Tensor:
        """The nearest values of column j, while columns to its right still change."""
        if self._group_size is None:
            return self.round_again(column_GO, j, work_GOI)
        if j % self._group_size == 0:
            these = slice(j, j + self._group_size)
            alone = replace(self._grid, granularity="channel", group_size=None)
            self._parts.append(self._place(alone, work_GOI[..., these], self._importance[:, these]))
        return self.round_again(column_GO, j, work_GOI)

    def round_again(self, column_GO: Tensor, j: int, _work_GOI: Tensor) -> Tensor:
        """The nearest values of column j on the grid as it was placed."""
        if self._group_size is None:
            rounded = self._grid.round_column(column_GO.flatten(), self._parts[0], self._columns[j])
        else:
            alone = replace(self._grid, granularity="channel", group_size=None)
            rounded = alone.round_column(column_GO.flatten(), self._parts[j // self._group_size], 0)
        return rounded.view_as(column_GO)

    def _place(self, grid: Grid, weight_GOI: Tensor, importance_GI: Tensor) -> GridParameters:
        weight = weight_GOI.flatten(0, 1)
        if not self._search:
            return grid.fit(weight)
        importance = importance_GI.repeat_interleave(weight_GOI.shape[1], dim=0)
        return search_ranges(grid, weight, importance)


def search_ranges(grid: Grid, weights_OI: Tensor, importance_OI: Tensor) -> GridParameters:
    """The parameters with the least weighted error among ranges of 70 to 100 % of the weights' own.

        minimise over c    sum_j h_j (w_j - w'_j(c))^2        for each scale on its own

    Fewer outliers on the grid, finer steps for all others. Source: Choukroun et al., "Low-bit Quantization of
    Neural Networks for Efficient Inference", 2019, section 3, arXiv:1902.06822.

    Cost: 10 roundings of the weight.

    Args:
        grid: any granularity.
        weights_OI: finite.
        importance_OI: h, not negative.
    """
    best = grid.fit(weights_OI)
    least = _error_of_scales(grid, weights_OI, importance_OI, best)
    for shrinkage in SHRINKAGES[1:]:
        other = grid.fit(weights_OI * shrinkage)
        error = _error_of_scales(grid, weights_OI, importance_OI, other)
        is_better = error < least
        least = torch.where(is_better, error, least)
        best = GridParameters(
            scale=torch.where(is_better, other.scale, best.scale),
            zero=_where(is_better, other.zero, best.zero),
            minimum=_where(is_better, other.minimum, best.minimum),
        )
    return best


def _where(condition: Tensor, one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if one is None or other is None else torch.where(condition, one, other)


def _error_of_scales(
    grid: Grid, weights_OI: Tensor, importance_OI: Tensor, parameters: GridParameters
) -> Tensor:
    """Weighted squared error of what each scale rules, in the shape of the scales."""
    rounded = grid.dequantize(grid.quantize(weights_OI, parameters), parameters)
    error_OI = (weights_OI - rounded).square() * importance_OI
    if grid.granularity == "tensor":
        return error_OI.sum().view(1, 1)
    if grid.group_size is None:
        return error_OI.sum(1, keepdim=True)
    padded = functional.pad(error_OI, (0, -error_OI.shape[1] % grid.group_size))
    return padded.reshape(len(padded), -1, grid.group_size).sum(-1)
