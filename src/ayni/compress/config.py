"""What a job may ask of compression: steps or a search, the budget of quality, and the score.

Light on purpose (no torch): `ayni plan` reads it too. Field names are the keys of job.yaml.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from ayni.compress.steps import (
    FORBID_EXTRA,
    STEP_CLASSES,
    STORING_STEPS,
    DistillStep,
    FactorizeStep,
    FoldStep,
    HalfStep,
    PruneStep,
    QuantizeStep,
    RecoverStep,
    ShareStep,
    Step,
)

METRIC_TERM = "metric"
COST_TERMS = ("stored_bytes", "latency", "energy", "num_parameters")
Preference = Literal["energy", "bytes", "latency", "quality"]
PREFERRED_TERM: Mapping[Preference, str] = {
    "energy": "energy",
    "bytes": "stored_bytes",
    "latency": "latency",
    "quality": METRIC_TERM,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEntry:
    """One entry of `steps`: exactly one of its fields is set, as in `{prune: {channels: 0.5}}`."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    prune: PruneStep | None = None
    factorize: FactorizeStep | None = None
    fold: FoldStep | None = None
    recover: RecoverStep | None = None
    distill: DistillStep | None = None
    quantize: QuantizeStep | None = None
    share: ShareStep | None = None
    half: HalfStep | None = None

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
        held: list[Step] = [getattr(self, name) for name in STEP_CLASSES if getattr(self, name) is not None]
        return held[0]

    @classmethod
    def of(cls, step: Step) -> "StepEntry":
        """The entry that holds this step."""
        name = next(name for name, made in STEP_CLASSES.items() if isinstance(step, made))
        held: dict[str, Any] = {name: step}
        return cls(**held)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """Let pipelines be proposed and tried, instead of naming one.

    prefer: what the chosen variant should be best in, within the budget of quality: energy, bytes, latency or
        quality. It is the score unless the job names one.
    seconds: working time after which nothing new is tried; 0 does not limit.
    joules: energy after which nothing new is tried; 0 does not limit.
    trials: pipelines that are measured in full at most.
    trains: whether steps that train (recovery, distillation) may be proposed.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    prefer: Preference = "energy"
    seconds: float = 600.0
    joules: float = 0.0
    trials: int = 20
    trains: bool = True

    def __post_init__(self) -> None:
        if self.prefer not in PREFERRED_TERM:
            raise ValueError(f"search.prefer is {', '.join(PREFERRED_TERM)}, not {self.prefer!r}")
        if self.seconds < 0 or self.joules < 0 or self.trials < 1:
            raise ValueError(
                f"search.seconds and search.joules cannot be negative and search.trials is at least 1, not "
                f"{self.seconds}, {self.joules} and {self.trials}"
            )


def preferred_score(prefer: Preference) -> dict[str, float]:
    """The weights that a preference stands for: its own term ten times the others."""
    weights = {METRIC_TERM: 1.0, "stored_bytes": -0.1, "latency": -0.1, "energy": -0.1}
    return weights | {PREFERRED_TERM[prefer]: 10.0 if prefer == "quality" else -1.0}


def _default_steps() -> tuple[StepEntry, ...]:
    return tuple(StepEntry.of(step) for step in (PruneStep(), DistillStep(), QuantizeStep()))


def _default_score() -> dict[str, float]:
    return {METRIC_TERM: 1.0, "stored_bytes": -0.2, "latency": -0.2, "energy": -0.2}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressConfig:
    """The `compress` part of a job.

    max_accuracy_drop: how much worse than the full model a variant may be, in units of the task's first
        metric (0.01 is one point of accuracy), measured on the validation split.
    steps: the pipeline, in order; each entry adds a variant. quantize, share and half store the model that
        the steps before them left, each in its own form, and nothing comes after them but others of them.
    search: look for the pipeline instead; `steps` is then not looked at, and `score` follows `search.prefer`
        unless it is given.
    score: weights a_i of f(x) = sum a_i x_i; ayni.compress.score says what the x_i are.
    inferences: how often the model will be used, which decides whether a variant pays back its own energy.
    measures_memory: also measure the peak memory of graphs, each in a process of its own (some seconds).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    max_accuracy_drop: float = 0.01
    steps: tuple[StepEntry, ...] = field(default_factory=_default_steps)
    search: SearchConfig | None = None
    score: Mapping[str, float] = field(default_factory=_default_score)
    inferences: int = 1_000_000
    measures_memory: bool = False

    def __post_init__(self) -> None:
        entries = tuple(
            StepEntry.from_mapping(entry) if isinstance(entry, Mapping) else entry for entry in self.steps
        )
        object.__setattr__(self, "steps", entries)
        if self.max_accuracy_drop < 0:
            raise ValueError(f"compress.max_accuracy_drop cannot be negative, it is {self.max_accuracy_drop}")
        if not entries:
            raise ValueError("compress.steps is empty; leave `compress` out of the job to skip compression")
        if self.inferences < 1:
            raise ValueError(f"compress.inferences is at least 1, not {self.inferences}")
        if not self.score:
            raise ValueError("compress.score is empty; give at least one weight, as in {accuracy: 1.0}")
        if self.search is not None and self.score == _default_score():
            object.__setattr__(self, "score", preferred_score(self.search.prefer))
        check_order([entry.step for entry in entries])


def check_order(steps: Sequence[Step]) -> None:
    """Nothing may follow a step that stores the model, but another one that does.

    Raises:
        ValueError: a step goes on with what cannot be trained or cut any more.
    """
    stored: Step | None = None
    for step in steps:
        if isinstance(step, STORING_STEPS):
            stored = step
        elif stored is not None:
            raise ValueError(
                f"{step_name(step)} cannot follow {step_name(stored)} in compress.steps: nothing can change "
                f"what {step_name(stored)} makes. Put it before"
            )


def step_name(step: Step) -> str:
    """The key of the job by which a step is named."""
    return next(name for name, made in STEP_CLASSES.items() if isinstance(step, made))


def _nearest(name: str, allowed: Mapping[str, Any] | list[str]) -> str:
    near = difflib.get_close_matches(str(name), list(allowed), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"{hint} Allowed: {', '.join(allowed)}"
