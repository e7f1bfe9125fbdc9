"""SmolLM2-135M in several forms: bytes, perplexity on text of Python's manual, time of a prompt and a token.

The last line printed is the result as JSON. Runs in an environment with the package that holds the model, and
with those that some forms need; ayni is the one that this process finds.
"""

import argparse
import contextlib
import json
import math
import pydoc_data.topics
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers.smollm2_variants import Variant, graph_variants, model_file, torch_variants

from ayni.compress.deploy.gguf import load_gguf
from ayni.compress.evidence.inference_cost import Latency, measure_latency
from ayni.compress.evidence.paired import difference_of_means
from ayni.compress.weights.already_quantized import find_low_bit_layers
from ayni.text_tasks import Perplexity

REFERENCE = "torch_fp32"
PROMPT_TOKENS, BLOCK_TOKENS, NUM_PROMPTS = 128, 256, 4


def main() -> None:
    """Make every form, measure them together, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory(prefix="ayni-smollm2-") as folder,
        contextlib.redirect_stdout(sys.stderr),
    ):
        result = _measured(Path(folder), quick=quick)
    print(json.dumps(result))


def _measured(work: Path, *, quick: bool) -> dict[str, Any]:
    loaded = load_gguf(model_file())
    model, dense = loaded.model, work / "dense"
    model.save_pretrained(dense)
    task = _task(dense, loaded.summary.file, max_blocks=4 if quick else 16)
    ids = task.dataset("train")[0][None, :PROMPT_TOKENS]
    variants = list(torch_variants(model, dense / "model.safetensors", ids, work))
    if not quick:
        variants += graph_variants(model, ids, work)
    found = {variant.name: {"stored_bytes": variant.stored_bytes} for variant in variants}
    _add_perplexities(found, variants, task)
    blocks = task.dataset("test")[:NUM_PROMPTS]
    rounds = [_latencies(variants, blocks, seconds=1.0 if quick else 3.0) for _ in range(1 if quick else 3)]
    for measured in ("prompt", "token"):
        _add_times(found, measured, [latencies[measured] for latencies in rounds])
    return {
        "variants": found,
        "source_bytes": loaded.summary.stored_bytes,
        "warnings": [loaded.summary.warning, find_low_bit_layers(model).warning],
    }


def _task(dense: Path, gguf: Path, *, max_blocks: int) -> Perplexity:
    import transformers

    transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(dense)
    text = dense / "text.txt"
    text.write_text("\n".join(pydoc_data.topics.topics.values()), encoding="utf-8")
    return Perplexity(dense, text, block_tokens=BLOCK_TOKENS, max_blocks=max_blocks)


def _add_perplexities(
    found: dict[str, dict[str, Any]], variants: Sequence[Variant], task: Perplexity
) -> None:
    """On blocks for choosing and on blocks for judging; with the interval of the ratio over blocks.

    Where prompts and tokens are computed in different ways, the worse one counts.
    """
    for split in ("validation", "test"):
        blocks = task.dataset(split)
        nats: dict[str, list[float]] = {}
        with torch.inference_mode():
            for variant in variants:
                ways = [
                    [float(task.loss(logits, block[None])) for block in blocks] for logits in variant.logits
                ]
                nats[variant.name] = max(ways, key=sum)
        for name, of_variant in nats.items():
            difference = difference_of_means(nats[REFERENCE], of_variant)
            assert difference is not None
            found[name] |= {
                f"{split}_perplexity": math.exp(difference.after),
                f"{split}_perplexity_ratio": math.exp(difference.difference),
                f"{split}_perplexity_ratio_high": math.exp(difference.high),
            }


def _latencies(
    variants: Sequence[Variant], blocks: Sequence[torch.Tensor], *, seconds: float
) -> dict[str, dict[str, Latency]]:
    prompts = [block[None, :PROMPT_TOKENS] for block in blocks]
    prompted = measure_latency({each.name: each.prompt for each in variants}, prompts, seconds=seconds)
    decoders = {each.name: each.decoder for each in variants if each.decoder is not None}
    for decoder in decoders.values():
        decoder.start(prompts[0])
    # The cache grows by a token a call; beside the weights that is little, and each round begins anew.
    tokens = list(torch.split(blocks[0][PROMPT_TOKENS:], 1))
    stepped = measure_latency(
        {name: decoder.step for name, decoder in decoders.items()}, tokens, seconds=seconds
    )
    return {"prompt": prompted, "token": stepped}


def _add_times(found: dict[str, dict[str, Any]], what: str, rounds: Sequence[dict[str, Latency]]) -> None:
    """Medians over the rounds; the ratio to the reference is taken inside each."""
    for name in rounds[0]:
        of_round = [(latencies[REFERENCE], latencies[name]) for latencies in rounds]
        ratios = [before.p50_seconds / after.p50_seconds for before, after in of_round]
        cpu_ratios = [before.cpu_p50_seconds / after.cpu_p50_seconds for before, after in of_round]
        found[name] |= {
            f"{what}_seconds": statistics.median(after.p50_seconds for _, after in of_round),
            f"{what}_speedup": statistics.median(ratios),
            f"{what}_speedups": ratios,
            f"{what}_cpu_speedup": statistics.median(cpu_ratios),
            f"num_{what}_rounds_that_waited": sum(not after.is_valid for _, after in of_round),
        }


if __name__ == "__main__":
    main()
