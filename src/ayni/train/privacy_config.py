"""What differential privacy a job asks of its training. Field names are the keys below `train.privacy`.

Needs neither torch nor Opacus, so that a job can be read and planned without them.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

from ayni.train.strategy_config import check_choice, check_range

AccountantName: TypeAlias = Literal["prv", "rdp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyConfig:
    """Train so that the model says next to nothing about any single training example (DP-SGD).

    Attributes:
        epsilon: How much more likely any outcome may become by one example, as a power of e. 1 is strong,
            8 is what most publications reach with good accuracy.
        delta: Probability that the promise does not hold; must be below 1 / number of training examples.
        clip: Largest norm of one example's gradient; longer ones are cut, and noise grows with it. AdamW is
            blind to scale, so that its choice matters little as long as most gradients are longer.
        accountant: Who adds up what the steps cost. "prv" is tighter by 6 to 8 % of the noise, "rdp" works
            for extreme values too.
        spare_attempts: Rounds of a learner that may be lost and tried again. Each costs privacy as well, so
            noise is made for all of them from the start; what was not needed is not counted in the end.
        dataset_epsilon: What all runs on this data set may spend together. The lowest that any run ever
            declared for it holds; null declares nothing.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epsilon: float
    delta: float
    clip: float = 1.0
    accountant: AccountantName = "prv"
    spare_attempts: int = 2
    dataset_epsilon: float | None = None

    def __post_init__(self) -> None:
        check_range("privacy.epsilon", self.epsilon, low=0, is_open=True)
        check_range("privacy.delta", self.delta, low=0, high=1, is_open=True)
        check_range("privacy.clip", self.clip, low=0, is_open=True)
        check_range("privacy.spare_attempts", self.spare_attempts, low=0)
        check_choice("privacy.accountant", self.accountant, get_args(AccountantName))
        if self.dataset_epsilon is not None:
            check_range("privacy.dataset_epsilon", self.dataset_epsilon, low=0, is_open=True)
            if self.dataset_epsilon < self.epsilon:
                raise ValueError(
                    f"privacy.dataset_epsilon ({self.dataset_epsilon:g}) is below privacy.epsilon "
                    f"({self.epsilon:g}): this run alone would exceed it"
                )
