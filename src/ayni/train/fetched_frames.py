"""A large update leaves its worker in pieces, so that neither side ever holds a second copy of it.

worker        keeps the frames (`set_aside`) and answers with their sizes
coordinator   asks for a few frames at a time (`FetchedFrames`), and puts them where updates wait
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ayni.errors import AyniError
from ayni.train.engine import Frame, LearnerUpdate
from ayni.train.frame_sequence import FrameSequence

# Pieces are of about this size; a smaller update is not cut.
PIECE_BYTES = 2**23

# Session, learner, round and attempt.
UpdateName: TypeAlias = tuple[str, int, int, int]
_aside: dict[tuple[str, int], tuple[UpdateName, Sequence[Frame]]] = {}
_lock = threading.Lock()


class UpdateGoneError(AyniError):
    """A worker was asked for an update that it does not have any more. Another attempt works."""

    def __init__(self, name: UpdateName) -> None:
        _, learner, round_, attempt = name
        super().__init__(
            f"The update of learner {learner} in round {round_} (attempt {attempt}) is not on its worker any "
            "more: the worker was started again, or went on to another order. The learner tries again."
        )


@dataclass(frozen=True, slots=True)
class FramesAside:
    """What a worker answers instead of frames: their sizes, in order."""

    name: UpdateName
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LargeUpdate:
    """An update whose frames stayed on its worker."""

    update: LearnerUpdate
    aside: FramesAside


def set_aside(name: UpdateName, frames: Sequence[Frame]) -> FramesAside:
    """Keep frames in this process until they were taken, or the learner has others."""
    with _lock:
        _aside[name[:2]] = name, frames
    return FramesAside(name, tuple(frame.nbytes for frame in frames))


def take_aside(name: UpdateName, start: int, stop: int) -> list[Frame]:
    """Frames [start, stop) of what was set aside; after the last one all are forgotten.

    Raises:
        UpdateGoneError: this process does not have them.
    """
    with _lock:
        held, frames = _aside.get(name[:2], (None, ()))
        if held != name:
            raise UpdateGoneError(name)
        if stop >= len(frames):
            del _aside[name[:2]]
    return list(frames[start:stop])


def forget_aside() -> None:
    """Drop everything."""
    with _lock:
        _aside.clear()


class FetchedFrames(FrameSequence):
    """Frames that are fetched when they are read, some at a time; read them once, in order.

    Args:
        sizes: Bytes of each frame.
        fetch: Gives frames [start, stop); it may wait, and raise whatever the way to the worker raises.
    """

    def __init__(self, sizes: Sequence[int], fetch: Callable[[int, int], Sequence[Frame]]) -> None:
        self._sizes, self._fetch = sizes, fetch
        self._start, self._piece = 0, list[Frame]()

    @property
    def nbytes(self) -> int:
        """Of all frames together."""
        return sum(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def _read(self, number: int) -> Frame:
        if not self._start <= number < self._start + len(self._piece):
            # Forgotten before the next is fetched: only one piece is in memory.
            self._piece = []
            self._start, stop = number, number + 1
            while stop < len(self) and sum(self._sizes[number : stop + 1]) <= PIECE_BYTES:
                stop += 1
            self._piece = list(self._fetch(number, stop))
        return self._piece[number - self._start]
