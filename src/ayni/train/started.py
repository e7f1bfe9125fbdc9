"""Which attempts were ever begun: started.jsonl, one line each, over all tries of a run.

What was begun and is not in accepted.jsonl was thrown away: its worker died, its answer came late, or the
coordinator was killed. Counting in memory would forget the attempts of a process that did not live to
write its first checkpoint.

Needs only the standard library.
"""

from pathlib import Path

from ayni.files import append_json_line, read_json_lines
from ayni.train.accepted import read_accepted

STARTED_FILE = "started.jsonl"


def append_started(folder: Path, *, session: str, round_: int, learner: int, attempt: int) -> None:
    """Note an attempt before it begins. Not flushed to the device: only the machine's own end can lose it."""
    line = {"session": session, "round": round_, "learner": learner, "attempt": attempt}
    append_json_line(folder / STARTED_FILE, line, durable=False)


def count_lost(folder: Path) -> int:
    """Attempts that were begun and entered no model. Meant for a training that is over."""
    return max(0, len(read_json_lines(folder / STARTED_FILE)) - len(read_accepted(folder)))
