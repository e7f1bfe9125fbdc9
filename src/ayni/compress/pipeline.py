"""Compress a trained model: the story of the step.

    full model -> ONNX -> prune -> distill -> quantize      a file and a row for each
    validation metric -> who qualifies -> best score -> chosen

The choice uses the validation split alone; the test split only reports.

Not covered: a search over pipelines; a job names one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ayni.compress.artefacts import ArtefactMaker
from ayni.compress.config import METRIC_TERM, CompressConfig, DistillStep, PruneStep, Step
from ayni.compress.deploy.runtimes import torch_threads
from ayni.compress.inference_cost import (
    MEASURE_SECONDS,
    InferenceEnergy,
    Latency,
    measure_energy,
    measure_latency,
)
from ayni.compress.ports import EnergyMeter, Observer
from ayni.compress.score import (
    Values,
    check_terms,
    choose,
    is_within,
    metric_drop,
    unrated_terms,
    weighted_score,
)
from ayni.compress.variants import Artefact, CompressResult, MetricDirection, Variant
from ayni.task import Task

FILE_UNITS = 1
DISTILL_UNITS = 12
MEASURE_UNITS = 4
"""Shares of the progress bar, by what the parts of the digits example take."""


def compress(
    task: Task,
    model_path: Path,
    config: CompressConfig,
    *,
    seed: int,
    folder: Path,
    meter: EnergyMeter,
    observer: Observer,
    metric_direction: MetricDirection = "higher",
    device: torch.device | None = None,
    num_threads: int = 1,
    measure_seconds: float = MEASURE_SECONDS,
) -> CompressResult:
    """Make every variant, measure all of them together, choose one.

    Called again with the same folder it goes on where it was interrupted.

    Args:
        task: gives the model, the data, the loss and the metrics.
        model_path: model.safetensors of the full model; never changed.
        config: steps, budget, score.
        seed: of distillation.
        folder: receives the files of the variants.
        meter: energy of a block of inferences.
        observer: hears of progress; may raise to stop.
        metric_direction: whether more of the first metric is better.
        device: where distillation computes, the CPU by default; inference is measured on the CPU.
        num_threads: of torch in distillation and evaluation. One by default: where neighbours keep the cores
            busy, torch's threads wait for each other (digits on 2 cores at a load of 7: 10 s with one
            thread, 60 to 130 s with two).
        measure_seconds: spent on the latency of each variant, and again on its energy.

    Raises:
        UnknownScoreTermError: the score weighs something that is not measured.
        UserError: a step is impossible for this model; the message names the step to leave out.
    """
    progress = _Progress(observer, config)
    with torch_threads(num_threads):
        maker = ArtefactMaker(
            task, model_path, seed=seed, folder=folder, device=device or torch.device("cpu")
        )
        artefacts = _make(maker, config, progress)
    progress.start("measure", "latency and energy of each variant")
    runtimes = {artefact.name: maker.runtime(artefact) for artefact in artefacts}
    latencies = measure_latency(runtimes, maker.examples, seconds=measure_seconds)
    energies = {
        name: measure_energy(
            runtime,
            maker.examples,
            meter=meter,
            latency_seconds=latencies[name].p50_seconds,
            seconds=measure_seconds,
        )
        for name, runtime in runtimes.items()
    }
    progress.finish(MEASURE_UNITS)
    return rate(artefacts, latencies, energies, config, metric_direction=metric_direction)


def rate(
    artefacts: Sequence[Artefact],
    latencies: Mapping[str, Latency],
    energies: Mapping[str, InferenceEnergy],
    config: CompressConfig,
    *,
    metric_direction: MetricDirection,
) -> CompressResult:
    """The table and the choice, from what was measured. Pure; the first artefact is the full model."""
    full = artefacts[0]
    metric = next(iter(full.quality.validation))
    is_lower = metric_direction == "lower"

    def values(artefact: Artefact) -> Values:
        return _values(artefact, latencies[artefact.name], energies[artefact.name], metric, is_lower=is_lower)

    def drop(of: Mapping[str, float], from_: Mapping[str, float]) -> float | None:
        return metric_drop(of.get(metric), from_[metric], lower_is_better=is_lower)

    variants = []
    for artefact in artefacts:
        validation_drop = drop(artefact.quality.validation, full.quality.validation)
        variants.append(
            Variant(
                artefact=artefact,
                latency=latencies[artefact.name],
                energy=energies[artefact.name],
                drop=validation_drop,
                test_drop=drop(artefact.quality.test, full.quality.test),
                qualifies=is_within(validation_drop, config.max_accuracy_drop),
                score=weighted_score(config.score, values(artefact), values(full)),
            )
        )
    candidates = [variant for variant in variants if variant.artefact.is_candidate]
    chosen, reason = choose(
        candidates,
        metric=metric,
        max_drop=config.max_accuracy_drop,
        unrated=unrated_terms(config.score, values(full)),
    )
    return CompressResult(
        variants=tuple(variants),
        chosen=chosen,
        reason=reason,
        metric=metric,
        metric_direction=metric_direction,
        max_accuracy_drop=config.max_accuracy_drop,
        score_weights=config.score,
    )


def variant_names(config: CompressConfig) -> list[str]:
    """Names of the candidates, in the order of the steps: pruned, distilled, int8; repeats are numbered."""
    names: list[str] = []
    for entry in config.steps:
        stem = _stem(entry.step)
        count = sum(name == stem or name.startswith(f"{stem}-") for name in names)
        names.append(stem if count == 0 else f"{stem}-{count + 1}")
    return names


def _stem(step: Step) -> str:
    if isinstance(step, PruneStep):
        return "pruned"
    return "distilled" if isinstance(step, DistillStep) else f"int{step.bits}"


def _make(maker: ArtefactMaker, config: CompressConfig, progress: "_Progress") -> list[Artefact]:
    progress.start("full", "evaluating the full model")
    full = maker.full()
    check_terms(config.score, list(full.quality.validation))
    progress.finish(FILE_UNITS)
    progress.start("full-onnx", "exporting the full model")
    artefacts = [full, maker.full_onnx()]
    progress.finish(FILE_UNITS)
    for name, entry in zip(variant_names(config), config.steps, strict=True):
        progress.start(name, f"making {name}")
        artefacts.append(maker.add(name, entry.step, progress.within(DISTILL_UNITS)))
        progress.finish(_units(entry.step))
    return artefacts


def _values(
    artefact: Artefact, latency: Latency, energy: InferenceEnergy, metric: str, *, is_lower: bool
) -> Values:
    """The terms that a score may weigh, by name; METRIC_TERM is turned so that more is better."""
    validation = artefact.quality.validation
    value = validation.get(metric)
    turned = value if not is_lower or value is None else (1 / value if value else None)
    return {
        **validation,
        METRIC_TERM: turned,
        "stored_bytes": artefact.stored_bytes,
        "num_parameters": artefact.num_parameters,
        "latency": latency.p50_seconds,
        "energy": energy.joules_per_1000,
    }


def _units(step: Step) -> int:
    return DISTILL_UNITS if isinstance(step, DistillStep) else FILE_UNITS


class _Progress:
    """One bar over all parts."""

    def __init__(self, observer: Observer, config: CompressConfig) -> None:
        self._observer, self._done = observer, 0
        self._total = 2 * FILE_UNITS + MEASURE_UNITS + sum(_units(entry.step) for entry in config.steps)
        self._name = self._text = ""

    def start(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self._observer.step_progress(name, self._done, self._total, text)

    def finish(self, units: int) -> None:
        self._done += units
        self._observer.step_progress(self._name, self._done, self._total, f"{self._name} done")

    def within(self, units: int) -> "_Within":
        return _Within(self, units)

    def part(self, done: int) -> None:
        self._observer.step_progress(self._name, self._done + done, self._total, self._text)


class _Within:
    """Tells the bar only when it moves, for a step may have thousands of parts."""

    def __init__(self, progress: _Progress, units: int) -> None:
        self._progress, self._units, self._told = progress, units, 0

    def __call__(self, done: int, total: int) -> None:
        reached = self._units * done // total
        if self._told < reached < self._units:
            self._told = reached
            self._progress.part(reached)
