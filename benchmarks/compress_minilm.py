"""A sentence encoder in 8 bits: MiniLM by ONNX Runtime and OpenVINO, beside PyTorch and their own float32.

Eight texts of 128 tokens on one thread. All runtimes take turns in one process. Judged are ratios of CPU
time, which a neighbour disturbs least; those of wall time stand beside them, with the number of rows whose
calls waited for others. Bytes are those of the files, over the published float32 weights.

    onnx_int8                    dynamic int8, scales for each output channel; embeddings by rows
    onnx_int8_smoothed           the same, with outliers of activations in the weights, four texts at once
    onnx_int8_smoothed_whole     the same file, all texts at once
    openvino_int8                static int8 with SmoothQuant; shapes fixed; what is no integer in bfloat16 if
                                 the processor has it (the row says so)
    openvino_float               float weights, computed in bfloat16 if the processor has it, shapes fixed

Settings are the library's, or were chosen on calibration sentences and by time; judged are sentences of other
topics, in batches of the same form as the timed ones.

Not covered: quality in a task (the cosine with the model's own embeddings is fidelity), other processors,
several threads; short texts, of which padding would be the greater part.
"""

from typing import Any

from benchmarks.compression_runs import run_compression
from benchmarks.registry import Benchmark, Outcome

JUDGED = {
    # name: times as fast, share of the bytes, mean cosine
    "onnx_int8_smoothed": (3.0, 0.26, 0.992),
    "openvino_int8": (5.0, 0.26, 0.997),
}
SHOWN = ("cosine", "worst_cosine", "bytes_ratio", "milliseconds", "speedup", "wall_speedup")


def measure(quick: bool) -> Outcome:
    """One process measures everything; quick has fewer sentences and less time."""
    found = run_compression("minilm_speed", quick=quick)
    variants: dict[str, dict[str, Any]] = found["variants"]
    values: dict[str, Any] = {
        f"{name}_{figure}": variant[figure] for name, variant in variants.items() for figure in SHOWN
    }
    values |= {
        "onnx_int8_speedup_over_onnx_fp32": variants["onnx_int8_smoothed"]["speedup"]
        / variants["onnx_fp32"]["speedup"],
        "openvino_int8_speedup_over_openvino_fp32": variants["openvino_int8"]["speedup"]
        / variants["openvino_fp32"]["speedup"],
        "openvino_has_bf16": found["has_bf16"],
        "sentences": found["num_sentences"],
        "rows_that_waited": sum(variant["waited"] for variant in variants.values()),
    }
    return Outcome(values=values, seeds=(), met=all(_is_met(variants[name], name) for name in JUDGED))


def _is_met(variant: dict[str, Any], name: str) -> bool:
    speedup, bytes_ratio, cosine = JUDGED[name]
    return bool(
        variant["speedup"] >= speedup
        and variant["bytes_ratio"] <= bytes_ratio
        and variant["cosine"] >= cosine
    )


BENCHMARK = Benchmark(
    name="compress_minilm",
    topic="compression: encoders",
    bar="MiniLM, 8 x 128 tokens, one thread, CPU time against PyTorch fp32: ONNX Runtime int8 at least 3 "
    "times as fast with at most 0.26 of the bytes and a mean cosine of at least 0.992; OpenVINO int8 at "
    "least 5 times as fast with a mean cosine of at least 0.997",
    seconds_quick=120,
    seconds_full=300,
    measure=measure,
)
