"""How much noise the steps of a job need, and what the attempts that were begun have cost.

Each step of each learner draws every training example with probability q (Poisson sampling), clips what it
drew, and adds Gaussian noise of `noise_multiplier` times the clip. What L learners do in R rounds of H steps
is a composition of L R H such steps over the same examples, whoever took them: a learner's update goes into
the model that the others go on with. All else (AdamW, codecs, the outer step, adapters merged, validation) is
done to values that are noised already, and costs nothing.

Every attempt that was begun is counted in full, those of lost workers and killed processes too: an attempt
that entered no model may have moved the optimizer that its learner goes on with.

The promise is about adding or removing one *example* of the training split. A person with several examples
has k times the epsilon (and more than k times the delta).

Accountants are those of Opacus; nothing is computed here.

Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, arXiv:1607.00133; Gopi et al.,
"Numerical Composition of Differential Privacy", 2021, arXiv:2106.02848 (PRV); Mironov et al., 2019,
arXiv:1908.10530 (RDP).

Not covered: what the choice of hyper-parameters by many runs tells (each run is booked apart), the number of
examples itself, and validation and test examples, which are not protected.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from typing import Any

from ayni.errors import AyniError, MissingExtraError, UserError
from ayni.train.config import TrainConfig
from ayni.train.privacy_config import AccountantName, PrivacyConfig

# Beyond this the model is noise; below it accountants may fail, and nothing is promised.
_LARGEST_NOISE = 1e5
_LEAST_NOISE = 0.2
_RELATIVE_TOLERANCE = 2e-3


class PrivacyTargetError(UserError):
    """No noise reaches the promise that the job asks for, or it would be no promise."""


class PrivacyBudgetUsedError(AyniError):
    """A run began more attempts than its noise was made for."""

    def __init__(self, *, num_begun: int) -> None:
        self.num_begun = num_begun
        super().__init__(
            f"The run has begun {num_begun} attempts, all that its noise was made for, and another one would "
            "break its promise. The last checkpoint keeps it. Begin a new run with a larger "
            "train.privacy.spare_attempts; what this one spent stays booked."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyPlan:
    """What learners need to know, and what bounds the run.

    Attributes:
        noise_multiplier: Deviation of the noise over the clip.
        sample_rate: Probability with which a step draws an example.
        clip: Largest norm of one example's gradient.
        expected_batch_size: Examples that a step draws in the mean, by which sums are divided.
        max_attempts: Rounds of learners that may be begun.
        steps_per_attempt: Optimizer steps of each.
    """

    noise_multiplier: float
    sample_rate: float
    clip: float
    expected_batch_size: int
    max_attempts: int
    steps_per_attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySpent:
    """What a training promises, for card, receipt and report.

    Attributes:
        epsilon, delta: Reached, over all attempts that were begun.
        target_epsilon: What the job asked for.
        accountant: Whose arithmetic, with its version.
        sampling: How steps draw examples.
        steps: Noisy steps of all learners together.
        lost_attempts: Attempts among them that entered no model.
        unit: What one is promised about.
    """

    epsilon: float
    delta: float
    target_epsilon: float
    accountant: str
    sampling: str
    sample_rate: float
    noise_multiplier: float
    clip: float
    steps: int
    learners: int
    lost_attempts: int
    unit: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PrivacySpent":
        """The value that `to_json` wrote; keys that it does not know are left out."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})


def plan_privacy(config: TrainConfig, *, num_examples: int) -> PrivacyPlan | None:
    """The noise for all attempts of a job; None for a job that asks for no privacy.

    Cost: 0.2 to 3 s.

    Raises:
        MissingExtraError: Opacus is not installed.
        PrivacyTargetError: delta is no promise for so many examples, or no noise suffices.
    """
    privacy = config.privacy
    if privacy is None:
        return None
    if privacy.delta >= 1 / num_examples:
        raise PrivacyTargetError(
            f"train.privacy.delta is {privacy.delta:g}, and there are {num_examples} training examples: a "
            f"mechanism that publishes one of them outright would pass. Use less than {1 / num_examples:.2g}."
        )
    max_attempts = config.rounds * config.learners + privacy.spare_attempts
    sample_rate = config.batch_size / num_examples
    return PrivacyPlan(
        noise_multiplier=_calibrated(privacy, sample_rate, max_attempts * config.local_steps),
        sample_rate=sample_rate,
        clip=privacy.clip,
        expected_batch_size=config.batch_size,
        max_attempts=max_attempts,
        steps_per_attempt=config.local_steps,
    )


def privacy_spent(
    plan: PrivacyPlan, config: TrainConfig, *, num_begun: int, num_accepted: int
) -> PrivacySpent:
    """What the attempts that were begun have cost.

    Raises:
        MissingExtraError: Opacus is not installed.
    """
    privacy = config.privacy
    assert privacy is not None, "there is a plan only for a job that asks for privacy"
    steps = num_begun * plan.steps_per_attempt
    return PrivacySpent(
        epsilon=epsilon_of(
            privacy.accountant,
            noise_multiplier=plan.noise_multiplier,
            sample_rate=plan.sample_rate,
            steps=steps,
            delta=privacy.delta,
        ),
        delta=privacy.delta,
        target_epsilon=privacy.epsilon,
        accountant=f"{privacy.accountant.upper()}, Opacus {_opacus().__version__}",
        sampling="Poisson",
        sample_rate=plan.sample_rate,
        noise_multiplier=plan.noise_multiplier,
        clip=plan.clip,
        steps=steps,
        learners=config.learners,
        lost_attempts=num_begun - num_accepted,
        unit="one example of the training split, added or removed",
    )


def epsilon_of(
    accountant: AccountantName, *, noise_multiplier: float, sample_rate: float, steps: int, delta: float
) -> float:
    """Upper bound of epsilon after so many Poisson-sampled Gaussian steps.

    Raises:
        MissingExtraError: Opacus is not installed.
        PrivacyTargetError: the accountant cannot say.
    """
    if steps == 0:
        return 0.0
    _opacus()
    from opacus.accountants import create_accountant

    found = create_accountant(mechanism=accountant)
    found.history = [(noise_multiplier, sample_rate, steps)]
    try:
        # A sampling rate of 1 takes the logarithm of 0 where nothing depends on it; the RDP bound that PRV
        # begins with says that its grid of orders ends.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(found.get_epsilon(delta=delta))
    except (ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise PrivacyTargetError(
            f"The accountant {accountant} finds no epsilon for noise {noise_multiplier:g}, sampling rate "
            f"{sample_rate:g} and {steps} steps: {error}. Use train.privacy.accountant: rdp."
        ) from error


@lru_cache(maxsize=64)
def _calibrated(privacy: PrivacyConfig, sample_rate: float, steps: int) -> float:
    """The least noise with which `steps` steps stay within epsilon; at most 0.2 % of epsilon is given away.

    Opacus has such a search too, with an absolute tolerance that is coarse for a small epsilon.
    """

    def epsilon_with(accountant: AccountantName, noise: float) -> float:
        return epsilon_of(
            accountant, noise_multiplier=noise, sample_rate=sample_rate, steps=steps, delta=privacy.delta
        )

    # RDP is quick, and a little above PRV: a good place to begin, if it gets there at all.
    found = _least_noise(partial(epsilon_with, "rdp"), privacy.epsilon, 1.0)
    if privacy.accountant != "rdp":
        found = _least_noise(partial(epsilon_with, privacy.accountant), privacy.epsilon, found or 1.0)
    if found is None:
        raise PrivacyTargetError(
            f"No noise keeps {steps} steps with a sampling rate of {sample_rate:g} within epsilon "
            f"{privacy.epsilon:g} and delta {privacy.delta:g}. Raise train.privacy.epsilon, or take fewer "
            "rounds, local_steps or a smaller batch_size."
        )
    return found


def _least_noise(epsilon_with: Callable[[float], float], target: float, start: float) -> float | None:
    """The least noise with epsilon at most `target` (0.2 % below at the lowest); None beyond all bounds.

    A bracket around `start`, then interpolation: log epsilon is nearly a line over log noise.
    """
    high = start
    while (at_high := epsilon_with(high)) > target:
        high *= 1.5
        if high > _LARGEST_NOISE:
            return None
    low = high
    while (at_low := at_high if low == high else epsilon_with(low)) <= target:
        high, at_high, low = low, at_low, low / 1.25
        if low < _LEAST_NOISE:
            return high
    while at_high < (1 - _RELATIVE_TOLERANCE) * target and high / low > 1 + 1e-6:
        share = math.log(at_low / target) / math.log(at_low / at_high)
        # Away from both ends, or one of them might never move; and rather above the target than below.
        middle = low * (high / low) ** min(max(share + 0.01, 0.02), 0.98)
        at_middle = epsilon_with(middle)
        if at_middle > target:
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
    return high


def _opacus() -> Any:
    try:
        import opacus
    except ImportError as error:
        raise MissingExtraError(extra="privacy", package=error.name or "opacus") from error
    return opacus
