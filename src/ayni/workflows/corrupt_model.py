"""How a model bears corrupted images: of a run on the way, or of models that are there already.

Everything is measured on the test split, which nothing was trained or chosen on, on the same images for all.

Not covered: other inputs than images, and training against corruption (`data.augment` does what there is).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.compress.variants import CompressResult
from ayni.data.baseline import LINEAR, NoBaseline, linear_classifier
from ayni.data.config import DataConfig
from ayni.data.corruptions.config import BASELINE, CorruptionsConfig
from ayni.data.corruptions.errors import Classify, check_images
from ayni.data.corruptions.kinds import CorruptionInputError
from ayni.data.corruptions.robustness import (
    ReferenceError,
    Robustness,
    measure_robustness,
    read_robustness,
)
from ayni.data.preparation import prepare_data
from ayni.data.prepared_task import DEFAULT_VALUE_RANGE
from ayni.data.records import Records, RecordsError, records_of
from ayni.errors import UserError
from ayni.hub.config import FULL
from ayni.hub.publishing import Hub
from ayni.jobs.runs import Run, Runs
from ayni.jobs.spec import JobSpec
from ayni.task import Task
from ayni.train.learner import load_dataset
from ayni.train.local import one_thread
from ayni.train.result import TrainResult
from ayni.workflows.open_models import (
    NotAClassifierError,
    OpenModel,
    classifier,
    open_model,
    open_published,
    open_run_model,
)

MOST_MODELS = 4
NO_REFERENCE = "No reference was named: there is no mean corruption error, which is a ratio to one."
_NUM_LOOKED_AT = 16
Range = tuple[float, float]


class NotCorruptibleError(UserError):
    """The job asks for corruptions, and they cannot be made or measured; known before any work is spent."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"`explain.corruptions` shows a classifier corrupted images, but {reason} Remove "
            "`explain.corruptions`."
        )


class CorruptionArgumentsError(UserError):
    """What is to be measured is not said, or said twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptRequest:
    """What `ayni data corrupt --model` asks for.

    models: as `open_model` takes them, up to four with the reference.
    reference: another such name, `baseline`, or the JSON file of an earlier result; None = none.
    data: whose test split is shown; None = the first model's task brings it.
    """

    models: Sequence[str]
    reference: str | None = None
    data: DataConfig | None = None
    samples: int = 1000
    seed: int = 0


def measure_models(
    request: CorruptRequest, *, runs: Runs, hub: Hub, advanced: Callable[[float], None]
) -> Robustness:
    """Measure models by their names.

    Raises:
        CorruptionArgumentsError: more models than can be told apart, or one twice.
        ReferenceError: the reference cannot be one.
        RecordsError, CorruptionInputError, NotAClassifierError: examples or models do not go with this.
        UserError: a model cannot be found or opened.
    """
    opened = [open_model(name, runs=runs, hub=hub) for name in request.models]
    examples = _with_data(opened[0].task, request.data)
    if not callable(getattr(examples, "dataset", None)):
        raise CorruptionArgumentsError(
            f"The task of {opened[0].name} has no data of its own. Name them: "
            f"ayni data corrupt SOURCE --model {request.models[0]}"
        )
    earlier = None
    if request.reference == BASELINE:
        opened.append(_linear(examples, seed=request.seed))
    elif request.reference is not None and request.reference.endswith(".json"):
        earlier = read_robustness(Path(request.reference))
    elif request.reference is not None:
        opened.append(open_model(request.reference, runs=runs, hub=hub))
    _check_number([model.name for model in opened], has_earlier=earlier is not None)
    records = _test_images(examples, samples=request.samples, seed=request.seed)
    seen = value_range_of(examples)
    named = opened[-1].name if request.reference is not None else None
    with one_thread():
        return measure_robustness(
            {model.name: _checked(model, records, seen) for model in opened},
            records,
            seed=request.seed,
            reference=earlier or named,
            note="" if request.reference else NO_REFERENCE,
            value_range=seen,
            advanced=advanced,
        )


def corrupt_run(
    run: Run,
    task: Task,
    hub: Hub,
    trained: TrainResult,
    compressed: CompressResult | None,
    *,
    advanced: Callable[[float], None],
) -> Robustness:
    """Measure the full model of a run and its chosen variant against the reference that the job names.

    Raises:
        RecordsError, CorruptionInputError, NotAClassifierError: examples or model do not go with this.
    """
    spec = run.job.spec
    asked = spec.explain.corruptions
    assert asked is not None
    models = {FULL: open_run_model(run, task, trained)}
    if compressed is not None and compressed.chosen not in (None, FULL):
        chosen = compressed.variant(str(compressed.chosen))
        models[chosen.name] = open_run_model(run, task, trained, chosen)
    opened = [
        OpenModel(name=name, task=task, classify=classifier(model, task, name=name))
        for name, model in models.items()
    ]
    reference, note = _reference_of_job(asked, opened, task, hub, seed=spec.seed)
    records, seen = _test_images(task, samples=asked.samples, seed=spec.seed), value_range_of(task)
    with one_thread():
        return measure_robustness(
            {model.name: _checked(model, records, seen) for model in opened},
            records,
            seed=spec.seed,
            reference=reference,
            note=note,
            value_range=seen,
            advanced=advanced,
        )


def check_corruptible(spec: JobSpec, task: Task, model: Any) -> None:
    """Raise before any work what would be raised after it.

    Raises:
        NotCorruptibleError: examples are no images, or the model is no classifier of them.
    """
    try:
        dataset = load_dataset(task, "test", seed=spec.seed)
        records = records_of([dataset[row] for row in range(min(len(dataset), _NUM_LOOKED_AT))])
        check_images(records.inputs, value_range=value_range_of(task))
        classifier(model, task, name="the model")
    except (RecordsError, CorruptionInputError, NotAClassifierError) as error:
        raise NotCorruptibleError(str(error)) from error


def find_reference(spec: JobSpec, hub: Hub) -> None:
    """Look whether the hub has the model that corruptions are measured against.

    Raises:
        RepositoryNotFoundError, AmbiguousRepositoryError, RevisionNotFoundError: it has not.
    """
    asked = spec.explain.corruptions
    if asked is not None and "/" in asked.reference:
        name, _, revision = asked.reference.partition(":")[0].partition("@")
        hub.find(name, revision or None)


def value_range_of(task: Task) -> Range:
    """What black and white are in the task's images."""
    low, high = getattr(task, "value_range", DEFAULT_VALUE_RANGE)
    return float(low), float(high)


def text_of(found: Robustness) -> str:
    """The result in a few words."""
    summary = found.first.summary
    text = f"{summary.clean_error:.1%} wrong on clean images, {summary.mean_error:.1%} on corrupted ones"
    if summary.mce_percent is not None:
        text += f", mCE {summary.mce_percent:.0f} % of {found.reference}"
    return text


def _reference_of_job(
    asked: CorruptionsConfig, opened: list[OpenModel], task: Task, hub: Hub, *, seed: int
) -> tuple[str | None, str]:
    """The reference's name, and why there is none. What is not among `opened` is added to it."""
    if asked.reference == FULL:
        return FULL, ""
    if asked.reference == BASELINE:
        try:
            found = _linear(task, seed=seed)
        except ReferenceError as error:
            return None, str(error)
    else:
        found = open_published(asked.reference, hub)
    opened.append(found)
    return found.name, ""


def _linear(task: Task, *, seed: int) -> OpenModel:
    model = linear_classifier(task, seed=seed)
    if isinstance(model, NoBaseline):
        raise ReferenceError(f"There is no baseline to be the reference: {model.reason}.")

    def answer(inputs: Any) -> torch.Tensor:
        # Inputs of tasks of Keras are arrays.
        found: torch.Tensor = model(torch.as_tensor(inputs).float())
        return found

    return OpenModel(name=LINEAR, task=task, classify=classifier(answer, task, name=LINEAR))


def _with_data(task: Task, config: DataConfig | None) -> Task:
    preparation = prepare_data(config, folder=Path())
    return task if preparation is None else preparation.prepare(task)


def _test_images(task: Task, *, samples: int, seed: int) -> Records:
    """At most `samples` test examples, drawn by the seed, in their order."""
    try:
        records = records_of(load_dataset(task, "test", seed=seed))
    except RecordsError as error:
        raise RecordsError(f"The test split: {error}") from error
    if len(records) <= samples:
        return records
    rows = np.random.default_rng(seed).choice(len(records), samples, replace=False)
    return records.subset(np.sort(rows))


def _checked(model: OpenModel, records: Records, seen: Range) -> Classify:
    """The model on images as they are seen here, when it takes them and knows their classes."""
    example = np.asarray(model.task.example_input())
    if example.shape[1:] != records.inputs.shape[1:]:
        raise CorruptionInputError(
            f"{model.name} takes inputs {example.shape[1:]}, the images are {records.inputs.shape[1:]}."
        )
    (low, high), (own_low, own_high) = seen, value_range_of(model.task)

    def classify(inputs: NDArray[np.float32]) -> NDArray[Any]:
        if (own_low, own_high) != (low, high):
            inputs = ((inputs - low) / (high - low) * (own_high - own_low) + own_low).astype(np.float32)
        return model.classify(inputs)

    num_classes = classify(records.inputs[:1]).shape[1]
    if records.labels.max() >= num_classes:
        row = int(np.argmax(records.labels >= num_classes))
        raise RecordsError(
            f"The label of example {row} is {records.labels[row]}, and {model.name} knows {num_classes} "
            f"classes, 0 to {num_classes - 1}."
        )
    return classify


def _check_number(names: Sequence[str], *, has_earlier: bool) -> None:
    doubles = {name for name in names if names.count(name) > 1}
    if doubles:
        raise CorruptionArgumentsError(f"{', '.join(sorted(doubles))} is named twice.")
    if len(names) + has_earlier > MOST_MODELS:
        raise CorruptionArgumentsError(
            f"{len(names) + has_earlier} models with the reference: expected {MOST_MODELS} at most, whose "
            "curves can be told apart. Measure the others in a second command with the same reference."
        )
