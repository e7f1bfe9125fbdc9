"""A simple model beside the trained one: is the network worth its energy?

The task's own `baseline()` if it has one; else logistic regression when an example is a pair of a
float array and a class number; else none, with the reason.

The fitted model is handed to the task's own `evaluate`, so that the row has the same metrics as the
others. It is fitted on the training split and measured on the test split, and sees no augmentation.

Not covered: tuning of the baseline, regression, text (a task with text states its own baseline).
"""

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ayni.errors import MissingExtraError
from ayni.intervals import LEVEL, wilson_interval
from ayni.task import Task, TaskFailedError

if TYPE_CHECKING:
    import numpy as np
    import torch

MAX_TRAIN_EXAMPLES = 10_000
EVALUATION_BATCH_SIZE = 256


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
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Baseline":
        """The baseline that `to_json` wrote."""
        found = data["interval"]
        interval = (found["low"], found["high"]) if found else None
        return cls(**{**data, "interval": interval})


@dataclass(frozen=True, slots=True, kw_only=True)
class NoBaseline:
    """There is no simple model beside this one, and why."""

    reason: str


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
    train, test = _dataset(task, "train"), _dataset(task, split)
    if reason := why_unsuitable(train):
        return NoBaseline(reason=reason)
    try:
        model, note = _fit_logistic_regression(train, seed)
    except MissingExtraError:
        raise
    except Exception as error:  # Whatever scikit-learn, NumPy or the examples themselves raise.
        return NoBaseline(reason=f"logistic regression could not be fitted ({_told(error)})")
    try:
        metrics, num_right = _evaluate(task, model, test, takes_arrays=takes_arrays)
    except Exception as error:
        return NoBaseline(
            reason="the task's evaluate cannot be given logits of classes, which is what logistic "
            f"regression answers ({_told(error)})"
        )
    is_share = math.isclose(next(iter(metrics.values())), num_right / len(test), abs_tol=1e-9)
    return Baseline(
        name="logistic regression",
        metrics=metrics,
        interval=wilson_interval(num_right, len(test)) if is_share else None,
        seconds=time.perf_counter() - started,
        note=note,
    )


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
    """What the task measured itself: names to numbers, and under "name" what the model is called."""
    try:
        stated = dict(method())
    except Exception as error:
        return NoBaseline(reason=f"the task's baseline failed ({_told(error)})")
    name = str(stated.pop("name", "the task's own baseline"))
    for key, value in stated.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return NoBaseline(reason=f"the task's baseline gives {key} = {value!r}, expected a finite number")
    return Baseline(
        name=name,
        metrics={str(key): float(value) for key, value in stated.items()},
        interval=None,
        seconds=time.perf_counter() - started,
        note="Measured by the task itself.",
    )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _fit_logistic_regression(train: Sequence[Any], seed: int) -> "tuple[torch.nn.Module, str]":
    import numpy as np

    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError(extra="explain", package="scikit-learn") from error
    rows = np.arange(len(train))
    if len(rows) > MAX_TRAIN_EXAMPLES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_TRAIN_EXAMPLES, replace=False))
    inputs, labels = _arrays(train, rows.tolist())
    shift, scale = _standardisation(inputs)
    regression = LogisticRegression(tol=1e-3, max_iter=300)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        regression.fit((inputs.reshape(len(inputs), -1) - shift) / scale, labels)
    note = f"scikit-learn, C = 1, on {len(rows)} of {len(train)} training examples, without augmentation."
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        note += " It did not converge in 300 iterations."
    return _as_module(regression, shift, scale), note


def _arrays(dataset: Sequence[Any], rows: list[int]) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Inputs [N, ...] and class numbers [N]."""
    import numpy as np

    examples = [dataset[row] for row in rows]
    return np.stack([np.asarray(x, dtype=np.float64) for x, _ in examples]), np.array(
        [int(y) for _, y in examples]
    )


def _standardisation(inputs: "np.ndarray[Any, Any]") -> "tuple[Any, Any]":
    """Shift and scale [D] of each feature of a table; of images one scale for all, to spare rare pixels."""
    import numpy as np

    flat = inputs.reshape(len(inputs), -1)
    if inputs.ndim > 2:
        return np.zeros(flat.shape[1]), np.full(flat.shape[1], np.abs(flat).max() or 1.0)
    deviation = flat.std(axis=0)
    return flat.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def _as_module(regression: Any, shift: Any, scale: Any) -> "torch.nn.Module":
    """The same model as a torch module from raw inputs to logits, for the task's own `evaluate`.

    Logits of two classes are (0, w x + b). Classes that the training split lacks get -1e9.
    """
    import numpy as np
    import torch

    weights, biases = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:
        weights, biases = np.vstack([0 * weights, weights]), np.array([0.0, biases[0]])
    num_classes = int(regression.classes_.max()) + 1
    linear = torch.nn.Linear(weights.shape[1], num_classes, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.fill_(-1e9)
        linear.weight[regression.classes_] = torch.from_numpy(weights / scale)
        linear.bias[regression.classes_] = torch.from_numpy(biases - (weights / scale) @ shift)
    return torch.nn.Sequential(torch.nn.Flatten(), linear.float()).eval()


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
            lambda inputs: model(torch.as_tensor(inputs)).detach().numpy(),
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
