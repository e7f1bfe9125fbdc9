"""Which examples entered the model: the file of accepted updates, and its check.

`accepted.jsonl` holds one line per accepted update with the half-open interval of its learner's
stream, [start, end) as (epoch, position). The shards of the learners are disjoint and each epoch is a
permutation of a shard, so intervals that do not overlap mean that no (epoch, sample) was used twice,
and intervals without gaps mean that none was skipped.

Needs only the standard library: `ayni verify` reads it where no torch is.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ayni.files import append_json_line, read_json_lines, write_atomically

ACCEPTED_FILE = "accepted.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedUpdate:
    """One update that entered the model, and the part of the learner's stream it was made from."""

    round: int
    learner: int
    attempt: int
    num_learners: int
    shard_size: int
    start_epoch: int
    start_position: int
    end_epoch: int
    end_position: int
    num_samples: int

    @property
    def start(self) -> int:
        """Offset of the first example in the learner's endless stream."""
        return self.start_epoch * self.shard_size + self.start_position

    @property
    def end(self) -> int:
        """Offset after the last example."""
        return self.end_epoch * self.shard_size + self.end_position

    def to_json(self) -> dict[str, int]:
        """One line of the file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "AcceptedUpdate":
        """The update of one line.

        Raises:
            ValueError: a key is missing or not a whole number.
        """
        values = {field.name: data.get(field.name) for field in fields(cls)}
        wrong = [name for name, value in values.items() if type(value) is not int]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} must be whole numbers in {data}")
        return cls(**values)  # type: ignore[arg-type]


def read_accepted(folder: Path) -> list[AcceptedUpdate]:
    """The accepted updates of a training folder, in the order of the file."""
    return [AcceptedUpdate.from_json(line) for line in read_json_lines(folder / ACCEPTED_FILE)]


def append_accepted(folder: Path, updates: Sequence[AcceptedUpdate]) -> None:
    """Append updates; they survive a power loss."""
    for update in updates:
        append_json_line(folder / ACCEPTED_FILE, update.to_json())


def reconcile_accepted(folder: Path, *, last_round: int, last_updates: Sequence[AcceptedUpdate]) -> None:
    """Make the file say what a checkpoint says: rounds up to `last_round`, the last from the checkpoint.

    The checkpoint is the commit. A crash between it and the appended lines leaves lines missing; going
    back to an older checkpoint leaves lines too many.
    """
    earlier = [update for update in read_accepted(folder) if update.round < last_round]
    lines = [json.dumps(update.to_json()) + "\n" for update in [*earlier, *last_updates]]
    write_atomically(folder / ACCEPTED_FILE, "".join(lines).encode())


def check_samples(folder: Path) -> list[str]:
    """Problems in the accepted updates of a training folder; empty when each example counts once.

    Checked for each learner: rounds 1, 2, 3 ... once each, intervals that begin where the one before
    ended, and as many examples as the interval is long; over learners: equally many rounds.
    """
    try:
        updates = read_accepted(folder)
    except ValueError as error:
        return [f"{ACCEPTED_FILE} is damaged: {error}"]
    if not updates:
        return [f"{ACCEPTED_FILE} names no accepted update"]
    of_learner: dict[int, list[AcceptedUpdate]] = defaultdict(list)
    for update in updates:
        of_learner[update.learner].append(update)
    problems: list[str] = []
    num_learners = updates[0].num_learners
    if sorted(of_learner) != list(range(num_learners)):
        problems.append(f"updates of the learners {sorted(of_learner)}, expected {num_learners} learners")
    if len({len(own) for own in of_learner.values()}) > 1:
        counts = {learner: len(own) for learner, own in sorted(of_learner.items())}
        problems.append(f"learners have different numbers of accepted updates: {counts}")
    for learner, own in sorted(of_learner.items()):
        problems += _check_learner(learner, own)
    return problems


def _check_learner(learner: int, updates: list[AcceptedUpdate]) -> list[str]:
    problems: list[str] = []
    expected_start = 0
    for number, update in enumerate(
        sorted(updates, key=lambda update: (update.round, update.start)), start=1
    ):
        where = f"learner {learner}, round {update.round}"
        if update.round != number:
            problems.append(f"{where}: expected round {number}")
        if update.shard_size != updates[0].shard_size or update.shard_size < 1:
            problems.append(
                f"{where}: its shard has {update.shard_size} examples, before {updates[0].shard_size}"
            )
        if update.start < expected_start:
            problems.append(f"{where}: {expected_start - update.start} examples were used before")
        if update.start > expected_start:
            problems.append(f"{where}: {update.start - expected_start} examples were skipped")
        if update.end - update.start != update.num_samples or update.num_samples < 1:
            problems.append(
                f"{where}: says {update.num_samples} examples, its interval holds {update.end - update.start}"
            )
        expected_start = update.end
    return problems
