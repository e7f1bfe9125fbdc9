"""Values of the explain step and their JSON form."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One number of an input that is a row of a table."""

    name: str
    value: float
    attribution: float
    """Signed: above 0 it speaks for the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One test example: what the models answered, and what the full model looked at."""

    index: int
    """Place in the test split."""
    kind: Literal["sample", "disagreement"]
    label: str
    """The right answer; of a sequence that of its last place."""
    prediction: str
    """The full model's answer. The attribution is of this answer."""
    variant_prediction: str | None
    """The variant's answer; None without a variant."""
    confidence: float
    """Probability (softmax) that the full model gives to its answer."""
    variant_confidence: float | None
    input_image: str | None
    """PNG of the input, relative to the step's folder; None when it cannot be drawn."""
    attribution_image: str | None
    """PNG of the signed attribution: red speaks for the answer, blue against it."""
    attribution_file: str | None
    """The same values as numbers, .npy in the shape of the input."""
    tokens: Sequence[str] | None = None
    """Of a text: its symbols, in order; of a long one the last. None for anything else."""
    values: Sequence[float] | None = None
    """One signed attribution for each token."""
    features: Sequence[Feature] | None = None
    """Of a row of a table: the features that matter most, the strongest first. None for anything else."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Explanation":
        """The explanation that `to_json` wrote."""
        features = data.get("features")
        return cls(**{**data, "features": features and [Feature(**feature) for feature in features]})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionCheck:
    """Do the attributions point at what the decision rests on?

    The probability of the answer, before and after the highest-rated part of the input is replaced by
    the reference value, beside the same for randomly chosen parts. Both choose among the parts that
    differ from the reference: on blank pixels any map would look right.
    """

    num_examples: int
    fraction: float
    """Share of those parts that is replaced."""
    probability_before: float
    probability_after_top: float
    probability_after_random: float

    @property
    def is_faithful(self) -> bool:
        """Removing what the attribution names hurts more than removing as much at random."""
        return self.probability_after_top < self.probability_after_random

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        return {**dataclasses.asdict(self), "is_faithful": self.is_faithful}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DeletionCheck":
        """The check that `to_json` wrote."""
        return cls(**{name: value for name, value in data.items() if name != "is_faithful"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResult:
    """What the explain step found."""

    items: Sequence[Explanation]
    num_compared: int
    """Test examples answered by both models; 0 without a variant."""
    num_disagreements: int | None
    """Of those, how many were answered differently; None without a variant."""
    method: str | None
    """How the attributions were made; None when there are none, and `note` says why."""
    deletion: DeletionCheck | None
    note: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "items": [item.to_json() for item in self.items],
            "num_compared": self.num_compared,
            "num_disagreements": self.num_disagreements,
            "method": self.method,
            "deletion": self.deletion and self.deletion.to_json(),
            "note": self.note,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ExplainResult":
        """The result that `to_json` wrote."""
        deletion = data["deletion"] and DeletionCheck.from_json(data["deletion"])
        items = [Explanation.from_json(item) for item in data["items"]]
        return cls(**{**data, "items": items, "deletion": deletion})
