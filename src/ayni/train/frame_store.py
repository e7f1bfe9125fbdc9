"""Updates that wait for their merge: in memory within a budget, beyond it on disk.

A round of n learners brings n updates, and all are needed at once for the merge. Whoever merges reads
them chunk by chunk, so that one frame of each is enough in memory. Fulfils ayni.train.engine.FrameStore.

Files have no name from the moment they are made: a killed coordinator leaves nothing to sweep up.

Not covered: what is on disk is not checked again, the frames carry their own checksums.
"""

import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ayni.files import explain_os_errors, make_folder
from ayni.train.engine import Frame
from ayni.train.frame_sequence import FrameSequence
from ayni.train.lent_frames import total_bytes


class SpillingStore:
    """Keeps updates until they are released. Every method may be called from any thread."""

    def __init__(self, folder: Path, *, budget_bytes: int) -> None:
        self._folder, self._budget_bytes = folder, budget_bytes
        self._lock = threading.Lock()
        self._in_memory: dict[int, int] = {}
        self._kept: dict[int, _HeldFrames | _SpilledFrames] = {}

    @property
    def bytes_in_memory(self) -> int:
        """What the updates that were not spilled take; at most the budget."""
        return sum(self._in_memory.values())

    def keep(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The same frames, on disk when the budget has no room for all of them.

        Frames that stay in memory are not copied: nobody may write into them any more.

        Raises:
            DiskFullError, NotWritableError: nothing was kept; the updates before are untouched.
        """
        num_bytes = total_bytes(frames)
        with self._lock:
            is_held = self.bytes_in_memory + num_bytes <= self._budget_bytes
            if is_held:
                held = _HeldFrames()
                self._in_memory[id(held)], self._kept[id(held)] = num_bytes, held
        # Outside of the lock: a slow disk or network must not hold up who releases.
        if is_held:
            try:
                held.take(frames)
            except BaseException:
                self.release(held)
                raise
            return held
        spilled = _SpilledFrames(self._folder, frames)
        with self._lock:
            self._kept[id(spilled)] = spilled
        return spilled

    def release(self, frames: Sequence[Frame]) -> None:
        """Free what an update takes; its frames cannot be read any more. Others are left alone."""
        with self._lock:
            self._in_memory.pop(id(frames), None)
            kept = self._kept.pop(id(frames), None)
        if kept is not None:
            kept.close()

    def close(self) -> None:
        """Release everything."""
        for kept in list(self._kept.values()):
            self.release(kept)


class _HeldFrames(FrameSequence):
    """Frames in memory."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []

    def take(self, frames: Sequence[Frame]) -> None:
        self._frames += frames

    def __len__(self) -> int:
        return len(self._frames)

    def _read(self, number: int) -> Frame:
        return self._frames[number]

    def close(self) -> None:
        self._frames.clear()


class _SpilledFrames(FrameSequence):
    """Frames in a file without a name, each read when it is asked for."""

    def __init__(self, folder: Path, frames: Sequence[Frame]) -> None:
        self._offsets = [0]
        make_folder(folder)
        with explain_os_errors(folder / "update"):
            # Unbuffered: what the disk has no room for is noticed here, and closing cannot fail later.
            self._file: IO[bytes] = tempfile.TemporaryFile(  # noqa: SIM115 - open until close
                dir=folder, buffering=0
            )
            try:
                # Each is read once, because frames may be fetched from afar when they are.
                for frame in frames:
                    self._write(frame)
                    self._offsets.append(self._offsets[-1] + frame.nbytes)
            except BaseException:
                self._file.close()
                raise

    def _write(self, frame: Frame) -> None:
        content = np.ascontiguousarray(frame).reshape(-1).data
        while content:
            # On a disk that fills up, write takes what fits and fails when it is called again.
            content = content[self._file.write(content) :]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def _read(self, number: int) -> Frame:
        start, end = self._offsets[number : number + 2]
        frame = np.empty(end - start, dtype=np.uint8)
        content = frame.data
        while content:
            # pread has no common position, so that threads may read at once.
            num_read = os.preadv(self._file.fileno(), [content], end - len(content))
            if num_read == 0:
                raise OSError(f"a spilled update ends before byte {end}")
            content = content[num_read:]
        return frame

    def close(self) -> None:
        self._file.close()
