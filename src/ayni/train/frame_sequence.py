"""Frames by index or slice, whatever lies behind them: memory, a file, another process, another machine."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from ayni.train.engine import Frame


class FrameSequence(Sequence[Frame]):
    """Who fulfils it gives `__len__`, and `_read` for a number from 0 on that is in range."""

    @abstractmethod
    def _read(self, number: int) -> Frame: ...

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        numbers = range(len(self))[index]
        return self._read(numbers) if isinstance(numbers, int) else [self._read(n) for n in numbers]
