"""NNCF with OpenVINO: what it offers for one model and a limit on what the metric may lose.

    accuracy-performance, accuracy-mixed    quantize_with_accuracy_control with both of its presets
    weights8, weights4                      compress_weights, which looks at no data

Both of the first are int8; layers that cost too much quality go back to floats one by one until the limit
holds. The graph is read from the same ONNX file that Ayni begins with.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nncf
import openvino
import torch
from benchmarks.peers.compress_peer import (
    FULL_ONNX,
    Workbench,
    build_task,
    calibration,
    load_full,
    parse_workbench,
    qualities,
    split_of,
)


def main() -> None:
    """Make the forms one after the other while there is time."""
    bench = parse_workbench()
    task = build_task(bench.task_name)
    full = load_full(task, bench.folder)
    examples, labels = split_of(task, bench.task_name, full, "validation")
    graph = openvino.Core().read_model(str(bench.folder / FULL_ONNX))
    names = [port.get_any_name() for port in graph.inputs]
    feeds = [inputs.arrays_for(names) for inputs in calibration(task, full)]

    def metric(compiled: Any, numbers: Iterable[int]) -> float:
        def model(*inputs: torch.Tensor) -> torch.Tensor:
            answer = compiled([tensor.numpy() for tensor in inputs])[0]
            return torch.from_numpy(answer.copy())

        # NNCF asks for all examples, and for each alone, by which it ranks layers.
        chosen = list(numbers)
        found = qualities(
            model,
            full,
            [examples[number] for number in chosen],
            [labels[number] for number in chosen] if labels else None,
        )
        return sum(found) / len(found)

    def controlled(preset: Any) -> Any:
        return nncf.quantize_with_accuracy_control(
            openvino.Core().read_model(str(bench.folder / FULL_ONNX)),
            nncf.Dataset(feeds),
            nncf.Dataset(range(len(examples)), lambda number: examples[number].arrays_for(names)),
            validation_fn=metric,
            max_drop=bench.max_drop,
            preset=preset,
            model_type=nncf.ModelType.TRANSFORMER if bench.task_name == "encoder" else None,
            subset_size=len(feeds),
        )

    modes, presets = nncf.CompressWeightsMode, nncf.QuantizationPreset
    source = str(bench.folder / FULL_ONNX)

    def weights(mode: Any, **more: Any) -> Any:
        return nncf.compress_weights(openvino.Core().read_model(source), mode=mode, **more)

    attempts: dict[str, Callable[[], Any]] = {
        "accuracy-performance": lambda: controlled(presets.PERFORMANCE),
        "weights8": lambda: weights(modes.INT8_ASYM),
        "weights4": lambda: weights(modes.INT4_ASYM, group_size=32, ratio=1.0),
        "accuracy-mixed": lambda: controlled(presets.MIXED),
    }
    for name, make in attempts.items():
        bench.attempt(name, lambda name=name, make=make: _saved(bench, name, make()))  # type: ignore[misc]
    bench.report(version=nncf.__version__)


def _saved(bench: Workbench, name: str, graph: Any) -> tuple[str, Path, list[Path], str]:
    folder = bench.folder / "nncf"
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.xml"
    openvino.save_model(graph, str(file))
    return "openvino", file, [file, file.with_suffix(".bin")], ""


if __name__ == "__main__":
    main()
