"""Checkpoints written beside the training: a thread writes while learners work on.

The caller keeps the arrays of a checkpoint unchanged until `finished` says that it is safe.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ayni.train.accepted import append_accepted
from ayni.train.checkpoint import Checkpoint, save_checkpoint


class CheckpointWriter:
    """One checkpoint at a time, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ayni-checkpoint")
        self._pending: tuple[int, Future[None]] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is being written or its end was not reported yet."""
        return self._pending is not None

    def begin(self, checkpoint: Checkpoint) -> None:
        """Start writing."""
        assert self._pending is None, "the state machine saves one round at a time"
        self._pending = checkpoint.round, self._thread.submit(_write, self._folder, checkpoint)

    def finished(self) -> int | None:
        """The round whose checkpoint has become safe since the last call; None while there is none.

        Raises:
            DiskFullError, NotWritableError: it could not be written; the one before stays the last.
        """
        if self._pending is None or not self._pending[1].done():
            return None
        (round_, future), self._pending = self._pending, None
        future.result()
        return round_

    def close(self) -> None:
        """Wait for what is being written; it may be what the next try goes on from."""
        self._thread.shutdown(wait=True)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    # The checkpoint is the commit; the appended lines follow, and are mended from it after a crash.
    save_checkpoint(folder / "checkpoints", checkpoint)
    append_accepted(folder, checkpoint.last_updates)
