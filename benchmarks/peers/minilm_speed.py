"""MiniLM run by torch, ONNX Runtime and OpenVINO: bytes, fidelity and time, all in one process."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import minilm

from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_quantize import quantize_onnx, quantize_smoothed
from ayni.compress.deploy.openvino_variants import (
    Form,
    OpenVinoForm,
    OpenVinoRuntime,
    Precision,
    convert_openvino,
    has_bf16,
    openvino_files,
)
from ayni.compress.deploy.runtimes import OnnxRuntime, Runtime, TorchRuntime
from ayni.compress.evidence.inference_cost import Condition, Latency, measure_latency
from ayni.compress.steps import QuantizeStep

REFERENCE = "torch_fp32"
EXAMPLES_AT_ONCE = 4
"""Chosen by time on a processor with 2 MB of cache a core: all 8 at once took 8 % longer, 2 took 3 %."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of the model, ready to run, with the bytes of its files."""

    name: str
    runtime: Runtime
    stored_bytes: int


def main() -> None:
    """Print what was measured."""
    minilm.print_result(_measured)


def _measured(quick: bool) -> dict[str, Any]:
    test = minilm.batches(minilm.sentences("test", 64 if quick else 256), padded=True)
    with tempfile.TemporaryDirectory(prefix="ayni-minilm-") as folder:
        variants = list(_variants(Path(folder)))
        answers = {each.name: minilm.embeddings(each.runtime, test) for each in variants}
        latencies = measure_latency(
            {each.name: each.runtime for each in variants},
            minilm.full_batches(2),
            seconds=2.0 if quick else 10.0,
            condition=Condition(batch_size=minilm.NUM_TEXTS),
        )
    reference_bytes = minilm.weights_file().stat().st_size
    return {
        "variants": {
            each.name: {
                "bytes_ratio": each.stored_bytes / reference_bytes,
                **minilm.fidelity(answers[each.name], answers[REFERENCE]),
                **_times(latencies[each.name], latencies[REFERENCE]),
            }
            for each in variants
        },
        "has_bf16": has_bf16(),
        "num_sentences": sum(len(batch.kwargs["input_ids"]) for batch in test),
    }


def _times(latency: Latency, reference: Latency) -> dict[str, Any]:
    return {
        "milliseconds": 1e3 * latency.p50_seconds,
        "speedup": reference.cpu_p50_seconds / latency.cpu_p50_seconds,
        "wall_speedup": reference.p50_seconds / latency.p50_seconds,
        "waited": not latency.is_valid,
    }


def _variants(folder: Path) -> Iterator[Variant]:
    model = minilm.build_model()
    calibration = minilm.sentences("calibration", 160)
    yield Variant(REFERENCE, TorchRuntime(model), minilm.weights_file().stat().st_size)
    exported, plain, smoothed = (folder / f"{name}.onnx" for name in ("fp32", "int8", "smoothed"))
    export_onnx(model, minilm.batches(calibration[:4]), exported)
    quantize_onnx(exported, plain, QuantizeStep(mode="dynamic"), calibration=())
    quantize_smoothed(exported, smoothed, minilm.batches(calibration[:64]))
    for name, file, at_once in (
        ("onnx_fp32", exported, None),
        ("onnx_int8", plain, None),
        ("onnx_int8_smoothed_whole", smoothed, None),
        ("onnx_int8_smoothed", smoothed, EXAMPLES_AT_ONCE),
    ):
        yield Variant(name, OnnxRuntime(file, examples_at_once=at_once), file.stat().st_size)
    yield from _openvino_variants(folder, exported, calibration)


def _openvino_variants(folder: Path, exported: Path, calibration: list[str]) -> Iterator[Variant]:
    rest: Precision = "bf16" if has_bf16() else "f32"
    shape = (minilm.NUM_TEXTS, minilm.NUM_TOKENS)
    shapes = dict.fromkeys(minilm.batches(calibration[:1])[0].kwargs, shape)
    forms: tuple[tuple[str, Form, Precision, dict[str, tuple[int, int]] | None], ...] = (
        ("openvino_fp32", "float", "f32", None),
        ("openvino_float", "float", rest, shapes),
        ("openvino_int8_any_shape_f32", "int8", "f32", None),
        ("openvino_int8", "int8", rest, shapes),
    )
    for name, form, precision, fixed in forms:
        graph = folder / f"{form}.xml"
        if not graph.exists():
            settings = OpenVinoForm(form=form)
            convert_openvino(exported, graph, settings, calibration=minilm.batches(calibration, size=2))
        stored_bytes = sum(file.stat().st_size for file in openvino_files(graph))
        yield Variant(name, OpenVinoRuntime(graph, precision=precision, shapes=fixed), stored_bytes)


if __name__ == "__main__":
    main()
