"""Numbers with fewer bits: how each codec turns the values of a chunk into bytes and back.

Blocks of up to 4,096 values have a scale of their own (blocks.py).

| codec | bytes a value | error of a value x in a block whose largest magnitude is M |
|---|---|---|
| fp32 | 4 | none |
| fp16 | 2 | at most 2**-11 of x, above 6e-5; magnitudes above 65,504 are refused |
| bf16 | 2 | at most 2**-8 of x |
| int8 | 1.001 | at most M / 254 |
| e3m0 | 0.501 | at most x / 3 or M / 128, whichever is more |
| int2 | 0.252 | large; the block's squared error is always below its squared norm |
| topk | 4 * fraction | all of what is not kept |

Frames around these bytes, their checks and error feedback are in codec.py. Hosts with big-endian
numbers are not covered: the bits of floats are taken apart here.

Shapes: E = elements of a chunk, B = blocks, L = elements of a block, K = kept values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ayni.errors import AyniError
from ayni.train.blocks import Blocks
from ayni.train.strategy_config import CodecName

Floats: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]
Parts: TypeAlias = list[NDArray[Any]]

_SMALLEST_SCALE = np.finfo(np.float32).tiny  # the inverse of a smaller one is infinite

_E3M0_LEVELS = np.array([0.0, *(2.0**e for e in range(-6, 1))], np.float32)
_E3M0_VALUES = np.concatenate([_E3M0_LEVELS, -_E3M0_LEVELS])
# What each byte stands for: its two values side by side (one complex64) or its four (one complex128), so
# that a look-up fetches them together.
_BYTES = np.arange(256)
_E3M0_PAIRS = _E3M0_VALUES[np.stack([_BYTES & 15, _BYTES >> 4], axis=1)].view(np.complex64)[:, 0]
_INT2_CODES = np.stack([_BYTES >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
_INT2_SIGNS = np.array([1, 1, -1, -1], np.float32)[_INT2_CODES].view(np.complex128)[:, 0]
_INT2_LARGE_SIGNS = np.array([0, 1, 0, -1], np.float32)[_INT2_CODES].view(np.complex128)[:, 0]


class PayloadError(AyniError):
    """Bytes that no encoder made; whoever decodes them says whose they are."""


def encode_fp32(values_E: Floats, blocks: Blocks) -> Parts:
    """As they are."""
    return [values_E]


def decode_fp32(payload: Bytes, blocks: Blocks) -> Floats:
    """A view of the payload."""
    return payload.view("<f4")


def encode_fp16(values_E: Floats, blocks: Blocks) -> Parts:
    """IEEE half precision."""
    return [values_E.astype("<f2")]


def decode_fp16(payload: Bytes, blocks: Blocks) -> Floats:
    """Exact."""
    return payload.view("<f2").astype(np.float32)


def encode_bf16(values_E: Floats, blocks: Blocks) -> Parts:
    """The upper half of a float32, rounded to nearest, ties to even; numpy has no such type.

        bits + 0x7fff + (lowest kept bit), shifted right by 16

    Source: the rounding of torch's c10/util/BFloat16.h, `round_to_nearest_even`.
    """
    bits_E = values_E.view("<u4")
    rounded_E = bits_E >> 16
    rounded_E &= 1
    rounded_E += 0x7FFF
    rounded_E += bits_E
    return [_upper_halves(rounded_E)]


def decode_bf16(payload: Bytes, blocks: Blocks) -> Floats:
    """Exact: the lower half is zero."""
    bits_E = payload.view("<u2").astype("<u4")
    bits_E <<= 16
    return bits_E.view("<f4")


def _upper_halves(words_E: NDArray[Any]) -> NDArray[np.uint16]:
    halves: NDArray[np.uint16] = words_E.view("<u2")[1::2]
    return halves


def encode_int8(values_E: Floats, blocks: Blocks) -> Parts:
    """Blockwise absolute maximum: s = max|x| / 127, q = round(x / s).

    Source: Dettmers et al., "8-bit Optimizers via Block-wise Quantization", 2021, section 2.1,
    arXiv:2110.02861; linear levels instead of theirs, which suit optimizer states.
    """
    scales_B = _largest_magnitudes(values_E, blocks) / np.float32(127)
    scaled_E = _scaled(values_E, _inverses(scales_B), blocks)
    np.rint(scaled_E, out=scaled_E)
    return [scales_B, scaled_E.astype(np.int8)]


def decode_int8(payload: Bytes, blocks: Blocks) -> Floats:
    """Codes times scales: q * s."""
    scales_B, codes = _split_scales(payload, blocks, 1)
    return _scaled(codes.view(np.int8), scales_B, blocks)


def _largest_magnitudes(values_E: Floats, blocks: Blocks) -> Floats:
    largest_B = np.maximum.reduceat(values_E, blocks.starts)
    return np.maximum(largest_B, -np.minimum.reduceat(values_E, blocks.starts))


def _inverses(scales_B: Floats) -> Floats:
    """1 / s in place of a division for each value; scales too small for that become 0, with their block."""
    scales_B[scales_B < _SMALLEST_SCALE] = 0
    return np.divide(1, scales_B, out=np.zeros_like(scales_B), where=scales_B > 0)


def _scaled(values_E: NDArray[Any], scales_B: Floats, blocks: Blocks) -> Floats:
    scaled_E = np.empty(len(values_E), np.float32)
    for matrix, column, target in zip(
        blocks.matrices(values_E), blocks.columns(scales_B), blocks.matrices(scaled_E), strict=True
    ):
        np.multiply(matrix, column, out=target)
    return scaled_E


def _split_scales(payload: Bytes, blocks: Blocks, scales_per_block: int) -> tuple[Floats, Bytes]:
    num_bytes = 4 * scales_per_block * len(blocks.starts)
    return payload[:num_bytes].view("<f4"), payload[num_bytes:]


def encode_e3m0(values_E: Floats, blocks: Blocks) -> Parts:
    """A sign and three bits of exponent: the nearest of 0 and +-2**e * max|x| with e in -6..0.

    On the upper 16 bits of r = |x| / max|x|: adding half a mantissa carries into the exponent from
    1.5 * 2**e on, which is where 2**(e+1) becomes nearer; below 2**-6 the border to 0 is 2**-7.

    Source: Douillard et al., "Streaming DiLoCo with overlapping communication", 2025 (E3M0 for outer
    gradients, summed in float32), arXiv:2501.18512. The scale of a block and the zero are ours.
    """
    scales_B = _largest_magnitudes(values_E, blocks)
    halves_E = np.zeros(len(values_E) + len(values_E) % 2, np.uint16)
    halves_E[: len(values_E)] = _upper_halves(_scaled(values_E, _inverses(scales_B), blocks))
    magnitudes_E = halves_E & 0x7FFF
    is_above_border_E = magnitudes_E >= 120 << 7  # 2**-7
    magnitudes_E += 0x40
    magnitudes_E >>= 7
    levels_E = np.maximum(magnitudes_E, 120) - 120
    np.maximum(levels_E, is_above_border_E, out=levels_E)
    codes_E = (levels_E | (halves_E >> 15 << 3)).astype(np.uint8)
    pairs = codes_E.view("<u2")
    return [scales_B, (pairs | pairs >> 4).astype(np.uint8)]


def decode_e3m0(payload: Bytes, blocks: Blocks) -> Floats:
    """A table of both values of a byte, times the scale."""
    scales_B, codes = _split_scales(payload, blocks, 1)
    pairs = np.take(_E3M0_PAIRS, codes, mode="clip")
    return _scaled(pairs.view(np.float32)[: blocks.num_elements], scales_B, blocks)


def encode_int2(values_E: Floats, blocks: Blocks) -> Parts:
    """A sign and "small or large", each the mean of what it stands for.

        threshold = 1.23 * mean|x|
        low, high = mean of |x| up to the threshold, and above it

    The threshold is that of the best quantiser with four levels for a normal distribution (0.9816
    standard deviations). Means as levels make C(x) a projection: |x - C(x)| <= |x| in each block, whatever
    the distribution, so error feedback cannot run away.

    Source: Max, "Quantizing for Minimum Distortion", IRE Trans. Inf. Theory 6 (1960), table I, N = 4, and
    its equation 4 (a level is the mean of its interval).
    """
    magnitudes_E = np.abs(values_E)
    means_B = np.add.reduceat(magnitudes_E, blocks.starts) / blocks.lengths
    thresholds_B = (1.23 * means_B).astype(np.float32)
    is_large_E = np.empty(len(values_E), np.bool_)
    for matrix, column, target in zip(
        blocks.matrices(magnitudes_E),
        blocks.columns(thresholds_B),
        blocks.matrices(is_large_E),
        strict=True,
    ):
        np.greater(matrix, column, out=target)
    num_large_B = np.add.reduceat(is_large_E, blocks.starts, dtype=np.int64)
    large_E = magnitudes_E * is_large_E
    magnitudes_E -= large_E  # the small ones; a difference of sums would lose them beside the large
    levels = [
        np.add.reduceat(part_E, blocks.starts) / np.maximum(count_B, 1)
        for part_E, count_B in ((magnitudes_E, blocks.lengths - num_large_B), (large_E, num_large_B))
    ]
    codes_E = np.zeros(-(-len(values_E) // 4) * 4, np.uint8)
    codes_E[: len(values_E)] = is_large_E.view(np.uint8) | np.signbit(values_E).view(np.uint8) << 1
    fours = codes_E.view("<u4")
    return [*(level.astype(np.float32) for level in levels), _four_in_one(fours)]


def _four_in_one(fours: NDArray[Any]) -> Bytes:
    """The two low bits of each byte of a 32-bit word, in one byte."""
    packed: Bytes = (fours | fours >> 6 | fours >> 12 | fours >> 18).astype(np.uint8)
    return packed


def decode_int2(payload: Bytes, blocks: Blocks) -> Floats:
    """Two tables: sign * low + (sign where large) * (high - low)."""
    levels, codes = _split_scales(payload, blocks, 2)
    low_B, high_B = levels.reshape(2, -1)
    size = blocks.num_elements
    signs_E = np.take(_INT2_SIGNS, codes, mode="clip").view(np.float32)[:size]
    large_E = np.take(_INT2_LARGE_SIGNS, codes, mode="clip").view(np.float32)[:size]
    values_E = _scaled(signs_E, low_B, blocks)
    values_E += _scaled(large_E, high_B - low_B, blocks)
    return values_E


def encode_topk(values_E: Floats, blocks: Blocks, fraction: float) -> Parts:
    """The largest magnitudes of each block: ceil(fraction * L) of them, as bfloat16 with their places.

    Source: Sarfi et al., "Communication Efficient LLM Pre-training with SparseLoCo", 2025,
    arXiv:2508.15706 (top-k by block). Ours keeps the outer momentum, and bfloat16 instead of 2 bits.
    """
    magnitudes_E = np.abs(values_E)
    counts_B = np.ceil(fraction * blocks.lengths).astype("<u2")
    places_K: list[NDArray[np.int64]] = []
    for (first, _, _, length), matrix in zip(blocks.runs, blocks.matrices(magnitudes_E), strict=True):
        kept = int(counts_B[first])
        chosen = np.argpartition(matrix, length - kept, axis=1)[:, length - kept :]
        chosen.sort(axis=1)  # the decoder refuses a place that is there twice, and sees it by the order
        places_K.append(chosen.ravel())
    places = np.concatenate(places_K)
    kept_values = values_E[places + np.repeat(blocks.starts, counts_B)]
    return [counts_B, places.astype("<u2"), *encode_bf16(kept_values, blocks)]


def decode_topk(payload: Bytes, blocks: Blocks) -> Floats:
    """Zeros with the kept values in their places.

    Raises:
        PayloadError: counts that do not fit the length, places outside their block or twice.
    """
    num_blocks = len(blocks.starts)
    if len(payload) < 2 * num_blocks:
        raise PayloadError(f"{len(payload)} bytes cannot hold the counts of {num_blocks} blocks")
    counts_B = payload[: 2 * num_blocks].view("<u2").astype(np.int64)
    num_kept = int(counts_B.sum())
    if len(payload) != 2 * num_blocks + 4 * num_kept:
        raise PayloadError(f"it announces {num_kept} kept values and holds another number")
    places_K = payload[2 * num_blocks :][: 2 * num_kept].view("<u2").astype(np.int64)
    if (places_K >= np.repeat(blocks.lengths, counts_B)).any():
        raise PayloadError("a kept value lies outside its block")
    places_K += np.repeat(blocks.starts, counts_B)
    if (np.diff(places_K) <= 0).any():
        raise PayloadError("kept values are out of order or there twice")
    values_E = np.zeros(blocks.num_elements, np.float32)
    values_E[places_K] = decode_bf16(payload[2 * num_blocks + 2 * num_kept :], blocks)
    return values_E


Encode: TypeAlias = Callable[[Floats, Blocks], Parts]
Decode: TypeAlias = Callable[[Bytes, Blocks], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer:
    """A codec's two directions.

    `dtype` names in a frame what its codes are; `num_bytes` is the length of a payload for so many
    elements and blocks, None when only the payload knows. `largest` is the largest magnitude that comes
    back finite.
    """

    dtype: str
    encode: Encode
    decode: Decode
    num_bytes: Callable[[int, int], int] | None
    largest: float = 1e30


def topk_encoder(fraction: float) -> Encode:
    """encode_topk for one fraction."""
    return lambda values_E, blocks: encode_topk(values_E, blocks, fraction)


# 1e30 leaves room for sums over a block; an update of that size comes from a training that diverged.
QUANTIZERS: dict[CodecName, Quantizer] = {
    "fp32": Quantizer(
        dtype="float32",
        encode=encode_fp32,
        decode=decode_fp32,
        num_bytes=lambda elements, blocks: 4 * elements,
        largest=float(np.finfo(np.float32).max),
    ),
    "fp16": Quantizer(
        dtype="float16",
        encode=encode_fp16,
        decode=decode_fp16,
        num_bytes=lambda elements, blocks: 2 * elements,
        largest=65504.0,
    ),
    "bf16": Quantizer(
        dtype="bfloat16",
        encode=encode_bf16,
        decode=decode_bf16,
        num_bytes=lambda elements, blocks: 2 * elements,
        largest=3.3895e38,
    ),
    "int8": Quantizer(
        dtype="int8",
        encode=encode_int8,
        decode=decode_int8,
        num_bytes=lambda elements, blocks: 4 * blocks + elements,
    ),
    "e3m0": Quantizer(
        dtype="e3m0",
        encode=encode_e3m0,
        decode=decode_e3m0,
        num_bytes=lambda elements, blocks: 4 * blocks + -(-elements // 2),
    ),
    "int2": Quantizer(
        dtype="int2",
        encode=encode_int2,
        decode=decode_int2,
        num_bytes=lambda elements, blocks: 8 * blocks + -(-elements // 4),
    ),
    "topk": Quantizer(dtype="bfloat16", encode=topk_encoder(0.02), decode=decode_topk, num_bytes=None),
}
