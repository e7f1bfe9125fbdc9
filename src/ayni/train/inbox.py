"""Where a learner at work finds the merged parts that were sent to it (strategy "streaming").

A part is put in by the thread that takes calls from outside, and taken by the thread that works.
"""

import threading

from ayni.errors import AyniError
from ayni.train.engine import MergedPart


class AttemptStoppedError(AyniError):
    """The training that an attempt belonged to has ended; nobody waits for its update."""


class Inbox:
    """Merged parts by learner and round, of one session at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._session_id: str | None = None
        self._parts: dict[tuple[int, int], MergedPart] = {}
        self._num_waiting = 0

    @property
    def is_awaited(self) -> bool:
        """Whether a learner waits for a part."""
        return self._num_waiting > 0

    def begin(self, session_id: str | None) -> None:
        """Forget the session before; whoever waits for a part of it gets AttemptStoppedError."""
        with self._changed:
            if session_id != self._session_id:
                self._session_id = session_id
                self._parts.clear()
                self._changed.notify_all()

    def put(self, session_id: str, learner: int, part: MergedPart) -> None:
        """Keep a part for a learner; one of another session is dropped."""
        with self._changed:
            if session_id == self._session_id:
                self._parts[learner, part.round] = part
                self._changed.notify_all()

    def take(self, session_id: str, learner: int, round_: int) -> MergedPart:
        """Wait for the part of a round; it stays, so that the attempt can be made again.

        Raises:
            AttemptStoppedError: another session began.
        """
        with self._changed:
            self._num_waiting += 1
            self._changed.wait_for(lambda: session_id != self._session_id or (learner, round_) in self._parts)
            self._num_waiting -= 1
            if session_id != self._session_id:
                raise AttemptStoppedError(f"learner {learner} was stopped while it waited for round {round_}")
            for key in [key for key in self._parts if key[0] == learner and key[1] < round_]:
                del self._parts[key]
            return self._parts[learner, round_]
