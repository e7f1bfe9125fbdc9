"""The model on the coordinator: exact values, what the learners hold of it, and how it reaches them.

    parameters    exact, float32 or float64, changed in place by the outer step
    mirror        what learners hold, when `download_codec` loses something

With a lossy codec the change to the mirror travels, and the mirror takes the decoded change in, as each
learner does: what a frame lost is part of the next change, so that errors never pile up. Exact models
are encoded chunk by chunk while they are sent; together with the momentum the coordinator holds two
models, and a third one only as a mirror.

Not covered: changes over more than one version; a learner that missed one gets the whole model.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ayni.errors import AyniError
from ayni.train.codec import Room, decode_frame, encode_chunk, fresh, most_bytes
from ayni.train.config import TrainConfig
from ayni.train.diloco import parts_of
from ayni.train.engine import Frame, MergedPart, Model
from ayni.train.fragments import fragment_chunks
from ayni.train.frame_sequence import FrameSequence
from ayni.train.layout import Chunk, add_chunk_, make_chunks, num_elements, take_chunk
from ayni.train.lent_frames import SMALL_BYTES, FrameBox, FrameList, LendingPool, can_lend, total_bytes
from ayni.train.merge import SquaredLengths, check_update, merge_chunk, plan_merge
from ayni.train.merge_plan import MergeRules
from ayni.train.named_arrays import NamedArrays, make_manifest, num_bytes
from ayni.train.outer import make_outer
from ayni.train.strategy_config import CodecName

# Of chunks that are merged at the same time: more threads would need more memory.
_NUM_THREADS = 2

T = TypeVar("T")
Values: TypeAlias = NDArray[np.float32]


class StaleModelError(AyniError):
    """A model was to be sent that has moved on meanwhile."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"The model of version {version} changed while it was being sent. The learner gets the new one; "
            "should this come again and again, raise train.grace_seconds."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptUpdate:
    """An update that waits for the merge; `num_samples` is its weight, `lengths` what check_update found."""

    frames: Sequence[Frame]
    num_samples: int
    lengths: SquaredLengths


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeTerms:
    """What a merge depends on besides the updates.

    Attributes:
        seed: For rules that draw lots.
        staleness: Versions since the update's base ("async").
        rate_scale: Factor on the outer learning rate; below 1 after a roll back.
        num_refused: Updates of this round that were refused: so many fewer of the others can be wrong.
    """

    seed: int
    staleness: int = 0
    rate_scale: float = 1.0
    num_refused: int = 0


class SharedModel:
    """The coordinator's model. One thread applies updates; any thread may read frames.

    Args:
        config: Strategy, codecs and outer step.
        parameters: What travels; taken over and changed in place.
        plain_names: Arrays that are averaged without momentum (running means and variances).
        embedding_names: Tables of embeddings, which merge "rda" averages plainly too, with momentum.
    """

    def __init__(
        self,
        config: TrainConfig,
        parameters: NamedArrays,
        *,
        plain_names: frozenset[str],
        embedding_names: frozenset[str] = frozenset(),
    ) -> None:
        self.parameters = parameters
        self.version = 0
        self.outer = make_outer(config, plain_names=plain_names)
        self.bytes_down = 0
        self.plain_names = plain_names | (embedding_names if config.merge == "rda" else frozenset())
        self._config, self._buffer_names = config, plain_names
        manifest = make_manifest(parameters)
        self._chunks = make_chunks(manifest)
        is_streaming = config.strategy == "streaming"
        self._fragments = (
            fragment_chunks(manifest, config.streaming.fragments) if is_streaming else (self._chunks,)
        )
        has_mirror = config.strategy in ("diloco", "streaming") and config.download_codec != "fp32"
        self.mirror: NamedArrays = (
            {name: array.copy() for name, array in parameters.items()} if has_mirror else {}
        )
        self._is_small = num_bytes(parameters) <= SMALL_BYTES
        # Every learner takes the whole model after each merge: encode it while it is in the cache.
        self._publishes_merges = config.strategy == "diloco" and not has_mirror and self._is_small
        self._changes: Sequence[Frame] = ()
        self._published: Sequence[Frame] = ()
        self._merges: NamedArrays = {}
        self._lending: LendingPool | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._is_changing = False

    @property
    def groups(self) -> dict[str, NamedArrays]:
        """All arrays that a checkpoint needs."""
        more = {"mirror": self.mirror, "merges": self._merges}
        return {
            "parameters": self.parameters,
            **self.outer.groups,
            **{name: arrays for name, arrays in more.items() if arrays},
        }

    def restored(self, version: int, outer: Mapping[str, Any], groups: Mapping[str, NamedArrays]) -> None:
        """The arrays were overwritten from a checkpoint, whose outer counters and groups these are."""
        with self._lock:
            self.version, self._changes, self._published = version, (), ()
            self._merges = groups.get("merges", {})
            self.outer.load(outer, groups)

    def chunks_of(self, round_: int) -> tuple[Chunk, ...]:
        """The chunks that the updates of a round hold."""
        return self._fragments[(round_ - 1) % len(self._fragments)]

    def apply_updates(self, updates: Sequence[KeptUpdate], *, round_: int, terms: MergeTerms) -> None:
        """Merge the updates of a round and take the outer step, in place, chunk by chunk.

        Raises:
            CohortTooSmallError: too few updates for the aggregation rule; nothing was changed.
        """
        part = (round_ - 1) % len(self._fragments)
        merged_at = self._planned_merge(updates, part, terms)
        with self._lock:
            self._is_changing = True
        self.outer.begin(staleness=terms.staleness)
        encoded = self._encoded(
            self._fragments[part], lambda index, room: self._take_in(part, index, merged_at, room)
        )
        is_changed = self.outer.end()
        with self._lock:
            self._is_changing = False
            if is_changed:
                self.version += 1
                self._changes = encoded if self.mirror else ()
                self._published = encoded if self._publishes_merges else ()

    def check(self, frames: Sequence[Frame], *, round_: int) -> SquaredLengths:
        """Look at an update of a round before it is kept.

        Raises:
            FrameError: it cannot be merged.
        """
        return check_update(
            frames, self.chunks_of(round_), plain_names=self.plain_names, run=self._side_by_side
        )

    def _side_by_side(self, do: Callable[[int], T], number: int) -> list[T]:
        """Treat chunks in threads: learners wait for it, so that the cores are free."""
        if number == 1:
            return [do(0)]
        self._threads = self._threads or ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="ayni-merge")
        return list(self._threads.map(do, range(number)))

    def _encoded(self, chunks: Sequence[Chunk], encode: Callable[[int, Room], object]) -> Sequence[Frame]:
        """What `encode` writes of each chunk, where it can be for all learners of this machine."""
        if can_lend() and self._is_small:
            self._lending = self._lending or LendingPool(most_bytes(chain(*self._fragments)))
        box: FrameBox = self._lending.begin() if self._lending else FrameList()
        self._side_by_side(lambda index: encode(index, partial(box.room, index)), len(chunks))
        return box

    def _take_in(self, part: int, index: int, merged_at: Callable[[int], Values], room: Room) -> None:
        """Take one merged chunk into the model, and encode what will travel of it, if something will."""
        chunk = self._fragments[part][index]
        self.outer.apply_(self.parameters, chunk, merged_at(index))
        if self.mirror:
            self._encode_change(chunk, room)
        elif self._publishes_merges:
            self._encode(index, room, codec="fp32")

    def _planned_merge(
        self, updates: Sequence[KeptUpdate], part: int, terms: MergeTerms
    ) -> Callable[[int], Values]:
        """What a merge will give, chunk by chunk, once everything was found fit to be merged."""
        chunks, config = self._fragments[part], self._config
        sources = [update.frames for update in updates]
        if config.strategy == "sync":
            # All learners ended at the same values: one of them brings the news.
            return lambda index: decode_frame(sources[0][index], chunks[index], is_known=True)
        rules = MergeRules(
            aggregation=config.aggregation,
            merge=config.merge,
            plain_names=self.plain_names,
            seed=terms.seed,
            num_refused=terms.num_refused,
        )
        weights_N = [float(update.num_samples) for update in updates]
        lengths = [update.lengths for update in updates]
        previous = self._previous_merge(part)
        plan = plan_merge(sources, chunks, weights_N, rules, previous=previous, lengths=lengths)

        def merged_at(index: int) -> Values:
            values_E = merge_chunk(sources, index, chunks[index], plan, previous=previous, are_known=True)
            if previous is not None:
                previous[index][:] = values_E
            if terms.rate_scale != 1:
                for piece, part_E in parts_of(chunks[index], values_E):
                    # Averages of buffers are no steps: half of one would be a value that nobody measured.
                    if piece.name not in self._buffer_names:
                        np.multiply(part_E, np.float32(terms.rate_scale), out=part_E)
            return values_E

        return merged_at

    def _previous_merge(self, part: int) -> list[Values] | None:
        """What centred clipping starts from: the last merged update of this part, zeros at first."""
        if self._config.aggregation.rule != "centered_clip":
            return None
        chunks = self._fragments[part]
        names = [f"{part:04d}-{index:06d}" for index in range(len(chunks))]
        for name, chunk in zip(names, chunks, strict=True):
            self._merges.setdefault(name, np.zeros(num_elements(chunk), np.float32))
        return [self._merges[name] for name in names]

    def model_for(self, *, held: int | None, is_rebuildable: bool = True) -> Model:
        """How a learner that holds version `held` (None: nothing) comes by the present one."""
        if held == self.version:
            return Model(version=self.version, kind="held")
        if self.version == 0 and is_rebuildable:
            return Model(version=0, kind="untrained")
        if self._config.strategy == "diloco" and self._changes and held == self.version - 1:
            return Model(version=self.version, kind="change", frames=self._counted(self._changes))
        return Model(version=self.version, kind="full", frames=self._whole())

    def part_for(self, round_: int) -> MergedPart:
        """What the last merge changed, for learners that work on the next round already (streaming)."""
        frames: Sequence[Frame] = self._changes
        if not self.mirror:
            chunks = self.chunks_of(round_)
            frames = [encode_chunk(take_chunk(self.parameters, chunk), chunk, "fp32") for chunk in chunks]
        return MergedPart(
            round=round_,
            version=self.version,
            kind="change" if self.mirror else "full",
            frames=self._counted(frames),
        )

    def _whole(self) -> Sequence[Frame]:
        is_async = self._config.strategy == "async"
        if not self._is_small and not is_async:
            return _LazyFrames(self, self.version, len(self._chunks))
        if not self._published:
            # With "async" large ones too: other updates will be applied while this model is on its way.
            codec = self._config.download_codec if is_async else "fp32"
            self._published = self._encoded(self._chunks, partial(self._encode, codec=codec))
        return self._counted(self._published)

    def _encode(self, index: int, room: Room = fresh, *, codec: CodecName) -> Frame:
        chunk = self._chunks[index]
        return encode_chunk(take_chunk(self.mirror or self.parameters, chunk), chunk, codec, room=room)

    def _encode_change(self, chunk: Chunk, room: Room) -> None:
        """The change to what learners hold of a chunk; the mirror takes it in as they will."""
        change_E = take_chunk(self.parameters, chunk) - take_chunk(self.mirror, chunk)
        frame = encode_chunk(
            change_E,
            chunk,
            self._config.download_codec,
            topk_fraction=self._config.topk_fraction,
            room=room,
        )
        add_chunk_(self.mirror, chunk, decode_frame(frame, chunk, is_known=True))

    def _counted(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """Frames that are about to be sent."""
        self.bytes_down += total_bytes(frames)
        return frames

    def frame_of(self, version: int, index: int) -> Frame:
        """One frame of the whole model of a version.

        Raises:
            StaleModelError: the model has another version by now.
        """
        with self._lock:
            if self._is_changing or version != self.version:
                raise StaleModelError(version)
            frame = self._encode(index, codec="fp32")
            self.bytes_down += frame.nbytes
            return frame


class _LazyFrames(FrameSequence):
    """The whole model of a version, encoded while it is sent."""

    def __init__(self, model: SharedModel, version: int, length: int) -> None:
        self._model, self._version, self._length = model, version, length

    def __len__(self) -> int:
        return self._length

    def _read(self, number: int) -> Frame:
        return self._model.frame_of(self._version, number)
