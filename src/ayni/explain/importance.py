"""Permutation importance: how much worse a model gets when the values of one feature are shuffled.

    importance of g = metric of the model - mean metric with the columns of g shuffled among the rows

Computed by scikit-learn on the test split, by the task's own `evaluate`, of any model that can be called:
no gradients are needed. Columns that are one thing (a one-hot code) are shuffled together when the task
says so with `feature_groups()`.

Legend: N examples, D features, G groups of features.

Source: Breiman, "Random forests", 2001, section 10; Fisher, Rudin, Dominici, "All models are wrong, but
many are useful", JMLR 2019, arXiv:1801.01489. Strongly correlated features share their importance, and
each of them alone may look worthless: https://scikit-learn.org/stable/modules/permutation_importance.html

Not covered: images, texts and sequences, whose places are no features of their own; the error of the test
split itself, which the interval over shuffles does not contain.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

from ayni.errors import MissingExtraError
from ayni.explain.explanation import FeatureImportance, Importance
from ayni.task import Task, TaskFailedError

MAX_EXAMPLES = 1_000
MAX_GROUPS = 200
NUM_REPEATS = 10
BATCH_SIZE = 256

Groups = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoImportance:
    """There is no permutation importance, and why."""

    reason: str


def permutation_importances(
    task: Task,
    model: Callable[[Any], Any],
    *,
    of: Literal["model", "baseline"],
    better: Literal["higher", "lower"],
    seed: int,
    takes_arrays: bool = False,
) -> Importance | NoImportance:
    """What each feature of a table is worth to a model, by the first metric of the task.

    Args:
        task: What is learned; its optional `feature_names()` names the columns, `feature_groups()` those
            that belong together (names of groups to names or numbers of columns).
        model: From a batch of inputs to what the task's `evaluate` wants.
        of: Whose importance this is.
        better: Which way the metric is better; a drop above 0 is always for the worse.
        seed: Shuffles, and chooses the rows when there are more than MAX_EXAMPLES.
        takes_arrays: The task's evaluate works on numpy arrays, as that of a Keras model does.

    Cost: NUM_REPEATS evaluations for each feature.

    Raises:
        TaskFailedError: the task's dataset, names, groups or evaluate raised.
        MissingExtraError: scikit-learn is absent.
    """
    try:
        from sklearn.inspection import permutation_importance
    except ImportError as error:
        raise MissingExtraError(extra="explain", package="scikit-learn") from error
    examples, num_test = _test_rows(task, seed)
    if reason := _why_no_rows(examples):
        return NoImportance(reason=reason)
    inputs = np.stack([np.asarray(x) for x, _ in examples])
    groups = groups_of(task, inputs[0].size)
    if len(groups) > MAX_GROUPS:
        return NoImportance(reason=f"there are {len(groups)} features, more than {MAX_GROUPS}")
    scorer = _Scorer(
        task=task,
        flat=inputs.reshape(len(inputs), -1),
        shape=inputs.shape[1:],
        labels=[label for _, label in examples],
        groups=list(groups.values()),
        sign=-1.0 if better == "lower" else 1.0,
        takes_arrays=takes_arrays,
    )
    found = permutation_importance(
        _Fitted(model),
        scorer.places(),
        np.zeros(len(inputs)),
        scoring=scorer,
        n_repeats=NUM_REPEATS,
        random_state=seed,
    )
    features = [
        _feature(name, drops) for name, drops in zip(groups, np.asarray(found["importances"]), strict=True)
    ]
    return Importance(
        of=of,
        metric=scorer.metric,
        features=sorted(features, key=lambda each: -each.mean_drop),
        num_examples=len(inputs),
        num_repeats=NUM_REPEATS,
        note=_note(len(inputs), num_test),
    )


def groups_of(task: Task, num_features: int) -> Groups:
    """Which columns are shuffled together: those that the task groups, and each other one alone.

    Raises:
        TaskFailedError: the task's names or groups raise, name columns that do not exist, or name one twice.
    """
    names = _names(task, num_features)
    stated = getattr(task, "feature_groups", None)
    groups: dict[str, list[int]] = {}
    try:
        for group, members in ({} if stated is None else stated()).items():
            groups[str(group)] = [_column(member, names) for member in members]
        taken = [column for columns in groups.values() for column in columns]
        if len(taken) != len(set(taken)):
            raise ValueError("a column is in two groups, or twice in one")
    except Exception as error:
        raise TaskFailedError(method="feature_groups", cause=error) from error
    for column, name in enumerate(names):
        if column not in taken:
            # A column may be called like a group.
            groups[name if name not in groups else f"{name} (column {column})"] = [column]
    return {name: columns for name, columns in groups.items() if columns}


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What scikit-learn takes for an estimator: it asks for `fit`, and calls nothing but our scorer."""

    model: Callable[[Any], Any]

    def fit(self, inputs: Any, labels: Any) -> "_Fitted":
        """Learn nothing: the model is trained."""
        return self


@dataclass(slots=True, kw_only=True)
class _Scorer:
    """The task's first metric for rows whose groups of columns come from different examples.

    scikit-learn shuffles single columns. So it is given places instead of values: column g of `places` says
    from which example each row takes the columns of group g. To shuffle it shuffles them together.
    """

    task: Task
    flat: NDArray[Any]
    shape: tuple[int, ...]
    labels: Sequence[Any]
    groups: Sequence[Sequence[int]]
    sign: float
    takes_arrays: bool
    metric: str = ""

    def places(self) -> NDArray[np.int64]:
        """[N, G], before anything is shuffled."""
        return np.repeat(np.arange(len(self.flat))[:, None], len(self.groups), axis=1)

    def __call__(self, estimator: _Fitted, places_NG: NDArray[np.int64], _: Any) -> float:
        """The metric, turned so that more is better."""
        mixed_ND = np.empty_like(self.flat)
        for group, columns in enumerate(self.groups):
            mixed_ND[:, columns] = self.flat[places_NG[:, group]][:, columns]
        mixed = mixed_ND.reshape(-1, *self.shape)
        try:
            with torch.no_grad():
                metrics = self.task.evaluate(estimator.model, self._batches(mixed))
            self.metric, value = next(iter(metrics.items()))
            return self.sign * float(value)
        except Exception as error:
            raise TaskFailedError(method="evaluate", cause=error) from error

    def _batches(self, inputs: NDArray[Any]) -> list[Any]:
        batches = []
        for first in range(0, len(inputs), BATCH_SIZE):
            chunk = inputs[first : first + BATCH_SIZE]
            labels = default_collate(list(self.labels[first : first + BATCH_SIZE]))
            batches.append(
                (chunk, labels.numpy()) if self.takes_arrays else (torch.from_numpy(chunk), labels)
            )
        return batches


def _test_rows(task: Task, seed: int) -> tuple[list[Any], int]:
    try:
        dataset = task.dataset("test")
        rows = np.arange(len(dataset))
        if len(rows) > MAX_EXAMPLES:
            rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_EXAMPLES, replace=False))
        return [dataset[int(row)] for row in rows], len(dataset)
    except Exception as error:
        raise TaskFailedError(method="dataset('test')", cause=error) from error


def _why_no_rows(examples: Sequence[Any]) -> str:
    """Why the examples are no rows of a table; empty when they are."""
    if len(examples) < 2:
        return f"the test split has {len(examples)} examples"
    if any(not isinstance(example, tuple | list) or len(example) != 2 for example in examples):
        return "an example is not a pair of input and label"
    try:
        inputs = [np.asarray(x) for x, _ in examples]
    except (TypeError, ValueError):
        return "an input is not an array"
    shapes = {x.shape for x in inputs}
    if len(shapes) > 1 or inputs[0].dtype.kind != "f" or not inputs[0].shape:
        return "inputs are not float arrays of one shape"
    # A shape of many axes is a row too when all but one of them are 1.
    return "" if max(inputs[0].shape) == inputs[0].size else "an input is no row of a table"


def _names(task: Task, num_features: int) -> list[str]:
    stated = getattr(task, "feature_names", None)
    try:
        names = [] if stated is None else [str(name) for name in stated()]
    except Exception as error:
        raise TaskFailedError(method="feature_names", cause=error) from error
    if len(names) == num_features and len(set(names)) == num_features:
        return names
    return [f"feature {column}" for column in range(num_features)]


def _column(member: Any, names: Sequence[str]) -> int:
    if isinstance(member, str):
        return names.index(member)
    if not 0 <= (column := int(member)) < len(names):
        raise ValueError(f"there is no column {column}: columns are 0 to {len(names) - 1}")
    return column


def _feature(name: str, drops: NDArray[np.float64]) -> FeatureImportance:
    """Mean over the repeats with the 95 % t-interval of that mean."""
    from scipy.stats import t

    mean = float(drops.mean())
    half = float(t.ppf(0.975, len(drops) - 1) * drops.std(ddof=1) / math.sqrt(len(drops)))
    return FeatureImportance(name=name, mean_drop=mean, low=mean - half, high=mean + half)


def _note(num_examples: int, num_test: int) -> str:
    drawn = "" if num_examples == num_test else f" drawn from {num_test:,}"
    return (
        f"Mean of {NUM_REPEATS} shuffles of {num_examples:,} test rows{drawn}; the interval (95 %, t) is of "
        "the shuffles and not of the test data. Features that say the same share their importance."
    )
