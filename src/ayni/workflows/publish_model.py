"""Publish what a run made: the full model, the variants, the task's code, the card and the receipts."""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.compress.evidence.break_even import BreakEven
from ayni.compress.variants import CompressResult, Variant
from ayni.files import sha256_of_file
from ayni.footprint.receipts.receipt import receipt_paths
from ayni.hub.card import (
    CardAudit,
    CardData,
    CardFootprint,
    CardLineage,
    CardPrivacy,
    CardVariant,
    ModelCard,
    dataset_id,
    model_card,
)
from ayni.hub.config import CONFIG_FILE, FULL, WEIGHTS_FILE, ModelConfig, PipelineTag
from ayni.hub.repositories import Published
from ayni.hub.run_results import RESULTS_FILE, RunResult, sign_results
from ayni.jobs.loading import Job
from ayni.jobs.runs import Run
from ayni.keras_weights import is_keras
from ayni.reports import formats
from ayni.signing import sha256_hex
from ayni.task import Task
from ayni.train.privacy_accounting import PrivacySpent
from ayni.train.result import TrainResult
from ayni.workflows.adopt_model import NO_STRATEGY
from ayni.workflows.audit_model import AuditFound
from ayni.workflows.card_explanations import card_explanations
from ayni.workflows.card_limits import card_limits
from ayni.workflows.card_robustness import card_robustness
from ayni.workflows.explain_model import Understanding
from ayni.workflows.house import House
from ayni.workflows.receipts import receipts_of
from ayni.workflows.report_run import view_of
from ayni.workflows.trained_model import load_trained

NAMED_VERSIONS = ("ayni", "torch", "dask", "onnxruntime", "torch-pruning", "numpy", "opacus")
KERAS_VERSIONS = ("ayni", "keras", "tensorflow", "tensorflow-cpu", "torch", "dask", "numpy")
# `config.json` promises where black and white of an image file go; tasks that want another range say so.
DEFAULT_VALUE_RANGE = (0.0, 1.0)


def repository_of(job: Job) -> str:
    """Where the job publishes: `owner/name`; a name alone belongs to the job's member."""
    assert job.spec.publish is not None
    name = job.spec.publish.repository
    return name if "/" in name else f"{job.spec.member}/{name}"


def publish_model(
    run: Run,
    house: House,
    trained: TrainResult,
    compressed: CompressResult | None,
    explained: Understanding,
    *,
    audited: AuditFound | None = None,
) -> Published:
    """A new revision with everything that others need; the same one when it was published before."""
    job = run.job
    assert job.spec.publish is not None
    task = job.task.load()
    config = _config(run, task, trained, compressed)
    files: dict[str, Path | bytes] = {
        WEIGHTS_FILE: run.folder / trained.model_path,
        CONFIG_FILE: json.dumps(config.to_json(), indent=2).encode() + b"\n",
    }
    files |= _task_files(job)
    for variant in _published_variants(compressed):
        files |= _variant_files(run, variant)
    files |= {f"receipts/{path.name}": path for path in receipt_paths(run.folder / "receipts")}
    card = _card(run, config, trained, compressed, explained)
    section, pictures = card_explanations(run, explained)
    files |= pictures
    card = replace(card, explanations=section)
    if audited is not None:
        card = replace(card, audit=_card_audit(audited))
    files["README.md"] = model_card(card).encode()
    if (results := _signed_results(run, house, card, files)) is not None:
        files[RESULTS_FILE] = results
    return house.hub.publish(
        repository_of(job),
        files,
        message=f"Publish {job.spec.name} of the run {run.id}",
        author=f"{job.spec.member} <{job.spec.member}@{house.node}>",
        when=house.now(),
        publish_key=run.id,
    )


def _signed_results(
    run: Run, house: House, card: ModelCard, files: Mapping[str, Path | bytes]
) -> bytes | None:
    """What the variants reached, signed as the receipts are; None without receipts or results."""
    receipts = receipts_of(run)
    results = [
        RunResult(
            variant=variant.name,
            file=variant.file,
            sha256=_sha256(files[variant.file]),
            metrics={name: value for name, value in variant.metrics.items() if math.isfinite(value)},
            stored_bytes=variant.stored_bytes,
            # A latency that is not to be quoted is none.
            latency_seconds=None if variant.latency_problem else variant.latency_p50_seconds,
            energy_joules_per_1000=variant.energy_joules_per_1000,
        )
        for variant in card.variants
        if variant.file in files
    ]
    if not receipts or not results:
        return None
    record = sign_results(
        run=run.id,
        dataset=dataset_id(card.data),
        split="test",
        results=results,
        receipts=receipts,
        key=house.key,
    )
    return json.dumps(record, indent=2).encode() + b"\n"


def _sha256(file: Path | bytes) -> str:
    return sha256_hex(file) if isinstance(file, bytes) else sha256_of_file(file)


def text_of(published: Published) -> str:
    """The result in a few words."""
    return f"{published.repository} at {published.revision[:12]}"


def _task_files(job: Job) -> dict[str, Path | bytes]:
    """The task's module and those of its neighbours that it imported; nothing else of the job's folder."""
    module = job.task.module_path.resolve()
    imported = (
        Path(file) for each in list(sys.modules.values()) if (file := getattr(each, "__file__", None))
    )
    neighbours = (path for path in imported if path.suffix == ".py" and path.parent == module.parent)
    return {path.name: path for path in sorted({module, *neighbours})}


def _published_variants(compressed: CompressResult | None) -> list[Variant]:
    """All but the full model, whose weights are published in any case."""
    return [] if compressed is None else [one for one in compressed.variants if one.name != FULL]


def _variant_files(run: Run, variant: Variant) -> dict[str, Path | bytes]:
    """The files of a variant by the names that they have in the repository: those of the compress folder."""
    return {path.name: run.folder / path for path in (variant.file, *variant.artefact.companions)}


def _config(run: Run, task: Task, trained: TrainResult, compressed: CompressResult | None) -> ModelConfig:
    job = run.job
    example = task.example_input()
    model = load_trained(run, task, trained)
    stated = getattr(task, "labels", None)
    labels = None if stated is None else tuple(stated())
    pipeline_tag, labels = _purpose(model, example, labels)
    return ModelConfig(
        task=job.spec.task.rpartition(".")[2],
        task_sha256=job.task.module_sha256,
        architecture=type(model).__name__,
        library="keras" if is_keras(model) else "pytorch",
        input_shape=tuple(example.shape[1:]),
        input_dtype=str(example.dtype).removeprefix("torch."),
        value_range=getattr(task, "value_range", DEFAULT_VALUE_RANGE),
        labels=labels,
        pipeline_tag=pipeline_tag,
        variants={"full": WEIGHTS_FILE}
        | {variant.name: variant.file.name for variant in _published_variants(compressed)},
        chosen=None if compressed is None else compressed.chosen,
        run=run.id,
    )


def _purpose(
    model: Any, example: Any, labels: tuple[str, ...] | None
) -> tuple[PipelineTag, tuple[str, ...] | None]:
    """What a model does, by what it answers to its example, and the names of its outputs.

    [1, C] with a name for each of C outputs is a classification, of what kind its input says. [1, T, V] from
    T whole numbers, where no answer depends on a later number, continues text; names that are not one for
    each of V symbols are then no vocabulary.

    Model and example are those of torch or of Keras.
    """
    example = _as_array(example)
    output = None if example is None else _output(model, example)
    if output is None or output.ndim not in (2, 3):
        return "other", labels
    has_names = labels is not None and len(labels) == output.shape[-1]
    takes_symbols = example.dtype.kind != "f"
    if output.ndim == 3:
        if (
            takes_symbols
            and example.shape == output.shape[:2]
            and _sees_only_the_past(model, example, output)
        ):
            return "text-generation", labels if has_names else None
        return "other", labels
    if not has_names:
        return "other", labels
    if example.ndim == 4:
        return "image-classification", labels
    return "text-classification" if takes_symbols else "tabular-classification", labels


def _as_array(example: Any) -> NDArray[Any] | None:
    try:
        return np.asarray(example)
    except TypeError:  # of a type that numpy lacks, such as bfloat16
        return None


def _sees_only_the_past(model: Any, example: NDArray[Any], output: NDArray[Any]) -> bool:
    changed = example.copy()
    changed[:, -1] = (changed[:, -1] + 1) % output.shape[-1]
    again = _output(model, changed)
    return again is not None and np.allclose(again[:, :-1], output[:, :-1], rtol=1e-3, atol=1e-4)


def _output(model: Any, example: NDArray[Any]) -> NDArray[Any] | None:
    """What the model answers; None when it is no tensor, or the model does not take its own example."""
    import torch

    try:
        with torch.no_grad():
            output = model(example if is_keras(model) else torch.from_numpy(example))
            # A mapping or an object of a library would become an array of objects.
            return np.asarray(output) if hasattr(output, "shape") else None
    except Exception:  # user code; a model is published all the same, as one of which nothing is known
        return None


def _card(
    run: Run,
    config: ModelConfig,
    trained: TrainResult,
    compressed: CompressResult | None,
    explained: Understanding,
) -> ModelCard:
    job = run.job
    assert job.spec.publish is not None
    # A baseline learned from the same examples without noise: its numbers are not part of the promise.
    baseline = explained.baseline if trained.privacy is None else None
    return ModelCard(
        repository=repository_of(job),
        licence=job.spec.publish.licence or "other",
        config=config,
        variants=_card_variants(trained, compressed),
        data=_card_data(explained),
        lineage=CardLineage(run=run.id, seed=job.spec.seed, versions=_versions(config)),
        footprint=_card_footprint(view_of(run)["footprint"]),
        summary=_summary(job, trained),
        reason="" if compressed is None else compressed.reason,
        pays="" if compressed is None else compressed.pays,
        baseline={} if baseline is None else {baseline.name: baseline.metrics},
        limits=() if compressed is None else card_limits(compressed),
        task_is_built=job.task.is_built,
        privacy=_card_privacy(trained),
        robustness=card_robustness(explained.robustness, is_private=trained.privacy is not None),
    )


def _card_privacy(trained: TrainResult) -> CardPrivacy | None:
    if trained.privacy is None:
        return None
    spent = PrivacySpent.from_json(trained.privacy)
    return CardPrivacy(
        epsilon=spent.epsilon,
        delta=spent.delta,
        accountant=spent.accountant,
        sampling=spent.sampling,
        sample_rate=spent.sample_rate,
        noise_multiplier=spent.noise_multiplier,
        clip=spent.clip,
        steps=spent.steps,
        learners=spent.learners,
        unit=spent.unit,
    )


def _card_audit(audited: AuditFound) -> CardAudit:
    audit = audited.model
    return CardAudit(
        verdict=audit.verdict.kind,
        reasons=tuple(audit.verdict.reasons),
        method=audit.method,
        num_shadow_models=audit.num_shadow_models,
        num_records=audit.attack.num_members,
        auc=(audit.attack.auc.value, audit.attack.auc.low, audit.attack.auc.high),
        hits_at_1_percent=audit.attack.hits_at_1_percent.value,
    )


def _summary(job: Job, trained: TrainResult) -> str:
    if trained.strategy == NO_STRATEGY:
        return (
            f"{job.spec.name}: a model that was trained before, given as {job.spec.model}, and its variants."
        )
    return (
        f"{job.spec.name}: trained with the strategy {trained.strategy} by {trained.num_learners} parallel "
        f"learners in {trained.rounds} rounds on {trained.samples:,} samples (repeats counted)."
    )


def _card_variants(trained: TrainResult, compressed: CompressResult | None) -> tuple[CardVariant, ...]:
    if compressed is None:
        full = CardVariant(
            name="full",
            file=WEIGHTS_FILE,
            metrics=trained.metrics,
            num_parameters=trained.num_parameters,
        )
        return (full,)
    return tuple(_card_variant(variant) for variant in compressed.variants)


def _card_variant(variant: Variant) -> CardVariant:
    artefact = variant.artefact
    interval = artefact.quality.interval
    return CardVariant(
        name=variant.name,
        file=WEIGHTS_FILE if variant.name == FULL else variant.file.name,
        metrics=artefact.quality.test,
        interval=None if interval is None else (interval.low, interval.high),
        runtime=artefact.runtime,
        drop=variant.drop,
        num_parameters=artefact.num_parameters,
        stored_bytes=artefact.stored_bytes,
        latency_p50_seconds=variant.latency.p50_seconds,
        latency_problem=variant.latency.problem or "",
        energy_joules_per_1000=variant.energy.joules_per_1000,
        break_even=None if variant.break_even is None else _until_paid_back(variant.break_even),
    )


def _until_paid_back(answer: BreakEven) -> str:
    return formats.inferences_until(answer.low, answer.best, answer.high)


def _card_data(explained: Understanding) -> CardData:
    data, augmentation = explained.data, explained.augmentation
    return CardData(
        name=data.name or "not stated by the task",
        licence=data.licence,
        source=data.source,
        attribution=data.attribution,
        note=data.note,
        num_rows=data.rows,
        num_classes=data.classes,
        sha256=data.sha256,
        augmentation=None if augmentation is None else augmentation["text"],
    )


def _card_footprint(footprint: Mapping[str, Any] | None) -> CardFootprint | None:
    """The sums over the receipts so far; None when a part is unknown, for a partial sum says nothing."""
    if footprint is None or footprint["energy_joules"] is None:
        return None
    return CardFootprint(
        energy_joules=footprint["energy_joules"],
        energy_low_joules=footprint["energy_low_joules"],
        energy_high_joules=footprint["energy_high_joules"],
        tier=footprint["energy_tier"],
        meter=footprint["meter"],
        grams_co2e=footprint["grams_co2e"],
        low_grams_co2e=footprint["low_grams_co2e"],
        high_grams_co2e=footprint["high_grams_co2e"],
        zone=footprint["zone"],
        carbon_basis=footprint["basis"],
        pue=footprint["pue"],
    )


def _versions(config: ModelConfig) -> dict[str, str]:
    found = {}
    for name in KERAS_VERSIONS if config.library == "keras" else NAMED_VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
