"""The learning curve on disk: rounds.jsonl, one RoundProgress per line.

Needs only the standard library, so that reports can read it anywhere.
"""

import json
from pathlib import Path
from typing import Any

from ayni.files import append_json_line, read_json_lines, write_atomically

ROUNDS_FILE = "rounds.jsonl"


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The rounds so far, in order."""
    lines = read_json_lines(folder / ROUNDS_FILE)
    return sorted(lines, key=lambda line: int(line["round"]))


def append_round(folder: Path, line: dict[str, Any]) -> None:
    """Append one round; it survives a power loss."""
    append_json_line(folder / ROUNDS_FILE, line)


def reconcile_curve(folder: Path, *, last_round: int) -> bool:
    """Forget rounds after a checkpoint; True when the line of the checkpoint's own round is there."""
    kept = {int(line["round"]): line for line in read_curve(folder) if int(line["round"]) <= last_round}
    lines = [json.dumps(kept[round_]) + "\n" for round_ in sorted(kept)]
    write_atomically(folder / ROUNDS_FILE, "".join(lines).encode())
    return last_round in kept
