"""What the round coordinators are told (events, past tense) and what they ask for (commands, imperative).

`Rounds` (rounds.py) and `AsyncRounds` (async_rounds.py) take the one and return the other. An update is
named by (round, learner, attempt). With strategy "async" there is no common round: there, `round` in
UpdateReceived, LearnerFailed, RunRound and DropUpdate counts the orders of that learner (its *turn*).
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerJoined:
    """A learner has a place to run: at the start, later, or again after it was lost."""

    learner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerLost:
    """The place where a learner ran is gone, and with it the attempt it was working on."""

    learner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReceived:
    """A learner sent the update of one attempt."""

    round: int
    learner: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRefused:
    """A learner sent an update that cannot be used: not finite, damaged, or of another shape."""

    round: int
    learner: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerFailed:
    """An attempt ended with an error that another try may not meet; the learner is still there."""

    round: int
    learner: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed:
    """A round took longer than it may. With "async", `learner` names whose turn it was."""

    round: int
    learner: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GracePassed:
    """The time that StartGrace asked for is over."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """The state after a round is safe."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverged:
    """The model after a round is much worse than the best one on held-out data ("async")."""

    round: int


Event: TypeAlias = (
    LearnerJoined
    | LearnerLost
    | UpdateReceived
    | UpdateRefused
    | LearnerFailed
    | DeadlinePassed
    | GracePassed
    | CheckpointSaved
    | Diverged
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRound:
    """Let a learner work on a round. It replaces any earlier attempt that still runs.

    `members` are the learners that average gradients with it, itself among them; empty without a gang.
    """

    round: int
    learner: int
    attempt: int
    num_steps: int
    members: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SendModel:
    """Send what the merge of a round changed to a learner that is at work on the next one already."""

    round: int
    learner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyUpdates:
    """Take the updates of these (learner, attempt) into the model, in this order.

    `staleness` has, for each, by how many versions the model moved on since its base; zeros but for "async".
    """

    round: int
    attempts: tuple[tuple[int, int], ...]
    staleness: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropUpdate:
    """Forget an update, and say why. Its examples are free to be used by another attempt."""

    round: int
    learner: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonRound:
    """A round goes on without what this learner was to bring; its examples are free again.

    The attempt may still run: should its update come, it will be dropped.
    """

    round: int
    learner: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartGrace:
    """Report GracePassed for this round after the time of grace."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveCheckpoint:
    """Make the state after a round safe, then report CheckpointSaved; learners need not wait for it."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludeLearner:
    """A learner used up its attempts; the job goes on without it for good."""

    learner: int
    round: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """Go back to the best checkpoint. Updates whose base is newer than it will be dropped."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """All rounds are done and safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """A learner used up its attempts at a round, and too few are left to go on."""

    round: int
    learner: int
    attempts: int


Command: TypeAlias = (
    RunRound
    | SendModel
    | ApplyUpdates
    | DropUpdate
    | AbandonRound
    | StartGrace
    | SaveCheckpoint
    | ExcludeLearner
    | RollBack
    | Finish
    | GiveUp
)
