"""Look for what would stop a run after its training, before any of it is done.

What a task gets wrong beside its training shows late: a metric that the score names and nobody measures, a
model that cannot be pruned, labels that are no texts. Each is looked at here with an untrained model and
a few examples.

Not covered: what depends on the trained weights or on all of the data. A run that such a thing stops can be
mended with `ayni resume RUN --set ...` and keeps its training.
"""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ayni.compress.keras.keras_trial import try_keras_steps
from ayni.compress.score import check_terms
from ayni.compress.trial import try_steps
from ayni.data.card import read_data_card
from ayni.errors import UserError
from ayni.explain.explaining import check_method
from ayni.jobs.spec import JobSpec
from ayni.keras_weights import is_keras
from ayni.task import Task, TaskFailedError
from ayni.train.learner import build_model, load_dataset, make_replica
from ayni.train.local import one_thread
from ayni.train.probe import Probe
from ayni.train.stream import EmptyDatasetError
from ayni.train.training import checked_privacy
from ayni.workflows.audit_model import check_auditable
from ayni.workflows.corrupt_model import check_corruptible

NUM_TEST_EXAMPLES = 64
# Optional methods of a task that give names, and what each name is for.
NAMED_BY = {"labels": "output of the model", "feature_names": "number of an input"}


class UnusableMetricError(UserError):
    """The metric that everything is judged by is not a number."""

    def __init__(self, *, metric: str, value: float) -> None:
        self.metric = metric
        self.value = value
        super().__init__(
            f"The task's evaluate gives {metric} = {value} on the validation split, already before training. "
            "The first metric judges model and variants: let it be finite, or put another one first."
        )


class UnusableNamesError(UserError):
    """What the task gives as names is not a list of texts."""

    def __init__(self, method: str, found: object) -> None:
        self.method = method
        super().__init__(
            f"The task's {method}() returned {found!r:.80}, expected a list of texts: one for each "
            f'{NAMED_BY[method]}, in order, as in ["one", "two"].'
        )


def check_before_training(spec: JobSpec, task: Task, probed: Probe) -> None:
    """Raise now what would be raised when the training is done.

    Cost: about a second; some ten where a Keras model is converted.

    Args:
        spec: what is asked for.
        task: the task, whose training works: `probed` says so.
        probed: the metrics of an untrained model.

    Raises:
        UnusableMetricError, UnusableNamesError, DataCardError: see there.
        UnknownScoreTermError: compress.score weighs what is not measured.
        EmptyDatasetError: there is nothing to measure variants on.
        TaskFailedError: the task raised in something that training does not ask of it.
        PrivacyTargetError, UnsafeLayerError, NotPerExampleError: train.privacy cannot be kept.
        NotAuditableError: an audit is asked for and cannot be done.
        MethodDoesNotFitError: explain.method cannot explain this model.
        NotCorruptibleError: corruptions are asked for and cannot be made or measured.
        CannotCompressError: a step goes with models of another framework.
        UserError: a step of compression is impossible for this model; the message names it.
    """
    read_data_card(task)
    for method in NAMED_BY:
        _check_names(task, method)
    model = build_model(task, seed=spec.seed)
    uses_keras = is_keras(model)
    _check_example_input(task, kind=np.ndarray if uses_keras else torch.Tensor)
    _check_metric(spec, task, probed)
    _check_test_split(spec, task)
    if spec.model is None:
        checked_privacy(task, spec.train, seed=spec.seed)
    if spec.audit is not None:
        check_auditable(spec, task)
    if spec.explain.samples and not uses_keras:
        check_method(task, model, spec.explain.method)
    if spec.explain.corruptions is not None:
        check_corruptible(spec, task, model)
    if spec.compress is not None:
        check_terms(spec.compress.score, list(probed.metrics))
        with tempfile.TemporaryDirectory(prefix="ayni-trial-") as folder:
            attempt = try_keras_steps if uses_keras else try_steps
            attempt(task, spec.compress, seed=spec.seed, folder=Path(folder))


def _check_names(task: Task, method: str) -> None:
    if not hasattr(task, method):
        return
    try:
        names = getattr(task, method)()
    except Exception as error:
        raise TaskFailedError(method=method, cause=error) from error
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UnusableNamesError(method, names)


def _check_example_input(task: Task, *, kind: type[Any]) -> None:
    try:
        example: Any = task.example_input()
        if not isinstance(example, kind) or example.ndim < 1 or len(example) != 1:
            shown = tuple(example.shape) if isinstance(example, kind) else type(example).__name__
            raise ValueError(f"found {shown}, expected one {kind.__name__} with a batch dimension of 1")
    except Exception as error:
        raise TaskFailedError(method="example_input", cause=error) from error


def _check_metric(spec: JobSpec, task: Task, probed: Probe) -> None:
    if not _first_is_finite(probed.metrics):
        # The probe saw few examples, on which a rank or a ratio may be undefined: then all of them decide.
        metrics = _evaluated(spec, task, "validation", num_examples=probed.num_validation_examples)
        if not _first_is_finite(metrics):
            name, value = next(iter(metrics.items()), ("nothing", math.nan))
            raise UnusableMetricError(metric=name, value=value)


def _first_is_finite(metrics: Mapping[str, float]) -> bool:
    return math.isfinite(next(iter(metrics.values()), math.nan))


def _check_test_split(spec: JobSpec, task: Task) -> None:
    """Training never looks at this split; variants are measured on it."""
    num_examples = len(load_dataset(task, "test", seed=spec.seed))
    if num_examples:
        _evaluated(spec, task, "test", num_examples=min(num_examples, NUM_TEST_EXAMPLES))
    elif spec.compress is not None:
        raise EmptyDatasetError("test")


def _evaluated(spec: JobSpec, task: Task, split: str, *, num_examples: int) -> dict[str, float]:
    """The metrics of an untrained model on the first examples of a split."""
    dataset = load_dataset(task, split, seed=spec.seed)
    try:
        examples = [dataset[index] for index in range(num_examples)]
    except Exception as error:
        raise TaskFailedError(method=f"dataset({split!r})[index]", cause=error) from error
    with one_thread():
        return make_replica(task, spec.train, seed=spec.seed).evaluate(examples)
