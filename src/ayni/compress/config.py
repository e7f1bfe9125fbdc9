"""What a job may ask of compression: the steps, the budget and the score.

Light on purpose (no torch): `ayni plan` reads it too. Field names are the keys of job.yaml.

Not covered: searching over configurations. A job names one pipeline, and every step of it becomes a
variant with its own row.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

METRIC_TERM = "metric"
COST_TERMS = ("stored_bytes", "latency", "energy", "num_parameters")

QuantizeMode = Literal["auto", "static", "dynamic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneStep:
    """Remove whole channels, so that the model is really smaller and really faster.

    `channels` is the fraction of the channels of every layer that goes, lowest magnitude first. The
    layers that make the output keep theirs. 0.5 leaves about a quarter of the parameters.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    channels: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.channels < 1:
            raise ValueError(f"prune.channels is a fraction between 0 and 1, not {self.channels}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillStep:
    """Train the pruned model to give the full model's answers again.

    temperature: T of the softened softmax, no unit; 4 is the common choice for ten or so classes.
    epochs: passes over the training split; a short recovery, not a second training.
    hard_label_weight: share of the task's own loss, the rest follows the teacher.
    learning_rate: peak of AdamW's cosine schedule; above the usual 1e-3, because a few epochs must do.
    batch_size: examples in one step; small, because recovery needs steps (3 epochs of the digits example
    with half of the channels gone: 0.2 points of test accuracy lost with 32 at 0.005, 0.7 with 64 at 0.002).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    temperature: float = 4.0
    epochs: int = 3
    hard_label_weight: float = 0.3
    learning_rate: float = 5e-3
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"distill.temperature must be above 0, not {self.temperature}")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"distill needs at least 1 epoch of batches of 1, "
                f"not epochs {self.epochs} and batch_size {self.batch_size}"
            )
        if not 0 <= self.hard_label_weight <= 1:
            raise ValueError(f"distill.hard_label_weight is between 0 and 1, not {self.hard_label_weight}")
        if self.learning_rate <= 0:
            raise ValueError(f"distill.learning_rate must be above 0, not {self.learning_rate}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeStep:
    """Store weights as integers and compute with them.

    bits: 8 is what ONNX Runtime computes with on every CPU.
    mode: "static" fixes the range of activations from training data, "dynamic" measures it in each
    call; "auto" is static for networks with convolutions and no attention, where it is the faster one, and
    dynamic for others: transformers lose far more accuracy to fixed ranges.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    bits: int = 8
    mode: QuantizeMode = "auto"

    def __post_init__(self) -> None:
        if self.bits != 8:
            raise ValueError(f"quantize.bits can be 8, not {self.bits}")
        if self.mode not in ("auto", "static", "dynamic"):
            raise ValueError(f"quantize.mode is auto, static or dynamic, not {self.mode!r}")


Step = PruneStep | DistillStep | QuantizeStep
STEP_CLASSES: Mapping[str, type[PruneStep] | type[DistillStep] | type[QuantizeStep]] = {
    "prune": PruneStep,
    "distill": DistillStep,
    "quantize": QuantizeStep,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEntry:
    """One entry of `steps`: exactly one of its fields is set, as in `{prune: {channels: 0.5}}`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    prune: PruneStep | None = None
    distill: DistillStep | None = None
    quantize: QuantizeStep | None = None

    def __post_init__(self) -> None:
        given = [name for name in STEP_CLASSES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"an entry of compress.steps names one of {', '.join(STEP_CLASSES)} with its settings, "
                f"as in {{prune: {{channels: 0.5}}}}; this one names {' and '.join(given) or 'none'}"
            )

    @property
    def step(self) -> Step:
        """The step that this entry holds."""
        return next(step for step in (self.prune, self.distill, self.quantize) if step is not None)

    @classmethod
    def from_mapping(cls, entry: Mapping[str, Any]) -> "StepEntry":
        """The entry `{name: {setting: value}}` of a job, checked without pydantic.

        Raises:
            ValueError: unknown step or setting (the nearest name is suggested), or not exactly one step.
        """
        for name, settings in entry.items():
            if name not in STEP_CLASSES:
                raise ValueError(f"unknown compress step {name!r}{_nearest(name, STEP_CLASSES)}")
            allowed = [field_.name for field_ in fields(STEP_CLASSES[name])]
            for setting in settings or {}:
                if setting not in allowed:
                    raise ValueError(f"unknown setting {name}.{setting}{_nearest(setting, allowed)}")
        steps: dict[str, Any] = {
            name: STEP_CLASSES[name](**(settings or {})) for name, settings in entry.items()
        }
        return cls(**steps)


def _default_steps() -> tuple[StepEntry, ...]:
    return (
        StepEntry(prune=PruneStep()),
        StepEntry(distill=DistillStep()),
        StepEntry(quantize=QuantizeStep()),
    )


def _default_score() -> dict[str, float]:
    return {METRIC_TERM: 1.0, "stored_bytes": -0.2, "latency": -0.2, "energy": -0.2}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressConfig:
    """The `compress` part of a job.

    max_accuracy_drop: how much worse than the full model a variant may be, in units of the task's first
    metric (0.01 is one point of accuracy), measured on the validation split.
    steps: the pipeline, in order; each entry adds a variant. Quantization is last, because its result is
    a file that cannot be trained any more.
    score: weights a_i of f(x) = sum a_i x_i; ayni.compress.score says what the x_i are.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_accuracy_drop: float = 0.01
    steps: tuple[StepEntry, ...] = field(default_factory=_default_steps)
    score: Mapping[str, float] = field(default_factory=_default_score)

    def __post_init__(self) -> None:
        entries = tuple(
            StepEntry.from_mapping(entry) if isinstance(entry, Mapping) else entry for entry in self.steps
        )
        object.__setattr__(self, "steps", entries)
        if self.max_accuracy_drop < 0:
            raise ValueError(f"compress.max_accuracy_drop cannot be negative, it is {self.max_accuracy_drop}")
        if not entries:
            raise ValueError("compress.steps is empty; leave `compress` out of the job to skip compression")
        if any(entry.quantize for entry in entries[:-1]):
            raise ValueError("quantize must be the last of compress.steps: nothing can train an int8 file")
        if not self.score:
            raise ValueError("compress.score is empty; give at least one weight, as in {accuracy: 1.0}")


def _nearest(name: str, allowed: Mapping[str, Any] | list[str]) -> str:
    near = difflib.get_close_matches(str(name), list(allowed), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"{hint} Allowed: {', '.join(allowed)}"
