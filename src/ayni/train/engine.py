"""The port between the coordinator and the place where learners run.

An engine hosts learners numbered from 0, gives each a place, and says when a place is gone. It knows
nothing of rounds: the coordinator tells it which attempt to run. `InProcessEngine` is the twin without
processes; `DaskEngine` runs each learner in a worker process of a Dask cluster.

What travels are frames: self-describing bytes with a checksum (codec.py). Engines carry them and never
look inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ayni.errors import AyniError
from ayni.task import TaskReference
from ayni.train.config import TrainConfig
from ayni.train.privacy_accounting import PrivacyPlan

Frame: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What all learners of one training share. Small: it is sent to each of them.

    `session_id` is new in each process that trains, and names what workers keep in memory;
    `fingerprint` names the job and stays over a resume, and marks what they keep on disk.
    `untrained_sha256` is what a learner's own untrained model must hash to (named_arrays.digest_of), so
    that the first model need not travel. `init_path` is the file that weights are taken from before that.
    With `lends_memory` coordinator and learners run on one machine, and read each other's frames where they
    were written (lent_frames.py). With `privacy` learners draw, clip and noise as it says.
    """

    session_id: str
    fingerprint: str
    task: TaskReference
    config: TrainConfig
    seed: int
    spill_folder: Path
    untrained_sha256: str = ""
    init_path: Path | None = None
    lends_memory: bool = False
    privacy: PrivacyPlan | None = None


ModelKind: TypeAlias = Literal["untrained", "held", "full", "change"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """How a learner comes by the model of a version, its *base*.

    Attributes:
        version: Outer steps taken since the untrained model, which is version 0.
        kind: "untrained": build it; "held": the learner has it already; "full": the frames hold every
            array that travels; "change": the frames are added to the base of the version before.
        frames: One for each chunk (layout.py), in order. They may be encoded when they are indexed, so that
            the whole model is never held twice; index each once, and expect StaleModelError.
    """

    version: int
    kind: ModelKind
    frames: Sequence[Frame] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One attempt of one learner at one round, counted from 1.

    Attributes:
        num_steps: Optimizer steps to take.
        start: Position in the stream of examples (stream.py) of the first one; the attempt takes the
            num_steps * batch_size examples from there.
        first_step: Place in the learning-rate schedule of the first step, in steps of the whole job.
        step_length: How far one step moves in the schedule; 1 when a round has `local_steps` steps.
        model: Where the attempt starts. With strategy "streaming" a "held" model means: go on with your
            own values; a "full" one replaces them.
        members: Learners whose gradients are averaged in this attempt, in the order of their ranks; empty
            when nothing is averaged.
        keeps_residual: Whether the learner's last update entered the model; if not, what its codec lost
            then is forgotten (error feedback).
    """

    round: int
    learner: int
    attempt: int
    num_steps: int
    start: int
    first_step: float
    step_length: float = 1.0
    model: Model
    members: tuple[int, ...] = ()
    keeps_residual: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedPart:
    """The merged fragment of an earlier round, for a learner that is at work already (streaming).

    The learner mixes it in after `overlap_steps` of the round after `round`, and waits for it there.
    The frames hold the base of its fragment ("full"), or are added to it ("change").
    """

    round: int
    version: int
    kind: Literal["full", "change"]
    frames: Sequence[Frame] = field(compare=False)


OptimizerState: TypeAlias = Literal["new", "kept", "restored", "reset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerUpdate:
    """What an attempt gives back.

    Attributes:
        frames: Base minus local values of what was trained, and of float buffers, one frame a chunk. Empty
            for the members of a gradient-averaging gang other than its first, which all end at the same
            parameters; an engine may replace them by what `FrameStore.keep` returned.
        digest: SHA-256 of the local parameters, on which the members of a gang must agree; empty without one.
        start: Position in the stream of examples, as in the order.
        num_samples: Examples taken from there.
        loss: Mean over the steps.
        compute_seconds: Wall time inside the learner's loop, waiting for others not counted.
        exchanged_bytes: Sent by this learner to other learners during the round.
        optimizer_state: "new" in a learner's first round; "kept" in memory, "restored" from disk, or
            "reset": lost.
    """

    round: int
    learner: int
    attempt: int
    frames: Sequence[Frame] = field(compare=False)
    digest: str
    start: int
    num_samples: int
    loss: float
    compute_seconds: float
    exchanged_bytes: int
    optimizer_state: OptimizerState


class FrameStore(Protocol):
    """Where an engine puts the frames of an update as soon as they arrive, so that memory stays small."""

    def keep(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The same frames, perhaps on disk; each is read when it is indexed. Called from any thread."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFound:
    """A learner can run."""

    learner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceLost:
    """The place of a learner is gone, with the attempt that ran there if one did."""

    learner: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """An attempt ended with an error; one that Ayni raised on purpose would come again."""

    round: int
    learner: int
    attempt: int
    error: Exception = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNotice:
    """Something that a person should know and that needs no decision: a worker was left out, and why."""

    message: str


EngineEvent: TypeAlias = PlaceFound | PlaceLost | AttemptFailed | LearnerUpdate | EngineNotice


class Engine(Protocol):
    """Where learners run. Four methods, because a part that is sent must reach an attempt under way."""

    def open(self, session: Session, store: FrameStore) -> None:
        """Prepare all learners of a session; each is announced by PlaceFound. Ends the session before.

        A learner without a place yet (the cluster is small, a machine comes later) is announced when it
        has one.
        """
        ...

    def start(self, order: Order) -> None:
        """Begin an attempt and return at once. An older attempt of the same learner is stopped."""
        ...

    def send(self, learner: int, part: MergedPart) -> None:
        """Bring a merged part to the attempt that a learner works on, and return at once."""
        ...

    def wait(self, timeout_seconds: float) -> list[EngineEvent]:
        """What happened since the last call, in order; waits for the first event, at most this long."""
        ...


class LearnersLostError(AyniError):
    """Learners died or failed again and again."""

    def __init__(self, *, learner: int, attempts: int, where: str, reason: str) -> None:
        self.learner = learner
        self.attempts = attempts
        super().__init__(
            f"Learner {learner} did not get through {where} in {attempts} attempts; the last time: "
            f"{reason.rstrip('.')}. "
            "If memory ran out, lower train.batch_size or train.learners; if a round needs more time, raise "
            "train.round_deadline_seconds. The last checkpoint is kept: `ayni resume RUN`."
        )
