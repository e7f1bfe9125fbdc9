"""What a training leaves for its watchers: rounds.jsonl, one RoundProgress a line, and notices.jsonl.

Both survive a crash, and both may be read while they grow: a line is whole or is skipped. A notice is
what a person should know (a learner was lost, a state was reset), with the time at which it was noticed.

Needs only the standard library, so that reports and `ayni train status` can read them anywhere.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from ayni.files import append_json_line, read_json_lines, write_atomically

ROUNDS_FILE = "rounds.jsonl"
NOTICES_FILE = "notices.jsonl"


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The rounds so far, in order; of a round that was done again after a crash, what was written last."""
    rounds = {int(line["round"]): line for line in read_json_lines(folder / ROUNDS_FILE)}
    return [rounds[round_] for round_ in sorted(rounds)]


def append_round(folder: Path, line: dict[str, Any]) -> None:
    """Append one round; it survives a power loss."""
    append_json_line(folder / ROUNDS_FILE, line)


def reconcile_curve(folder: Path, *, last_round: int) -> bool:
    """Forget rounds after a checkpoint; True when the line of the checkpoint's own round is there."""
    kept = [line for line in read_curve(folder) if int(line["round"]) <= last_round]
    lines = [json.dumps(line) + "\n" for line in kept]
    write_atomically(folder / ROUNDS_FILE, "".join(lines).encode())
    return any(int(line["round"]) == last_round for line in kept)


def append_notice(folder: Path, message: str, *, now: datetime) -> None:
    """Append a notice as {"at": ISO time, "message": text}; it survives a power loss.

    Notices are history: a resumed training does not forget those that came after its checkpoint.
    """
    append_json_line(folder / NOTICES_FILE, {"at": now.isoformat(), "message": message})


def read_notices(folder: Path) -> list[dict[str, str]]:
    """All notices, the oldest first; empty for a training made before they were kept."""
    return read_json_lines(folder / NOTICES_FILE)
