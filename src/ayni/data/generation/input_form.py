"""What inputs look like, and how they become numbers for a generator and back.

Images (inputs of more than one dimension) are scaled to [-1, 1] by the range of the whole set. Rows of
tables are standardised by column, categories become one number each (1 for the category of the row).
Decoded inputs have the form of real ones: within the range that was seen, whole numbers whole, categories
among those there were.

Legend: N examples, F numbers in an input, D numbers in an encoded input.

Not covered: dates, missing values, and heavy tails, which a logarithm before would suit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ayni.data.records import Records, RecordsError

Floats = NDArray[np.float32]
# A column with more categories than this is most likely a number or a name.
MAX_CATEGORIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class InputForm:
    """Form of the inputs of a data set.

    Attributes:
        shape: of one input, without N.
        low, high: smallest and largest value: of the whole set for images, by column for tables.
        centre, scale: what is subtracted, and then divided by; as long as `low`.
        whole: columns whose values were all whole numbers.
        categories: values of each column that is a category.
    """

    shape: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    whole: tuple[int, ...] = ()
    categories: Mapping[int, tuple[float, ...]]

    @classmethod
    def of(cls, records: Records, *, category_columns: Sequence[int] = ()) -> Self:
        """The form of `records`. `category_columns` are columns whose numbers only name something.

        Raises:
            RecordsError: a category column does not exist, belongs to an image or has too many values.
        """
        inputs = records.inputs
        if inputs.ndim > 2:
            if category_columns:
                raise RecordsError(f"Inputs of the shape {inputs.shape[1:]} have no columns of categories.")
            return cls._of_images(inputs)
        categories = {column: _categories(inputs, column) for column in category_columns}
        low, high = inputs.min(axis=0), inputs.max(axis=0)
        spread = inputs.std(axis=0)
        # Fewer than all: the columns of images are too many to be looked at one by one.
        is_whole = (inputs == np.rint(inputs)).all(axis=0)
        return cls(
            shape=inputs.shape[1:],
            low=_numbers(low),
            high=_numbers(high),
            centre=_numbers(inputs.mean(axis=0)),
            # A column that never changes has no spread to divide by.
            scale=_numbers(np.where(spread > 0, spread, 1.0)),
            whole=tuple(int(column) for column in np.flatnonzero(is_whole) if column not in categories),
            categories=categories,
        )

    @classmethod
    def _of_images(cls, inputs: Floats) -> Self:
        low, high = float(inputs.min()), float(inputs.max())
        return cls(
            shape=inputs.shape[1:],
            low=(low,),
            high=(high,),
            centre=((low + high) / 2,),
            scale=((high - low) / 2 or 1.0,),
            categories={},
        )

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(channels, height, width) when inputs are images, [H, W] or [C, H, W] of at most 4 channels."""
        if len(self.shape) == 2 and min(self.shape) > 1:
            return (1, *self.shape)
        if len(self.shape) == 3 and self.shape[0] <= 4 and min(self.shape[1:]) > 1:
            channels, height, width = self.shape
            return channels, height, width
        return None

    @property
    def num_features(self) -> int:
        """F."""
        return math.prod(self.shape)

    @property
    def num_encoded(self) -> int:
        """D: one for each number, and one for each value of a category."""
        extra = sum(len(values) - 1 for values in self.categories.values())
        return self.num_features + extra

    def encode(self, inputs: Floats) -> Floats:
        """Inputs [N, ...] as [N, D], numbers first and then categories in the order of their columns."""
        flat = inputs.reshape(len(inputs), -1)
        scaled = (flat - _array(self.centre)) / _array(self.scale)
        if not self.categories:
            return np.asarray(scaled, dtype=np.float32)
        parts = [scaled[:, self._number_columns]]
        for column, values in sorted(self.categories.items()):
            parts.append(np.equal.outer(flat[:, column], _array(values)))
        joined: Floats = np.concatenate(parts, axis=1).astype(np.float32)
        return joined

    def decode(self, encoded: Floats) -> Floats:
        """[N, D] as inputs [N, ...] of this form."""
        numbers = self._number_columns
        flat = np.zeros((len(encoded), self.num_features), np.float32)
        if not self.categories:
            flat[:] = encoded
        else:
            flat[:, numbers] = encoded[:, : len(numbers)]
        flat = flat * _array(self.scale) + _array(self.centre)
        begin = len(numbers)
        for column, values in sorted(self.categories.items()):
            chosen = encoded[:, begin : begin + len(values)].argmax(axis=1)
            flat[:, column] = _array(values)[chosen]
            begin += len(values)
        return self.conform(flat)

    def conform(self, flat: Floats) -> Floats:
        """Rows [N, F] as inputs [N, ...]: inside the range, whole where they should be."""
        clipped = np.clip(flat, _array(self.low), _array(self.high))
        columns = list(self.whole)
        clipped[:, columns] = np.rint(clipped[:, columns])
        found: Floats = clipped.reshape(len(flat), *self.shape).astype(np.float32)
        return found

    @property
    def _number_columns(self) -> list[int]:
        return [column for column in range(self.num_features) if column not in self.categories]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "shape": list(self.shape),
            "low": list(self.low),
            "high": list(self.high),
            "centre": list(self.centre),
            "scale": list(self.scale),
            "whole": list(self.whole),
            "categories": {str(column): list(values) for column, values in self.categories.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The form that `to_json` wrote."""
        return cls(
            **{name: tuple(data[name]) for name in ("shape", "low", "high", "centre", "scale", "whole")},
            categories={int(column): tuple(values) for column, values in data["categories"].items()},
        )


def _array(values: Sequence[float]) -> Floats:
    return np.asarray(values, dtype=np.float32)


def _numbers(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _categories(inputs: Floats, column: int) -> tuple[float, ...]:
    if not 0 <= column < inputs.shape[1]:
        raise RecordsError(
            f"There is no column {column} for categories: they are numbered 0 to {inputs.shape[1] - 1}."
        )
    values = np.unique(inputs[:, column])
    if len(values) > MAX_CATEGORIES:
        raise RecordsError(
            f"Column {column} has {len(values)} different values, and a category has at most "
            f"{MAX_CATEGORIES}: leave it a number, or merge rare ones."
        )
    return _numbers(values)
