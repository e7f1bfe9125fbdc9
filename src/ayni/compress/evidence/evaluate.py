"""Quality of a model on a split: the task's metrics, and how sure the first one can be.

A few evenly spaced examples instead of all are a cheap stand-in while many variants are tried; numbers that
are kept come from the whole split.

Two intervals at 95 %. Where the metric is a share of examples (accuracy), Wilson's interval. Otherwise
Student's interval over the values of batches, provided that their weighted mean is the metric.

Not covered: an interval of the difference between two variants on the same examples, which is narrower
than either interval; intervals for metrics that are neither shares nor means over examples (F1, AUC).
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ayni.compress.calibration import spread
from ayni.compress.deploy.runtimes import Runtime
from ayni.compress.evidence.paired import student_quantile
from ayni.errors import AyniError, UserError
from ayni.intervals import LEVEL, wilson_interval
from ayni.task import Task, TaskFailedError
from ayni.train import keras_batches, local

EVALUATION_BATCH_SIZE = 128
MAX_INTERVAL_BATCHES = 20
ROUNDING = 1e-6
MEAN_TOLERANCE = 0.02
"""Share of the half width. Not 0, for a dynamically quantized model answers a little by its batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where the true value of a metric lies with probability LEVEL, as far as sampling goes."""

    low: float
    high: float
    method: Literal["wilson", "batches"]
    level: float = LEVEL

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"low": self.low, "high": self.high, "method": self.method, "level": self.level}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Interval":
        """The interval that `to_json` wrote."""
        return cls(low=data["low"], high=data["high"], method=data["method"], level=data["level"])


class NonFiniteMetricError(UserError):
    """The full model's metrics are not numbers, so nothing can be compared with them."""

    def __init__(self, *, metric: str, value: float, split: str) -> None:
        self.metric = metric
        super().__init__(
            f"The task's evaluate gives {metric} = {value} for the full model on the {split} split. "
            "Mend the metric or the training; variants are measured against it."
        )


def evaluate_split(
    task: Task,
    runtime: Runtime,
    split: str,
    *,
    is_reference: bool = False,
    max_examples: int | None = None,
    takes_arrays: bool = False,
) -> dict[str, float]:
    """The task's metrics over a split, in the task's order.

    Values that are not finite are left out: a variant may be that bad, and then it does not qualify.

    Args:
        task: what evaluates.
        runtime: the model.
        split: whose examples.
        is_reference: this is the full model, whose metrics must be numbers.
        max_examples: at most so many, evenly spaced; all of them when None.
        takes_arrays: the task is one of Keras, whose batches are numpy arrays.

    Raises:
        TaskFailedError: the task's evaluate raised.
        NonFiniteMetricError: `is_reference`, and a value is not finite or there is none.
    """
    dataset = task.dataset(split)
    indices = chosen_examples(len(dataset), max_examples)
    return evaluate_examples(
        task,
        runtime,
        dataset,
        split=split,
        indices=indices,
        is_reference=is_reference,
        takes_arrays=takes_arrays,
    )


def chosen_examples(num_examples: int, max_examples: int | None) -> list[int]:
    """Indices of all examples, or of so many evenly spaced ones.

    Raises:
        ValueError: not even one is allowed.
    """
    if max_examples is not None and max_examples < 1:
        raise ValueError(f"max_examples is at least 1, or None for all, not {max_examples}")
    return spread(num_examples, num_examples if max_examples is None else max_examples)


def evaluate_examples(
    task: Task,
    runtime: Runtime,
    dataset: Sequence[Any],
    *,
    split: str,
    indices: Sequence[int],
    is_reference: bool = False,
    takes_arrays: bool = False,
) -> dict[str, float]:
    """As `evaluate_split`, over these examples of a dataset that was loaded already.

    Raises:
        TaskFailedError, NonFiniteMetricError: as there.
    """
    metrics = _metrics(task, runtime, _batches(dataset, indices, takes_arrays=takes_arrays))
    if is_reference:
        for name, value in (metrics or {"nothing": math.nan}).items():
            if not math.isfinite(value):
                raise NonFiniteMetricError(metric=name, value=value, split=split)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def metric_interval(
    task: Task, runtime: Runtime, split: str, *, metric: str, value: float, takes_arrays: bool = False
) -> Interval | None:
    """Interval of a metric whose value on the whole of `split` is known; None when no method fits."""
    dataset = task.dataset(split)
    num_examples = len(dataset)
    num_right = value * num_examples
    if 0 <= value <= 1 and abs(num_right - round(num_right)) < 1e-6 * num_examples:
        low, high = wilson_interval(round(num_right), num_examples)
        return Interval(low=low, high=high, method="wilson")

    def metric_of(run: Sequence[int]) -> float:
        return _metrics(task, runtime, _batches(dataset, run, takes_arrays=takes_arrays)).get(
            metric, math.nan
        )

    return batch_interval(value, num_examples, metric_of)


def batch_interval(
    value: float, num_examples: int, metric_of: Callable[[Sequence[int]], float]
) -> Interval | None:
    """Student's interval of a mean over examples, from its values on B equal batches.

        value +- t(B - 1) * s / sqrt(B)

    Batches are runs of neighbours, so that correlation between neighbours (windows of one text) widens
    the interval as it should. None with fewer than 4 batches, or when the mean of the batches is not
    `value`: then the metric is no mean, and this formula would be wrong.
    """
    num_batches = min(MAX_INTERVAL_BATCHES, num_examples)
    if num_batches < 4:
        return None
    edges = [index * num_examples // num_batches for index in range(num_batches + 1)]
    runs = [range(low, high) for low, high in itertools.pairwise(edges)]
    values = [metric_of(run) for run in runs]
    mean = sum(len(run) * item for run, item in zip(runs, values, strict=True)) / num_examples
    deviation = math.sqrt(sum((item - mean) ** 2 for item in values) / (num_batches - 1))
    half_width = student_quantile(num_batches - 1) * deviation / math.sqrt(num_batches)
    if not abs(mean - value) <= max(ROUNDING * abs(value), MEAN_TOLERANCE * half_width):
        return None
    return Interval(low=value - half_width, high=value + half_width, method="batches")


def _batches(dataset: Sequence[Any], indices: Sequence[int], *, takes_arrays: bool) -> Iterator[Any]:
    make = keras_batches.batches if takes_arrays else local.batches
    return make(dataset, EVALUATION_BATCH_SIZE, indices=indices)


def _metrics(task: Task, runtime: Runtime, of_batches: Iterator[Any]) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in task.evaluate(runtime, of_batches).items()}
    except AyniError:
        raise
    except Exception as error:
        raise TaskFailedError(method="evaluate", cause=error) from error
