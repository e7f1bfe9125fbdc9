"""One token after the other with a cache of keys and values: how language models are really used.

    start(prompt)    all its tokens at once (prefill)    -> logits of what comes next
    step(token)      one token, the cache holds the rest -> logits of what comes next

Prefill is bound by arithmetic and decoding by the bytes of the weights, so a variant may be the best at one
and the worst at the other; both must be measured. A decoder is a torch module with the interface of
Transformers (`past_key_values`, `use_cache`), or the ONNX file that `export_decoder` makes of one.

Shape suffixes: `N` texts, `T` tokens, `P` tokens in the cache, `V` vocabulary, `H` heads, `D` head width.

Not covered: texts of different lengths in one batch (no padding mask), sampling, caches of fixed size or of
other forms than keys and values for each layer (state-space models), sliding windows.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ayni.compress.deploy.export import OPSET, CannotExportError, silenced_export
from ayni.compress.deploy.onnx_file import read_onnx, set_metadata, write_onnx, written_whole
from ayni.compress.deploy.outputs import OUTPUT_FORM_KEY, with_float32
from ayni.compress.deploy.runtimes import OnnxRuntime, RuntimeFailedError, import_onnxruntime
from ayni.errors import MissingExtraError, UserError

RELATIVE_TOLERANCE = 1e-3
_SAMPLE_TEXTS, _SAMPLE_PAST, _SAMPLE_TOKENS = 2, 5, 3


class NoDecoderError(UserError):
    """The model does not decode with a cache of keys and values."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"This model does not decode step by step: {reason}. Decoding needs a causal language model with "
            "the interface of Transformers: model(input_ids, past_key_values=..., use_cache=True)."
        )


class Decoder(Protocol):
    """A language model between two tokens."""

    def start(self, prompt_NT: torch.Tensor) -> torch.Tensor:
        """Read a prompt; the logits [N, V] of the next token. Forgets everything before."""
        ...

    def step(self, tokens_N: torch.Tensor) -> torch.Tensor:
        """Read one token of each text; the logits [N, V] of the next one."""
        ...


class TorchDecoder:
    """A torch module with the interface of Transformers. Answers in 32 bits, whatever it computes in."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model.eval()
        parameters = inspect.signature(model.forward).parameters
        # Without it the head would be computed for every token of the prompt.
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        self._cache: Any = None

    @torch.inference_mode()
    def start(self, prompt_NT: torch.Tensor) -> torch.Tensor:
        """Logits [N, V] after the prompt.

        Raises:
            NoDecoderError: the model takes no cache or gives none back.
        """
        self._cache = None
        return self._run(prompt_NT)

    @torch.inference_mode()
    def step(self, tokens_N: torch.Tensor) -> torch.Tensor:
        """Logits [N, V] after one more token.

        Raises:
            NoDecoderError: before `start`.
        """
        if self._cache is None:
            raise NoDecoderError("step was called before start")
        return self._run(tokens_N.unsqueeze(1))

    def _run(self, ids_NT: torch.Tensor) -> torch.Tensor:
        try:
            output = self._model(
                input_ids=ids_NT, past_key_values=self._cache, use_cache=True, **self._last_only
            )
        except TypeError as error:
            raise NoDecoderError(str(error)) from error
        self._cache = getattr(output, "past_key_values", None)
        if self._cache is None or not hasattr(output, "logits"):
            raise NoDecoderError(f"it answers with {type(output).__name__} without logits or cache")
        logits_NV: torch.Tensor = with_float32(output.logits[:, -1])
        return logits_NV


class OnnxDecoder:
    """A file of `export_decoder` in ONNX Runtime. The cache stays inside the runtime between steps."""

    def __init__(self, file: Path, *, num_threads: int = 1) -> None:
        self._file = file
        self._session = OnnxRuntime(file, num_threads=num_threads).session
        self._values = import_onnxruntime().OrtValue
        self._empty = {
            node.name: tuple(node.shape) for node in self._session.get_inputs() if node.name != "input_ids"
        }
        names = {node.name for node in self._session.get_inputs()}
        if "input_ids" not in names or not all(name.startswith("past_") for name in self._empty):
            raise NoDecoderError(f"{file.name} takes {', '.join(sorted(names))}")
        self._cache: dict[str, Any] = {}

    def start(self, prompt_NT: torch.Tensor) -> torch.Tensor:
        """Logits [N, V] after the prompt.

        Raises:
            RuntimeFailedError: ONNX Runtime refused.
        """
        # A cache of no tokens: [N, H, 0, D].
        self._cache = {
            name: self._values.ortvalue_from_numpy(
                np.zeros((len(prompt_NT), shape[1], 0, shape[3]), dtype=np.float32)
            )
            for name, shape in self._empty.items()
        }
        return self._run(prompt_NT)

    def step(self, tokens_N: torch.Tensor) -> torch.Tensor:
        """Logits [N, V] after one more token.

        Raises:
            NoDecoderError: before `start`.
            RuntimeFailedError: ONNX Runtime refused.
        """
        if not self._cache:
            raise NoDecoderError("step was called before start")
        return self._run(tokens_N.unsqueeze(1))

    def _run(self, ids_NT: torch.Tensor) -> torch.Tensor:
        ids = self._values.ortvalue_from_numpy(np.ascontiguousarray(ids_NT.numpy(), dtype=np.int64))
        try:
            logits, *cache = self._session.run_with_ort_values(None, {"input_ids": ids, **self._cache})
        except Exception as error:
            raise RuntimeFailedError(file=self._file, reason=str(error)) from error
        self._cache = dict(zip(self._empty, cache, strict=True))
        return torch.from_numpy(logits.numpy())[:, -1]


@torch.inference_mode()
def greedy_tokens(decoder: Decoder, prompt_NT: torch.Tensor, *, num_tokens: int) -> torch.Tensor:
    """The likeliest continuation, token by token: [N, num_tokens].

    Raises:
        ValueError: fewer than one token, or an empty prompt.
    """
    if num_tokens < 1 or prompt_NT.ndim != 2 or not prompt_NT.numel():
        raise ValueError(f"cannot make {num_tokens} tokens from a prompt of shape {tuple(prompt_NT.shape)}")
    made = [decoder.start(prompt_NT).argmax(dim=-1)]
    while len(made) < num_tokens:
        made.append(decoder.step(made[-1]).argmax(dim=-1))
    return torch.stack(made, dim=1)


def export_decoder(model: nn.Module, ids_NT: torch.Tensor, file: Path, *, opset: int = OPSET) -> None:
    """Write an ONNX file that takes tokens and a cache, and gives logits and the longer cache.

        input_ids [N, T], past_0_key, past_0_value, ... [N, H, P, D]
        logits [N, 1 or T, V], present_0_key, present_0_value, ... [N, H, P + T, D]

    The file is there whole and checked against the model (a prompt and two steps), or not at all.

    Args:
        model: a causal language model of Transformers, float32, on the CPU.
        ids_NT: a real text of at least 4 tokens, for the comparison.
        file: an existing file is replaced.
        opset: of the standard operators.

    Raises:
        NoDecoderError: the model does not decode with a cache of keys and values.
        CannotExportError: the tracing exporter failed, or the file computes something else.
        MissingExtraError: transformers or onnx is not installed.
    """
    model.eval()
    caches = _cache_of(model, ids_NT[:1, :2])
    wrapped = _WithFlatCache(model).eval()
    sample = _sample(caches)
    names = [f"{index}_{part}" for index in range(len(caches)) for part in ("key", "value")]
    inputs, outputs = (
        ["input_ids", *(f"past_{name}" for name in names)],
        [f"present_{name}" for name in names],
    )
    axes = {
        "input_ids": {0: "batch", 1: "sequence"},
        "logits": {0: "batch", 1: "kept"},
        **{name: {0: "batch", 2: "past"} for name in inputs[1:]},
        **{name: {0: "batch", 2: "total"} for name in outputs},
    }
    with written_whole(file) as temporary:
        try:
            with silenced_export():
                torch.onnx.export(
                    wrapped,
                    sample,
                    str(temporary),
                    dynamo=False,
                    input_names=inputs,
                    output_names=["logits", *outputs],
                    dynamic_axes=axes,
                    opset_version=opset,
                )
            graph = read_onnx(temporary)
            set_metadata(graph, {OUTPUT_FORM_KEY: "named"})
            write_onnx(graph, temporary)
            worst = decoder_difference(TorchDecoder(model), OnnxDecoder(temporary), ids_NT)
        except ImportError as error:
            raise MissingExtraError(extra="compress", package=error.name or "onnx") from error
        except (torch.onnx.errors.OnnxExporterError, RuntimeFailedError, RuntimeError, TypeError) as error:
            raise CannotExportError([f"tracing: {str(error).strip().splitlines()[0]}"]) from error
        if worst > RELATIVE_TOLERANCE:
            raise CannotExportError([f"tracing: the file's logits differ by {worst:.2g} of their scale"])


def decoder_difference(one: Decoder, other: Decoder, ids_NT: torch.Tensor) -> float:
    """Largest difference of logits over a prompt and two steps, over the scale of the first (at least 1).

    Raises:
        ValueError: fewer than 4 tokens.
    """
    if ids_NT.ndim != 2 or ids_NT.shape[1] < 4:
        raise ValueError(f"a comparison needs texts of at least 4 tokens, not {tuple(ids_NT.shape)}")
    worst = 0.0
    for place in range(-2, 1):
        left, right = (_logits(decoder, ids_NT, place) for decoder in (one, other))
        scale = max(1.0, float(left.abs().max()))
        worst = max(worst, float((left - right).abs().max()) / scale)
    return worst


def _logits(decoder: Decoder, ids_NT: torch.Tensor, place: int) -> torch.Tensor:
    """After the text without its last two tokens, then after each of them."""
    return decoder.start(ids_NT[:, :-2]) if place == -2 else decoder.step(ids_NT[:, place - 1])


@torch.inference_mode()
def _cache_of(model: nn.Module, ids_NT: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of each layer after a short text."""
    try:
        output = model(input_ids=ids_NT, use_cache=True)
    except TypeError as error:
        raise NoDecoderError(str(error)) from error
    layers = getattr(getattr(output, "past_key_values", None), "layers", None)
    if not layers or not hasattr(output, "logits"):
        raise NoDecoderError("its answer holds no logits or no cache with layers")
    caches = [(layer.keys, layer.values) for layer in layers]
    if any(tensor is None or tensor.ndim != 4 for pair in caches for tensor in pair):
        raise NoDecoderError("its cache does not hold keys and values [N, H, P, D] for each layer")
    return caches


def _sample(caches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    past = [
        torch.randn(
            (_SAMPLE_TEXTS, tensor.shape[1], _SAMPLE_PAST, tensor.shape[3]),
            generator=generator,
            dtype=tensor.dtype,
        )
        for pair in caches
        for tensor in pair
    ]
    return torch.ones((_SAMPLE_TEXTS, _SAMPLE_TOKENS), dtype=torch.long), *past


class _WithFlatCache(nn.Module):
    """The model with its cache as plain tensors, and with a mask made of their lengths.

    The model's own way to its mask looks at lengths in Python, which tracing would freeze.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        parameters = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}

    def forward(self, input_ids: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        from transformers import DynamicCache

        num_past, num_new = past[0].shape[2], input_ids.shape[1]
        total = torch.arange(num_past + num_new)
        positions_T = total[num_past:]
        is_hidden_TS = total[None, :] > positions_T[:, None]
        mask_TS = torch.zeros(is_hidden_TS.shape, dtype=past[0].dtype)
        mask_TS = mask_TS.masked_fill(is_hidden_TS, torch.finfo(past[0].dtype).min)
        output = self.model(
            input_ids=input_ids,
            attention_mask=mask_TS[None, None].expand(input_ids.shape[0], 1, -1, -1),
            position_ids=positions_T[None].expand(input_ids.shape[0], -1),
            past_key_values=DynamicCache(list(zip(past[0::2], past[1::2], strict=True))),
            use_cache=True,
            **self._last_only,
        )
        layers = output.past_key_values.layers
        return output.logits, *(tensor for layer in layers for tensor in (layer.keys, layer.values))
