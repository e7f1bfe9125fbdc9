"""Weight sharing: each matrix keeps a few values, and a weight is the number of one of them.

    minimise over c    sum_i (w_i - c_{a(i)})^2,   a(i) = the nearest value

Lloyd's k-means in one dimension. The values start evenly spaced between the smallest and the largest weight:
the large weights are few and matter most, and a start at random or by density leaves them far from any value
(Han et al., figure 6). The weights are sorted once; then a step needs only the borders between clusters and
sums over ranges, so that it costs K binary searches instead of n distances.

Sixteen values take 4 bits a weight and 64 bytes a matrix. That is less than int4 in groups of 32, and worse:
a group's own scale follows the weights more closely than values that the whole matrix shares. MiniLM keeps a
mean cosine of 0.935 at 0.190 of its bytes, and of 0.972 at 0.202 with int4 to nearest. No runtime computes
faster with shared values; this is for storage, as `packed_file` stores it.

Cost: O(n log n + t K log n) time for n weights and t steps; the sorted weights in float64.

Source: Han, Mao, Dally, "Deep Compression", ICLR 2016, section 3, arXiv:1510.00149. Theirs trains the shared
values on (section 3.3) and codes them by Huffman (section 4); ours does neither.

Not covered: sharing across layers, embeddings (a row's own scale keeps rare words), vectors as values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ayni.compress.packed import weight as packed_weight
from ayni.compress.packed.weight import SharedWeight
from ayni.compress.weights.layers import require_layers, skipped_layers, weight_OI

MAX_STEPS = 100
MAX_SHARED_VALUES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingResult:
    """What shares values now.

    weights: codes by name of parameter, for `packed_file.write_packed`.
    skipped: layers that were left as they are, with the reason.
    num_weights: that have codes now.
    stored_bits: of codes and values, before sparse storage.
    largest_error: the largest change of one weight.
    """

    weights: dict[str, SharedWeight]
    skipped: dict[str, str]
    num_weights: int
    stored_bits: int
    largest_error: float


def share_weights(model: nn.Module, *, num_values: int = 16, skip: Sequence[str] = ()) -> SharingResult:
    """Give every linear layer and convolution `num_values` values to share, in place.

    Pruned weights stay 0: where a matrix has zeros, one of its values is 0. The result is a function of the
    weights; nothing is drawn.

    Args:
        model: is not changed if anything fails.
        num_values: 2 to 256; powers of two waste no bits.
        skip: patterns of names of layers to leave alone.

    Raises:
        ValueError: num_values is out of range.
        NothingToCompressError: no layer is left.
        NonFiniteWeightError: a weight is infinite or not a number.
    """
    if not 2 <= num_values <= MAX_SHARED_VALUES:
        raise ValueError(f"num_values is {num_values}, and 2 to {MAX_SHARED_VALUES} values can be shared")
    layers = require_layers(model, skip=skip, step="Weight sharing")
    weights: dict[str, SharedWeight] = {}
    num_weights = stored_bits = 0
    largest_error = 0.0
    for name, layer in layers.items():
        matrix_OI = weight_OI(layer)
        shared = shared_weight(
            matrix_OI, num_values, is_transposed=packed_weight.is_transposed(layer, matrix_OI)
        )
        values_OI = shared.values_OI().to(matrix_OI.dtype)
        largest_error = max(largest_error, float((values_OI - matrix_OI).abs().max()))
        matrix_OI.copy_(values_OI)
        weights[f"{name}.weight" if name else "weight"] = shared
        num_weights += matrix_OI.numel()
        stored_bits += matrix_OI.numel() * shared.bits + 32 * len(shared.codebook)
    return SharingResult(
        weights=weights,
        skipped=skipped_layers(model, skip=skip),
        num_weights=num_weights,
        stored_bits=stored_bits,
        largest_error=largest_error,
    )


def shared_weight(matrix_OI: torch.Tensor, num_values: int, *, is_transposed: bool = False) -> SharedWeight:
    """Values and codes of one matrix, which is not changed. Values that no weight uses are left out."""
    values_K = cluster(matrix_OI.reshape(-1), num_values).to(matrix_OI.device)
    weights = matrix_OI.float().contiguous()
    codes_OI = torch.bucketize(weights, _borders(values_K), right=True).to(torch.uint8)
    used = torch.unique(codes_OI)
    renumbered = torch.zeros(len(values_K), dtype=torch.uint8, device=codes_OI.device)
    renumbered[used.long()] = torch.arange(len(used), device=codes_OI.device).to(torch.uint8)
    return SharedWeight(
        codebook=values_K[used.long()], codes=renumbered[codes_OI.long()], is_transposed=is_transposed
    )


def cluster(weights_N: torch.Tensor, num_values: int) -> torch.Tensor:
    """At most `num_values` values, float32 and sorted, near which the weights lie; 0 is one if a weight is 0.

    Each step moves every value to the mean of the weights nearest to it, until none moves; the sum of squares
    never grows. With weights of 0 the value nearest to 0 is held there.
    """
    weights = weights_N.detach().cpu().double().sort().values
    distinct = torch.unique_consecutive(weights)
    if len(distinct) <= num_values:
        few_K: torch.Tensor = distinct.float()
        return few_K
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), weights.cumsum(0)])
    holds_zero = bool((distinct == 0).any())
    values_K = torch.linspace(float(weights[0]), float(weights[-1]), num_values, dtype=torch.float64)
    for _ in range(MAX_STEPS):
        if holds_zero:
            values_K[values_K.abs().argmin()] = 0.0
        ends = torch.cat([torch.searchsorted(weights, _borders(values_K)), torch.tensor([len(weights)])])
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), ends[:-1]])
        # A value without weights stays where it is: a weight may come to it later.
        means = (sums[ends] - sums[starts]) / (ends - starts).clamp(min=1)
        moved_K = torch.where(ends > starts, means, values_K)
        if holds_zero:
            moved_K[values_K == 0] = 0.0
        if torch.equal(moved_K, values_K):
            break
        values_K = moved_K
    shared_K: torch.Tensor = torch.unique(values_K.float())
    return shared_K


def _borders(values_K: torch.Tensor) -> torch.Tensor:
    """Halfway between neighbours; a weight on the border belongs to the higher one."""
    return (values_K[1:] + values_K[:-1]) / 2
