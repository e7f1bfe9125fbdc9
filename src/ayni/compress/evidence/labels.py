"""What a task says about its examples beside their inputs: the right class, names of classes, slices.

A task owes none of it. An example is read as the batches that torch makes of it are: (input, label),
{"label": ...}, a named tuple. What is no class is told apart from what is wrong: a task without classes gets
a reason, a task whose slices do not fit its split gets an error.

Not covered: labels that only the task's own evaluate makes of an example.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ayni.compress.evidence.changes import Booleans
from ayni.errors import UserError
from ayni.task import Task, TaskFailedError

LABEL_NAMES = ("label", "labels", "y")
"""What the label of an example is called, where its parts have names; the first that is there."""


class UnusableSlicesError(UserError):
    """What the task gives as slices does not say of each example whether it belongs."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The task's slices() cannot be used: {reason}. Return names with one value for each example of "
            'the split, 1 or True where it belongs, as in {"dark": [0, 1, 1, 0]}.'
        )


def label_of(example: Any) -> int | str:
    """The class number of an example, which may be out of range; or in words what there is instead."""
    if isinstance(example, Mapping):
        name = next((name for name in LABEL_NAMES if name in example), None)
        if name is None:
            entries = ", ".join(str(name) for name in example) or "nothing"
            return f"an example holds {entries}, and nothing called {', '.join(LABEL_NAMES)}"
        return _class_number(example[name])
    if not isinstance(example, tuple | list) or len(example) < 2:
        return f"an example is a {type(example).__name__} without a label beside the input"
    name = next((name for name in LABEL_NAMES if name in getattr(example, "_fields", ())), None)
    return _class_number(example[-1] if name is None else getattr(example, name))


def class_names(task: Task, num_classes: int) -> tuple[str, ...] | None:
    """The task's own names, if there is one for each class.

    Raises:
        TaskFailedError: `labels` raised.
    """
    method = getattr(task, "labels", None)
    if method is None:
        return None
    try:
        names = tuple(str(name) for name in method())
    except Exception as error:
        raise TaskFailedError(method="labels", cause=error) from error
    return names if len(names) == num_classes else None


def task_slices(task: Task, split: str, *, num_examples: int) -> dict[str, Booleans]:
    """Which examples belong to each slice that the task names; empty for a task without `slices`.

    Raises:
        TaskFailedError: `slices` raised.
        UnusableSlicesError: no mapping, a name that is no text, or not one 0 or 1 for each example.
    """
    method = getattr(task, "slices", None)
    if method is None:
        return {}
    try:
        found = method(split)
    except Exception as error:
        raise TaskFailedError(method="slices", cause=error) from error
    if not isinstance(found, Mapping):
        raise UnusableSlicesError(f"for the {split} split it is a {type(found).__name__}, and no mapping")
    for name in found:
        if not isinstance(name, str):
            raise UnusableSlicesError(f"the name {name!r:.40} is no text")
    return {name: _membership(name, values, num_examples) for name, values in found.items()}


def _class_number(value: Any) -> int | str:
    if isinstance(value, torch.Tensor):
        is_whole = not (value.is_floating_point() or value.is_complex())
        size, kind = value.numel(), str(value.dtype).removeprefix("torch.")
    elif isinstance(value, bool | int | float | np.generic | np.ndarray):
        value = np.asarray(value)
        is_whole, size, kind = value.dtype.kind in "iub", value.size, str(value.dtype)
    else:
        return f"a label is a {type(value).__name__}, not the number of a class"
    if size != 1:
        return f"a label holds {size} numbers, not one class"
    if not is_whole:
        return f"a label is a number of type {kind}, not the whole number of a class"
    return int(value.item())


def _membership(name: str, values: Any, num_examples: int) -> Booleans:
    try:
        mask = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    except (ValueError, TypeError) as error:  # Lists of unequal lengths inside, or bfloat16.
        raise UnusableSlicesError(f"slice {name!r} is no list of values ({error})") from error
    if mask.ndim != 1:
        raise UnusableSlicesError(f"slice {name!r} is a {type(values).__name__} of the shape {mask.shape}")
    if len(mask) != num_examples:
        raise UnusableSlicesError(
            f"slice {name!r} has {len(mask)} values, and the split has {num_examples} examples"
        )
    is_whole = mask.dtype.kind in "biu"
    wrong = np.flatnonzero((mask != 0) & (mask != 1)) if is_whole else np.arange(len(mask))
    if len(wrong):
        raise UnusableSlicesError(f"slice {name!r} has {mask.tolist()[wrong[0]]!r} at place {wrong[0]}")
    return mask.astype(np.bool_)
