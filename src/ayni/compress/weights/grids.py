"""Grids of evenly spaced values that weights are rounded to, with the numbers that place them.

Shape suffixes: `O` outputs and `I` inputs of a weight matrix, `G` groups of consecutive inputs,
`K` values of one scale. Parameters called `scale_OI` broadcast to [O, I].

    affine      s = (hi - lo) / (2^b - 1), lo = min(w, 0), hi = max(w, 0);   z = round(-lo / s)
                q = clamp(round(w / s) + z, 0, 2^b - 1);                      w' = s (q - z)
    symmetric   s = max|w| / (2^(b-1) - 1);  z = 2^(b-1), the same for all;   q and w' as above
    minimum     s = (hi - m) / (2^b - 1), m = lo = min(w), hi = max(w)
                q = clamp(round((w - m) / s), 0, 2^b - 1);                    w' = s q + m

Inside the range |w - w'| <= s / 2. Affine and symmetric grids hold 0 exactly, so that pruned weights stay
pruned; `minimum` does not, and exists because files of that form do (Q4_1 of GGUF).

What is stored decides what is computed: scales and minima are float16 and are rounded before any weight
is. A scale is rounded up, for a grid that is shorter than the range would cut its ends off. s (q - z) has at
most 11 + 8 significant bits and is exact in float32, on every machine and in every order of work. Where
float16 would be too coarse or too small (the largest scale below 2^-14 or above 65504) all scales of that
weight are float32; the parameters say which.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018, section 2.1 and 3, arXiv:1712.05877. Krishnamoorthi, "Quantizing deep convolutional
networks for efficient inference", 2018, section 2, arXiv:1806.08342. Both round scales to nearest; ours up.

Not covered: grids that are not evenly spaced (`sharing` places values freely), ranges that clip outliers,
and the quantization of activations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ayni.errors import UserError

Scheme = Literal["affine", "symmetric", "minimum"]
Granularity = Literal["tensor", "channel", "group"]

MIN_BITS, MAX_BITS = 2, 8
SMALLEST_HALF_SCALE = 2.0**-14
"""Smallest normal number of float16; below it the relative error of a scale grows."""
LARGEST_HALF_SCALE = 65504.0
_ROUNDING = 1 + 2.0**-20
"""A scale that is this near to a float16 number is meant to be it: the weights of a file that was
quantized before went through a rounding of float32, and their grid is found again exactly."""


class CannotQuantizeError(UserError):
    """A weight has values that no grid can be placed around."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"This weight cannot be quantized: {reason}. Leave its layer out with `skip`, or train again: "
            "weights that are not finite answer nothing but NaN."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridParameters:
    """Where the grids of one weight lie.

    All of shape [O, G]. G is 1 unless the grid has groups; of a grid per tensor O is 1 too.

    scale: the step, positive, float16 or float32.
    zero: the code that means 0, uint8; None for the scheme "minimum".
    minimum: the value of code 0, in the dtype of the scales; None for the other schemes.
    """

    scale: torch.Tensor
    zero: torch.Tensor | None = None
    minimum: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Which kind of grid; the weights decide where it lies.

    bits: 2 to 8 for one code.
    scheme: see the head of this module.
    granularity: one grid for the tensor, for each output channel (row), or for each group of a row.
    group_size: consecutive inputs that share a scale; only with the granularity "group". The last group of a
        row is shorter when the row does not divide evenly.
    """

    bits: int
    scheme: Scheme = "affine"
    granularity: Granularity = "channel"
    group_size: int | None = None

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not MIN_BITS <= self.bits <= MAX_BITS:
            raise ValueError(f"bits is {self.bits!r}, and a grid has {MIN_BITS} to {MAX_BITS}")
        if self.scheme not in get_args(Scheme):
            raise ValueError(f"scheme is {self.scheme!r}, and is one of {', '.join(get_args(Scheme))}")
        if self.granularity not in get_args(Granularity):
            raise ValueError(
                f"granularity is {self.granularity!r}, and is one of {', '.join(get_args(Granularity))}"
            )
        has_size = type(self.group_size) is int and self.group_size >= 1
        if has_size != (self.granularity == "group") or (self.group_size is not None and not has_size):
            raise ValueError(
                f"group_size is {self.group_size!r} with granularity {self.granularity!r}: a positive number "
                "goes with 'group', None with the others"
            )

    @property
    def keeps_zero(self) -> bool:
        """Whether a weight of 0 stays 0, as pruned weights must."""
        return self.scheme != "minimum"

    @property
    def largest_code(self) -> int:
        """2^bits - 1."""
        return (1 << self.bits) - 1

    @property
    def symmetric_zero(self) -> int:
        """The code of 0 on a symmetric grid: 2^(bits - 1)."""
        return 1 << (self.bits - 1)

    def num_groups(self, num_inputs: int) -> int:
        """Scales in a row of so many inputs."""
        return 1 if self.group_size is None else -(-num_inputs // self.group_size)

    def stored_bits(self, num_outputs: int, num_inputs: int) -> int:
        """Bits of codes, float16 scales and zeros or minima once packed, of a weight [O, I].

        int4 in groups of 32: 4 + (16 + 4) / 32 = 4.625 bits a weight affine, 4.5 symmetric, 5 minimum.
        """
        num_scales = 1 if self.granularity == "tensor" else num_outputs * self.num_groups(num_inputs)
        bits_beside = {"affine": self.bits, "symmetric": 0, "minimum": 16}[self.scheme]
        return num_outputs * num_inputs * self.bits + num_scales * (16 + bits_beside)

    def fit(self, weight_OI: torch.Tensor) -> GridParameters:
        """The parameters whose range just covers the weight. A group of zeros gets the scale 1.

        Raises:
            CannotQuantizeError: the weight is empty, is no matrix of floats, or is not finite.
        """
        low_OG, high_OG = self._ranges(weight_OI)
        if self.scheme == "symmetric":
            scale_OG = _storable(torch.maximum(high_OG, -low_OG) / (self.largest_code // 2))
            zero_OG = torch.full_like(scale_OG, self.symmetric_zero, dtype=torch.uint8)
            return GridParameters(scale=scale_OG, zero=zero_OG)
        if self.scheme == "affine":
            low_OG, high_OG = low_OG.clamp(max=0), high_OG.clamp(min=0)
            scale_OG = _storable((high_OG - low_OG) / self.largest_code)
            zero_OG = torch.round(-low_OG / scale_OG.float()).clamp(0, self.largest_code)
            return GridParameters(scale=scale_OG, zero=zero_OG.to(torch.uint8))
        return self._fit_minimum(low_OG, high_OG)

    def quantize(self, weight_OI: torch.Tensor, parameters: GridParameters) -> torch.Tensor:
        """Codes of the nearest values, uint8 [O, I]; weights outside the range get its end."""
        return self._codes(
            weight_OI.detach().float(),
            scale_OI=self.spread(parameters.scale, weight_OI.shape[1]).float(),
            zero_OI=self._spread_or_none(parameters.zero, weight_OI.shape[1]),
            minimum_OI=self._spread_or_none(parameters.minimum, weight_OI.shape[1]),
        ).to(torch.uint8)

    def dequantize(self, codes_OI: torch.Tensor, parameters: GridParameters) -> torch.Tensor:
        """The values of the codes, float32 [O, I]. Always computed in float32: the same bits everywhere."""
        return _values(
            codes_OI.float(),
            scale_OI=self.spread(parameters.scale, codes_OI.shape[1]).float(),
            zero_OI=self._spread_or_none(parameters.zero, codes_OI.shape[1]),
            minimum_OI=self._spread_or_none(parameters.minimum, codes_OI.shape[1]),
        )

    def round_column(
        self, column_O: torch.Tensor, parameters: GridParameters, column_index: int
    ) -> torch.Tensor:
        """The nearest values of one input column, in the dtype of the column.

        The same as that column of `dequantize(quantize(w))`, at the cost of one column: what methods need
        that correct the columns to the right after each one (GPTQ).
        """
        group = 0 if self.group_size is None else column_index // self.group_size
        scale_O = parameters.scale[:, group].float()
        zero_O = _column_or_none(parameters.zero, group)
        minimum_O = _column_or_none(parameters.minimum, group)
        codes_O = self._codes(
            column_O.detach().float(), scale_OI=scale_O, zero_OI=zero_O, minimum_OI=minimum_O
        )
        values_O = _values(codes_O, scale_OI=scale_O, zero_OI=zero_O, minimum_OI=minimum_O)
        return values_O.to(column_O.dtype)

    def _ranges(self, weight_OI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest weight of each grid, float32 [O, G]."""
        if weight_OI.dim() != 2 or not weight_OI.is_floating_point() or not weight_OI.numel():
            shape, kind = tuple(weight_OI.shape), weight_OI.dtype
            raise CannotQuantizeError(f"it is {kind} of shape {shape}, not a matrix of floats with values")
        weight_OI = weight_OI.detach().float()
        if not bool(torch.isfinite(weight_OI).all()):
            num_bad = int((~torch.isfinite(weight_OI)).sum())
            raise CannotQuantizeError(f"{num_bad} of its {weight_OI.numel()} values are NaN or infinite")
        if self.granularity == "tensor":
            blocks_OGK = weight_OI.reshape(1, 1, -1)
        elif self.group_size is None:
            blocks_OGK = weight_OI.unsqueeze(1)
        else:
            # The last weight fills up the last group: it is in it, so it changes no range.
            size = min(self.group_size, weight_OI.shape[1])
            num_missing = -weight_OI.shape[1] % size
            filled_OI = torch.cat([weight_OI, weight_OI[:, -1:].expand(-1, num_missing)], dim=1)
            blocks_OGK = filled_OI.reshape(len(weight_OI), -1, size)
        return blocks_OGK.amin(-1), blocks_OGK.amax(-1)

    def _fit_minimum(self, low_OG: torch.Tensor, high_OG: torch.Tensor) -> GridParameters:
        half_OG = -_half_at_least(-low_OG)
        if bool(torch.isfinite(half_OG).all()):
            scale_OG = _storable((high_OG - half_OG.float()) / self.largest_code)
            if scale_OG.dtype == torch.float16:
                return GridParameters(scale=scale_OG, minimum=half_OG)
        scale_OG = _filled(_finite((high_OG - low_OG) / self.largest_code))
        return GridParameters(scale=scale_OG, minimum=low_OG)

    def _codes(
        self,
        weight_OI: torch.Tensor,
        *,
        scale_OI: torch.Tensor,
        zero_OI: torch.Tensor | None,
        minimum_OI: torch.Tensor | None,
    ) -> torch.Tensor:
        if minimum_OI is not None:
            return torch.round((weight_OI - minimum_OI) / scale_OI).clamp_(0, self.largest_code)
        assert zero_OI is not None
        # A symmetric grid leaves code 0 unused: its mirror image would be 2^bits.
        lowest = 1 if self.scheme == "symmetric" else 0
        return (torch.round(weight_OI / scale_OI) + zero_OI).clamp_(lowest, self.largest_code)

    def spread(self, values_OG: torch.Tensor, num_inputs: int) -> torch.Tensor:
        """Values of the groups at each of their inputs; without groups they broadcast as they are."""
        if self.group_size is None:
            return values_OG
        # A group longer than the row is the row: what a file says must not decide how much memory is taken.
        size = min(self.group_size, num_inputs)
        return values_OG.repeat_interleave(size, dim=1)[:, :num_inputs]

    def _spread_or_none(self, values_OG: torch.Tensor | None, num_inputs: int) -> torch.Tensor | None:
        return None if values_OG is None else self.spread(values_OG, num_inputs).float()


def join_groups(parts: Sequence[GridParameters]) -> GridParameters:
    """The parameters of one weight from those of its groups, each fitted on its own columns, in order.

    What is rounded already stays as it is: float32 when one of the parts needed it.

    Raises:
        ValueError: no parts, or parts of different schemes.
    """
    kinds = {(part.zero is None, part.minimum is None) for part in parts}
    if len(kinds) != 1:
        raise ValueError(f"{len(parts)} parts of {len(kinds)} schemes do not make one grid")
    zeros = [part.zero for part in parts if part.zero is not None]
    minima = [part.minimum for part in parts if part.minimum is not None]
    return GridParameters(
        scale=torch.cat([part.scale for part in parts], dim=1),
        zero=torch.cat(zeros, dim=1) if zeros else None,
        minimum=torch.cat(minima, dim=1) if minima else None,
    )


def _values(
    codes_OI: torch.Tensor,
    *,
    scale_OI: torch.Tensor,
    zero_OI: torch.Tensor | None,
    minimum_OI: torch.Tensor | None,
) -> torch.Tensor:
    # Two operations, never a fused one, whose result would depend on the processor.
    if minimum_OI is not None:
        return codes_OI.mul(scale_OI).add_(minimum_OI)
    assert zero_OI is not None
    return codes_OI.sub(zero_OI).mul_(scale_OI)


def _storable(scale_OG: torch.Tensor) -> torch.Tensor:
    """Positive scales as they will be stored: float16 rounded up, or float32 where float16 will not do.

    Scales of weak groups may be subnormal in float16; they are too long by 2^-24 at most, which is nothing
    beside the steps of the strongest group.
    """
    largest = float(_finite(scale_OG).max())
    if largest and not SMALLEST_HALF_SCALE <= largest <= LARGEST_HALF_SCALE:
        return _filled(scale_OG)
    return _half_at_least(_filled(scale_OG))


def _finite(scale_OG: torch.Tensor) -> torch.Tensor:
    if not bool(torch.isfinite(scale_OG).all()):
        raise CannotQuantizeError("its range is wider than float32 can hold")
    return scale_OG


def _filled(scale_OG: torch.Tensor) -> torch.Tensor:
    """Scale 1 where there is no range, so that nothing is divided by 0."""
    return torch.where(scale_OG > 0, scale_OG, torch.ones_like(scale_OG))


def _half_at_least(values: torch.Tensor) -> torch.Tensor:
    """The nearest float16 that is not smaller; one beyond 65504 becomes infinite."""
    nearest = values.half()
    is_smaller = nearest.float() * torch.where(values > 0, _ROUNDING, 1 / _ROUNDING) < values
    # The bit patterns of positive numbers are in order of size, those of negative ones against it.
    step = torch.where(values > 0, 1, -1).to(torch.int16) * is_smaller.to(torch.int16)
    return (nearest.view(torch.int16) + step).view(torch.float16)


def _column_or_none(values_OG: torch.Tensor | None, group: int) -> torch.Tensor | None:
    return None if values_OG is None else values_OG[:, group].float()
