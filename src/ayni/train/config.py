"""How a job is trained. Field names are the keys under `train:` in a job file.

Needs neither torch nor numpy, so that a job can be read and planned without them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Strategy, amount and pace of training; the seed is passed apart because a whole job shares it.

    Attributes:
        strategy: "diloco" exchanges once a round (few bytes), "sync" averages gradients each step.
        learners: Replicas that train in parallel, one core or device each.
        rounds: Exchanges between the learners. More rounds, more bytes and a closer fit to one process.
        local_steps: Optimizer steps of a learner in one round. With 30 to 100 DiLoCo stays close to
            per-step averaging.
        batch_size: Examples per learner and step.
        device: Where learners compute; "auto" takes an accelerator when there is one.
        learning_rate: Peak of the inner AdamW, the value that most small models accept.
        weight_decay: Of AdamW, decoupled; torch's default.
        schedule: Of the learning rate over all steps of the job; "cosine" ends at zero.
        warmup_steps: Steps with a linearly rising learning rate. Zero: small models do not need it.
        gradient_clip: Largest norm of a step's gradient; None clips nothing. 1.0 as in the DiLoCo paper.
        outer_learning_rate: Of the Nesterov step over the averaged updates. 0.7 as in the DiLoCo paper.
        outer_momentum: Of the same step. 0.9 as in the DiLoCo paper.
        round_deadline_seconds: A round that takes longer is tried again on restarted workers; None waits.
            The default lets a learner compute for ten minutes between two checkpoints.
        max_attempts: Tries of one round by one learner before the job gives up.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    strategy: Literal["diloco", "sync"] = "diloco"
    learners: int = 2
    rounds: int = 12
    local_steps: int = 40
    batch_size: int = 64
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_steps: int = 0
    gradient_clip: float | None = 1.0
    outer_learning_rate: float = 0.7
    outer_momentum: float = 0.9
    round_deadline_seconds: float | None = 600.0
    max_attempts: int = 5

    def __post_init__(self) -> None:
        for name in ("learners", "rounds", "local_steps", "batch_size", "max_attempts"):
            _require(self, name, lambda value: value >= 1, "at least 1")
        _require(self, "warmup_steps", lambda value: value >= 0, "at least 0")
        _require(self, "weight_decay", lambda value: value >= 0, "at least 0")
        _require(self, "outer_momentum", lambda value: 0 <= value < 1, "in [0, 1)")
        for name in ("learning_rate", "outer_learning_rate", "gradient_clip", "round_deadline_seconds"):
            _require(self, name, lambda value: value is None or value > 0, "greater than 0")
        for name, allowed in _CHOICES.items():
            _require(
                self, name, lambda value, allowed=allowed: value in allowed, f"one of {', '.join(allowed)}"
            )

    @property
    def total_steps(self) -> int:
        """Optimizer steps of one learner over the whole job."""
        return self.rounds * self.local_steps

    @property
    def samples_per_round(self) -> int:
        """Examples that one learner takes in one round."""
        return self.local_steps * self.batch_size

    def learning_rate_at(self, global_step: int) -> float:
        """Learning rate of a step, counted from 0 over all rounds.

            warm-up:  lr * (step + 1) / warmup_steps
            cosine:   lr * (1 + cos(pi * progress)) / 2, progress in [0, 1) after the warm-up

        Driven by the global step: a schedule that starts anew in each round never anneals.
        """
        if global_step < self.warmup_steps:
            return self.learning_rate * (global_step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        remaining = max(1, self.total_steps - self.warmup_steps)
        progress = min(1.0, (global_step - self.warmup_steps) / remaining)
        return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2


_CHOICES: dict[str, tuple[str, ...]] = {
    "strategy": ("diloco", "sync"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "schedule": ("constant", "cosine"),
}


def _require(config: TrainConfig, name: str, is_fine: Callable[..., bool], allowed: str) -> None:
    value = getattr(config, name)
    is_finite = not isinstance(value, float) or math.isfinite(value)
    if not is_finite or not is_fine(value):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


def config_to_json(config: TrainConfig) -> dict[str, object]:
    """The configuration as plain JSON, in the order of the fields."""
    return {field.name: getattr(config, field.name) for field in fields(config)}
