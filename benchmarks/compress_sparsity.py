"""Half of the weights gone in one go, without training: second order beside Wanda and magnitude.

MiniLM is judged by the cosine with its own embeddings, on sentences of other topics of Python's manual than
those for calibration; its encoder's matrices are pruned. SmolLM2-135M is judged by its perplexity on the last
fifth of the manual, with blocks of 512 tokens of the first three fifths for calibration; all its matrices but
the tied head are pruned.

    second order    SparseGPT with the library's defaults: mask by alternation, refit, bias corrected; for
                    SmolLM2 it aims at the answers of the layer as it is (follow_original=False)
    wanda           |w| times the norm of its input, by rows
    magnitude       |w|, by layers

SmolLM2 comes with 4-bit weights (Q4_1), so that its "original" is one whose weights lie on a grid already;
the row repeats the library's warning. Sparse weights take no less time on a CPU, and no fewer bytes as they
are.

Not covered: larger models, which lose far less; text of other kinds than that of the calibration.
"""

from typing import Any

from benchmarks.compression_runs import run_compression
from benchmarks.registry import Benchmark, Outcome

METHODS = ("second_order", "wanda", "magnitude")
MIN_COSINE, MAX_PERPLEXITY_RATIO = 0.925, 1.5


def measure(quick: bool) -> Outcome:
    """Quick has a third of the calibration and of the text to be judged on."""
    found = run_compression("sparsity", quick=quick, seconds=7200)
    encoder, decoder = found["minilm"], found["smollm2"]
    values: dict[str, Any] = {}
    for name in METHODS:
        values |= {f"minilm_{name}_{figure}": value for figure, value in encoder[name].items()}
    values["smollm2_original_test_perplexity"] = decoder["original"]["test_perplexity"]
    for name in METHODS:
        for split in ("validation", "test"):
            ratio = decoder[name][f"{split}_perplexity"] / decoder["original"][f"{split}_perplexity"]
            values[f"smollm2_{name}_{split}_perplexity_ratio"] = ratio
        values |= {
            f"smollm2_{name}_{figure}": decoder[name][figure] for figure in ("sparsity", "cpu_seconds")
        }
    values["smollm2_warning"] = decoder["warning"]
    is_met = (
        encoder["second_order"]["cosine"] >= MIN_COSINE
        and values["smollm2_second_order_test_perplexity_ratio"] <= MAX_PERPLEXITY_RATIO
    )
    return Outcome(values=values, seeds=(), met=bool(is_met))


BENCHMARK = Benchmark(
    name="compress_sparsity",
    topic="compression: sparsity",
    bar="half of the weights pruned in one go without training: MiniLM keeps a mean cosine of at least "
    "0.925, the perplexity of SmolLM2-135M rises to at most 1.5 times",
    seconds_quick=240,
    seconds_full=600,
    measure=measure,
)
