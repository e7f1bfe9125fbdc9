"""Frames in memory that the processes of one machine lend each other, so that no byte passes a socket.

Pickling lent frames sends their place (process, descriptor); whoever unpickles them maps the same memory,
read-only. A model is so written once for all learners of a machine, and an update once for the coordinator.

    lender     writes frames into a region, pickles them, keeps them until they were surely unpickled
    borrower   holds a shared lock on the region as long as it has a view of a frame
    lender     uses a region again when nobody here has a view of it and nobody else a lock

Used again, because fresh pages take the kernel longer than the copy into them. A region has no name: the
kernel frees it when the last process that maps it ends or is killed, and so it does with locks.

Not covered: lending between machines, users or PID namespaces, and systems other than Linux (`can_lend`).
"""

import contextlib
import fcntl
import mmap
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ayni.train.engine import Frame
from ayni.train.frame_sequence import FrameSequence

# Up to this size, of a model or an update, time counts; beyond it memory counts more.
SMALL_BYTES = 32 * 2**20
_ALIGNMENT = 64
# A lender writes one while others are still read; what waits longer than this is given up, not waited for.
_MAX_REGIONS = 4

# All pages at once, where the system can: one fault for each would take as long as a copy.
_MAP_FLAGS = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)


def can_lend() -> bool:
    """Whether processes of this machine can open each other's memory."""
    return hasattr(os, "memfd_create") and Path(f"/proc/{os.getpid()}/fd").exists()


class LendingPool:
    """The regions of one lender, all of the same size."""

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes = num_bytes
        self._regions: list[_Region] = []

    def begin(self) -> "LentFrames":
        """Empty frames, in a region that nobody reads."""
        for region in self._regions:
            if region.is_free():
                return LentFrames(region)
        del self._regions[: len(self._regions) - _MAX_REGIONS + 1]
        self._regions.append(_Region(self._num_bytes))
        return LentFrames(self._regions[-1])


class _Region:
    """A file in memory, and the mapping of it that is in use."""

    def __init__(self, num_bytes: int) -> None:
        self.descriptor = os.memfd_create("ayni-frames")
        weakref.finalize(self, os.close, self.descriptor)
        os.ftruncate(self.descriptor, num_bytes)
        self._content = mmap.mmap(self.descriptor, num_bytes)
        self._view: weakref.ref[Any] | None = None

    def is_free(self) -> bool:
        """Whether nobody has a view of it."""
        if self._view is not None and self._view() is not None:
            return False
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            return True
        return False

    def view(self) -> Frame:
        """All of it. It is in use as long as a part of the array lives: all have the same base."""
        whole = np.frombuffer(memoryview(self._content), np.uint8)
        base: Any = whole.base
        self._view = weakref.ref(base)
        return whole


class LentFrames(FrameSequence):
    """Frames by index, in a region; what is read are views of it."""

    def __init__(self, region: _Region) -> None:
        self._region, self._content = region, region.view()
        self._places: dict[int, tuple[int, int]] = {}
        self._end = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Of all frames together."""
        return sum(stop - start for start, stop in self._places.values())

    def room(self, index: int, num_bytes: int) -> Frame:
        """Memory for one frame, to be written at once. May be called from several threads.

        Raises:
            ValueError: the region has no room for it.
        """
        with self._lock:
            start = -(-self._end // _ALIGNMENT) * _ALIGNMENT
            if start + num_bytes > len(self._content):
                raise ValueError(f"a frame of {num_bytes} bytes does not fit into {len(self._content)} bytes")
            self._end = start + num_bytes
            self._places[index] = start, self._end
        return self._content[start : self._end]

    def __reduce__(self) -> tuple[Any, ...]:
        places = [self._places[index] for index in range(len(self))]
        return BorrowedFrames, (os.getpid(), self._region.descriptor, places)

    def __len__(self) -> int:
        return len(self._places)

    def _read(self, number: int) -> Frame:
        start, stop = self._places[number]
        frame = self._content[start:stop]
        frame.flags.writeable = False
        return frame


class FrameList(FrameSequence):
    """The same in the memory of this process alone; pickling sends the frames."""

    def __init__(self, frames: Iterable[Frame] = ()) -> None:
        self._frames = dict(enumerate(frames))

    @property
    def nbytes(self) -> int:
        """Of all frames together."""
        return sum(frame.nbytes for frame in self._frames.values())

    def room(self, index: int, num_bytes: int) -> Frame:
        """Memory for one frame, to be written at once."""
        self._frames[index] = np.empty(num_bytes, np.uint8)
        return self._frames[index]

    def __len__(self) -> int:
        return len(self._frames)

    def _read(self, number: int) -> Frame:
        return self._frames[number]


class BorrowedFrames(FrameSequence):
    """Frames that another process lends; whoever only passes them on never opens them.

    They are opened when the first is read, or by `open` where the lender may forget them before that.
    """

    def __init__(self, process_id: int, descriptor: int, places: Sequence[tuple[int, int]]) -> None:
        self._process_id, self._descriptor, self._places = process_id, descriptor, places
        self._content: Frame | None = None

    @property
    def nbytes(self) -> int:
        """Of all frames together."""
        return sum(stop - start for start, stop in self._places)

    def open(self) -> Frame:
        """The region, read-only; a lock on it is held as long as a part of it is."""
        content = self._content
        if content is None:
            content = self._content = self._mapped()
        return content

    def _mapped(self) -> Frame:
        own = os.open(f"/proc/{self._process_id}/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(own, fcntl.LOCK_SH)
            # The mapping has a copy of the descriptor, and the lock ends with the last of both.
            end = max(stop for _, stop in self._places)
            return np.frombuffer(mmap.mmap(own, end, flags=_MAP_FLAGS, prot=mmap.PROT_READ), np.uint8)
        finally:
            os.close(own)

    def __reduce__(self) -> tuple[Any, ...]:
        return BorrowedFrames, (self._process_id, self._descriptor, self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _read(self, number: int) -> Frame:
        start, stop = self._places[number]
        return self.open()[start:stop]


FrameBox: TypeAlias = LentFrames | FrameList


def total_bytes(frames: Sequence[Frame]) -> int:
    """Of all frames together; of those that are kept elsewhere, without reading them."""
    known = getattr(frames, "nbytes", None)
    return known if isinstance(known, int) else sum(frame.nbytes for frame in frames)
