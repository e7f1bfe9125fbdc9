"""The port between the coordinator and the place where learners run.

An engine hosts learners numbered from 0, gives each a place, and says when a place is gone. It knows
nothing of rounds: the coordinator tells it which attempt to run. `InProcessEngine` is the twin without
processes; `DaskEngine` runs each learner in a worker process.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from ayni.errors import AyniError
from ayni.task import TaskReference
from ayni.train.config import TrainConfig
from ayni.train.named_arrays import NamedArrays
from ayni.train.shards import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What all learners of one training share. Small: it is sent to each of them.

    `session_id` is new in each process that trains, and names what workers keep in memory;
    `fingerprint` names the job and stays over a resume, and marks what they keep on disk.
    """

    session_id: str
    fingerprint: str
    task: TaskReference
    config: TrainConfig
    seed: int
    spill_folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One attempt of one learner at one round, counted from 1, from the parameters `base`."""

    round: int
    learner: int
    attempt: int
    cursor: Cursor
    base: NamedArrays


OptimizerState: TypeAlias = Literal["new", "kept", "restored", "reset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerUpdate:
    """What an attempt gives back.

    Attributes:
        arrays: Base minus local values of what was trained, and of float buffers. Empty for the members of
            a gradient-averaging gang other than learner 0, which all end at the same parameters.
        digest: SHA-256 of the local parameters, on which the members of a gang must agree; empty without one.
        num_samples: Examples taken from the stream, from `start` to `end`.
        shard_size: Examples in the learner's shard, the length of one epoch.
        loss: Mean over the steps.
        compute_seconds: Wall time inside the learner's loop.
        exchanged_bytes: Sent by this learner to other learners during the round.
        optimizer_state: "new" in round 1; "kept" in memory, "restored" from disk, or "reset": lost.
    """

    round: int
    learner: int
    attempt: int
    arrays: NamedArrays
    digest: str
    num_samples: int
    shard_size: int
    start: Cursor
    end: Cursor
    loss: float
    compute_seconds: float
    exchanged_bytes: int
    optimizer_state: OptimizerState


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


EngineEvent: TypeAlias = PlaceFound | PlaceLost | AttemptFailed | LearnerUpdate


class Engine(Protocol):
    """Where learners run."""

    def open(self, session: Session) -> None:
        """Prepare all learners of a session; each is announced by PlaceFound. Ends the session before."""
        ...

    def start(self, order: Order) -> None:
        """Begin an attempt and return at once. An older attempt of the same learner is stopped."""
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
            f"Learner {learner} did not get through {where} in {attempts} attempts; the last time: {reason}. "
            "If memory ran out, lower train.batch_size or train.learners; if a round needs more time, raise "
            "train.round_deadline_seconds. The last checkpoint is kept: `ayni resume RUN`."
        )
