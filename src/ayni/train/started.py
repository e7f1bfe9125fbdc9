"""Which attempts were ever begun: started.jsonl, one line each, over all tries of a run.

What was begun and is not in accepted.jsonl was thrown away: its worker died, its answer came late, or the
coordinator was killed. Counting in memory would forget the attempts of a process that did not live to
write its first checkpoint.

Needs only the standard library.
"""

from pathlib import Path

from ayni.files import append_json_line, read_json_lines
from ayni.train.accepted import read_accepted
from ayni.train.privacy_accounting import PrivacyBudgetUsedError, PrivacyPlan

STARTED_FILE = "started.jsonl"


def append_started(
    folder: Path, *, session: str, round_: int, learner: int, attempt: int, durable: bool = False
) -> None:
    """Note an attempt before it begins.

    By default not flushed to the device: only the machine's own end can lose it, and only counts depend
    on it.
    """
    line = {"session": session, "round": round_, "learner": learner, "attempt": attempt}
    append_json_line(folder / STARTED_FILE, line, durable=durable)


class StartedAttempts:
    """Notes attempts, and refuses those for which the noise of a private training was not made."""

    def __init__(self, folder: Path, session: str, *, privacy: PrivacyPlan | None) -> None:
        self._folder, self._session, self._privacy = folder, session, privacy
        self._num_begun = count_begun(folder)

    def begin(self, *, round_: int, learner: int, attempt: int) -> None:
        """Note an attempt before it begins.

        Raises:
            PrivacyBudgetUsedError: the training is private and began as many as its noise was made for.
        """
        privacy = self._privacy
        if privacy is not None and self._num_begun >= privacy.max_attempts:
            raise PrivacyBudgetUsedError(num_begun=self._num_begun)
        append_started(
            self._folder,
            session=self._session,
            round_=round_,
            learner=learner,
            attempt=attempt,
            durable=privacy is not None,
        )
        self._num_begun += 1


def count_begun(folder: Path) -> int:
    """Attempts of all tries of a run; never fewer than those that entered the model."""
    return max(len(read_json_lines(folder / STARTED_FILE)), len(read_accepted(folder)))


def count_lost(folder: Path) -> int:
    """Attempts that were begun and entered no model. Meant for a training that is over."""
    return max(0, len(read_json_lines(folder / STARTED_FILE)) - len(read_accepted(folder)))
