"""A weight as codes and the small table that turns them into numbers: what a packed file stores.

Two kinds: codes on an evenly spaced grid (`QuantizedWeight`) and codes into a list of shared values
(`SharedWeight`). The steps that make them also write the values into the model, so that what the model
computes and what the file gives back are the same numbers.

Shape suffixes: `O` outputs and `I` inputs of the weight as a matrix, `K` shared values.

Not covered: computing with codes. A weight is made dense before it is used.
"""

from dataclasses import dataclass

import torch

from ayni.compress.weights.grids import Grid, GridParameters
from ayni.errors import UserError


class WeightChangedError(UserError):
    """A weight is no longer what its codes say."""

    def __init__(self, *, name: str, num_different: int, num_weights: int) -> None:
        self.name, self.num_different = name, num_different
        super().__init__(
            f"{num_different} of the {num_weights} values of {name} do not lie where their codes say: the "
            "weight was changed after it was quantized. Quantize after pruning and training, as the last "
            "step before the file is written."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedWeight:
    """Codes on a grid.

    codes: uint8 [O, I].
    is_transposed: the parameter is [I, O], as in Transformers' Conv1D.
    """

    grid: Grid
    parameters: GridParameters
    codes: torch.Tensor
    is_transposed: bool = False

    @property
    def bits(self) -> int:
        """Of one code."""
        return self.grid.bits

    @property
    def zero_codes(self) -> torch.Tensor | None:
        """The code that means 0, of a shape that broadcasts to [O, I]; None when no code is sure to."""
        zero_OG = self.parameters.zero
        return None if zero_OG is None else self.grid.spread(zero_OG, self.codes.shape[1])

    def values_OI(self) -> torch.Tensor:  # noqa: N802
        """The weight, float32."""
        return self.grid.dequantize(self.codes, self.parameters)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedWeight:
    """Codes into a list of values.

    codebook: float32 [K], at most 256 values.
    codes: uint8 [O, I], below K.
    is_transposed: as in QuantizedWeight.
    """

    codebook: torch.Tensor
    codes: torch.Tensor
    is_transposed: bool = False

    @property
    def bits(self) -> int:
        """Of one code: 4 for 16 values."""
        return bits_for(len(self.codebook))

    @property
    def zero_codes(self) -> torch.Tensor | None:
        """The code of the value 0 as [1, 1]; None when 0 is not among the values."""
        places = (self.codebook == 0).nonzero()
        return places[:1].to(torch.uint8) if len(places) else None

    def values_OI(self) -> torch.Tensor:  # noqa: N802
        """The weight, float32."""
        return self.codebook[self.codes.int()]


PackedWeight = QuantizedWeight | SharedWeight


def bits_for(num_values: int) -> int:
    """Bits of a code into so many values."""
    return max(1, (num_values - 1).bit_length())


def quantized(
    parameter: torch.Tensor,
    grid: Grid,
    parameters: GridParameters,
    *,
    is_transposed: bool = False,
    name: str = "",
) -> QuantizedWeight:
    """The codes of a weight whose values lie on its grid already, found from the values alone.

    Exact: s (q - z) divided by s and rounded is q - z, even after the weight was rounded to bfloat16.

    Raises:
        WeightChangedError: a value does not lie on the grid.
    """
    weight_OI = as_matrix(parameter.detach(), is_transposed=is_transposed)
    codes_OI = grid.quantize(weight_OI, parameters)
    weight = QuantizedWeight(grid=grid, parameters=parameters, codes=codes_OI, is_transposed=is_transposed)
    check_unchanged(weight, parameter, name=name)
    return weight


def check_unchanged(weight: PackedWeight, parameter: torch.Tensor, *, name: str) -> None:
    """Prove that the codes give exactly the values of the parameter.

    Raises:
        WeightChangedError: they do not, or its shape is another.
    """
    num_weights = parameter.numel()
    if weight.codes.numel() != num_weights:
        raise WeightChangedError(name=name, num_different=num_weights, num_weights=num_weights)
    dense = dense_parameter(weight, parameter.shape, parameter.dtype).to(parameter.device)
    num_different = int((dense != parameter.detach()).sum())
    if num_different:
        raise WeightChangedError(name=name, num_different=num_different, num_weights=num_weights)


def dense_parameter(weight: PackedWeight, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """The weight in the shape and dtype of its parameter."""
    values_OI = weight.values_OI()
    return (values_OI.t() if weight.is_transposed else values_OI).reshape(shape).to(dtype)


def as_matrix(parameter: torch.Tensor, *, is_transposed: bool) -> torch.Tensor:
    """The parameter as [O, I]: transposed, or with all axes after the first one flattened."""
    return parameter.t() if is_transposed else parameter.reshape(len(parameter), -1)


def is_transposed(layer: torch.nn.Module, weight_OI: torch.Tensor) -> bool:
    """Whether `layers.weight_OI(layer)` is the transpose of the layer's weight."""
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    is_same = weight_OI.shape == weight.shape and weight_OI.stride() == weight.stride()
    return weight.dim() == 2 and not is_same
