"""A torch model in 16-bit floats, and whether this processor computes with them.

    float32     8 bits of exponent, 23 of fraction
    bfloat16    8 bits of exponent,  7 of fraction      range of float32, two to three digits
    float16     5 bits of exponent, 10 of fraction      three to four digits, nothing above 65504

bfloat16 halves the bytes of every model and is the fastest form of a language model for many tokens at once
on processors with AVX512-BF16 or AMX (SmolLM2-135M, 128 tokens, one thread: 3.15 times float32 with the same
perplexity). On others it is computed in float32 piece by piece and is slower: `computes_bfloat16` tells.

Cost: one pass over the weights, one run of each batch.

Source: Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019, section 3, arXiv:1905.12322.

Not covered: mixed precision layer by layer. float16 is fast on few processors (AVX512-FP16).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ayni.compress.deploy.outputs import named_tensors
from ayni.compress.deploy.runtimes import TorchRuntime
from ayni.compress.inputs import ModelInputs
from ayni.errors import UserError

HALF_TYPES = (torch.bfloat16, torch.float16)


class CannotBeHalfError(UserError):
    """The model does not run in a 16-bit type, or no longer gives finite answers."""

    def __init__(self, *, dtype: torch.dtype, reason: str) -> None:
        self.dtype = dtype
        super().__init__(
            f"This model does not compute in {str(dtype).removeprefix('torch.')}: {reason}. It was left as "
            "it was. Try bfloat16, which has the range of float32, or leave this step out."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfResult:
    """What became 16 bits wide, and which constants stayed in 32 bits so as not to lose positions.

    is_native: this processor computes with the type; else the variant is smaller and not faster.
    """

    dtype: torch.dtype
    num_parameters: int
    kept_buffers: tuple[str, ...]
    is_native: bool


def computes_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 by itself (AVX512-BF16, AMX, Arm's BF16)."""
    return _has_any("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def computes_float16() -> bool:
    """Whether this processor multiplies float16 by itself (AVX512-FP16, AMX-FP16, Arm's FP16)."""
    return _has_any("avx512_fp16", "amx_fp16", "fp16_arith")


def to_half(
    model: nn.Module, inputs: Sequence[ModelInputs], *, dtype: torch.dtype = torch.bfloat16
) -> HalfResult:
    """Convert the floats of a model, in place, and prove on `inputs` that it still answers.

    Buffers that are not part of the state (the frequencies of rotary positions) stay in 32 bits if the model
    runs that way: in bfloat16 the 500th position would be off by a third of a turn.

    Call the result through `half_runtime`, which converts inputs and answers.

    Raises:
        CannotBeHalfError: the model raises in this type, or its answers are not finite while they were; the
            model is unchanged.
        ValueError: another dtype than bfloat16 and float16, or no inputs.
    """
    if dtype not in HALF_TYPES:
        raise ValueError(f"16-bit floats are bfloat16 and float16, not {dtype}")
    if not inputs:
        raise ValueError("to_half runs the model: give at least one batch")
    model.eval()
    is_finite = [_is_finite(TorchRuntime(model), batch) for batch in inputs]
    originals = {id(tensor): tensor.data for tensor in _floats(model)}
    temporary = dict(_temporary_buffers(model))
    reason: str | None = None
    for kept in (temporary, {}) if temporary else ({},):
        _convert(model, dtype, kept=kept)
        reason = _failure(model, inputs, is_finite, dtype)
        if reason is None:
            return HalfResult(
                dtype=dtype,
                num_parameters=sum(parameter.numel() for parameter in model.parameters()),
                kept_buffers=tuple(kept),
                is_native=computes_bfloat16() if dtype == torch.bfloat16 else computes_float16(),
            )
        for tensor in _floats(model):
            tensor.data = originals[id(tensor)]
    assert reason is not None
    raise CannotBeHalfError(dtype=dtype, reason=reason)


def half_runtime(model: nn.Module) -> TorchRuntime:
    """A runtime for a model whose parameters are 16 bits wide: floats go in and come out as 32 bits."""
    dtypes = [tensor.dtype for tensor in _floats(model)]
    halves = [dtype for dtype in dtypes if dtype in HALF_TYPES]
    return TorchRuntime(model, compute_dtype=halves[0] if halves else None)


def _has_any(*names: str) -> bool:
    """Whether torch finds one of these features; a torch that cannot say counts as no."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in names)


def _floats(model: nn.Module) -> Iterator[torch.Tensor]:
    """Each parameter and buffer of floats, once."""
    seen: set[int] = set()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor


def _temporary_buffers(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for prefix, module in model.named_modules():
        for name in module._non_persistent_buffers_set:
            buffer = module._buffers.get(name)
            if buffer is not None and buffer.is_floating_point():
                yield f"{prefix}.{name}" if prefix else name, buffer


def convert_floats(model: nn.Module, dtype: torch.dtype, *, kept_buffers: Sequence[str]) -> None:
    """What `to_half` does, without looking whether the model still answers: for opening what it made."""
    _convert(model, dtype, kept={name: model.get_buffer(name) for name in kept_buffers})


def _convert(model: nn.Module, dtype: torch.dtype, *, kept: dict[str, torch.Tensor]) -> None:
    ids = {id(buffer) for buffer in kept.values()}
    # Parameters that share memory without being one must go on sharing it.
    converted: dict[tuple[int, torch.Size, tuple[int, ...]], torch.Tensor] = {}
    for tensor in _floats(model):
        if id(tensor) not in ids:
            key = (tensor.data_ptr(), tensor.shape, tensor.stride())
            tensor.data = converted.setdefault(key, tensor.data.to(dtype))


def _failure(
    model: nn.Module, inputs: Sequence[ModelInputs], was_finite: Sequence[bool], dtype: torch.dtype
) -> str | None:
    runtime = TorchRuntime(model, compute_dtype=dtype)
    for batch, was in zip(inputs, was_finite, strict=True):
        try:
            is_finite = _is_finite(runtime, batch)
        except Exception as error:  # Whatever the model raises when types do not match.
            return (str(error).strip().splitlines() or [type(error).__name__])[0]
        if was and not is_finite:
            return "an answer is infinite or not a number, which it was not in 32 bits"
    return None


def _is_finite(runtime: Callable[..., Any], batch: ModelInputs) -> bool:
    tensors = named_tensors(batch.run(runtime)).values()
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor.is_floating_point())
