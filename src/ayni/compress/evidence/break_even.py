"""After how many inferences a compression has paid back its own energy. Pure.

    n = spent / saved        spent: joules of making the variant (search, training, calibration, export)
                             saved: joules of one inference of the full model minus one of the variant

Every energy is an interval, so n is one too: from the cheapest making with the largest saving to the
dearest making with the smallest. Where nothing is saved the answer is "never", not a large number.

Two meter readings of one machine share most of their error: a model of CPU time that is wrong by a factor
of 2 is wrong by it for the full model, the variant and the making alike, and the factor cancels in n. With
the whole interval of the meter in all three, n would be useless for honest reasons that do not apply. So:

    readings of different meters    interval_of_estimate(...)           the meter's whole interval
    readings of the same meter      interval_on_same_meter(...)         only what does not cancel

Not covered: energy of storage and transfer, which compression saves as well; embodied energy; carbon,
which follows only if both energies are drawn in the same place and season.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ayni.compress.ports import EnergyEstimate

Never = Literal["never"]
Inferences = int | Never
Verdict = Literal["pays", "does not pay", "uncertain"]

SAME_METER_FACTORS = (0.7, 1.4)
"""How far two readings of one meter may lie apart for the same true energy, as factors either way.

An assumption, not a measurement: processors draw different power at the same CPU time for different
instructions (von Kistowski et al., "Analysis of the influences on server power consumption and energy
efficiency for CPU-intensive workloads", ICPE 2015). A hardware counter deserves narrower factors."""
ROUNDING = 1e-9
"""Relative: 1.1 J at 0.1 J an inference is 11 inferences, whatever floats make of the quotient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyInterval:
    """Joules with their lower and upper end; negative for a saving that is a loss."""

    low_joules: float
    joules: float
    high_joules: float

    def __post_init__(self) -> None:
        ends = (self.low_joules, self.joules, self.high_joules)
        if not all(math.isfinite(end) for end in ends) or not ends[0] <= ends[1] <= ends[2]:
            raise ValueError(f"{ends[0]} J <= {ends[1]} J <= {ends[2]} J is no interval of an energy")

    def times(self, factor: float) -> "EnergyInterval":
        """This energy `factor` times, such as 1 / 1000 for one of a thousand inferences; at least 0."""
        if not (math.isfinite(factor) and factor >= 0):
            raise ValueError(f"an energy cannot be spent {factor} times")
        return EnergyInterval(
            low_joules=self.low_joules * factor,
            joules=self.joules * factor,
            high_joules=self.high_joules * factor,
        )

    def minus(self, other: "EnergyInterval") -> "EnergyInterval":
        """The difference when nothing is known of how the two errors go together: the widest one."""
        return EnergyInterval(
            low_joules=self.low_joules - other.high_joules,
            joules=self.joules - other.joules,
            high_joules=self.high_joules - other.low_joules,
        )

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return {"low_joules": self.low_joules, "joules": self.joules, "high_joules": self.high_joules}

    @classmethod
    def from_json(cls, data: Mapping[str, float]) -> "EnergyInterval":
        """The interval that `to_json` wrote."""
        return cls(low_joules=data["low_joules"], joules=data["joules"], high_joules=data["high_joules"])


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Inferences until the making is paid back: at least, most likely, at most.

    spent and saved are what it was computed from; saved is for one inference.
    """

    low: Inferences
    best: Inferences
    high: Inferences
    spent: EnergyInterval
    saved: EnergyInterval

    def verdict(self, num_inferences: int) -> Verdict:
        """Whether it pays for so many inferences: yes or no only where the whole interval says so."""
        if self.high != "never" and self.high <= num_inferences:
            return "pays"
        if self.low == "never" or self.low > num_inferences:
            return "does not pay"
        return "uncertain"

    def net_saving(self, num_inferences: int) -> EnergyInterval:
        """Joules saved after so many inferences, the making subtracted; negative while it has not paid."""
        return self.saved.times(num_inferences).minus(self.spent)

    def text(self) -> str:
        """The answer in words, such as "after 1,200 inferences (800 to 2,400)"."""
        if self.low == "never":
            return "never: an inference of the variant takes no less energy"
        between = f"({_text(self.low)} to {_text(self.high)})"
        if self.best == "never":
            return f"never by the best estimate {between}"
        return f"after {_text(self.best)} inferences {between}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "low": self.low,
            "best": self.best,
            "high": self.high,
            "spent": self.spent.to_json(),
            "saved": self.saved.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "BreakEven":
        """The answer that `to_json` wrote."""
        return cls(
            low=data["low"],
            best=data["best"],
            high=data["high"],
            spent=EnergyInterval.from_json(data["spent"]),
            saved=EnergyInterval.from_json(data["saved"]),
        )


def interval_of_estimate(estimate: EnergyEstimate) -> EnergyInterval | None:
    """The whole interval that the meter states; None when it could not tell."""
    if estimate.joules is None or estimate.low_joules is None or estimate.high_joules is None:
        return None
    return EnergyInterval(
        low_joules=estimate.low_joules, joules=estimate.joules, high_joules=estimate.high_joules
    )


def interval_on_same_meter(
    joules: float | None, *, factors: tuple[float, float] = SAME_METER_FACTORS
) -> EnergyInterval | None:
    """A reading with the part of its error that other readings of the same meter do not share.

        [low_factor * joules, high_factor * joules]

    Only for energies that are then divided by each other or subtracted, never to be shown alone: its own
    interval is the meter's. None when the reading is unknown.

    Raises:
        ValueError: factors that do not enclose 1, or a reading that is negative or not finite.
    """
    if joules is None:
        return None
    low, high = factors
    if not 0 <= low <= 1 <= high or not joules >= 0:
        raise ValueError(f"{joules} J within factors {low} .. {high} is no reading")
    return EnergyInterval(low_joules=low * joules, joules=joules, high_joules=high * joules)


def break_even(spent: EnergyInterval, saved: EnergyInterval) -> BreakEven:
    """After how many inferences `spent` is paid back by `saved` at each.

        low = ceil(spent.low / saved.high), best = ceil(spent / saved), high = ceil(spent.high / saved.low)

    each "never" where the saving is not above 0, even when nothing was spent: there is nothing to pay with.

    Args:
        spent: energy of making the variant.
        saved: energy saved by one inference; `full.minus(variant)`.

    Raises:
        ValueError: a negative energy was spent.
    """
    if spent.low_joules < 0:
        raise ValueError(f"making a variant cannot have given back {-spent.low_joules} J")
    return BreakEven(
        low=_inferences(spent.low_joules, saved.high_joules),
        best=_inferences(spent.joules, saved.joules),
        high=_inferences(spent.high_joules, saved.low_joules),
        spent=spent,
        saved=saved,
    )


def _inferences(spent_joules: float, saved_joules: float) -> Inferences:
    if saved_joules <= 0:
        return "never"
    quotient = spent_joules / saved_joules * (1 - ROUNDING)
    # A saving of 1e-320 J is one only in floats.
    if not math.isfinite(quotient):
        return "never"
    return max(math.ceil(quotient), 1 if spent_joules > 0 else 0)


def _text(inferences: Inferences) -> str:
    return inferences if inferences == "never" else f"{inferences:,}"
