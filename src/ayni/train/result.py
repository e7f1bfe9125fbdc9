"""What training tells others: progress after each round, notices, and the result.

Plain values without torch or numpy, so that reports and the command line can read them anywhere.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundProgress:
    """One finished round.

    Attributes:
        round: Counted from 1.
        num_rounds: Rounds of the whole job.
        samples: Examples in accepted updates so far, all learners together.
        train_loss: Mean of the task's loss over the round's steps and learners.
        metrics: Of the validation split, with the model after this round.
        samples_per_second: Of this round.
        bytes_sent: Parameters down and updates up in this round, all learners together.
        compute_seconds: Time inside the learners' loops in this round, summed over learners.
        wall_seconds: Since training began, without the start of the cluster; earlier tries included.
        learners_alive: Learners that had a place to run when the round ended.
    """

    round: int
    num_rounds: int
    samples: int
    train_loss: float
    metrics: Mapping[str, float]
    samples_per_second: float
    bytes_sent: int
    compute_seconds: float
    wall_seconds: float
    learners_alive: int

    def to_json(self) -> dict[str, Any]:
        """One line of rounds.jsonl, and one point of the learning curve."""
        return {**asdict(self), "metrics": dict(self.metrics)}


class Observer(Protocol):
    """Who watches a training. It may raise to stop it; the last checkpoint stays."""

    def round_finished(self, progress: RoundProgress) -> None:
        """A round is done, checkpointed and validated."""
        ...

    def noticed(self, message: str) -> None:
        """Something happened that a person should know: a learner was lost, a state was reset."""
        ...


class SilentObserver:
    """Watches nothing. The twin for tests and scripts; it keeps what it was told."""

    def __init__(self) -> None:
        self.rounds: list[RoundProgress] = []
        self.notices: list[str] = []

    def round_finished(self, progress: RoundProgress) -> None:
        """Keep it in `rounds`."""
        self.rounds.append(progress)

    def noticed(self, message: str) -> None:
        """Keep it in `notices`."""
        self.notices.append(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A trained model and what it took, summed over all tries of a resumed run.

    Attributes:
        model_path: safetensors file with the whole state dict of the model after the last round.
        samples: Examples in accepted updates; work that was thrown away is not counted.
        wall_seconds: Of rounds that count, without the start of the cluster.
        compute_seconds: Time inside the learners' loops of accepted updates.
        bytes_sent: Payload between coordinator and learners, and among learners, of accepted updates.
        metrics: Of the validation split, with the model after the last round.
        num_lost_updates: Attempts that were begun and entered no model, those of killed tries included.
        num_optimizer_resets: Times a learner went on without the optimizer state it should have had.
        curve: One RoundProgress.to_json() per round.
    """

    model_path: str
    strategy: str
    num_learners: int
    rounds: int
    samples: int
    wall_seconds: float
    compute_seconds: float
    bytes_sent: int
    metrics: dict[str, float]
    num_parameters: int
    num_lost_updates: int
    num_optimizer_resets: int
    curve: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TrainResult":
        """The result that `to_json` wrote; keys that it does not know are left out."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})
