"""Whether the weights of a model lie on grids of few values already, because it was quantized before.

Then comparing 4-bit methods on it says nothing: the method that happens to find the old grid again loses
nothing, and every other one pays twice.

    low-bit block       32 consecutive inputs of one output (all, if there are fewer) with at most 16 distinct
                        values that are not 0, each used twice on average
    low-bit layer       nine in ten of its blocks are

Weights that were trained in floating point have 32 distinct values in 32 places; a block of int4 codes with
one scale has at most 16. Zeros are not counted, so that pruned weights are not taken for quantized ones: ten
weights left of 32 are ten distinct values.

Cost: one sort of each block.

Not covered: grids of more than 4 bits, which 32 weights cannot show; 4 bits in rows much shorter than 32
(small kernels); blocks that lie otherwise than along the input dimension.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ayni.compress.weights.layers import matrix_layers, weight_OI

BLOCK_SIZE = 32
MAX_DISTINCT = 16
MIN_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class LowBitReport:
    """What was found.

    shares: share of low-bit blocks by name of layer; layers in which no block can be judged (nearly all
        weights 0) are missing.
    num_weights: of all layers that are judged.
    num_low_bit_weights: of those whose share is at least 0.9.
    """

    shares: Mapping[str, float]
    num_weights: int
    num_low_bit_weights: int

    @property
    def low_bit_layers(self) -> list[str]:
        """Names of the layers whose weights lie on a grid of at most 16 values."""
        return [name for name, share in self.shares.items() if share >= MIN_SHARE]

    @property
    def warning(self) -> str | None:
        """What a reader of results must know; None when the model is what it seems."""
        if not self.low_bit_layers:
            return None
        share = self.num_low_bit_weights / self.num_weights
        return (
            f"The weights of {len(self.low_bit_layers)} of {len(self.shares)} layers ({share:.0%} of all "
            f"weights there) already lie on grids of at most {MAX_DISTINCT} values: this model was quantized "
            "before. What 4-bit methods lose on it says nothing about models that were not."
        )


def find_low_bit_layers(model: nn.Module) -> LowBitReport:
    """Look at every linear layer and convolution of the model, which is not changed."""
    shares: dict[str, float] = {}
    num_weights = num_low_bit = 0
    for name, layer in matrix_layers(model).items():
        matrix_OI = weight_OI(layer)
        share = low_bit_share(matrix_OI)
        if share is not None:
            shares[name] = share
            num_weights += matrix_OI.numel()
            num_low_bit += matrix_OI.numel() if share >= MIN_SHARE else 0
    return LowBitReport(shares=shares, num_weights=num_weights, num_low_bit_weights=num_low_bit)


def low_bit_share(matrix_OI: torch.Tensor) -> float | None:
    """Share of the blocks of a weight that are low-bit.

    Of the blocks in which at least two weights are not 0; None where there is none such. The last block of a
    row is left out when it is shorter than the others.
    """
    size = min(BLOCK_SIZE, matrix_OI.shape[1])
    num_blocks = matrix_OI.shape[1] // size
    blocks_BK = matrix_OI[:, : num_blocks * size].reshape(-1, size).sort(dim=1).values
    is_set_BK = blocks_BK != 0
    is_new_BK = torch.ones_like(is_set_BK)
    is_new_BK[:, 1:] = blocks_BK[:, 1:] != blocks_BK[:, :-1]
    num_set_B = is_set_BK.sum(1)
    num_distinct_B = (is_set_BK & is_new_BK).sum(1)
    is_judged_B = num_set_B >= 2
    if not bool(is_judged_B.any()):
        return None
    is_low_B = (num_distinct_B <= MAX_DISTINCT) & (2 * num_distinct_B <= num_set_B)
    return float((is_low_B & is_judged_B).sum() / is_judged_B.sum())
