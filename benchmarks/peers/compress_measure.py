"""Open what all tools made for one task in one process, and measure it in the same way.

Quality is that of each example, so that forms can be compared example by example; latency is taken in turns,
one thread, one example. Graphs of Neural Compressor go through torch.compile with frozen weights, as its
documentation asks; the time of compiling is not counted.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers.compress_peer import FULL, TASKS, build_task, load_full, qualities, split_of
from torch import nn

from ayni.compress.deploy.openvino_variants import OpenVinoRuntime
from ayni.compress.deploy.runtimes import TorchRuntime
from ayni.compress.evidence.inference_cost import measure_latency
from ayni.compress.open_form import open_form

NUM_TIMED_EXAMPLES = 9


def main() -> None:
    """Measure the full model and each form; the last line of output is the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = build_task(arguments.task)
    full = load_full(task, arguments.folder)
    made = json.loads((arguments.folder / "made.json").read_text(encoding="utf-8"))
    models: dict[str, Any] = {"full": TorchRuntime(full)}
    problems: dict[str, str] = {}
    for each in made:
        try:
            models[each["id"]] = _opened(each, task, full)
        except Exception as error:  # The reason belongs in the table.
            problems[each["id"]] = f"{type(error).__name__}: {str(error)[:300]}"
    found: dict[str, dict[str, Any]] = {}
    test, test_labels = split_of(task, arguments.task, full, "test")
    validation, validation_labels = split_of(task, arguments.task, full, "validation")
    for name in list(models):
        try:
            found[name] = {
                "qualities": qualities(models[name], full, test, test_labels),
                "validation": qualities(models[name], full, validation, validation_labels),
            }
        except Exception as error:
            problems[name] = f"{type(error).__name__}: {str(error)[:300]}"
            del models[name]
    step = max(1, len(test) // NUM_TIMED_EXAMPLES)
    latencies = measure_latency(models, test[::step], seconds=arguments.seconds)
    for name, latency in latencies.items():
        found[name] |= {"seconds": latency.p50_seconds, "problem": latency.problem}
    sizes = {"full": (arguments.folder / FULL).stat().st_size} | {each["id"]: each["bytes"] for each in made}
    for name, values in found.items():
        values["bytes"] = sizes[name]
    print(json.dumps({"found": found, "problems": problems}), flush=True)


def _opened(made: dict[str, Any], task: Any, full: nn.Module) -> Any:
    opener, file = made["opener"], Path(made["file"])
    if opener.startswith("ayni:"):
        return open_form(file, opener.removeprefix("ayni:"), task.build_model)
    if opener == "openvino":
        return OpenVinoRuntime(file)
    return TorchRuntime(_of_neural_compressor(opener, file, full))


def _of_neural_compressor(opener: str, folder: Path, full: nn.Module) -> Any:
    from neural_compressor.torch.quantization import MixedPrecisionConfig, load, quantize

    if opener == "inc-bf16":
        return quantize(copy.deepcopy(full), MixedPrecisionConfig(dtype="bf16"))
    if opener == "inc-weights":
        return load(str(folder), original_model=copy.deepcopy(full))
    import torch._inductor.config as inductor

    # Without frozen weights it multiplies floats that were integers.
    inductor.freezing = True
    inductor.compile_threads = 1
    graph = torch.export.load(str(folder / "quantized_weight.pt")).module()
    return _Compiled(torch.compile(graph))


class _Compiled(nn.Module):
    """An exported graph has no eval(), which TorchRuntime calls."""

    def __init__(self, graph: Any) -> None:
        super().__init__()
        self._call = [graph]

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self._call[0](*inputs)


if __name__ == "__main__":
    main()
