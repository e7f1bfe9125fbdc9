"""The base: the model of a version as a learner holds it, to which its updates are relative.

It follows the coordinator's model by frames, or is built from the task without any. Arrays are changed
in place, a chunk at a time; a version that could not be taken in whole leaves a base of no version.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ayni.errors import AyniError
from ayni.train.codec import decode_frame
from ayni.train.engine import Frame, MergedPart, Model
from ayni.train.layout import Chunk, add_chunk_, put_chunk_
from ayni.train.named_arrays import NamedArrays


class BaseMissingError(AyniError):
    """A learner does not hold what an order builds on. Another try that sends the whole model works."""

    def __init__(self, *, learner: int, wanted_version: int, held_version: int | None) -> None:
        self.learner = learner
        self.wanted_version = wanted_version
        held = "no model" if held_version is None else f"version {held_version}"
        super().__init__(
            f"Learner {learner} holds {held} and was to start from version {wanted_version}. The whole model "
            "is sent again."
        )


class HeldBase:
    """Arrays of one version. `arrays` may be read at any time while `version` is not None."""

    def __init__(self, like: NamedArrays, *, learner: int, chunks: Sequence[Chunk]) -> None:
        self._learner = learner
        self._chunks = chunks
        self.version: int | None = None
        self.arrays = {name: np.empty(array.shape, array.dtype) for name, array in like.items()}

    def take(
        self, model: Model, untrained: Callable[[], NamedArrays | None], changed: Sequence[Chunk]
    ) -> None:
        """Become the base that an order names.

        Args:
            model: the order's.
            untrained: the arrays of the untrained model, or None when they are not those of the job.
            changed: chunks that the frames of a "change" belong to.

        Raises:
            BaseMissingError: it cannot be had from what is held.
            FrameError: a frame is damaged; there is no base then.
        """
        if model.kind == "full":
            self._read(model.version, model.frames, self._chunks, is_change=False)
        elif self.version == model.version:
            return  # a "change" that an earlier attempt took in already, too
        elif model.kind == "change" and self.version == model.version - 1:
            self._read(model.version, model.frames, changed, is_change=True)
        elif model.kind == "untrained" and (arrays := untrained()) is not None:
            self._copy(arrays)
            self.version = model.version
        else:
            raise self._missing(model.version)

    def take_part(self, part: MergedPart, chunks: Sequence[Chunk]) -> None:
        """Take the merged values of some chunks, or their change.

        Raises:
            BaseMissingError: the base is not of the version before.
            FrameError: a frame is damaged; there is no base then.
        """
        if self.version != part.version - 1:
            raise self._missing(part.version - 1)
        self._read(part.version, part.frames, chunks, is_change=part.kind == "change")

    def _read(
        self, version: int, frames: Sequence[Frame], chunks: Sequence[Chunk], *, is_change: bool
    ) -> None:
        self.version = None
        enter = add_chunk_ if is_change else put_chunk_
        for frame, chunk in zip(frames, chunks, strict=True):
            enter(self.arrays, chunk, decode_frame(frame, chunk))
        self.version = version

    def _missing(self, wanted_version: int) -> BaseMissingError:
        return BaseMissingError(
            learner=self._learner, wanted_version=wanted_version, held_version=self.version
        )

    def _copy(self, arrays: NamedArrays) -> None:
        self.version = None
        for name, array in arrays.items():
            np.copyto(self.arrays[name], array)
