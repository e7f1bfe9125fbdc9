"""How many local steps each learner takes, by its measured speed, and where they are in the schedule.

        v_w  = smoothed steps per second of learner w
        H_w  = floor(v_w T)                       rounds of T seconds (`round_seconds`)
        H_w  = min(H, floor(v_w / p90(v) H))      async, `steps_by_speed`: all answer at the same pace

A learner that was never measured takes H = `local_steps`. Pure: who measures says how long it took.

Source: the second is DyLU of Liu et al., "Asynchronous Local-SGD Training for Language Modeling", 2024,
section 4, arXiv:2401.09135, which divides by the largest speed. Ours divides by the 90th percentile
(interpolated between the two nearest), so that one wrong measurement among many does not shorten
everybody's work. The time budget is the same idea with the time given instead of the fastest learner.
"""

import math
from collections.abc import Mapping, Sequence

from ayni.train.config import TrainConfig

# Weight of a new measurement: a machine that another job slows down is seen after two or three rounds,
# and one odd round counts for half.
_SMOOTHING = 0.5


class Pace:
    """Speeds of the learners so far, and the steps that follow from them."""

    def __init__(self, config: TrainConfig, speeds: Mapping[str, float] | None = None) -> None:
        self._config = config
        self._speeds: dict[int, float] = {int(learner): speed for learner, speed in (speeds or {}).items()}

    @property
    def speeds(self) -> dict[str, float]:
        """Smoothed steps per second by learner, as JSON of a checkpoint and for the constructor."""
        return {str(learner): speed for learner, speed in self._speeds.items()}

    def record(self, learner: int, *, num_steps: int, seconds: float) -> None:
        """Take in how long an attempt computed; one that was too short to be measured says nothing."""
        if num_steps < 1 or not 0 < seconds < math.inf:
            return
        speed = num_steps / seconds
        self._speeds[learner] = self._speeds.get(learner, speed) * (1 - _SMOOTHING) + speed * _SMOOTHING

    def steps_for(self, learner: int) -> int:
        """Optimizer steps of the learner's next order."""
        config, speed = self._config, self._speeds.get(learner)
        if speed is None or not self._is_by_speed:
            return config.local_steps
        if config.round_seconds is not None:
            return max(self._fewest, math.floor(speed * config.round_seconds))
        share = speed / percentile(list(self._speeds.values()), 0.9)
        return max(self._fewest, min(config.local_steps, math.floor(share * config.local_steps)))

    def place_in_schedule(self, *, round_: int, num_steps: int, steps_done: int) -> tuple[float, float]:
        """First step of an order in the learning-rate schedule, and how far each of its steps moves there.

        `num_steps` is the order's, `steps_done` those of all learners that entered the model before it.
        """
        config = self._config
        if config.strategy != "async":
            return (round_ - 1) * config.local_steps, config.local_steps / num_steps
        # While this learner works the others do too: meanwhile the schedule moves by the mean of all orders.
        mean_steps = sum(map(self.steps_for, range(config.learners))) / config.learners
        return steps_done / config.learners, mean_steps / num_steps

    @property
    def _is_by_speed(self) -> bool:
        config = self._config
        is_async = config.strategy == "async" and config.asynchronous.steps_by_speed
        return config.strategy != "sync" and (config.round_seconds is not None or is_async)

    @property
    def _fewest(self) -> int:
        # A streaming learner mixes the last part in after so many steps, before its next part leaves.
        return self._config.streaming.overlap_steps + 1 if self._config.strategy == "streaming" else 1


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, interpolated between the two nearest.

    Raises:
        ValueError: no values, or a share outside [0, 1].
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(f"no percentile {share} of {len(values)} values")
    ordered = sorted(values)
    below = math.floor(share * (len(ordered) - 1))
    above = min(below + 1, len(ordered) - 1)
    fraction = share * (len(ordered) - 1) - below
    return ordered[below] * (1 - fraction) + ordered[above] * fraction
