"""Updates between their arrival and their merge: looked at, kept, and given up or taken out.

An update is looked at before it is kept, so that one that cannot be merged is refused while nothing was
changed. What is kept lies in the frame store, which puts large updates on disk.
"""

from collections.abc import Sequence

from ayni.errors import AyniError
from ayni.train.accepted import AcceptedUpdate
from ayni.train.engine import LearnerUpdate
from ayni.train.frame_store import SpillingStore
from ayni.train.leases import Block, Leases
from ayni.train.merge import SquaredLengths
from ayni.train.shared_model import KeptUpdate, SharedModel


class WrongExamplesError(AyniError):
    """An update says that it used other examples than its order named."""

    def __init__(self, update: LearnerUpdate, block: Block) -> None:
        super().__init__(
            f"it used {update.num_samples} examples from position {update.start} of the stream, and its "
            f"order said {block[1]} from position {block[0]}; restart the worker with this version of Ayni"
        )


class Intake:
    """The updates of one training that wait for a merge, by learner and round (its turn with "async")."""

    def __init__(self, model: SharedModel, leases: Leases, store: SpillingStore, *, strategy: str) -> None:
        self._model, self._leases, self._store = model, leases, store
        self._strategy = strategy
        self._kept: dict[tuple[int, int], tuple[LearnerUpdate, KeptUpdate]] = {}

    def look_at(self, update: LearnerUpdate) -> KeptUpdate:
        """What the merge needs of an update.

        Raises:
            WrongExamplesError: it was not made from the examples that were leased to it.
            FrameError: it is damaged, of another shape, or not finite.
        """
        block = self._leases.find(learner=update.learner, round_=update.round)
        if block is not None and block != (update.start, update.num_samples):
            raise WrongExamplesError(update, block)
        lengths = SquaredLengths(trained=0.0, plain=0.0)
        # Of a gang that averages gradients, one member brings the news.
        if update.frames or self._strategy != "sync":
            lengths = self._model.check(update.frames, round_=update.round)
        return KeptUpdate(frames=update.frames, num_samples=update.num_samples, lengths=lengths)

    def keep(self, update: LearnerUpdate, kept: KeptUpdate) -> None:
        """Hold an update until it is merged or dropped."""
        self._kept[update.learner, update.round] = update, kept

    def drop(self, *, learner: int, round_: int) -> None:
        """Forget a kept update, if there is one."""
        update, _ = self._kept.pop((learner, round_), (None, None))
        if update is not None:
            self.release(update)

    def release(self, update: LearnerUpdate) -> None:
        """Free the room that an update takes."""
        self._store.release(update.frames)

    def take(
        self, attempts: Sequence[tuple[int, int]], *, round_: int
    ) -> tuple[list[LearnerUpdate], list[KeptUpdate]]:
        """The updates of these (learner, attempt), in this order; their examples are used up."""
        updates: list[LearnerUpdate] = []
        kept: list[KeptUpdate] = []
        for learner, attempt in attempts:
            key = self._key_of(learner, round_)
            update, one = self._kept.pop(key)
            assert update.attempt == attempt, "the state machine names the attempt that it accepted"
            self._leases.commit(learner=learner, round_=key[1])
            updates.append(update)
            kept.append(one)
        if self._strategy != "async":
            self._leases.end_round(round_)
        return updates, kept

    def _key_of(self, learner: int, round_: int) -> tuple[int, int]:
        if self._strategy != "async":
            return learner, round_
        return min(key for key in self._kept if key[0] == learner)


def to_accepted(update: LearnerUpdate, *, round_: int, num_examples: int) -> AcceptedUpdate:
    """The line to be kept of an update that entered the model in a round."""
    return AcceptedUpdate(
        round=round_,
        learner=update.learner,
        attempt=update.attempt,
        num_examples=num_examples,
        start=update.start,
        num_samples=update.num_samples,
    )
