"""What the rounds took: sums over a training, and one line a round. The clock is an argument.

Times are seconds of a monotonic clock. A round lasts from the merge before it to its own merge.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ayni.train.checkpoint import Totals
from ayni.train.engine import LearnerUpdate
from ayni.train.result import utilisation_of


class RoundMeter:
    """Totals of all tries so far, and the figures of the round under way."""

    def __init__(self, totals: Totals) -> None:
        self.totals = totals
        self._wall_before = totals.wall_seconds
        self._bytes_down_before = totals.bytes_down
        self._started_at: float | None = None
        self._round_started_at = 0.0
        self._updates: list[LearnerUpdate] = []
        self._before = replace(totals)

    def started(self, now: float) -> None:
        """An attempt begins; the first one starts the clock."""
        if self._started_at is None:
            self._started_at = self._round_started_at = now

    def merged(self, updates: Sequence[LearnerUpdate]) -> None:
        """Updates entered the model."""
        totals = self.totals
        self._updates += [replace(update, frames=()) for update in updates]
        totals.samples += sum(update.num_samples for update in updates)
        totals.compute_seconds += sum(update.compute_seconds for update in updates)
        totals.num_optimizer_resets += sum(update.optimizer_state == "reset" for update in updates)
        totals.bytes_sent += sum(update.exchanged_bytes for update in updates)

    def received(self, num_bytes: int) -> None:
        """An update came."""
        self.totals.bytes_up += num_bytes
        self.totals.bytes_sent += num_bytes

    def dropped(self) -> None:
        """An update arrived and entered no model."""
        self.totals.num_dropped += 1

    def rolled_back(self, totals: Totals) -> None:
        """The model went back: examples and updates since then do not count, time and bytes do.

        The lines of the rounds that are done again replace the old ones, so the next one carries their bytes.
        """
        self.totals.samples = totals.samples
        self._updates, self._before = [], replace(totals)

    def wall_seconds(self, now: float) -> float:
        """Since training began, earlier tries included."""
        return self._wall_before + (0.0 if self._started_at is None else now - self._started_at)

    def end_round(
        self, now: float, *, round_: int, num_rounds: int, learners_alive: int, bytes_down: int
    ) -> dict[str, Any]:
        """A RoundProgress without its metrics, which are known only after validation.

        `bytes_down` is what the coordinator has sent since the meter was made.
        """
        new_bytes_down = bytes_down - (self.totals.bytes_down - self._bytes_down_before)
        self.totals.bytes_down += new_bytes_down
        self.totals.bytes_sent += new_bytes_down
        seconds = max(now - self._round_started_at, 1e-9)
        totals, before, updates = self.totals, self._before, self._updates
        totals.wall_seconds = self.wall_seconds(now)
        compute_seconds = sum(update.compute_seconds for update in updates)
        self._round_started_at, self._updates, self._before = now, [], replace(totals)
        return {
            "round": round_,
            "num_rounds": num_rounds,
            "samples": totals.samples,
            "train_loss": sum(update.loss for update in updates) / max(1, len(updates)),
            "samples_per_second": sum(update.num_samples for update in updates) / seconds,
            "bytes_sent": totals.bytes_sent - before.bytes_sent,
            "bytes_up": totals.bytes_up - before.bytes_up,
            "bytes_down": totals.bytes_down - before.bytes_down,
            "compute_seconds": compute_seconds,
            "utilisation": utilisation_of(
                compute_seconds=compute_seconds,
                wall_seconds=seconds,
                num_learners=len({update.learner for update in updates}),
            ),
            "wall_seconds": totals.wall_seconds,
            "learners_alive": learners_alive,
            "num_updates": len(updates),
            "num_dropped": totals.num_dropped - before.num_dropped,
        }
