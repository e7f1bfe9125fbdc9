"""How one tensor of a model lies in a packed file: which parts, of which type and length, and back.

    plain       name                    the values, in the narrowest float type that loses no bit
    grid        name:codes              packed codes, see `packing`
                name:scale              [O, G] float16 or float32 ([1, 1] for one grid a tensor)
                name:zero | :minimum    packed codes that mean 0 (affine), or the values of code 0 (minimum)
    codebook    name:codes, name:codebook
    each        name:mask               where a value is not 0; then codes or values are those alone

An entry says in JSON what its parts must be, so that a reader knows type and length of each before it
reads one. Whether values are stored sparse is decided by counting bytes.

Shape suffixes as in `packed_weight`.
Not covered: complex numbers, and torch's own quantized or sparse tensors.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch

from ayni.compress.packed.packing import (
    is_nonzero_bitwise,
    is_sparse_smaller,
    pack_codes,
    pack_sparse,
    packed_bytes,
    unpack_codes,
    unpack_sparse,
)
from ayni.compress.packed.weight import PackedWeight, QuantizedWeight, SharedWeight, bits_for, dense_parameter
from ayni.compress.weights.grids import Grid, GridParameters

FLOATS = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
DTYPES = FLOATS | {
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
MAX_VALUES = 256
MASK_HEADER_BYTES = 128
"""What a part more takes in the file's header."""
MAX_AXES, MAX_LENGTH = 16, 1 << 40
Parts = Mapping[str, torch.Tensor]
PartSpecs = dict[str, tuple[torch.dtype, tuple[int, ...]]]
"""Suffix of a part -> its type and shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainEntry:
    """Values as they are. stored: the type in the file. num_kept: values beside the mask, None if dense."""

    kind: ClassVar[Literal["plain"]] = "plain"
    dtype: str
    shape: tuple[int, ...]
    stored: str
    num_kept: int | None = None

    def __post_init__(self) -> None:
        _check_common(self.dtype, DTYPES, self.shape, self.num_kept)
        narrower = FLOATS if self.dtype in FLOATS else (self.dtype,)
        if self.stored not in narrower:
            raise ValueError(f"{self.dtype} cannot be stored as {self.stored!r}")

    def parts(self) -> PartSpecs:
        """What the file must hold."""
        stored = DTYPES[self.stored]
        if self.num_kept is None:
            return {"": (stored, self.shape)}
        num_values = math.prod(self.shape)
        return {"": (stored, (self.num_kept,)), ":mask": (torch.uint8, (packed_bytes(num_values, 1),))}

    def check(self, parts: Parts) -> None:
        """Prove the values. Raises ValueError."""
        if self.stored == "bool" and bool((parts[""].view(torch.uint8) > 1).any()):
            raise ValueError("truth values other than 0 and 1")
        _check_mask(parts, math.prod(self.shape), self.num_kept)

    def decode(self, parts: Parts) -> torch.Tensor:
        """The tensor."""
        values = parts[""]
        if self.num_kept is not None:
            fill = torch.zeros(math.prod(self.shape), dtype=values.dtype)
            values = unpack_sparse(parts[":mask"], values, fill).reshape(self.shape)
        return values.to(DTYPES[self.dtype])


@dataclass(frozen=True, slots=True, kw_only=True)
class GridEntry:
    """Codes on a grid.

    scale: the type of scales and minima. num_kept: codes beside the mask, None if dense.
    """

    kind: ClassVar[Literal["grid"]] = "grid"
    dtype: str
    shape: tuple[int, ...]
    transposed: bool
    grid: Grid
    scale: str
    num_kept: int | None = None

    def __post_init__(self) -> None:
        _check_common(self.dtype, FLOATS, self.shape, self.num_kept)
        _check_matrix(self.shape, self.transposed)
        if self.scale not in ("float16", "float32"):
            raise ValueError(f"scales are float16 or float32, not {self.scale!r}")
        if self.num_kept is not None and not self.grid.keeps_zero:
            raise ValueError("a grid that has no code for 0 cannot be sparse")

    def parts(self) -> PartSpecs:
        """What the file must hold."""
        specs = _code_parts(self.shape, self.grid.bits, self.num_kept)
        scale_shape, scale = self._scale_shape(), FLOATS[self.scale]
        specs[":scale"] = (scale, scale_shape)
        if self.grid.scheme == "affine":
            specs[":zero"] = (torch.uint8, (packed_bytes(math.prod(scale_shape), self.grid.bits),))
        if self.grid.scheme == "minimum":
            specs[":minimum"] = (scale, scale_shape)
        return specs

    def check(self, parts: Parts) -> None:
        """Prove the values. Raises ValueError."""
        scale = parts[":scale"].float()
        if not bool((torch.isfinite(scale) & (scale > 0)).all()):
            raise ValueError("scales that are not positive finite numbers")
        if ":minimum" in parts and not bool(torch.isfinite(parts[":minimum"].float()).all()):
            raise ValueError("minima that are not finite")
        _check_mask(parts, math.prod(self.shape), self.num_kept)

    def weight(self, parts: Parts) -> QuantizedWeight:
        """The codes and their grid."""
        matrix_shape, scale_shape = _matrix_shape(self.shape, self.transposed), self._scale_shape()
        scale, bits = parts[":scale"], self.grid.bits
        zero = None
        if self.grid.scheme == "affine":
            num_scales = math.prod(scale_shape)
            zero = unpack_codes(parts[":zero"], bits=bits, num_codes=num_scales).reshape(scale_shape)
        elif self.grid.scheme == "symmetric":
            zero = torch.full(scale_shape, self.grid.symmetric_zero, dtype=torch.uint8)
        parameters = GridParameters(scale=scale, zero=zero, minimum=parts.get(":minimum"))
        fill = None if zero is None else self.grid.spread(zero, matrix_shape[1])
        codes = _decode_codes(parts, matrix_shape, bits, fill)
        return QuantizedWeight(
            grid=self.grid, parameters=parameters, codes=codes, is_transposed=self.transposed
        )

    def decode(self, parts: Parts) -> torch.Tensor:
        """The tensor."""
        return dense_parameter(self.weight(parts), torch.Size(self.shape), FLOATS[self.dtype])

    def _scale_shape(self) -> tuple[int, int]:
        num_outputs, num_inputs = _matrix_shape(self.shape, self.transposed)
        return (1 if self.grid.granularity == "tensor" else num_outputs, self.grid.num_groups(num_inputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class CodebookEntry:
    """Codes into shared values. num_kept: codes beside the mask, None if dense."""

    kind: ClassVar[Literal["codebook"]] = "codebook"
    dtype: str
    shape: tuple[int, ...]
    transposed: bool
    num_values: int
    num_kept: int | None = None

    def __post_init__(self) -> None:
        _check_common(self.dtype, FLOATS, self.shape, self.num_kept)
        _check_matrix(self.shape, self.transposed)
        if type(self.num_values) is not int or not 1 <= self.num_values <= MAX_VALUES:
            raise ValueError(f"a codebook has 1 to {MAX_VALUES} values, not {self.num_values!r}")

    def parts(self) -> PartSpecs:
        """What the file must hold."""
        specs = _code_parts(self.shape, bits_for(self.num_values), self.num_kept)
        return {**specs, ":codebook": (torch.float32, (self.num_values,))}

    def check(self, parts: Parts) -> None:
        """Prove the values. Raises ValueError."""
        if not bool(torch.isfinite(parts[":codebook"]).all()):
            raise ValueError("shared values that are not finite")
        _check_mask(parts, math.prod(self.shape), self.num_kept)
        num_codes = math.prod(self.shape) if self.num_kept is None else self.num_kept
        codes = unpack_codes(parts[":codes"], bits=bits_for(self.num_values), num_codes=num_codes)
        if num_codes and int(codes.max()) >= self.num_values:
            raise ValueError(f"the code {int(codes.max())} beyond its {self.num_values} shared values")
        if self.num_kept is not None and not bool((parts[":codebook"] == 0).any()):
            raise ValueError("a mask, and no shared value that is 0")

    def weight(self, parts: Parts) -> SharedWeight:
        """The codes and the values that they name."""
        book = parts[":codebook"]
        empty = SharedWeight(codebook=book, codes=torch.empty(0, 0, dtype=torch.uint8))
        matrix_shape = _matrix_shape(self.shape, self.transposed)
        codes = _decode_codes(parts, matrix_shape, bits_for(self.num_values), empty.zero_codes)
        return SharedWeight(codebook=book, codes=codes, is_transposed=self.transposed)

    def decode(self, parts: Parts) -> torch.Tensor:
        """The tensor."""
        return dense_parameter(self.weight(parts), torch.Size(self.shape), FLOATS[self.dtype])


Entry = PlainEntry | GridEntry | CodebookEntry
_KINDS: dict[str, type[Entry]] = {entry.kind: entry for entry in (PlainEntry, GridEntry, CodebookEntry)}


def encode_plain(values: torch.Tensor) -> tuple[PlainEntry, dict[str, torch.Tensor]]:
    """Entry and parts of a tensor that stays as it is, in the fewest bytes that lose no bit."""
    values = values.detach().cpu().contiguous()
    narrow = _narrowest(values)
    is_kept = is_nonzero_bitwise(narrow)
    num_kept = int(is_kept.sum())
    entry = PlainEntry(dtype=_name(values.dtype), shape=tuple(values.shape), stored=_name(narrow.dtype))
    if not _is_sparse_smaller(narrow.numel(), narrow.numel() - num_kept, 8 * narrow.element_size()):
        return entry, {"": narrow}
    mask, kept = pack_sparse(narrow, is_kept)
    sparse = PlainEntry(dtype=entry.dtype, shape=entry.shape, stored=entry.stored, num_kept=num_kept)
    return sparse, {"": kept, ":mask": mask}


def encode_packed(weight: PackedWeight, parameter: torch.Tensor) -> tuple[Entry, dict[str, torch.Tensor]]:
    """Entry and parts of a weight with codes."""
    codes, zero_codes = weight.codes.cpu(), weight.zero_codes
    num_kept, parts = None, {":codes": pack_codes(codes, weight.bits)}
    if zero_codes is not None:
        is_kept = codes != zero_codes.cpu()
        if _is_sparse_smaller(codes.numel(), int((~is_kept).sum()), weight.bits):
            mask, kept = pack_sparse(codes, is_kept)
            num_kept, parts = len(kept), {":codes": pack_codes(kept, weight.bits), ":mask": mask}
    dtype, shape = _name(parameter.dtype), tuple(parameter.shape)
    if isinstance(weight, SharedWeight):
        parts[":codebook"] = weight.codebook.cpu()
        return CodebookEntry(
            dtype=dtype,
            shape=shape,
            transposed=weight.is_transposed,
            num_values=len(weight.codebook),
            num_kept=num_kept,
        ), parts
    scale, zero, minimum = (weight.parameters.scale, weight.parameters.zero, weight.parameters.minimum)
    parts[":scale"] = scale.cpu()
    if weight.grid.scheme == "affine" and zero is not None:
        parts[":zero"] = pack_codes(zero.cpu(), weight.bits)
    if minimum is not None:
        parts[":minimum"] = minimum.cpu()
    return GridEntry(
        dtype=dtype,
        shape=shape,
        transposed=weight.is_transposed,
        grid=weight.grid,
        scale=_name(scale.dtype),
        num_kept=num_kept,
    ), parts


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """Plain values; `entry_from_json` reads them."""
    return {"kind": entry.kind, **asdict(entry), "shape": list(entry.shape)}


def entry_from_json(data: object) -> Entry:
    """The entry, with every field proven: this is where a hostile manifest ends.

    Raises:
        ValueError: a field is missing, unknown, or out of its range.
    """
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str) or data["kind"] not in _KINDS:
        raise ValueError(f"it is of none of the kinds {', '.join(_KINDS)}")
    fields = {name: value for name, value in data.items() if name != "kind"}
    if not isinstance(fields.get("shape"), list):
        raise ValueError("its shape is no list")
    fields["shape"] = tuple(fields["shape"])
    try:
        if "grid" in fields:
            fields["grid"] = Grid(**fields["grid"])
        return _KINDS[data["kind"]](**fields)
    except TypeError as error:  # missing or unknown fields
        raise ValueError(f"its fields are not those of a {data['kind']} entry ({error})") from error


def _is_sparse_smaller(num_values: int, num_zeros: int, bits: int) -> bool:
    return is_sparse_smaller(num_values, num_zeros, bits, overhead_bytes=MASK_HEADER_BYTES)


def _check_common(
    dtype: str, allowed: Mapping[str, torch.dtype], shape: tuple[int, ...], kept: int | None
) -> None:
    if not isinstance(dtype, str) or dtype not in allowed:
        raise ValueError(f"its dtype {dtype!r} is none of {', '.join(allowed)}")
    # Bounded before anything is multiplied: a long list of long numbers would keep the reader busy for ever.
    if len(shape) > MAX_AXES or any(type(size) is not int or not 0 <= size <= MAX_LENGTH for size in shape):
        raise ValueError("its shape is not a short list of lengths")
    if kept is not None and (type(kept) is not int or not 0 <= kept <= math.prod(shape)):
        raise ValueError(f"{kept!r} of its {math.prod(shape)} values are kept")


def _check_matrix(shape: tuple[int, ...], transposed: bool) -> None:
    if (
        type(transposed) is not bool
        or len(shape) < 2
        or not math.prod(shape)
        or (transposed and len(shape) != 2)
    ):
        raise ValueError(f"shape {list(shape)} with transposed {transposed!r} is no matrix")


def _check_mask(parts: Parts, num_values: int, num_kept: int | None) -> None:
    if num_kept is not None:
        num_set = int(unpack_codes(parts[":mask"], bits=1, num_codes=num_values).sum())
        if num_set != num_kept:
            raise ValueError(f"a mask with {num_set} bits set for {num_kept} values")


def _matrix_shape(shape: tuple[int, ...], transposed: bool) -> tuple[int, int]:
    num_outputs = shape[1] if transposed else shape[0]
    return num_outputs, math.prod(shape) // num_outputs


def _code_parts(shape: tuple[int, ...], bits: int, num_kept: int | None) -> PartSpecs:
    num_codes = math.prod(shape) if num_kept is None else num_kept
    specs: PartSpecs = {":codes": (torch.uint8, (packed_bytes(num_codes, bits),))}
    if num_kept is not None:
        specs[":mask"] = (torch.uint8, (packed_bytes(math.prod(shape), 1),))
    return specs


def _decode_codes(
    parts: Parts, matrix_shape: tuple[int, int], bits: int, zero_codes: torch.Tensor | None
) -> torch.Tensor:
    """Codes [O, I]; with a mask, the code of 0 wherever it is not set."""
    num_codes = math.prod(matrix_shape)
    if ":mask" not in parts:
        return unpack_codes(parts[":codes"], bits=bits, num_codes=num_codes).reshape(matrix_shape)
    assert zero_codes is not None
    is_kept = unpack_codes(parts[":mask"], bits=1, num_codes=num_codes)
    kept = unpack_codes(parts[":codes"], bits=bits, num_codes=int(is_kept.sum()))
    fill = zero_codes.expand(matrix_shape).reshape(-1).clone()
    return unpack_sparse(parts[":mask"], kept, fill).reshape(matrix_shape)


def _narrowest(values: torch.Tensor) -> torch.Tensor:
    if values.dtype not in FLOATS.values():
        return values
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        if torch.finfo(dtype).bits < torch.finfo(values.dtype).bits:
            narrow = values.to(dtype)
            if torch.equal(_bits(narrow.to(values.dtype)), _bits(values)):
                return narrow
    return values


def _bits(values: torch.Tensor) -> torch.Tensor:
    """The bytes: equal only where -0.0 and NaN are the same too."""
    return values.contiguous().reshape(-1).view(torch.uint8)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
