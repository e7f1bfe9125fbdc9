"""A simple model beside the trained one: is the network worth its energy?

The task's own `baseline()` if it has one; else logistic regression when an example is a pair of a
float array and a class number; else none, with the reason. Beside rows of a table also a small decision
tree, which people can read.

A fitted model is handed to the task's own `evaluate`, so that the row has the same metrics as the
others. It is fitted on the training split and measured on the test split, and sees no augmentation.
What it weighs is a free explanation: it is kept as the largest coefficients of each class, the rules of
the tree, or an array of weights that can be drawn as an image.

Not covered: tuning of the baseline, regression, text (a task with text states its own baseline, and may
state its coefficients).
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ayni.data.simple_models import (
    Coefficient,
    SimpleModel,
    Table,
    fit_decision_tree,
    fit_logistic_regression,
    on_arrays,
    strongest,
)
from ayni.errors import MissingExtraError
from ayni.intervals import LEVEL, wilson_interval
from ayni.task import Task, TaskFailedError

if TYPE_CHECKING:
    import numpy as np
    import torch

MAX_TRAIN_EXAMPLES = 10_000
EVALUATION_BATCH_SIZE = 256
LINEAR = "logistic regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightImage:
    """What a linear model weighs in an image for one answer."""

    answer: str
    image: str
    """PNG, red where light speaks for the answer and blue where it speaks against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A simple model's result on the test split."""

    name: str
    metrics: Mapping[str, float]
    interval: tuple[float, float] | None
    """95 % interval of the first metric (Wilson) when that is a share of right answers, else None."""
    seconds: float
    """Time to fit and evaluate."""
    note: str = ""
    coefficients: Sequence[Coefficient] = ()
    """Of a linear model the largest of each answer; empty where there are none to tell."""
    rules: str = ""
    """Of a decision tree, in lines."""
    images: Sequence[WeightImage] = ()
    """Of a linear model of images, one for each answer; whoever can draw adds them."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; the interval with its level and method."""
        interval = self.interval and {
            "low": self.interval[0],
            "high": self.interval[1],
            "level": LEVEL,
            "method": "wilson",
        }
        return {
            "name": self.name,
            "metrics": dict(self.metrics),
            "interval": interval,
            "seconds": self.seconds,
            "note": self.note,
            "coefficients": [dataclasses.asdict(each) for each in self.coefficients],
            "rules": self.rules,
            "images": [dataclasses.asdict(each) for each in self.images],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Baseline":
        """The baseline that `to_json` wrote."""
        found = data["interval"]
        # Runs from before there were explanations of baselines have neither coefficients nor images.
        return cls(
            **{
                **data,
                "interval": (found["low"], found["high"]) if found else None,
                "coefficients": tuple(Coefficient(**each) for each in data.get("coefficients", ())),
                "images": tuple(WeightImage(**each) for each in data.get("images", ())),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoBaseline:
    """There is no simple model beside this one, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """The simple models beside a network, and what is needed to look into them."""

    first: Baseline | NoBaseline
    """The task's own, or logistic regression."""
    tree: Baseline | None = None
    """A decision tree; None where examples are no rows of a table, or none could be fitted."""
    model: "torch.nn.Module | None" = None
    """The logistic regression, from raw inputs to logits; None where `first` is none."""
    weights: "np.ndarray[Any, Any] | None" = None
    """Its weights [C, ...] in the shape of an input that is no row; two classes have one."""
    weight_names: Sequence[str] = ()
    """The answers that `weights` are for."""


def fit_baseline(
    task: Task, *, seed: int, takes_arrays: bool = False, split: str = "test"
) -> Baseline | NoBaseline:
    """Fit and evaluate the simple model that suits the task.

    A baseline that fails is a reason and no error: it is a comparison, and the result that it should be
    compared with is there already.

    Args:
        task: What is learned.
        seed: Chooses the training examples when there are more than MAX_TRAIN_EXAMPLES.
        takes_arrays: The task's evaluate works on numpy arrays, as that of a Keras model does, and not on
            tensors of torch.
        split: What the metrics are of. A baseline that the task states itself is of whatever it says.

    Raises:
        TaskFailedError: the task's dataset raised.
        MissingExtraError: scikit-learn is needed and absent.
    """
    started = time.perf_counter()
    if hasattr(task, "baseline"):
        return _stated_baseline(task.baseline, started)
    return _fit_linear(task, seed=seed, takes_arrays=takes_arrays, split=split).first


def fit_baselines(task: Task, *, seed: int, takes_arrays: bool = False) -> Baselines:
    """The same, and a decision tree where examples are rows of a table; both with what they weigh.

    Raises:
        TaskFailedError, MissingExtraError: see `fit_baseline`.
    """
    started = time.perf_counter()
    if hasattr(task, "baseline"):
        found = Baselines(first=_stated_baseline(task.baseline, started))
    else:
        found = _fit_linear(task, seed=seed, takes_arrays=takes_arrays, split="test")
    tree = _fit(task, fit_decision_tree, "test", seed=seed, takes_arrays=takes_arrays, rows_only=True)
    return found if isinstance(tree, NoBaseline) else replace(found, tree=tree[0])


def _fit_linear(task: Task, *, seed: int, takes_arrays: bool, split: str) -> Baselines:
    found = _fit(task, fit_logistic_regression, split, seed=seed, takes_arrays=takes_arrays)
    if isinstance(found, NoBaseline):
        return Baselines(first=found)
    baseline, fitted = found
    return Baselines(
        first=baseline, model=fitted.module, weights=fitted.weights, weight_names=fitted.weight_names
    )


def _fit(
    task: Task,
    fit: "Callable[[Table, int], SimpleModel]",
    split: str,
    *,
    seed: int,
    takes_arrays: bool,
    rows_only: bool = False,
) -> "tuple[Baseline, SimpleModel] | NoBaseline":
    started = time.perf_counter()
    train, test = _dataset(task, "train"), _dataset(task, split)
    if reason := why_unsuitable(train):
        return NoBaseline(reason=reason)
    name = fit.__name__.removeprefix("fit_").replace("_", " ")
    try:
        table, note = _table(task, train, seed)
        if rows_only and not table.is_rows:
            return NoBaseline(reason="an example is no row of a table")
        fitted = fit(table, seed)
    except MissingExtraError:
        raise
    except Exception as error:  # Whatever scikit-learn, NumPy or the examples themselves raise.
        return NoBaseline(reason=f"{name} could not be fitted ({_told(error)})")
    try:
        metrics, num_right = _evaluate(task, fitted.module, test, takes_arrays=takes_arrays)
    except Exception as error:
        return NoBaseline(
            reason="the task's evaluate cannot be given logits of classes, which is what "
            f"{name} answers ({_told(error)})"
        )
    # Tasks may count in float32.
    is_share = math.isclose(next(iter(metrics.values())), num_right / len(test), abs_tol=1e-6)
    baseline = Baseline(
        name=name,
        metrics=metrics,
        interval=wilson_interval(num_right, len(test)) if is_share else None,
        seconds=time.perf_counter() - started,
        note=f"scikit-learn, {fitted.settings}, {note}{fitted.remark}",
        coefficients=fitted.coefficients,
        rules=fitted.rules,
    )
    return baseline, fitted


def _table(task: Task, train: Sequence[Any], seed: int) -> tuple[Table, str]:
    """Training examples as arrays, with the task's names for classes and columns, and how many they are."""
    import numpy as np

    rows = np.arange(len(train))
    if len(rows) > MAX_TRAIN_EXAMPLES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_TRAIN_EXAMPLES, replace=False))
    examples = [train[row] for row in rows.tolist()]
    table = Table(
        inputs=np.stack([np.asarray(x, dtype=np.float64) for x, _ in examples]),
        labels=np.array([int(y) for _, y in examples]),
        class_names=_names(task, "labels"),
        feature_names=_names(task, "feature_names"),
    )
    return table, f"on {len(rows)} of {len(train)} training examples, without augmentation."


def _names(task: Task, method: str) -> Sequence[str]:
    stated = getattr(task, method, None)
    return [] if stated is None else [str(name) for name in stated()]


def linear_classifier(task: Task, *, seed: int) -> "torch.nn.Module | NoBaseline":
    """Logistic regression on the training split, as a module from raw inputs to logits; or why there is none.

    Raises:
        TaskFailedError: the task's dataset raised.
        MissingExtraError: scikit-learn is needed and absent.
    """
    train = _dataset(task, "train")
    if reason := why_unsuitable(train):
        return NoBaseline(reason=reason)
    try:
        return fit_logistic_regression(_table(task, train, seed)[0], seed).module
    except MissingExtraError:
        raise
    except Exception as error:  # Whatever scikit-learn, NumPy or the examples themselves raise.
        return NoBaseline(reason=f"{LINEAR} could not be fitted ({_told(error)})")


def why_unsuitable(dataset: Sequence[Any]) -> str:
    """Why logistic regression cannot be fitted to these examples; empty when it can."""
    import numpy as np

    if len(dataset) == 0:
        return "the training split is empty"
    example = dataset[0]
    if not isinstance(example, tuple | list) or len(example) != 2:
        return "an example is not a pair of input and class"
    try:
        features, label = np.asarray(example[0]), np.asarray(example[1])
    except (TypeError, ValueError):
        return "an example holds something that is not an array"
    if features.dtype.kind != "f":
        return f"inputs are {features.dtype}, not float arrays"
    if label.dtype.kind not in "iu" or label.ndim > 0:
        return "labels are not single class numbers"
    return ""


def _stated_baseline(method: Any, started: float) -> Baseline | NoBaseline:
    """What the task measured itself: names to numbers; "name" and "coefficients" are no metrics."""
    try:
        stated = dict(method())
    except Exception as error:
        return NoBaseline(reason=f"the task's baseline failed ({_told(error)})")
    name = str(stated.pop("name", "the task's own baseline"))
    try:
        coefficients = _stated_coefficients(stated.pop("coefficients", {}))
    except (AttributeError, TypeError, ValueError) as error:
        return NoBaseline(
            reason="the task's baseline gives coefficients that are no mapping of answers to mappings of "
            f"words to finite numbers ({_told(error)})"
        )
    for key, value in stated.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return NoBaseline(reason=f"the task's baseline gives {key} = {value!r}, expected a finite number")
    return Baseline(
        name=name,
        metrics={str(key): float(value) for key, value in stated.items()},
        interval=None,
        seconds=time.perf_counter() - started,
        note="Measured by the task itself.",
        coefficients=coefficients,
    )


def _stated_coefficients(stated: Any) -> Sequence[Coefficient]:
    """The largest of each answer. Raises what a value of another kind raises."""
    found: list[Coefficient] = []
    for answer, weight_of in stated.items():
        weights = {str(word): float(weight) for word, weight in weight_of.items()}
        if not all(map(math.isfinite, weights.values())):
            raise ValueError(f"a weight of {answer} is not finite")
        found += strongest(str(answer), list(weights), list(weights.values()))
    return tuple(found)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _evaluate(
    task: Task, model: "torch.nn.Module", test: Sequence[Any], *, takes_arrays: bool
) -> tuple[dict[str, float], int]:
    """The task's metrics on the test split, and how many of its examples got the right class.

    Raises:
        ValueError: a metric is not finite, or there is none; and whatever the task raises.
    """
    import torch
    from torch.utils.data import default_collate

    batches = [
        default_collate([test[row] for row in range(first, min(first + EVALUATION_BATCH_SIZE, len(test)))])
        for first in range(0, len(test), EVALUATION_BATCH_SIZE)
    ]
    if takes_arrays:
        found = task.evaluate(
            on_arrays(model),
            [(inputs.numpy(), labels.numpy()) for inputs, labels in batches],
        )
    else:
        found = task.evaluate(model, batches)
    metrics = {name: float(value) for name, value in found.items()}
    if not metrics or not all(map(math.isfinite, metrics.values())):
        raise ValueError(f"its metrics are {metrics}")
    with torch.no_grad():
        num_right = sum(int((model(inputs).argmax(1) == labels).sum()) for inputs, labels in batches)
    return metrics, num_right


def _dataset(task: Task, split: str) -> Sequence[Any]:
    try:
        return task.dataset(split)
    except Exception as error:
        raise TaskFailedError(method=f"dataset({split!r})", cause=error) from error
