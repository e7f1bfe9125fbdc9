"""Which examples an attempt takes: one endless stream, handed out in blocks.

The stream visits all training examples once in each epoch, in the epoch's own random order; position p
is example number p % num_examples of epoch p // num_examples. An attempt leases a block of positions.
When its update enters the model the block is committed, otherwise it goes back and is leased first.
So learners may come, go and differ in speed: no position counts twice, and what was given back is used
before anything new.

Everything is a function of (seed, number of examples) and the committed blocks, so that those blocks are
all that must be kept to go on exactly.

Not covered: data that has no length.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ayni.errors import UserError

Interval: TypeAlias = tuple[int, int]

# Streams of random numbers that must differ although they share the job's seed.
_EPOCH_STREAM = 2


class EmptyDatasetError(UserError):
    """A split of the task has no examples."""

    def __init__(self, split: str) -> None:
        self.split = split
        super().__init__(
            f"The task's {split} split is empty: dataset({split!r}) has length 0. "
            "Check the path and the filter."
        )


class TooFewExamplesError(UserError):
    """There is less data than one step of all learners takes."""

    def __init__(self, *, num_examples: int, num_learners: int, batch_size: int) -> None:
        self.num_examples = num_examples
        super().__init__(
            f"{num_examples} training examples are too few for {num_learners} learners with batches of "
            f"{batch_size}: one step takes {num_learners * batch_size}. "
            "Lower train.learners or train.batch_size."
        )


def check_data_suffices(*, num_examples: int, num_learners: int, batch_size: int) -> None:
    """Refuse data that cannot fill one step of all learners.

    Raises:
        EmptyDatasetError: no training example at all.
        TooFewExamplesError: fewer than `num_learners * batch_size`.
    """
    if num_examples == 0:
        raise EmptyDatasetError("train")
    if num_examples < num_learners * batch_size:
        raise TooFewExamplesError(num_examples=num_examples, num_learners=num_learners, batch_size=batch_size)


class Stream:
    """Blocks of the stream: committed, leased, or free. Intervals are half-open, [start, end).

    Blocks are contiguous because an order has one start. As long as every lease is a multiple of the
    batch size, so is every hole that a block leaves behind.
    """

    def __init__(self) -> None:
        self._committed: list[Interval] = []
        self._leased: dict[int, int] = {}

    def fitting(self, num_samples: int) -> int:
        """The most that the next lease can take of `num_samples` and still fill the first hole.

        Leases of different lengths (learners of different speed) would pass over a hole that is too
        short for them; who asks for this many fills it.
        """
        first = next(self._free(), None)
        return num_samples if first is None else min(num_samples, first[1] - first[0])

    def lease(self, num_samples: int) -> int:
        """Start of a block that nobody else has: in the first hole that is long enough, or behind all.

        The attempt after a lost one gets the same block when it asks for as many examples.
        """
        if num_samples < 1:
            raise ValueError(f"cannot lease {num_samples} examples: at least 1")
        for start, end in self._free():
            if end - start >= num_samples:
                break
        else:
            start = max((end for _, end in self._taken()), default=0)
        self._leased[start] = start + num_samples
        return start

    def give_back(self, start: int, num_samples: int) -> None:
        """Free a leased block: its attempt will not enter the model.

        Raises:
            ValueError: no such block is leased.
        """
        self._end_lease(start, num_samples)

    def commit(self, start: int, num_samples: int) -> None:
        """Use up a leased block: its update enters the model.

        Raises:
            ValueError: no such block is leased.
        """
        self._end_lease(start, num_samples)
        self._committed = _merged([*self._committed, (start, start + num_samples)])

    @property
    def holes(self) -> list[Interval]:
        """What is not committed below the last committed position, leased blocks among it."""
        return list(_gaps(self._committed))

    def to_json(self) -> dict[str, Any]:
        """The committed blocks, merged: what was leased belongs to attempts that a restart forgets."""
        return {"committed": [list(interval) for interval in self._committed]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Stream":
        """The stream that `to_json` described, with nothing leased.

        Raises:
            ValueError: not intervals of whole numbers in rising order without overlap.
        """
        stream = cls()
        blocks = data.get("committed")
        if not isinstance(blocks, list) or not all(map(_is_interval, blocks)):
            raise ValueError(f"committed must be intervals of whole numbers in {dict(data)}")
        committed = [(start, end) for start, end in blocks]
        if any(end > start for (_, end), (start, _) in pairwise(committed)):
            raise ValueError(f"committed blocks overlap in {dict(data)}")
        stream._committed = _merged(committed)
        return stream

    def _end_lease(self, start: int, num_samples: int) -> None:
        if self._leased.get(start) != start + num_samples:
            raise ValueError(f"the block [{start}, {start + num_samples}) is not leased")
        del self._leased[start]

    def _taken(self) -> list[Interval]:
        return sorted([*self._committed, *self._leased.items()])

    def _free(self) -> Iterator[Interval]:
        return _gaps(self._taken())


def _is_interval(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(number) is int for number in value)
        and 0 <= value[0] < value[1]
    )


def _gaps(intervals: list[Interval]) -> Iterator[Interval]:
    """What is missing from 0 to the last end; the intervals are sorted and disjoint."""
    reached = 0
    for start, end in intervals:
        if start > reached:
            yield reached, start
        reached = end


def _merged(intervals: list[Interval]) -> list[Interval]:
    """The same positions with intervals that touch joined, sorted."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def sample_order(*, seed: int, num_examples: int, start: int, num_samples: int) -> list[int]:
    """The examples at the positions from `start` on, as indices into the dataset.

    Cost: O(num_examples) for an epoch that was not asked for lately, else O(num_samples).
    """
    if num_examples < 1 or start < 0 or num_samples < 0:
        raise ValueError(f"no {num_samples} samples from position {start} of {num_examples} examples")
    indices: list[int] = []
    while len(indices) < num_samples:
        epoch, position = divmod(start + len(indices), num_examples)
        wanted = num_samples - len(indices)
        indices += _order_of(seed, num_examples, epoch)[position : position + wanted].tolist()
    return indices


# Two, because the blocks of an epoch's end and of the next one's beginning are worked on at once.
@lru_cache(maxsize=2)
def _order_of(seed: int, num_examples: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, _EPOCH_STREAM, epoch]).permutation(num_examples)
