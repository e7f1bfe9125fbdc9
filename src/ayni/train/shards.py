"""Who learns from which example, and in which order: disjoint shards, one permutation per epoch.

Everything is a function of (seed, number of examples, number of learners), so that a cursor of two
integers is all that must be kept to go on exactly where a learner was.

Not covered: shards in proportion to the speed of machines, and data that has no length.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ayni.errors import UserError

# Streams of random numbers that must differ although they share the job's seed.
_SPLIT_STREAM, _EPOCH_STREAM = 1, 2


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


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cursor:
    """Place in a learner's stream: the next example is number `position` of epoch `epoch`."""

    epoch: int = 0
    position: int = 0


@dataclass(slots=True)
class Shard:
    """The examples of one learner and the order in which each epoch visits them."""

    seed: int
    learner: int
    indices: NDArray[np.int64]
    _epoch: int = -1
    _order: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, cursor: Cursor, num_samples: int) -> tuple[list[tuple[int, int]], Cursor]:
        """The next (epoch, sample) pairs of the stream, and the cursor after them."""
        pairs: list[tuple[int, int]] = []
        epoch, position = cursor.epoch, cursor.position
        while len(pairs) < num_samples:
            piece = self._order_of(epoch)[position : position + num_samples - len(pairs)]
            pairs += [(epoch, int(sample)) for sample in piece]
            position += len(piece)
            if position == len(self):
                epoch, position = epoch + 1, 0
        return pairs, Cursor(epoch=epoch, position=position)

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, _EPOCH_STREAM, self.learner, epoch])
            self._epoch, self._order = epoch, rng.permutation(self.indices)
        return self._order


def make_shard(*, seed: int, num_examples: int, num_learners: int, learner: int) -> Shard:
    """The shard of one learner; the shards of all learners are disjoint and cover every example.

    Sizes differ by one example at most. Cost: O(num_examples), once per learner and job.

    Raises:
        ValueError: fewer examples than learners, or no such learner.
    """
    if not 0 <= learner < num_learners <= num_examples:
        raise ValueError(f"no shard {learner} of {num_learners} in {num_examples} examples")
    order = np.random.default_rng([seed, _SPLIT_STREAM]).permutation(num_examples)
    return Shard(seed=seed, learner=learner, indices=order[learner::num_learners])


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
