"""What a training is at, from its files alone: while it goes on, after a crash, and when it is over.

Nothing here takes a lock or asks the process that trains, so that looking never disturbs and works on
any machine that sees the folder. What is not in the files is not known: a learner that died a moment ago
still counts until its round ends, and its loss shows as a notice.

Needs only the standard library.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ayni.files import read_json_lines
from ayni.train.accepted import ACCEPTED_FILE
from ayni.train.curve import ROUNDS_FILE, read_curve, read_notices
from ayni.train.result import utilisation_over
from ayni.train.started import STARTED_FILE

# Rounds whose pace tells how long the others will take: enough to even out one slow round.
_ROUNDS_OF_PACE = 5

Line = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerStatus:
    """What one learner did so far.

    Attributes:
        learner: Its number.
        num_updates: Its updates that entered the model.
        num_attempts: Attempts that it began; those that are neither accepted nor at work are lost.
        samples: Examples in its accepted updates.
        last_round: Round of its latest attempt (with "async", its turn); last_attempt counts the tries of it.
    """

    learner: int
    num_updates: int
    num_attempts: int
    samples: int
    last_round: int | None
    last_attempt: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStatus:
    """A training as far as it got.

    Attributes:
        round: Finished rounds, of `num_rounds`.
        samples: Examples in accepted updates, all learners together.
        train_loss, metrics, samples_per_second, learners_alive: Of the last finished round; None before
            the first.
        utilisation: Over all rounds, each weighted by its length; None when no round knows its own.
        bytes_sent, bytes_up, bytes_down, num_updates, num_dropped: Sums over the rounds; None when one
            round does not know its part.
        wall_seconds: At work until the end of the last round, over all tries.
        seconds_per_round: Mean of the last five rounds.
        seconds_left: Estimate from that mean; 0 when all rounds are done, None before the first.
        last_round_at: When the last round was written down, as ISO time.
        learners: One LearnerStatus each, for those that ever began.
        notices: All, the oldest first, each with "at" and "message".
        curve: One RoundProgress.to_json() a round.
    """

    round: int
    num_rounds: int
    samples: int
    train_loss: float | None
    metrics: dict[str, float]
    samples_per_second: float | None
    learners_alive: int | None
    utilisation: float | None
    bytes_sent: int | None
    bytes_up: int | None
    bytes_down: int | None
    num_updates: int | None
    num_dropped: int | None
    wall_seconds: float
    seconds_per_round: float | None
    seconds_left: float | None
    last_round_at: str | None
    learners: list[LearnerStatus]
    notices: list[dict[str, str]]
    curve: list[Line]

    def to_json(self) -> dict[str, Any]:
        """The status as plain JSON."""
        return asdict(self)


def read_status(folder: Path, *, num_rounds: int, now: datetime) -> TrainingStatus:
    """The status of the training in `folder`, which need not exist yet."""
    curve = read_curve(folder)
    last: Line = curve[-1] if curve else {}
    written_at = _written_at(folder / ROUNDS_FILE) if curve else None
    pace = _seconds_per_round(curve)
    return TrainingStatus(
        round=last.get("round", 0),
        num_rounds=num_rounds,
        samples=last.get("samples", 0),
        train_loss=last.get("train_loss"),
        metrics=dict(last.get("metrics") or {}),
        samples_per_second=last.get("samples_per_second"),
        learners_alive=last.get("learners_alive"),
        utilisation=utilisation_over(curve),
        bytes_sent=_sum(curve, "bytes_sent"),
        bytes_up=_sum(curve, "bytes_up"),
        bytes_down=_sum(curve, "bytes_down"),
        num_updates=_sum(curve, "num_updates"),
        num_dropped=_sum(curve, "num_dropped"),
        wall_seconds=last.get("wall_seconds", 0.0),
        seconds_per_round=pace,
        seconds_left=_seconds_left(pace, num_rounds - last.get("round", 0), written_at, now),
        last_round_at=None if written_at is None else written_at.isoformat(timespec="seconds"),
        learners=_learners(read_json_lines(folder / STARTED_FILE), read_json_lines(folder / ACCEPTED_FILE)),
        notices=read_notices(folder),
        curve=curve,
    )


def _sum(curve: Iterable[Line], key: str) -> int | None:
    """The sum over all rounds; None when one of them does not say, because a partial sum would mislead."""
    parts = [line.get(key) for line in curve]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _seconds_per_round(curve: Sequence[Line]) -> float | None:
    if not curve:
        return None
    num_rounds = min(_ROUNDS_OF_PACE, len(curve))
    before = curve[-num_rounds - 1]["wall_seconds"] if len(curve) > num_rounds else 0.0
    seconds: float = curve[-1]["wall_seconds"] - before
    return seconds / num_rounds


def _seconds_left(
    pace: float | None, rounds_left: int, written_at: datetime | None, now: datetime
) -> float | None:
    """Time for the rounds that are left, less what the present one has taken (at most its share)."""
    if rounds_left <= 0:
        return 0.0
    if pace is None or written_at is None:
        return None
    since = max(0.0, (now - written_at) / timedelta(seconds=1))
    return rounds_left * pace - min(since, pace)


def _written_at(path: Path) -> datetime:
    """When a file was last appended to."""
    return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)


def _learners(started: Sequence[Line], accepted: Sequence[Line]) -> list[LearnerStatus]:
    numbers = sorted({int(line["learner"]) for line in [*started, *accepted]})
    return [
        _learner(
            number,
            [line for line in started if line["learner"] == number],
            [line for line in accepted if line["learner"] == number],
        )
        for number in numbers
    ]


def _learner(number: int, started: Sequence[Line], accepted: Sequence[Line]) -> LearnerStatus:
    last = started[-1] if started else {}
    return LearnerStatus(
        learner=number,
        num_updates=len(accepted),
        num_attempts=len(started),
        samples=sum(int(line["num_samples"]) for line in accepted),
        last_round=last.get("round"),
        last_attempt=last.get("attempt"),
    )
