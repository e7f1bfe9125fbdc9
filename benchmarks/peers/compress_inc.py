"""Intel Neural Compressor for PyTorch: `autotune` over each kind of form that it has for a CPU.

    static, dynamic    int8 weights and activations of an exported graph (PT2E), run through torch.compile
    rtn8, rtn4         weights of linear layers to nearest; computed in floats
    gptq4              the same by GPTQ
    bf16               layers that compute in bfloat16

`autotune` tries a set of settings, its own where it has one, and takes the first within the limit. That
limit is a share of the metric, so the absolute one is divided by the full model's metric.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.compress_peer import (
    Workbench,
    build_task,
    calibration,
    files_in,
    load_full,
    parse_workbench,
    validation_metric,
)
from neural_compressor.common import version
from neural_compressor.torch.export import export
from neural_compressor.torch.quantization import (
    DynamicQuantConfig,
    GPTQConfig,
    INT8StaticQuantConfig,
    MixedPrecisionConfig,
    RTNConfig,
    TuningConfig,
    autotune,
)
from torch import nn

from ayni.compress.inputs import ModelInputs

MAX_TRIALS = 4


def main() -> None:
    """Make the forms one after the other while there is time."""
    bench = parse_workbench()
    task = build_task(bench.task_name)
    full = load_full(task, bench.folder)
    inputs = calibration(task, full)
    metric = validation_metric(bench, task, full)
    tolerance = bench.max_drop / metric(full)

    def calibrate(model: Any) -> None:
        for each in inputs:
            each.run(model)

    def tuned(model: nn.Module, configs: Any) -> Any:
        settings = TuningConfig(config_set=configs, tolerable_loss=tolerance, max_trials=MAX_TRIALS)
        shown = inputs[0].args
        found = autotune(model, settings, eval_fn=metric, run_fn=calibrate, example_inputs=shown)
        if found is None:
            raise RuntimeError("autotune tried all of its settings and took none")
        return found

    def of_graph(configs: Any) -> Callable[[], Any]:
        def make() -> Any:
            graph = export(copy.deepcopy(full), example_inputs=inputs[0].args)
            # BERT computes a pooled state that the encoder does not use; its quantizer trips over it.
            graph.graph.eliminate_dead_code()
            graph.recompile()
            return tuned(graph, configs)

        return make

    def of_model(configs: Any) -> Callable[[], Any]:
        return lambda: tuned(copy.deepcopy(full), configs)

    attempts: dict[str, tuple[str, Callable[[], Any]]] = {
        "bf16": ("inc-bf16", of_model([MixedPrecisionConfig(dtype="bf16")])),
        "rtn8": ("inc-weights", of_model([RTNConfig(bits=8, dtype="int")])),
        "dynamic": ("inc-graph", of_graph([DynamicQuantConfig.get_config_set_for_tuning()])),
        "static": ("inc-graph", of_graph([INT8StaticQuantConfig.get_config_set_for_tuning()])),
        "rtn4": ("inc-weights", of_model([RTNConfig.get_config_set_for_tuning()])),
        "gptq4": ("inc-weights", of_model([GPTQConfig.get_config_set_for_tuning()])),
    }
    for name, (opener, make) in attempts.items():
        bench.attempt(
            name,
            lambda name=name, opener=opener, make=make: _saved(bench, name, opener, make(), inputs[0]),  # type: ignore[misc]
        )
    bench.report(version=version.__version__)


def _saved(
    bench: Workbench, name: str, opener: str, model: Any, shown: ModelInputs
) -> tuple[str, Path, list[Path], str]:
    folder = bench.folder / "inc" / name
    folder.mkdir(parents=True, exist_ok=True)
    if opener == "inc-bf16":
        # It has no file of its own: layers are wrapped, and their weights stay as they are.
        from benchmarks.peers.compress_peer import FULL

        return opener, folder, [bench.folder / FULL], "weights stay in 32 bits"
    if opener == "inc-graph":
        model.save(example_inputs=shown.args, output_dir=str(folder))
    else:
        model.save(str(folder))
    return opener, folder, list(files_in(folder)), ""


if __name__ == "__main__":
    main()
