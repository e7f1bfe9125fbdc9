"""What training tells others: progress after each round, notices, and the result.

Plain values without torch or numpy, so that reports and the command line can read them anywhere.
"""

from collections.abc import Iterable, Mapping
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
        bytes_sent: All that travelled in this round: up, down, and between learners (strategy "sync").
        bytes_up: Updates to the coordinator, those it dropped included.
        bytes_down: The model, or its changes, from the coordinator to the learners.
        compute_seconds: Time inside the learners' loops in this round, summed over learners.
        utilisation: Share of the round's wall time in which its learners computed, see `utilisation_of`;
            None when nobody worked.
        wall_seconds: Since training began, without the start of the cluster; earlier tries included.
        learners_alive: Learners that had a place to run when the round ended.
        num_updates: Updates of this round that entered the model.
        num_dropped: Updates that arrived since the round before and entered no model: late, stale, damaged.
    """

    round: int
    num_rounds: int
    samples: int
    train_loss: float
    metrics: Mapping[str, float]
    samples_per_second: float
    bytes_sent: int
    bytes_up: int
    bytes_down: int
    compute_seconds: float
    utilisation: float | None
    wall_seconds: float
    learners_alive: int
    num_updates: int
    num_dropped: int

    def to_json(self) -> dict[str, Any]:
        """One line of rounds.jsonl, and one point of the learning curve."""
        return {**asdict(self), "metrics": dict(self.metrics)}


def utilisation_of(*, compute_seconds: float, wall_seconds: float, num_learners: int) -> float | None:
    """Share of wall time in which the learners computed; None without learners or without time.

        utilisation = compute_seconds / (wall_seconds * num_learners)

    compute_seconds is summed over the learners at work, whose number is num_learners. The rest went into
    travel, merging and waiting for each other. With "streaming" and "async" work may begin before a round
    and end in it, so that one round can exceed 1 by a little; the sum over the rounds does not.
    """
    if num_learners < 1 or wall_seconds <= 0:
        return None
    return compute_seconds / (wall_seconds * num_learners)


def utilisation_over(curve: Iterable[Mapping[str, Any]]) -> float | None:
    """Mean of the rounds' utilisation, weighted by their wall time; None when no round knows its own.

    So a learner that was not there counts only in the rounds in which it worked.
    """
    known: list[tuple[float, float]] = []
    before = 0.0
    for line in curve:
        if line.get("utilisation") is not None:
            known.append((line["utilisation"], line["wall_seconds"] - before))
        before = line["wall_seconds"]
    seconds = sum(length for _, length in known)
    return sum(share * length for share, length in known) / seconds if seconds > 0 else None


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
        bytes_sent: Payload between coordinator and learners, and among learners.
        metrics: Of the validation split, with the model after the last round.
        num_lost_updates: Attempts that were begun and entered no model, those of killed tries included.
        num_optimizer_resets: Times a learner went on without the optimizer state it should have had.
        curve: One RoundProgress.to_json() per round.
        codec, download_codec: How updates travelled up, and the model's changes down.
        bytes_up, bytes_down: The parts of bytes_sent to and from the coordinator.
        utilisation: Over all rounds, see `utilisation_over`.
        num_updates: Updates that entered the model.
        num_dropped: Updates that arrived and entered no model; they are among the lost ones.
        privacy: PrivacySpent.to_json(); None when nothing was promised.

    Those from codec to num_dropped are None in the result of a run made before they were counted.
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
    codec: str | None = None
    download_codec: str | None = None
    bytes_up: int | None = None
    bytes_down: int | None = None
    utilisation: float | None = None
    num_updates: int | None = None
    num_dropped: int | None = None
    privacy: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TrainResult":
        """The result that `to_json` wrote; keys that it does not know are left out."""
        return cls(**{field.name: data[field.name] for field in fields(cls) if field.name in data})
