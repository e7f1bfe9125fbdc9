"""Examples as two arrays: what generators, audits and corruptions work on.

Legend: N examples, `...` the shape of one input.

Not covered: inputs of different shapes, several inputs an example, and labels that are no class numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ayni.errors import UserError


class RecordsError(UserError):
    """Examples that cannot be used as a table of inputs and classes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Records:
    """Inputs [N, ...], float32, finite, and class numbers [N], int64, 0 or more. N is 1 or more."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            RecordsError: there is nothing, lengths differ, an input is not finite (the row is named), or a
                label is negative.
        """
        if len(self.inputs) == 0:
            raise RecordsError("There are no examples: expected at least one.")
        if self.inputs.ndim < 2 or self.labels.shape != (len(self.inputs),):
            raise RecordsError(
                f"Inputs {self.inputs.shape} and labels {self.labels.shape} do not fit: "
                "expected [N, ...] and [N]."
            )
        if self.inputs.dtype != np.float32 or self.labels.dtype != np.int64:
            raise RecordsError(
                f"Inputs are {self.inputs.dtype} and labels {self.labels.dtype}: expected float32 and int64."
            )
        rows = np.flatnonzero(~np.isfinite(self.inputs.reshape(len(self.inputs), -1)).all(axis=1))
        if len(rows):
            raise RecordsError(
                f"{len(rows)} of {len(self.inputs)} examples hold NaN or infinity, the first at row "
                f"{rows[0]}. Fill or drop them."
            )
        if self.labels.min() < 0:
            row = int(np.flatnonzero(self.labels < 0)[0])
            raise RecordsError(f"The label of row {row} is {self.labels[row]}: classes are numbered from 0.")

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def num_classes(self) -> int:
        """The highest class number and one; classes in between may have no example."""
        return int(self.labels.max()) + 1

    def subset(self, rows: Sequence[int] | NDArray[np.integer[Any]] | NDArray[np.bool_]) -> Self:
        """The examples at `rows` (numbers or a mask), in that order.

        Raises:
            RecordsError: no row is left.
        """
        chosen = np.asarray(rows)
        if chosen.size == 0:
            raise RecordsError("No example is left after choosing rows.")
        return type(self)(inputs=self.inputs[chosen], labels=self.labels[chosen])

    def joined(self, other: Self) -> Self:
        """These examples and then those.

        Raises:
            RecordsError: one input is of another shape there.
        """
        if self.inputs.shape[1:] != other.inputs.shape[1:]:
            raise RecordsError(
                f"Inputs of shape {self.inputs.shape[1:]} cannot be joined with {other.inputs.shape[1:]}."
            )
        return type(self)(
            inputs=np.concatenate([self.inputs, other.inputs]),
            labels=np.concatenate([self.labels, other.labels]),
        )


def records_of(dataset: Sequence[Any]) -> Records:
    """The examples of a task's split, pairs of an input and a class number, as arrays.

    Raises:
        RecordsError: an example is not such a pair or has another shape than the first (the row is named),
            or what `Records` refuses.
    """
    if len(dataset) == 0:
        raise RecordsError("There are no examples: expected at least one.")
    inputs: list[NDArray[np.float32]] = []
    labels: list[int] = []
    for row in range(len(dataset)):
        values, label = _pair(dataset[row], row)
        if inputs and values.shape != inputs[0].shape:
            raise RecordsError(
                f"Row {row} has the shape {values.shape}, row 0 has {inputs[0].shape}: expected one shape."
            )
        inputs.append(values)
        labels.append(label)
    return Records(inputs=np.stack(inputs), labels=np.array(labels, dtype=np.int64))


def _pair(example: Any, row: int) -> tuple[NDArray[np.float32], int]:
    if not isinstance(example, tuple | list) or len(example) != 2:
        raise RecordsError(f"Row {row} is not a pair of an input and a class number.")
    try:
        values, label = np.asarray(example[0], dtype=np.float32), np.asarray(example[1])
    except (TypeError, ValueError) as error:
        raise RecordsError(f"Row {row} holds something that is no array of numbers: {error}.") from error
    if label.dtype.kind not in "iu" or label.ndim > 0:
        raise RecordsError(f"The label of row {row} is {label!r}: expected one whole number.")
    # A single number as input becomes a row of one.
    return np.atleast_1d(values), int(label)
