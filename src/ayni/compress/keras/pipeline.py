"""Compress a trained Keras model: the story of the step, as ayni.compress.pipeline tells it for torch.

    full model -> LiteRT as it is -> the forms that the job's steps ask for, or all of them    files and rows
    validation metric -> who qualifies -> best score -> chosen

Not covered: steps that train or cut the model; what it was quantized to before.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ayni.compress.compress_progress import CompressProgress
from ayni.compress.config import CompressConfig
from ayni.compress.deploy.runtimes import torch_threads
from ayni.compress.evidence.inference_cost import MEASURE_SECONDS
from ayni.compress.keras.keras_artefacts import FULL_LITERT, KerasArtefactMaker
from ayni.compress.keras.keras_forms import KerasForm, all_forms, forms_of
from ayni.compress.measure_variants import Costs, measure_variants
from ayni.compress.ports import EnergyMeter, Observer
from ayni.compress.rating import rate
from ayni.compress.records import FULL
from ayni.compress.score import check_terms
from ayni.compress.search import Ladder, Rung, Search, SearchSummary
from ayni.compress.trials import carry_out, limits_of
from ayni.compress.variants import Artefact, CompressResult, MetricDirection
from ayni.task import Task


def compress_keras(
    task: Task,
    model_path: Path,
    config: CompressConfig,
    *,
    seed: int,
    folder: Path,
    meter: EnergyMeter,
    observer: Observer,
    metric_direction: MetricDirection = "higher",
    measure_seconds: float = MEASURE_SECONDS,
) -> CompressResult:
    """Make every variant, measure all of them together, choose one.

    Called again with the same folder it goes on where it was interrupted.

    Args:
        task: gives the model, the data and the metrics.
        model_path: model.safetensors of the full model; never changed.
        config: steps or search, budget, score.
        seed: of the job.
        folder: receives the files of the variants.
        meter: energy of making a variant, and of a block of inferences.
        observer: hears of progress; may raise to stop.
        metric_direction: whether more of the first metric is better.
        measure_seconds: spent on the latency of each variant, and again on its energy.

    Cost: some ten CPU seconds for each form of LiteRT, most of them for starting TensorFlow's converter.

    Raises:
        CannotCompressError: a step that models of Keras cannot have.
        UnknownScoreTermError: the score weighs something that is not measured.
        UserError: a form is impossible for this model.
    """
    forms = forms_of([entry.step for entry in config.steps]) if config.search is None else []
    progress = CompressProgress(observer, config)
    summary: SearchSummary | None = None
    with torch_threads(1):
        maker = KerasArtefactMaker(
            task, model_path, seed=seed, folder=folder, meter=meter, max_drop=config.max_accuracy_drop
        )
        artefacts = _full_forms(maker, config, progress)
        if config.search is None:
            artefacts += _by_forms(maker, forms, progress)
        else:
            found, summary = _search(
                maker,
                config,
                artefacts[0],
                metric_direction=metric_direction,
                meter=meter,
                progress=progress,
            )
            artefacts += found
        progress.start("measure", "latency and energy of each variant")
        costs = measure_variants(
            maker, artefacts, meter=meter, seconds=measure_seconds, with_memory=config.measures_memory
        )
    progress.finish_measuring()
    artefacts = [_with_speed(artefact, costs) for artefact in artefacts]
    return rate(artefacts, costs, config, metric_direction=metric_direction, search=summary)


def _full_forms(
    maker: KerasArtefactMaker, config: CompressConfig, progress: CompressProgress
) -> list[Artefact]:
    progress.start(FULL, "evaluating the full model")
    full = maker.full()
    check_terms(config.score, list(full.quality.validation))
    progress.finish_file()
    progress.start(FULL_LITERT, "converting the full model")
    converted = maker.full_litert()
    progress.finish_file()
    return [full] if converted is None else [full, converted]


def _by_forms(
    maker: KerasArtefactMaker, forms: Sequence[KerasForm], progress: CompressProgress
) -> list[Artefact]:
    artefacts = []
    for form in forms:
        progress.start(form.name, f"making {form.name}")
        artefacts.append(maker.judge(maker.make(form)))
        progress.finish_step(form.step)
    return artefacts


def _search(
    maker: KerasArtefactMaker,
    config: CompressConfig,
    full: Artefact,
    *,
    metric_direction: MetricDirection,
    meter: EnergyMeter,
    progress: CompressProgress,
) -> tuple[list[Artefact], SearchSummary]:
    """Every form in turn: none is a stronger or weaker one of another."""
    assert config.search is not None
    ladders = [
        Ladder(name=form.name, place=0, rungs=[Rung(name=form.name, pipeline=form)]) for form in all_forms()
    ]
    limits = limits_of(config.search, maker, full, meter=meter, inferences=config.inferences)
    return carry_out(
        Search(ladders, max_drop=config.max_accuracy_drop, limits=limits),
        lambda rung: maker.make(rung.pipeline),
        maker,
        full,
        metric_direction=metric_direction,
        num_trials=config.search.trials,
        meter=meter,
        progress=progress,
    )


def _with_speed(artefact: Artefact, costs: Costs) -> Artefact:
    """Say of a form that is there for its size how much slower it is."""
    if artefact.runtime != "keras" or artefact.name == FULL:
        return artefact
    # Of processor time: a neighbour that keeps TensorFlow's threads waiting makes no form slow.
    before, after = (costs.latencies[name][0].cpu_p50_seconds for name in (FULL, artefact.name))
    if after <= before:
        return artefact
    note = f"{artefact.note}: a call takes {after / before:.1f} times the full model's processor time here"
    return replace(artefact, note=note)
