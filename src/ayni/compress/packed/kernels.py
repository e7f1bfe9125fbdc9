"""Layers that compute with packed weights: what makes one token at a time faster in torch.

A decoder that makes one token reads every weight once and multiplies it once, so that bytes are time. These
layers read 4 or 8 bits a weight where a float takes 16 or 32, through kernels that are part of torch:

    Int8Linear      y = (x codes^T) s              s for each output      aten::_weight_int8pack_mm
    Int8x8Linear    y = (q codes^T) t s            q = round(x / t), t for each token     onednn::qlinear
    Int4Linear      y = x ((codes - 8) s + c)^T    s, c for each group    aten::_weight_int4pack_mm_for_cpu
    Int8Embedding   y = codes[ids] s[ids]          s for each row

The weights come as `packed_weight.QuantizedWeight`, so they are what a packed file stores. A grid with a
zero point z has c = (8 - z) s, one with a minimum m has c = m + 8 s.

Activations are bfloat16 unless told otherwise, and so are s and c of the 4-bit kernel: that rounding (2^-9 of
a scale) is the difference from the dense model; quality must be measured with these layers. With float32
activations the 4-bit kernel is 35 times slower than a dense layer (measured), which is why it is refused;
with float16 both kernels are 11 to 50 times slower than with bfloat16 (measured with AVX512-FP16).

Two things are asked for by name, for each has a price:

    dense_rows              products of so many tokens and more are made with a dense bfloat16 copy of the
                            weights: 15 times faster with 128 tokens and AMX, and 2 bytes a weight of memory
    round_activations       layers of 8 bits that round each token's activations to 8 bits too (Int8x8Linear):
                            a head over 49,152 words takes 1.4 instead of 3.9 ms for one token (and the
                            perplexity of SmolLM2-135M, with its head alone rounded so, rises by 0.8 %)

Cost: packing is one pass over the codes.

Source: the kernels, pytorch, aten/src/ATen/native/cpu/int4mm_kernel.cpp and int8mm_kernel.cpp, and
quantized/cpu/qlinear.cpp. A scale for each token: Yao et al., "ZeroQuant", NeurIPS 2022, section 3.1,
arXiv:2206.01861.

Not covered: convolutions, other bits, shared values, 8-bit weights with a zero point; saving these modules
(write a packed file of the model before its layers are replaced).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn import functional

from ayni.compress.deploy.prepacked import CannotPrepackError, PrepackedLinear, can_prepack, prepacked_weight
from ayni.compress.packed.weight import PackedWeight, QuantizedWeight
from ayni.compress.weights.layers import is_matrix_layer, tied_names
from ayni.errors import UserError

INT4_GROUP_SIZES = (32, 64, 128, 256)
INT4_OUTPUT_MULTIPLE = 16
DENSE_ROWS = 4
"""From here on a dense product with ordered weights is faster than the 4-bit one (measured with AMX)."""
INT8_INPUT_MULTIPLE = 16
"""The kernel reads so many inputs at a time. With 33 inputs it reads past the end: measured, a crash."""
HALF_TYPES = (torch.bfloat16, torch.float16)
_MIDDLE = 128
"""Zero point of activations as unsigned codes. With signed ones oneDNN takes 100 times as long for one token
and some shapes (192 x 576: 3 ms against 0.02 measured)."""


class NoPackedKernelError(UserError):
    """No layer of the model has a kernel for its packed weights."""

    def __init__(self, skipped: Mapping[str, str]) -> None:
        self.skipped = dict(skipped)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        super().__init__(
            f"No layer can compute with its packed weights{f' ({reasons})' if reasons else ''}. Quantize "
            "linear layers to 8 bits per channel (symmetric), or to 4 bits in groups of 32, 64, 128 or 256."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedKernels:
    """Names of the modules that compute with codes now, and why others do not."""

    int8: tuple[str, ...]
    int8x8: tuple[str, ...]
    int4: tuple[str, ...]
    embeddings: tuple[str, ...]
    skipped: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Dense:
    """The weights once more, for many tokens at once."""

    layer: PrepackedLinear
    num_rows: int


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights and one scale for each output."""

    codes: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self,
        codes_OI: torch.Tensor,
        scale_O: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
        dense: _Dense | None = None,
    ) -> None:
        super().__init__()
        self._dense = dense
        self.register_buffer("codes", codes_OI)
        self.register_buffer("scale", scale_O.to(dtype))
        self.register_buffer("bias", None if bias is None else bias.detach().to(dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output, in the dtype of its input."""
        if self._dense is not None and x.numel() >= self._dense.num_rows * x.shape[-1]:
            return self._dense.layer(x)  # type: ignore[no-any-return]
        rows_NI = x.reshape(-1, x.shape[-1]).to(self.scale.dtype).contiguous()
        if self.codes.shape[1] % INT8_INPUT_MULTIPLE:
            rows_NO = functional.linear(rows_NI, self.codes.to(rows_NI.dtype)) * self.scale
        else:
            rows_NO = torch._weight_int8pack_mm(rows_NI, self.codes, self.scale)
        if self.bias is not None:
            rows_NO = rows_NO + self.bias
        return rows_NO.reshape(*x.shape[:-1], len(self.scale)).to(x.dtype)


class Int8x8Linear(nn.Module):
    """A linear layer with 8-bit weights that rounds its activations to 8 bits too, token by token."""

    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, codes_OI: torch.Tensor, scale_O: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        # No buffer: opaque memory can neither be stored nor moved. A copy: a tied table keeps its own codes.
        self._packed = torch.ops.onednn.qlinear_prepack(codes_OI, None)
        self._zeros_O = torch.zeros(len(codes_OI), dtype=torch.int64)
        self.register_buffer("scale", scale_O.float())
        self.register_buffer("bias", None if bias is None else bias.detach().float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output, in the dtype of its input."""
        rows_NI = x.reshape(-1, x.shape[-1]).float()
        # A token of zeros has the smallest normal number for a scale: 0 / 0 would be NaN.
        scale_N1 = rows_NI.abs().amax(-1, keepdim=True).div_(127).clamp_(min=torch.finfo(torch.float32).tiny)
        codes_NI = (rows_NI / scale_N1).round_().add_(_MIDDLE).to(torch.uint8)
        whole: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            *(codes_NI, 1.0, _MIDDLE, self._packed, self.scale, self._zeros_O, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        rows_NO = whole * scale_N1
        if self.bias is not None:
            rows_NO = rows_NO + self.bias
        return rows_NO.reshape(*x.shape[:-1], len(self.scale)).to(x.dtype)


class Int4Linear(nn.Module):
    """A linear layer with 4-bit weights; scale and offset for each group of inputs."""

    packed: torch.Tensor
    scale_and_offset: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self,
        weight: QuantizedWeight,
        bias: torch.Tensor | None,
        dtype: torch.dtype = torch.bfloat16,
        dense: _Dense | None = None,
    ) -> None:
        super().__init__()
        self._dense = dense
        assert weight.grid.group_size is not None
        self.group_size = weight.grid.group_size
        self.num_outputs = weight.codes.shape[0]
        self.register_buffer(
            "packed",
            torch.ops.aten._convert_weight_to_int4pack_for_cpu(weight.codes.to(torch.int32).contiguous(), 1),
        )
        scale_OG, offset_OG = scale_and_offset(weight)
        both_GO2 = torch.stack([scale_OG.t(), offset_OG.t()], dim=-1)
        self.register_buffer("scale_and_offset", both_GO2.to(dtype).contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach().to(dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output, in the dtype of its input."""
        if self._dense is not None and x.numel() >= self._dense.num_rows * x.shape[-1]:
            return self._dense.layer(x)  # type: ignore[no-any-return]
        rows_NI = x.reshape(-1, x.shape[-1]).to(self.scale_and_offset.dtype).contiguous()
        rows_NO: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows_NI, self.packed, self.group_size, self.scale_and_offset
        )
        if self.bias is not None:
            rows_NO = rows_NO + self.bias
        return rows_NO.reshape(*x.shape[:-1], self.num_outputs).to(x.dtype)


class Int8Embedding(nn.Module):
    """An embedding table with 8-bit rows and one scale for each row."""

    codes: torch.Tensor
    scale: torch.Tensor

    def __init__(self, codes_OI: torch.Tensor, scale_O: torch.Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("codes", codes_OI)
        self.register_buffer("scale", scale_O.to(dtype))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The vectors of the ids."""
        return self.codes[ids].to(self.scale.dtype) * self.scale[ids].unsqueeze(-1)


def use_packed_kernels(
    model: nn.Module,
    weights: Mapping[str, PackedWeight],
    *,
    compute_dtype: torch.dtype = torch.bfloat16,
    dense_rows: int | None = None,
    round_activations: Sequence[str] = (),
) -> PackedKernels:
    """Replace linear layers and embeddings, in place, by layers that compute with their packed weights.

    Args:
        model: on the CPU; usually in `compute_dtype` already (`torch_variants.to_half`).
        weights: by the name of the parameter. Of tied parameters any one may be named; codes are kept once.
        compute_dtype: of activations inside the new layers.
        dense_rows: inputs of so many rows (tokens of all texts) and more are multiplied with a dense copy;
            `DENSE_ROWS` suits a processor with AMX. None keeps no copy.
        round_activations: patterns of names of 8-bit linear layers that round their activations too.

    Raises:
        NoPackedKernelError: nothing could be replaced; the model is unchanged.
        CannotPrepackError: dense_rows, and torch cannot order dense weights for this processor.
        ValueError: a compute_dtype that is no 16-bit float; dense_rows below 1, or with another type than
            bfloat16.
    """
    _check_asked(compute_dtype, dense_rows)
    asked = _Asked(compute_dtype, dense_rows, tuple(round_activations))
    of_parameter = _by_parameter(model, weights)
    made: dict[str, nn.Module] = {}
    skipped: dict[str, str] = {}
    shared: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, module in model.named_modules():
        if not (is_matrix_layer(module) or isinstance(module, nn.Embedding)):
            continue
        weight = of_parameter.get(id(module._parameters.get("weight")))
        reason = _why_not(module, weight)
        if reason is not None or not isinstance(weight, QuantizedWeight):
            skipped[name] = reason or "its weight is not packed"
            continue
        made[name] = _replacement(name, module, weight, asked, shared)
    if not made:
        raise NoPackedKernelError(skipped)
    for name, module in made.items():
        _replace(model, name, module)
    return PackedKernels(
        int8=tuple(name for name, module in made.items() if isinstance(module, Int8Linear)),
        int8x8=tuple(name for name, module in made.items() if isinstance(module, Int8x8Linear)),
        int4=tuple(name for name, module in made.items() if isinstance(module, Int4Linear)),
        embeddings=tuple(name for name, module in made.items() if isinstance(module, Int8Embedding)),
        skipped=skipped,
    )


def scale_and_offset(weight: QuantizedWeight) -> tuple[torch.Tensor, torch.Tensor]:
    """The s and c of (codes - 8) s + c for a 4-bit weight, float32 [O, G]."""
    scale_OG = weight.parameters.scale.float()
    if weight.parameters.minimum is not None:
        return scale_OG, weight.parameters.minimum.float() + 8 * scale_OG
    assert weight.parameters.zero is not None
    return scale_OG, (8 - weight.parameters.zero.float()) * scale_OG


def _by_parameter(model: nn.Module, weights: Mapping[str, PackedWeight]) -> dict[int, PackedWeight]:
    """Packed weights by the identity of their parameter, whichever of its names was given."""
    first_names = tied_names(model)
    by_first = {first_names.get(name, name): weight for name, weight in weights.items()}
    found = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        weight = by_first.get(first_names.get(name, name))
        if weight is not None:
            found[id(parameter)] = weight
    return found


def _why_not(module: nn.Module, weight: PackedWeight | None) -> str | None:
    """Why a module has no kernel for its weight; None if it has one."""
    if weight is None:
        return "its weight is not packed"
    if not isinstance(weight, QuantizedWeight):
        return "its values are shared, not on a grid"
    if isinstance(module, nn.Embedding):
        return _why_no_lookup(module, weight)
    if not (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"):
        return "it is a convolution"
    return _why_no_product(weight)


def _why_no_lookup(module: nn.Embedding, weight: QuantizedWeight) -> str | None:
    if module.max_norm is not None or module.sparse:
        return "its rows change when they are read (max_norm), or it is sparse"
    is_suitable = (weight.bits, weight.grid.scheme, weight.grid.granularity) == (8, "symmetric", "channel")
    return None if is_suitable else "embeddings are looked up in 8 bits per row, symmetric"


def _why_no_product(weight: QuantizedWeight) -> str | None:
    grid, (num_outputs, num_inputs) = weight.grid, weight.codes.shape
    if grid.bits == 8:
        is_suitable = (grid.scheme, grid.granularity) == ("symmetric", "channel")
        return None if is_suitable else "8 bits are computed per channel, symmetric"
    if grid.bits != 4 or grid.group_size not in INT4_GROUP_SIZES:
        return f"{grid.bits} bits in groups of {grid.group_size} have no kernel"
    if num_outputs % INT4_OUTPUT_MULTIPLE or num_inputs % grid.group_size:
        return f"4 bits need outputs in sixteens and whole groups, not {num_outputs} x {num_inputs}"
    return None


@dataclass(frozen=True, slots=True)
class _Asked:
    """How the new layers shall compute."""

    dtype: torch.dtype
    dense_rows: int | None
    round_activations: tuple[str, ...]

    def dense(self, weight: QuantizedWeight, bias: torch.Tensor | None) -> _Dense | None:
        """The dense copy of a weight, if one was asked for."""
        if self.dense_rows is None:
            return None
        return _Dense(PrepackedLinear(prepacked_weight(weight.values_OI()), bias), self.dense_rows)


def _check_asked(compute_dtype: torch.dtype, dense_rows: int | None) -> None:
    if compute_dtype not in HALF_TYPES:
        raise ValueError(f"packed kernels compute with 16-bit floats, not {compute_dtype}")
    if dense_rows is None:
        return
    if dense_rows < 1 or compute_dtype != torch.bfloat16:
        raise ValueError(
            f"dense copies are bfloat16, for 1 row and more; not {dense_rows} of {compute_dtype}"
        )
    if not can_prepack():
        raise CannotPrepackError("this torch, or this processor, has no oneDNN with bfloat16")


def _replacement(
    name: str,
    module: nn.Module,
    weight: QuantizedWeight,
    asked: _Asked,
    shared: dict[int, tuple[torch.Tensor, torch.Tensor]],
) -> nn.Module:
    bias = module._parameters.get("bias")
    if weight.grid.bits == 4:
        return Int4Linear(weight, bias, asked.dtype, asked.dense(weight, bias))
    if id(weight) not in shared:
        # Signed codes: the zero point of a symmetric grid of 8 bits is 128.
        codes_OI = (weight.codes.to(torch.int16) - 128).to(torch.int8).contiguous()
        shared[id(weight)] = codes_OI, weight.parameters.scale[:, 0].float()
    codes_OI, scale_O = shared[id(weight)]
    if isinstance(module, nn.Embedding):
        return Int8Embedding(codes_OI, scale_O, asked.dtype)
    if any(fnmatchcase(name, pattern) for pattern in asked.round_activations):
        return Int8x8Linear(codes_OI, scale_O, bias)
    return Int8Linear(codes_OI, scale_O, bias, asked.dtype, asked.dense(weight, bias))


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent_name, _, child_name = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    # A module that hangs in two places is replaced in both: named_modules gives it once.
    old = getattr(parent, child_name)
    module.train(old.training)
    for other in model.modules():
        for key, child in other._modules.items():
            if child is old:
                other._modules[key] = module
