"""MiniLM in 4 bits: packed files written, read into fresh models, and judged."""

import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers import minilm

from ayni.compress.packed.file import load_packed, write_packed
from ayni.compress.packed.weight import QuantizedWeight
from ayni.compress.weights.second_order import quantize_gptq
from ayni.compress.weights.weight_only import (
    INT4_GRID,
    quantize_embeddings,
    quantize_weights,
    quantized_layers,
    round_rest,
)


def main() -> None:
    """Print what was measured."""
    minilm.print_result(_measured)


def _measured(quick: bool) -> dict[str, Any]:
    test = minilm.batches(minilm.sentences("test", 64 if quick else 256), size=32)
    calibration = minilm.batches(minilm.sentences("calibration", 48 if quick else 150), size=16)
    original = minilm.build_model()
    original_NE = minilm.embeddings(original, test)

    started = time.process_time()
    fitted = copy.deepcopy(original)
    report = quantize_gptq(fitted, calibration, INT4_GRID)
    weights = dict(quantized_layers(fitted, INT4_GRID, report.parameters))
    weights |= quantize_embeddings(fitted).weights
    seconds = time.process_time() - started

    nearest = copy.deepcopy(original)
    nearest_weights = dict(quantize_weights(nearest, INT4_GRID).weights)
    return {
        "gptq": _reloaded(fitted, weights, test, original_NE) | {"cpu_seconds": seconds},
        "round_to_nearest": _reloaded(nearest, nearest_weights, test, original_NE),
        "num_sentences": len(original_NE),
        "num_calibration_sentences": sum(len(batch.kwargs["input_ids"]) for batch in calibration),
    }


def _reloaded(
    model: Any, weights: dict[str, QuantizedWeight], test: list[Any], original_NE: torch.Tensor
) -> dict[str, Any]:
    """Bytes of the packed file, and how near a fresh model that was filled from it is to the original."""
    round_rest(model, list(weights))
    with tempfile.TemporaryDirectory(prefix="ayni-minilm-") as folder:
        file = Path(folder) / "model.safetensors"
        stored_bytes = write_packed(file, model, weights).stored_bytes
        fresh = type(model)(model.config).eval()
        load_packed(file, fresh)
    answers_NE = minilm.embeddings(fresh, test)
    return {
        "bytes_ratio": stored_bytes / minilm.weights_file().stat().st_size,
        "is_as_written": torch.equal(answers_NE, minilm.embeddings(model, test)),
        **minilm.fidelity(answers_NE, original_NE),
    }


if __name__ == "__main__":
    main()
