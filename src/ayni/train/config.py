"""How a job is trained. Field names are the keys under `train:` in a job file.

Needs neither torch nor numpy, so that a job can be read and planned without them. The options of
single strategies are in strategy_config.py.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Literal, TypeAlias, get_args

from ayni.train.privacy_config import PrivacyConfig
from ayni.train.strategy_config import (
    COARSE_CODECS,
    CODECS,
    AdapterConfig,
    AggregationConfig,
    AsyncConfig,
    CodecName,
    StreamingConfig,
    TlsConfig,
    check_choice,
)

Strategy: TypeAlias = Literal["diloco", "sync", "streaming", "async"]
MergeName: TypeAlias = Literal["mean", "rda"]
Device: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]
Schedule: TypeAlias = Literal["constant", "cosine"]

# Keys that may change between two tries of a run without changing what is computed.
PACE_KEYS = (
    "device",
    "engine",
    "tls",
    "quorum",
    "grace_seconds",
    "round_deadline_seconds",
    "max_attempts",
    "checkpoint_every",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Strategy, amount and pace of training; the seed is passed apart because a whole job shares it.

    Attributes:
        strategy: "diloco" exchanges once a round (few bytes); "streaming" exchanges a part of the model
            each round while it computes on; "async" waits for nobody; "sync" averages gradients each step.
        learners: Replicas that train in parallel, one core or device each; at most so many take part.
        quorum: Learners that must be there to go on without the others; null = all of them, and with
            "async" any one. Learners that come later join at the next round.
        grace_seconds: How long a round that has its quorum waits for the others.
        rounds: Exchanges between the learners. More rounds, more bytes and a closer fit to one process.
        local_steps: Optimizer steps of a learner in one round. With 30 to 100 DiLoCo stays close to
            per-step averaging.
        round_seconds: Length of a round in seconds instead of steps: each learner takes as many steps as
            its measured speed allows; null = `local_steps` for everybody.
        batch_size: Examples per learner and step.
        device: Where learners compute; "auto" takes an accelerator when there is one.
        learning_rate: Peak of the inner AdamW, the value that most small models accept.
        weight_decay: Of AdamW, decoupled; torch's default.
        schedule: Of the learning rate over all steps of the job; "cosine" ends at zero.
        warmup_steps: Steps with a linearly rising learning rate. Zero: small models do not need it.
        gradient_clip: Largest norm of a step's gradient; None clips nothing. 1.0 as in the DiLoCo paper.
        outer_learning_rate: Of the outer step over the merged updates. 0.7 as in the DiLoCo paper.
        outer_momentum: Of the same step (Nesterov). 0.9 as in the DiLoCo paper; "async" has its own.
        codec: How updates travel to the coordinator. "int8" cost no measurable loss.
        download_codec: How the model's changes travel back. "fp32" sends them as they are.
        error_feedback: Learners add what the codec lost to their next update; always on for the coarse
            codecs, which need it.
        topk_fraction: Share of values that "topk" keeps.
        merge: "mean" weights updates by their examples; "rda" averages length and direction apart, so
            that the outer rate need not change with the number of learners.
        aggregation: Protection against wrong updates.
        streaming: Options of that strategy.
        asynchronous: Options of strategy "async".
        adapter: Train a LoRA adapter instead of the whole model; null trains the model.
        privacy: Differential privacy of the training examples (DP-SGD); null promises none.
        init_from: Where training starts: a safetensors file, or a model of the local hub (owner/name or
            owner/name@revision); null = the task's untrained model.
        engine: "local" starts worker processes here; tcp:// or tls:// is a Dask scheduler's address.
        tls: Certificates for a tls:// address.
        round_deadline_seconds: A round that takes longer is tried again on restarted workers; None waits.
            The default lets a learner compute for ten minutes between two checkpoints.
        max_attempts: Tries of one round by one learner before it is given up, and the job with it when
            the quorum is lost.
        checkpoint_every: Rounds from one durable checkpoint to the next. A crash costs the rounds since.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    strategy: Strategy = "diloco"
    learners: int = 2
    quorum: int | None = None
    grace_seconds: float = 10.0
    rounds: int = 12
    local_steps: int = 40
    round_seconds: float | None = None
    batch_size: int = 64
    device: Device = "auto"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    schedule: Schedule = "cosine"
    warmup_steps: int = 0
    gradient_clip: float | None = 1.0
    outer_learning_rate: float = 0.7
    outer_momentum: float = 0.9
    codec: CodecName = "int8"
    download_codec: CodecName = "fp32"
    error_feedback: bool = False
    topk_fraction: float = 0.02
    merge: MergeName = "mean"
    aggregation: AggregationConfig = field(default_factory=AggregationConfig)
    streaming: StreamingConfig = field(default_factory=StreamingConfig)
    asynchronous: AsyncConfig = field(default_factory=AsyncConfig)
    adapter: AdapterConfig | None = None
    privacy: PrivacyConfig | None = None
    init_from: str | None = None
    engine: str = "local"
    tls: TlsConfig | None = None
    round_deadline_seconds: float | None = 600.0
    max_attempts: int = 5
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        for name in ("learners", "rounds", "local_steps", "batch_size", "max_attempts", "checkpoint_every"):
            _require(self, name, lambda value: value >= 1, "at least 1")
        for name in ("warmup_steps", "weight_decay", "grace_seconds"):
            _require(self, name, lambda value: value >= 0, "at least 0")
        _require(self, "outer_momentum", lambda value: 0 <= value < 1, "in [0, 1)")
        _require(self, "topk_fraction", lambda value: 0 < value <= 1, "in (0, 1]")
        for name in ("learning_rate", "outer_learning_rate", "gradient_clip", "round_deadline_seconds"):
            _require(self, name, lambda value: value is None or value > 0, "greater than 0")
        _require(self, "round_seconds", lambda value: value is None or value > 0, "greater than 0")
        for name, allowed in _CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        for complaint in _contradictions(self):
            raise ValueError(complaint)

    @property
    def needed_updates(self) -> int:
        """Updates that close a round: the quorum, or all; with a robust rule, all but the wrong ones.

        A robust rule must not go on with fewer than it needs (`smallest_cohort`).
        """
        if self.quorum is not None:
            return self.quorum
        if self.strategy == "async":
            return 1
        if self.aggregation.rule == "mean":
            return self.learners
        cohort = min(self.learners, self.aggregation.smallest_cohort)
        return max(self.learners - self.aggregation.num_faulty, cohort)

    @property
    def has_error_feedback(self) -> bool:
        """Whether learners keep what the codec lost."""
        return self.error_feedback or self.codec in COARSE_CODECS

    @property
    def total_steps(self) -> int:
        """Optimizer steps of one learner over the whole job."""
        return self.rounds * self.local_steps

    def learning_rate_at(self, global_step: float) -> float:
        """Learning rate of a step, counted from 0 over all rounds.

            warm-up:  lr * (step + 1) / warmup_steps
            cosine:   lr * (1 + cos(pi * progress)) / 2, progress in [0, 1) after the warm-up

        Driven by the global step: a schedule that starts anew in each round never anneals. A learner that
        takes fewer or more steps than `local_steps` in a round moves by a fraction for each of them.
        """
        if global_step < self.warmup_steps:
            return self.learning_rate * min(1.0, (global_step + 1) / self.warmup_steps)
        if self.schedule == "constant":
            return self.learning_rate
        remaining = max(1, self.total_steps - self.warmup_steps)
        progress = min(1.0, (global_step - self.warmup_steps) / remaining)
        return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2


_CHOICES: dict[str, tuple[str, ...]] = {
    "strategy": get_args(Strategy),
    "device": get_args(Device),
    "schedule": get_args(Schedule),
    "merge": get_args(MergeName),
    "codec": CODECS,
    "download_codec": CODECS,
}


def _require(config: TrainConfig, name: str, is_fine: Callable[..., bool], allowed: str) -> None:
    value = getattr(config, name)
    is_finite = not isinstance(value, float) or math.isfinite(value)
    if not is_finite or not is_fine(value):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


def _contradictions(config: TrainConfig) -> list[str]:
    """What does not go together, each with what to change."""
    rule, cohort = config.aggregation.rule, config.aggregation.smallest_cohort
    found: list[tuple[bool, str]] = [
        (
            config.quorum is not None and not 1 <= config.quorum <= config.learners,
            f"quorum must be from 1 to the {config.learners} learners, not {config.quorum}",
        ),
        (
            config.strategy in ("diloco", "streaming") and config.learners < cohort,
            f"aggregation.rule {rule} withstands {config.aggregation.num_faulty} wrong learners only among "
            f"{cohort} or more, and there are {config.learners}: raise learners, or lower num_faulty",
        ),
        (
            config.quorum is not None and rule != "mean" and config.quorum < cohort,
            f"aggregation.rule {rule} with num_faulty {config.aggregation.num_faulty} needs {cohort} "
            f"updates, and quorum is {config.quorum}: raise quorum, or lower num_faulty",
        ),
        (
            config.strategy in ("sync", "async") and rule != "mean",
            f"aggregation.rule {rule} compares the updates of one round, and strategy {config.strategy} has "
            "none: use strategy diloco or streaming",
        ),
        (
            config.strategy in ("sync", "async") and config.merge != "mean",
            f"merge {config.merge} needs the updates of one round: use strategy diloco or streaming",
        ),
        (
            config.merge == "rda" and rule != "mean",
            f"merge rda and aggregation.rule {rule} both replace the mean: use one of them",
        ),
        (
            config.strategy == "async" and config.download_codec not in ("fp32", "fp16", "bf16"),
            f"strategy async sends whole models, and download_codec {config.download_codec} is for changes: "
            "use fp32, fp16 or bf16",
        ),
        (
            config.strategy == "streaming" and config.streaming.overlap_steps >= config.local_steps,
            f"streaming.overlap_steps ({config.streaming.overlap_steps}) must be less than local_steps "
            f"({config.local_steps}): a part comes back before the next one leaves",
        ),
        (
            config.strategy == "streaming" and config.streaming.fragments > config.rounds,
            f"streaming.fragments ({config.streaming.fragments}) must be at most rounds ({config.rounds}): "
            "one part travels in each round, and one that never travels learns nothing",
        ),
        (
            config.strategy == "sync" and config.round_seconds is not None,
            "strategy sync takes each step together: use local_steps instead of round_seconds",
        ),
        (
            config.privacy is not None and config.strategy not in ("diloco", "sync"),
            f"privacy counts steps, and strategy {config.strategy} does not say beforehand how many there "
            "are: use strategy diloco or sync",
        ),
        (
            config.privacy is not None and config.round_seconds is not None,
            "privacy counts steps, and round_seconds does not say beforehand how many there are: use "
            "local_steps",
        ),
        (
            not (config.engine == "local" or config.engine.startswith(("tcp://", "tls://"))),
            f"engine must be local, tcp://HOST:PORT or tls://HOST:PORT, not {config.engine!r}",
        ),
        (
            config.engine.startswith("tls://") and config.tls is None,
            "engine tls:// needs certificates: set tls.ca_file, tls.certificate_file and tls.key_file",
        ),
    ]
    return [complaint for is_wrong, complaint in found if is_wrong]


def config_to_json(config: TrainConfig) -> dict[str, object]:
    """The configuration as plain JSON, in the order of the fields."""
    return asdict(config)
