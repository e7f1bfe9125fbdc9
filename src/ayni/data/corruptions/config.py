"""What a job may ask about corruptions. Field names are the keys below `explain.corruptions` in a job file.

Needs neither torch nor numpy, so that a job can be read and planned without them.
"""

from dataclasses import dataclass
from typing import ClassVar

BASELINE, FULL = "baseline", "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptionsConfig:
    """How robust a classifier of images is to 15 kinds of corruption at 5 severities.

    Attributes:
        samples: Test examples that are corrupted at most; each is shown to each model 76 times. A thousand
            keep the interval of an error within 3 points.
        reference: What the mean corruption error is relative to: "baseline" (logistic regression on the
            same training split), "full" (the run's own full model), or a model of the hub as owner/name or
            owner/name@revision.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    samples: int = 1000
    reference: str = BASELINE

    def __post_init__(self) -> None:
        if self.samples < 10:
            raise ValueError(f"corruptions.samples must be at least 10, not {self.samples!r}")
        if self.reference not in (BASELINE, FULL) and "/" not in self.reference:
            raise ValueError(
                f"corruptions.reference is {self.reference!r}: name baseline, full, or a model as owner/name"
            )
