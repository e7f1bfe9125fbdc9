"""Options of single strategies and rules. Field names are the keys of mappings below `train:` in a job file.

Each mapping matters only where `strategy`, `aggregation.rule` or `engine` names it; see TrainConfig.
Needs neither torch nor numpy, so that a job can be read and planned without them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

CodecName: TypeAlias = Literal["fp32", "fp16", "bf16", "int8", "e3m0", "int2", "topk"]
RuleName: TypeAlias = Literal[
    "mean", "trimmed_mean", "median", "krum", "multi_krum", "bulyan", "geometric_median", "centered_clip"
]
AsyncMethod: TypeAlias = Literal["delayed_nesterov", "plain", "fedbuff"]

CODECS: tuple[str, ...] = get_args(CodecName)
# Codecs that lose so much that only error feedback makes up for it.
COARSE_CODECS = ("int2", "topk")
# Updates that a rule needs to withstand f bad ones, by f; the sources are in aggregation.py.
SMALLEST_COHORT: dict[str, Callable[[int], int]] = {
    "mean": lambda f: 1,
    "trimmed_mean": lambda f: 2 * f + 1,
    "median": lambda f: 2 * f + 1,
    "krum": lambda f: 2 * f + 3,
    "multi_krum": lambda f: 2 * f + 3,
    "bulyan": lambda f: 4 * f + 3,
    "geometric_median": lambda f: 2 * f + 1,
    "centered_clip": lambda f: 2 * f + 1,
}


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not one of a few.

    Raises:
        ValueError: the message lists what is allowed.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def check_range(
    name: str, value: float, *, low: float, high: float = math.inf, is_open: bool = False
) -> None:
    """Refuse a number outside [low, high], or outside (low, high) when `is_open`; NaN is always outside.

    Raises:
        ValueError: the message names the range.
    """
    is_inside = low < value < high if is_open else low <= value <= high
    if is_inside and math.isfinite(value):
        return
    if math.isinf(high):
        allowed = f"greater than {low:g}" if is_open else f"at least {low:g}"
    else:
        allowed = f"between {low:g} and {high:g}" if is_open else f"from {low:g} to {high:g}"
    raise ValueError(f"{name} must be {allowed}, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationConfig:
    """How the updates of a round become one.

    Attributes:
        rule: "mean" trusts everybody; the others withstand `num_faulty` learners that send nonsense.
        num_faulty: Learners that may be wrong at once.
        clip_factor: An update longer than this times the median length is cut to it, under every rule.
            Honest lengths seldom differ twofold, so that 2 leaves them alone.
        bucket_size: Updates averaged in random groups of this size before the rule, for learners whose
            data differ; 1 = none.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rule: RuleName = "mean"
    num_faulty: int = 0
    clip_factor: float = 2.0
    bucket_size: int = 1

    def __post_init__(self) -> None:
        check_choice("aggregation.rule", self.rule, get_args(RuleName))
        check_range("aggregation.num_faulty", self.num_faulty, low=0)
        check_range("aggregation.clip_factor", self.clip_factor, low=1)
        check_range("aggregation.bucket_size", self.bucket_size, low=1)
        if self.rule != "mean" and self.num_faulty == 0:
            raise ValueError(
                f"aggregation.rule {self.rule} needs aggregation.num_faulty: how many learners may be wrong "
                "at once (at least 1)"
            )

    @property
    def smallest_cohort(self) -> int:
        """Updates that the rule needs, with the groups of `bucket_size` taken into account."""
        num_needed = SMALLEST_COHORT[self.rule](self.num_faulty)
        # The mean needs no groups, and makes none.
        return num_needed if self.rule == "mean" else num_needed * self.bucket_size


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingConfig:
    """How the model is cut and when its parts travel, with `strategy: streaming`.

    Attributes:
        fragments: Parts of the model; each travels once in `fragments` rounds of `local_steps` each.
        overlap_steps: Local steps between sending a part and mixing in what came back; the exchange
            costs no time when it takes no longer than these. At most 5 cost nothing in the paper.
        mixing: Weight of the learner's own values when a part comes back; 0 takes the merged ones.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    fragments: int = 4
    overlap_steps: int = 1
    mixing: float = 0.5

    def __post_init__(self) -> None:
        check_range("streaming.fragments", self.fragments, low=1)
        check_range("streaming.overlap_steps", self.overlap_steps, low=0)
        check_range("streaming.mixing", self.mixing, low=0, high=0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncConfig:
    """How updates are taken in without waiting for each other, with `strategy: async`.

    Attributes:
        method: "delayed_nesterov" keeps a momentum that moves once in `buffer_size` updates, "plain" has
            none, "fedbuff" waits for `buffer_size` updates and weights old ones less.
        buffer_size: Updates in one buffer; null = as many as there are learners.
        momentum: Of delayed Nesterov. 0.9 diverges with learners of different speed, 0.5 does not.
        max_staleness: Versions that the model may have moved on since an update's base; older are dropped.
        steps_by_speed: Give slow learners fewer local steps, so that all answer at the same pace.
        guard_factor: The model goes back to the best checkpoint when its loss on held-out data exceeds
            the best one by this factor; null = never.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: AsyncMethod = "delayed_nesterov"
    buffer_size: int | None = None
    momentum: float = 0.5
    max_staleness: int = 8
    steps_by_speed: bool = True
    guard_factor: float | None = 2.0

    def __post_init__(self) -> None:
        check_choice("asynchronous.method", self.method, get_args(AsyncMethod))
        check_range("asynchronous.momentum", self.momentum, low=0, high=0.999)
        check_range("asynchronous.max_staleness", self.max_staleness, low=0)
        if self.buffer_size is not None:
            check_range("asynchronous.buffer_size", self.buffer_size, low=1)
        if self.guard_factor is not None:
            check_range("asynchronous.guard_factor", self.guard_factor, low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """Small matrices that are trained, and travel, instead of the model (LoRA).

    Attributes:
        rank: Of the two matrices beside each weight.
        alpha: The product of the two is scaled by alpha / rank.
        targets: Ends of the names of the modules to adapt; empty = every linear layer.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_range("adapter.rank", self.rank, low=1)
        check_range("adapter.alpha", self.alpha, low=0, is_open=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Certificates for a cluster at a tls:// address, as PEM files.

    Attributes:
        ca_file: Certificate of the authority that signed every member of the cluster.
        certificate_file: This client's certificate.
        key_file: Its private key.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    ca_file: str
    certificate_file: str
    key_file: str
