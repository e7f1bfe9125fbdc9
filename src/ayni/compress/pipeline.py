"""Compress a trained model: the story of the step.

    full model -> ONNX -> the steps of the job, or those that a search proposes    files and a row for each
    validation metric -> who qualifies -> best score -> chosen

The choice uses the validation split alone; the test split only reports.

Not covered: models of Keras (`ayni.compress.keras.pipeline`).
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ayni.compress.artefacts import ArtefactMaker
from ayni.compress.compress_progress import CompressProgress
from ayni.compress.config import CompressConfig
from ayni.compress.deploy.runtimes import torch_threads
from ayni.compress.evidence.inference_cost import MEASURE_SECONDS
from ayni.compress.frameworks import check_torch_steps
from ayni.compress.measure_variants import measure_variants
from ayni.compress.ports import EnergyMeter, Observer
from ayni.compress.rating import rate
from ayni.compress.score import check_terms
from ayni.compress.search import SearchSummary
from ayni.compress.search_pipelines import search_pipelines
from ayni.compress.steps import STORING_STEPS
from ayni.compress.variant_names import variant_names
from ayni.compress.variants import Artefact, CompressResult, MetricDirection
from ayni.compress.weights.already_quantized import find_low_bit_layers
from ayni.task import Task


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
    load_model: Callable[[str], nn.Module] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> CompressResult:
    """Make every variant, measure all of them together, choose one.

    Called again with the same folder it goes on where it was interrupted.

    Args:
        task: gives the model, the data, the loss and the metrics.
        model_path: model.safetensors of the full model; never changed.
        config: steps or search, budget, score.
        seed: of everything that trains.
        folder: receives the files of the variants.
        meter: energy of making a variant, and of a block of inferences.
        observer: hears of progress; may raise to stop.
        metric_direction: whether more of the first metric is better.
        device: where training computes, the CPU by default; inference is measured on the CPU.
        num_threads: of torch in training and evaluation. One by default: where neighbours keep the cores
            busy, torch's threads wait for each other (digits on 2 cores at a load of 7: 10 s with one
            thread, 60 to 130 s with two).
        measure_seconds: spent on the latency of each variant, and again on its energy.
        load_model: finds other teachers (`distill.teacher`) by name.
        clock: by which `search.seconds` are counted; time.process_time leaves out what others computed.

    Raises:
        CannotCompressError: a step goes with models of Keras only.
        UnknownScoreTermError: the score weighs something that is not measured.
        UserError: a step is impossible for this model; the message names the step to leave out.
    """
    if config.search is None:
        check_torch_steps([entry.step for entry in config.steps])
    progress = CompressProgress(observer, config)
    summary: SearchSummary | None = None
    with torch_threads(num_threads):
        maker = ArtefactMaker(
            task,
            model_path,
            seed=seed,
            folder=folder,
            device=device or torch.device("cpu"),
            meter=meter,
            max_drop=config.max_accuracy_drop,
            load_model=load_model,
        )
        artefacts = _full_forms(maker, config, progress)
        if config.search is None:
            artefacts += _by_steps(maker, config, progress)
        else:
            found, summary = search_pipelines(
                maker,
                config,
                artefacts[0],
                metric_direction=metric_direction,
                meter=meter,
                progress=progress,
                clock=clock,
            )
            artefacts += found
        warning = find_low_bit_layers(maker.shop.teacher).warning or ""
        progress.start("measure", "latency and energy of each variant")
        costs = measure_variants(
            maker, artefacts, meter=meter, seconds=measure_seconds, with_memory=config.measures_memory
        )
    progress.finish_measuring()
    return rate(artefacts, costs, config, metric_direction=metric_direction, search=summary, warning=warning)


def _full_forms(maker: ArtefactMaker, config: CompressConfig, progress: CompressProgress) -> list[Artefact]:
    progress.start("full", "evaluating the full model")
    full = maker.full()
    check_terms(config.score, list(full.quality.validation))
    progress.finish_file()
    progress.start("full-onnx", "exporting the full model")
    exported = maker.full_onnx()
    progress.finish_file()
    return [full] if exported is None else [full, exported]


def _by_steps(maker: ArtefactMaker, config: CompressConfig, progress: CompressProgress) -> list[Artefact]:
    draft, artefacts = maker.draft(), []
    for name, entry in zip(variant_names(config), config.steps, strict=True):
        step = entry.step
        progress.start(name, f"making {name}")
        if isinstance(step, STORING_STEPS):
            artefacts.append(maker.store(draft, name, step=step))
        else:
            note = maker.change(draft, step, progress.within(step))
            artefacts.append(maker.store(draft, name, note=note))
        progress.finish_step(step)
    return artefacts
