"""Which examples entered the model: the file of accepted updates, and its check.

`accepted.jsonl` holds one line per accepted update with its block of the stream, the half-open interval
[start, start + num_samples). Position p of the stream is example p % num_examples of epoch
p // num_examples in that epoch's order, so blocks that do not overlap mean that no (epoch, example) was
used twice, and blocks without a gap mean that none was skipped.

`unused.json` names the blocks below the last position that the training ended without: those of attempts
that the last rounds did without. A training in which everybody answered has none.

Needs only the standard library: `ayni verify` reads it where no torch is.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ayni.files import append_json_line, read_json, read_json_lines, write_atomically, write_json

ACCEPTED_FILE = "accepted.jsonl"
UNUSED_FILE = "unused.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedUpdate:
    """One update that entered the model, and the block of the stream it was made from.

    `round` is the one whose checkpoint first holds it; with strategy "async" a learner may have several
    in one round, and none in another.
    """

    round: int
    learner: int
    attempt: int
    num_examples: int
    start: int
    num_samples: int

    @property
    def end(self) -> int:
        """Position after the last example."""
        return self.start + self.num_samples

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
    """Append updates; they survive a power loss once this returns."""
    path = folder / ACCEPTED_FILE
    for number, update in enumerate(updates, start=1):
        # Flushing the last line flushes those before it; a new file has to be flushed into its folder.
        is_durable = number == len(updates) or not path.exists()
        append_json_line(path, update.to_json(), durable=is_durable)


def reconcile_accepted(folder: Path, *, last_round: int, last_updates: Sequence[AcceptedUpdate]) -> None:
    """Make the file say what a checkpoint says: rounds up to `last_round`, the last from the checkpoint.

    `last_updates` are all that were accepted since the checkpoint before. The checkpoint is the commit. A
    crash between it and the appended lines leaves lines missing; going back to an older checkpoint
    leaves lines too many.
    """
    first = min((update.round for update in last_updates), default=last_round + 1)
    earlier = [update for update in read_accepted(folder) if update.round < first]
    lines = [json.dumps(update.to_json()) + "\n" for update in [*earlier, *last_updates]]
    write_atomically(folder / ACCEPTED_FILE, "".join(lines).encode())


def write_unused(folder: Path, intervals: Sequence[tuple[int, int]]) -> None:
    """Declare which blocks the training ended without."""
    write_json(folder / UNUSED_FILE, {"intervals": [list(interval) for interval in intervals]})


def read_unused(folder: Path) -> list[tuple[int, int]]:
    """The blocks of `write_unused`; empty when there is no such file.

    Raises:
        ValueError: the file holds something else.
    """
    path = folder / UNUSED_FILE
    if not path.exists():
        return []
    data = read_json(path)
    intervals = data.get("intervals") if isinstance(data, dict) else None
    if not isinstance(intervals, list) or not all(_is_pair(pair) for pair in intervals):
        raise ValueError(f"intervals must be pairs of whole numbers in {data}")
    return [(start, end) for start, end in intervals]


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and [type(number) for number in value] == [int, int]


def check_samples(folder: Path, *, is_over: bool = True) -> list[str]:
    """Problems in the accepted updates of a training folder; empty when each example counts once.

    Checked: blocks that do not overlap, and leave no gap below the last position but those that
    `unused.json` declares; one number of examples throughout; rounds of a learner that never go back.
    While a training is under way (not `is_over`) a gap is a block that a learner still works on.
    """
    try:
        updates, unused = read_accepted(folder), read_unused(folder)
    except (ValueError, AttributeError) as error:
        return [f"{ACCEPTED_FILE} or {UNUSED_FILE} is damaged: {error}"]
    if not updates:
        return [f"{ACCEPTED_FILE} names no accepted update"] if is_over else []
    problems = [*_check_lines(updates), *_check_rounds(updates)]
    gaps, overlaps = _gaps_and_overlaps(updates)
    problems += overlaps
    if is_over:
        problems += [
            f"examples [{a}, {b}) of the stream were skipped" for a, b in gaps if (a, b) not in unused
        ]
        problems += [
            f"{UNUSED_FILE} names [{a}, {b}), which is no gap" for a, b in unused if (a, b) not in gaps
        ]
    return problems


def _check_lines(updates: list[AcceptedUpdate]) -> list[str]:
    num_examples = updates[0].num_examples
    problems = [
        f"{_name(update)}: {update.num_samples} examples from position {update.start}"
        for update in updates
        if update.num_samples < 1 or update.start < 0 or update.learner < 0
    ]
    problems += [
        f"{_name(update)}: of {update.num_examples} examples, the first update says {num_examples}"
        for update in updates
        if update.num_examples != num_examples or num_examples < 1
    ]
    return problems


def _check_rounds(updates: list[AcceptedUpdate]) -> list[str]:
    problems: list[str] = []
    last_of: dict[int, int] = {}
    for update in updates:
        last = last_of.get(update.learner, 1)
        if update.round < last:
            problems.append(f"{_name(update)}: comes after round {last}")
        last_of[update.learner] = max(last, update.round)
    return problems


def _gaps_and_overlaps(updates: list[AcceptedUpdate]) -> tuple[list[tuple[int, int]], list[str]]:
    gaps: list[tuple[int, int]] = []
    overlaps: list[str] = []
    reached = 0
    for update in sorted(updates, key=lambda update: update.start):
        if update.start > reached:
            gaps.append((reached, update.start))
        if update.start < reached:
            num_again = min(reached, update.end) - update.start
            overlaps.append(f"{_name(update)}: {num_again} examples were used before")
        reached = max(reached, update.end)
    return gaps, overlaps


def _name(update: AcceptedUpdate) -> str:
    return f"learner {update.learner}, round {update.round}"
