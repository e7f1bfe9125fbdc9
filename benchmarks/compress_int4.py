"""MiniLM in 4 bits: a packed file by GPTQ, beside rounding to nearest; judged after reading it back.

Matrices in 4 bits with groups of 32, embeddings in 8 bits by rows, the rest in 16. GPTQ has the library's
defaults and 150 sentences for calibration; judged are sentences of other topics, by a model that was built
without weights and filled from the file. Bytes are those of the file, over the published float32 weights.

Not covered: speed (the model computes in float32 after it was read), quality in a task.
"""

from typing import Any

from benchmarks.compression_runs import run_compression
from benchmarks.registry import Benchmark, Outcome

MAX_BYTES_RATIO, MIN_COSINE = 0.21, 0.990


def measure(quick: bool) -> Outcome:
    """Quick has fewer sentences for calibration and for judging."""
    found = run_compression("minilm_int4", quick=quick)
    fitted: dict[str, Any] = found["gptq"]
    values: dict[str, Any] = {
        f"{name}_{figure}": value
        for name in ("gptq", "round_to_nearest")
        for figure, value in found[name].items()
    }
    values |= {
        "sentences": found["num_sentences"],
        "calibration_sentences": found["num_calibration_sentences"],
    }
    is_met = fitted["bytes_ratio"] <= MAX_BYTES_RATIO and fitted["cosine"] >= MIN_COSINE
    return Outcome(values=values, seeds=(), met=bool(is_met and fitted["is_as_written"]))


BENCHMARK = Benchmark(
    name="compress_int4",
    topic="compression: encoders",
    bar="MiniLM in int4 (groups of 32) with int8 embeddings, read back from its packed file: at most 0.21 of "
    "the bytes, mean cosine at least 0.990",
    seconds_quick=60,
    seconds_full=120,
    measure=measure,
)
