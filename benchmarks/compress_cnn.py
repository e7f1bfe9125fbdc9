"""A usual small CNN on MNIST made small and fast: bytes, speed and accuracy after each step.

The full network is trained well, half of its channels go, it learns on for a few epochs with or without the
full one as its teacher, and its dense layers are stored in 8 bits and computed with 8-bit integers. Which of
the two is judged, the 500 validation images decide, over all seeds. Each form is measured as it would be
shipped, in turns with PyTorch on one thread, and judged by the 1,000 test images. The bar is asked of one
image at a time; 32 at a time stand beside it.

A drop is the full network's accuracy minus the form's, in points. Its interval (95 %) pairs both models'
answers, over all seeds, and counts each image once, however many seeds answered it.

Settings were chosen on the 500 validation images: the fraction of channels leaves every layer a multiple of
16 wide, which ONNX Runtime's convolutions like (at 0.6 it is slower than at 0.5); three epochs of recovery,
for eight gained nothing. A first row judged recovery without a teacher alone and missed the bar, as it still
says. Then validation was to decide, and found both equal: the rule for ties decided, and it was written when
the test results of the first row were known. So the row that counts is of other seeds, 4 to 6.

Beside them is ONNX Runtime's static int8 of the whole graph, whose file is smaller and whose first
convolution, with its single input channel, takes four times what floats take there.

Whatever trains longer may get better, so the full network with the same extra epochs is in the row as a
control. With these three epochs it got worse.

Not covered: PyTorch compiled or with channels last, several threads, energy, and processors without VNNI,
on which products of 8-bit numbers are slower.
"""

import copy
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_quantize import quantize_onnx
from ayni.compress.deploy.onnx_weight_only import WeightOnly, quantize_weights_onnx
from ayni.compress.deploy.runtimes import OnnxRuntime, Runtime, TorchRuntime, torch_threads
from ayni.compress.evidence.inference_cost import Condition, Latency, measure_latency
from ayni.compress.evidence.paired import difference_of_means
from ayni.compress.retrain.distill import distill
from ayni.compress.retrain.recover import recover
from ayni.compress.retrain.short_training import ShortTraining
from ayni.compress.steps import DistillStep, QuantizeStep
from ayni.compress.structure.channels import cut_channels
from benchmarks.registry import Benchmark, Outcome
from benchmarks.small_cnn import CPU, Flags, SmallCnnDigits, is_right, pooled, trained, unheard

CHANNELS = 0.5
RECOVERY = ShortTraining(epochs=3, batch_size=64, learning_rate=3e-3)
DISTILLATION = DistillStep(
    epochs=RECOVERY.epochs, batch_size=RECOVERY.batch_size, learning_rate=RECOVERY.learning_rate
)
DENSE_IN_8_BITS = WeightOnly(bits=8)
NUM_CALIBRATION = 256
BATCH_SIZES = (1, 32)
TORCH, ONNX, CONTROL = "full_torch", "full_onnx", "full_with_extra_epochs"
CANDIDATES = ("int8_distilled", "int8_recovered")
"""The first wins a tie: it is what the library does unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one seed gave, by form; latencies also by batch size."""

    stored_bytes: Mapping[str, int]
    is_right: Mapping[str, Flags]
    validation: Mapping[str, float]
    latencies: Mapping[int, Mapping[str, Latency]]


def _models(task: SmallCnnDigits, seed: int) -> dict[str, nn.Module]:
    """The full network and what the steps in PyTorch make of it."""
    full = trained(task, seed=seed)
    control, pruned = copy.deepcopy(full), copy.deepcopy(full)
    cut_channels(pruned, task.example_input(), channels=CHANNELS)
    recovered, distilled = copy.deepcopy(pruned), copy.deepcopy(pruned)
    for model in (control, recovered):
        recover(task, model, plan=RECOVERY, seed=seed, device=CPU, on_step=unheard)
    distill(task, student=distilled, teacher=full, step=DISTILLATION, seed=seed, device=CPU, on_step=unheard)
    return {"full": full, CONTROL: control, "pruned": pruned, "recovered": recovered, "distilled": distilled}


def _shipped(task: SmallCnnDigits, models: Mapping[str, nn.Module], folder: Path) -> dict[str, Path]:
    """The file of each form."""
    images, _ = task.arrays("train")
    save_file(models["full"].state_dict(), folder / "full.safetensors")
    files = {TORCH: folder / "full.safetensors", ONNX: folder / "full.onnx"}
    files |= {name: folder / f"{name}.onnx" for name in ("pruned", "recovered", "distilled")}
    for name, file in files.items():
        if name != TORCH:
            export_onnx(models[file.stem], [images[:32]], file)
    for name in CANDIDATES:
        files[name] = folder / f"{name}.onnx"
        quantize_weights_onnx(files[name.removeprefix("int8_")], files[name], DENSE_IN_8_BITS)
    files["int8_static"] = folder / "int8_static.onnx"
    quantize_onnx(
        files["recovered"],
        files["int8_static"],
        QuantizeStep(mode="static"),
        # Spread over the split, which is in the order of its digits.
        calibration=[images[:: len(images) // NUM_CALIBRATION]],
    )
    return files


def _measure_seed(task: SmallCnnDigits, seed: int, *, seconds: float) -> Measured:
    """Train, compress, and measure all forms in turns."""
    models = _models(task, seed)
    with tempfile.TemporaryDirectory() as folder:
        files = _shipped(task, models, Path(folder))
        runtimes: dict[str, Runtime] = {TORCH: TorchRuntime(models["full"])}
        runtimes |= {name: OnnxRuntime(file) for name, file in files.items() if name != TORCH}
        stored_bytes = {name: file.stat().st_size for name, file in files.items()}
    images, _ = task.arrays("validation")
    judged = {**runtimes, CONTROL: TorchRuntime(models[CONTROL])}
    return Measured(
        stored_bytes=stored_bytes,
        is_right={name: is_right(runtime, task) for name, runtime in judged.items()},
        validation={
            name: float(is_right(runtimes[name], task, split="validation").mean()) for name in CANDIDATES
        },
        latencies={
            size: measure_latency(
                runtimes,
                torch.split(images, size)[:8],
                seconds=seconds,
                condition=Condition(batch_size=size),
            )
            for size in BATCH_SIZES
        },
    )


def _accuracy_of(form: str, seeds: Sequence[Measured]) -> dict[str, Any]:
    """Accuracy in percent, mean over the seeds; its drop in points, with interval and worst seed."""
    before, images = pooled([seed.is_right[TORCH] for seed in seeds])
    after, _ = pooled([seed.is_right[form] for seed in seeds])
    values: dict[str, Any] = {f"{form}_accuracy_percent": 100 * float(after.mean())}
    if form == TORCH:
        return values
    drop = difference_of_means(after, before, groups_N=images)
    assert drop is not None  # There are a thousand groups.
    drops = [float(seed.is_right[TORCH].mean() - seed.is_right[form].mean()) for seed in seeds]
    return values | {
        f"{form}_drop_points": 100 * drop.difference,
        f"{form}_drop_points_interval": [100 * drop.low, 100 * drop.high],
        f"{form}_drop_points_worst_seed": 100 * max(drops),
    }


def _cost_of(form: str, seeds: Sequence[Measured]) -> dict[str, Any]:
    """Bytes over the full network's in PyTorch; speed over it and over the same runtime's float32."""
    values: dict[str, Any] = {
        f"{form}_bytes_ratio": max(seed.stored_bytes[form] / seed.stored_bytes[TORCH] for seed in seeds)
    }
    for size in BATCH_SIZES:
        rows = [seed.latencies[size] for seed in seeds]
        values[f"{form}_microseconds_batch_{size}"] = 1e6 * statistics.median(
            row[form].p50_seconds for row in rows
        )
        for baseline, words in ((TORCH, "torch"), (ONNX, "onnx_fp32")):
            values[f"{form}_times_faster_than_{words}_batch_{size}"] = statistics.median(
                row[baseline].p50_seconds / row[form].p50_seconds for row in rows
            )
    return values


def measure(quick: bool) -> Outcome:
    """Three seeds; medians of the speeds, means of the accuracies, the worst of the bytes."""
    # The rule that breaks a tie was written after the rows of seeds 1 to 3 were seen.
    seeds = (4,) if quick else (4, 5, 6)
    task = SmallCnnDigits()
    with torch_threads(1):
        measured = [_measure_seed(task, seed, seconds=0.5 if quick else 1.0) for seed in seeds]
    of_validation = {name: statistics.mean(seed.validation[name] for seed in measured) for name in CANDIDATES}
    judged = max(CANDIDATES, key=lambda name: of_validation[name])
    values: dict[str, Any] = {"judged": judged}
    values |= {f"{name}_validation_percent": 100 * share for name, share in of_validation.items()}
    for form in (*measured[0].stored_bytes, CONTROL):
        values |= _accuracy_of(form, measured)
        if form != CONTROL:
            values |= _cost_of(form, measured)
    disturbed = [
        f"{form}, batch {size}: {latency.problem}"
        for seed in measured
        for size in BATCH_SIZES
        for form, latency in seed.latencies[size].items()
        if not latency.is_valid
    ]
    values["latencies_disturbed"] = len(disturbed)
    return Outcome(values=values, seeds=seeds, met=_reaches_bar(values, measured, judged))


def _reaches_bar(values: Mapping[str, Any], measured: Sequence[Measured], judged: str) -> bool:
    # A time that waited for other work on the machine meets no bar.
    is_quotable = all(seed.latencies[1][form].is_valid for seed in measured for form in (TORCH, judged))
    return bool(
        is_quotable
        and values[f"{judged}_bytes_ratio"] <= 0.10
        and values[f"{judged}_times_faster_than_torch_batch_1"] >= 8
        and values[f"{judged}_drop_points"] <= 0.5
    )


BENCHMARK = Benchmark(
    name="compress_cnn",
    topic="compression",
    bar="CNN on 5,000 MNIST images, pruned, trained on and in int8: at most 10 % of the bytes and at least 8 "
    "times faster than PyTorch (one image, one thread), accuracy at most 0.5 points below (test, 3 seeds)",
    seconds_quick=90,
    seconds_full=300,
    measure=measure,
)
