"""Models by name, ready to answer arrays: of a finished run, or published in a hub.

    latest, a run's id, or its beginning      the full model of a run
    owner/name, owner/name@revision           the full model of a repository
    ...:VARIANT                               a variant of either

Models of torch, of Keras and compressed forms all become one function from inputs [N, ...] to logits [N, C].

Not covered: models on a GPU, and models without a task (a task says what inputs look like).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.compress.keras.keras_runtime import open_quantized
from ayni.compress.keras.litert import LiteRtRuntime
from ayni.compress.open_form import open_form
from ayni.compress.variants import CompressResult, Variant
from ayni.data.corruptions.errors import Classify
from ayni.errors import UserError
from ayni.hub.config import FULL
from ayni.hub.loading import load_task
from ayni.hub.prediction import UnknownVariantError
from ayni.hub.publishing import Hub
from ayni.jobs.runs import Run, Runs
from ayni.task import Task, TaskFailedError
from ayni.train.result import TrainResult
from ayni.workflows.audit_data import NotTrainedError
from ayni.workflows.load_variant import load_variant
from ayni.workflows.trained_model import load_trained


class NotAClassifierError(UserError):
    """The model answers something else than scores of classes."""

    def __init__(self, name: str, found: str) -> None:
        super().__init__(
            f"{name} answers {found}: expected scores [N, C] of two classes or more. Only classifiers can be "
            "measured in this way."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A model that can be asked.

    name: as it is told, with the run's id or the revision, and the variant when it is not the full model.
    task: what it was trained on; a published one may have no `dataset`.
    classify: from inputs [N, ...] to scores [N, C].
    """

    name: str
    task: Task
    classify: Classify


def open_model(named: str, *, runs: Runs, hub: Hub) -> OpenModel:
    """The model that a person names.

    Raises:
        RunNotFoundError, NotTrainedError, RepositoryNotFoundError, UnknownVariantError: there is none.
        AyniError: its files are damaged, see `load_variant` and `load_full_model`.
    """
    if "/" in named:
        return open_published(named, hub)
    place, _, variant = named.partition(":")
    return _of_run(runs.open(place), variant or FULL)


def open_published(named: str, hub: Hub) -> OpenModel:
    """A model of a hub: owner/name, with @revision and :variant where they are wanted.

    Raises:
        RepositoryNotFoundError, RevisionNotFoundError, UnknownVariantError: there is none.
        AyniError: its files are damaged, see `load_variant`.
    """
    place, _, variant = named.partition(":")
    name, _, revision = place.partition("@")
    snapshot = hub.find(name, revision or None)
    told = f"{snapshot.repository}@{snapshot.revision[:12]}" + _suffix(variant or FULL)
    model = load_variant(snapshot, variant or FULL)
    task = load_task(snapshot)
    return OpenModel(name=told, task=task, classify=classifier(model, task, name=told))


def open_run_model(run: Run, task: Task, trained: TrainResult, chosen: Variant | None = None) -> Any:
    """The full model of a run, or one of its variants, to be called as the model is called."""
    if chosen is not None and chosen.name != FULL:
        file, runtime = run.folder / chosen.file, chosen.artefact.runtime
        if runtime == "litert":
            return LiteRtRuntime(file)
        if runtime == "keras":
            return open_quantized(task, file)
        return open_form(file, runtime, task.build_model)
    return load_trained(run, task, trained)


def classifier(model: Any, task: Task, *, name: str) -> Classify:
    """What answers arrays as `model` answers a batch of the task's inputs.

    Raises:
        NotAClassifierError: its answer to one example is no row of scores.
    """
    example = _example(task)
    takes_tensors = isinstance(example, torch.Tensor)
    if isinstance(model, torch.nn.Module):
        model.eval()

    def classify(inputs: NDArray[np.float32]) -> NDArray[Any]:
        with torch.no_grad():
            answer = model(torch.from_numpy(inputs).to(example.dtype) if takes_tensors else inputs)
        if isinstance(answer, torch.Tensor):
            answer = answer.detach().float().numpy()
        return np.asarray(answer)

    shown = np.asarray(example.numpy() if takes_tensors else example)
    answer = classify(shown.astype(np.float32))
    if answer.dtype == object or answer.ndim != 2 or answer.shape[1] < 2:
        raise NotAClassifierError(name, f"{answer.shape}")
    return classify


def _example(task: Task) -> Any:
    try:
        return task.example_input()
    except Exception as error:
        raise TaskFailedError(method="example_input", cause=error) from error


def _of_run(run: Run, variant: str) -> OpenModel:
    if (trained := run.result("train")) is None:
        raise NotTrainedError(run.id)
    task = run.job.task.load()
    found = None if variant == FULL else _variant_of(run, variant)
    told = run.id + _suffix(variant)
    model = open_run_model(run, task, TrainResult.from_json(trained), found)
    return OpenModel(name=told, task=task, classify=classifier(model, task, name=told))


def _variant_of(run: Run, variant: str) -> Variant:
    result = run.result("compress") or {}
    names = [] if "skipped" in result else [each.name for each in CompressResult.from_json(result).variants]
    if variant not in names:
        raise UnknownVariantError(variant, names or [FULL])
    return CompressResult.from_json(result).variant(variant)


def _suffix(variant: str) -> str:
    return "" if variant == FULL else f":{variant}"
