"""What a learner keeps from one of its rounds to the next, in memory and spilled beside it.

    optimizer   AdamW's moments, never averaged and never sent
    residual    what the codec lost so far, with error feedback
    local       the learner's own values, which strategy "streaming" goes on with

A spill takes place while the learner waits for its next order; that order waits for it in turn. Each round
has one, however seldom the coordinator makes a checkpoint: an attempt that failed is tried again from it.
"""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ayni.train.engine import OptimizerState, Session
from ayni.train.named_arrays import NamedArrays, num_bytes
from ayni.train.optimizer_spill import restore, spill
from ayni.train.replica import Replica

# Below this a thread costs more time than the file.
_SPILLED_AT_ONCE_BYTES = 2**21


class LearnerState:
    """State of one learner; `residual` may be changed between `find` and `keep`."""

    def __init__(self, session: Session, replica: Replica, *, learner: int) -> None:
        self._session, self._replica, self._learner = session, replica, learner
        self._is_streaming = session.config.strategy == "streaming"
        # The round after which what is in memory was kept; None when a round broke off in the middle.
        self._kept_round: int | None = None
        self._spilling: Future[None] | None = None
        self._spiller: ThreadPoolExecutor | None = None
        self.residual: NamedArrays = {}
        self.last_round = 0

    def find(self, round_: int, *, in_gang: bool) -> OptimizerState:
        """Go on from the learner's last round before this one, from memory, from disk, or anew.

        A gang needs the state after the very round before, in which its members agree; so another
        member's file is as good as one's own. Local values are changed when they were spilled.

        Raises:
            DiskFullError, NotWritableError: the last state could not be written.
        """
        self._wait_for_spill()
        kept, self._kept_round = self._kept_round, None
        if round_ > 1 and kept is not None and (kept == round_ - 1 or (kept < round_ and not in_gang)):
            self.last_round = kept
            return "kept"
        if round_ > 1 and self._restore(round_, in_gang=in_gang):
            return "restored"
        self._replica.new_optimizer()
        self._new_residual()
        self.last_round = 0
        return "new" if round_ == 1 else "reset"

    def keep(self, round_: int) -> None:
        """Keep everything as it is after a round.

        Raises:
            DiskFullError, NotWritableError: a small state could not be written; a large one says so later.
        """
        groups = {"optimizer": self._replica.optimizer_arrays(), "residual": self.residual}
        if self._is_streaming:
            groups["local"] = self._replica.arrays()
        self._spilling = self._spill(round_, groups)
        self._kept_round = self.last_round = round_

    def forget_residual(self, names: frozenset[str]) -> None:
        """Drop what the codec lost of these arrays: the update that it was lost from entered nothing."""
        for name in names & set(self.residual):
            self.residual[name].fill(0)

    def _spill(self, round_: int, groups: dict[str, NamedArrays]) -> Future[None] | None:
        def write() -> None:
            session = self._session
            spill(
                session.spill_folder,
                groups,
                learner=self._learner,
                round_=round_,
                fingerprint=session.fingerprint,
                checkpoint_every=session.config.checkpoint_every,
            )

        if sum(map(num_bytes, groups.values())) <= _SPILLED_AT_ONCE_BYTES:
            write()
            return None
        self._spiller = self._spiller or ThreadPoolExecutor(1, thread_name_prefix="ayni-spill")
        return self._spiller.submit(write)

    def _wait_for_spill(self) -> None:
        spilling, self._spilling = self._spilling, None
        if spilling is not None:
            spilling.result()

    def _restore(self, round_: int, *, in_gang: bool) -> bool:
        session = self._session
        others = range(session.config.learners) if in_gang else ()
        for learner in (self._learner, *others):
            found = restore(
                session.spill_folder,
                learner=learner,
                fingerprint=session.fingerprint,
                before_round=round_,
                only_last=in_gang,
            )
            if found is None or not self._replica.set_optimizer_arrays(found.groups["optimizer"]):
                continue
            self._new_residual()
            self.residual.update(found.groups.get("residual", {}))
            if self._is_streaming:
                self._replica.set_arrays(found.groups["local"])
            self.last_round = found.round
            return True
        return False

    def _new_residual(self) -> None:
        has_residual = self._session.config.has_error_feedback and self._session.config.strategy != "sync"
        arrays = self._replica.arrays() if has_residual else {}
        self.residual = {name: np.zeros(array.shape, np.float32) for name, array in arrays.items()}
