"""Which block of the stream a learner works on in a round, from its order until the round is closed.

A learner has one lease for each round that it was asked for: with streaming these can be two. A later
attempt at the same round uses the same block.

Not covered: where blocks lie; that is the stream's business.
"""

from collections.abc import Mapping
from typing import TypeAlias

from ayni.train.stream import Stream

Block: TypeAlias = tuple[int, int]


class Leases:
    """Blocks (start, number of examples) by (learner, round). Each is either committed or given back."""

    def __init__(self, stream: Stream, batch_size: int) -> None:
        self._stream = stream
        self._batch_size = batch_size
        self._blocks: dict[tuple[int, int], Block] = {}

    def reserve(self, *, round_: int, num_steps: Mapping[int, int]) -> None:
        """Blocks for all learners of a round, in the order given, when the first of them begins it.

        So which examples a learner gets does not depend on who came first or had to try again.
        """
        if all(known != round_ for _, known in self._blocks):
            for learner, steps in num_steps.items():
                self.take(learner=learner, round_=round_, num_steps=steps)

    def take(self, *, learner: int, round_: int, num_steps: int) -> Block:
        """The block of a learner for a round: a new one, or the one it has if that is as long."""
        num_samples = num_steps * self._batch_size
        block = self._blocks.get((learner, round_))
        if block is not None and block[1] != num_samples:
            self.give_back(learner=learner, round_=round_)
            block = None
        if block is None:
            block = self._blocks[learner, round_] = self._stream.lease(num_samples), num_samples
        return block

    def find(self, *, learner: int, round_: int) -> Block | None:
        """The block that a learner has for a round."""
        return self._blocks.get((learner, round_))

    def give_back(self, *, learner: int, round_: int) -> None:
        """The round goes on without the learner's work: its examples are free."""
        block = self._blocks.pop((learner, round_), None)
        if block is not None:
            self._stream.give_back(*block)

    def end_round(self, round_: int) -> None:
        """Nobody will work on a round any more: what was reserved for it is free."""
        for learner, known in list(self._blocks):
            if known == round_:
                self.give_back(learner=learner, round_=round_)

    def commit(self, *, learner: int, round_: int) -> None:
        """The learner's update was merged: its examples are used up."""
        self._stream.commit(*self._blocks.pop((learner, round_)))
