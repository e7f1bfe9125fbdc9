"""Examples of a Keras task as batches of numpy arrays, which every backend of Keras takes.

Not covered: examples of different shapes (pad them in the task), and text, which stays an array of str.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def stack(examples: Sequence[Any]) -> Any:
    """Examples as one: arrays and numbers stacked, tuples and mappings kept. Whole numbers are int64."""
    first = examples[0]
    if isinstance(first, Mapping):
        return {key: stack([example[key] for example in examples]) for key in first}
    if isinstance(first, tuple | list):
        return tuple(stack(column) for column in zip(*examples, strict=True))
    stacked: NDArray[Any] = np.stack([np.asarray(example) for example in examples])
    return stacked.astype(np.float32) if isinstance(first, float) else stacked


def batches(
    dataset: Sequence[Any], batch_size: int = 64, *, indices: Sequence[int] | None = None
) -> Iterator[Any]:
    """The dataset in order, or in the order of `indices`; the last batch may be smaller."""
    order = range(len(dataset)) if indices is None else indices
    for start in range(0, len(order), batch_size):
        yield stack([dataset[row] for row in order[start : start + batch_size]])
