"""Values of the explain step and their JSON form."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["faithful", "not faithful", "unsure"]


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
    change_image: str | None = None
    """Of a disagreement between images: PNG of what the full model had for its answer and against the
    variant's (red), or the other way round (blue)."""
    change_values: Sequence[float] | None = None
    """The same for each token of a text, or for each of `features`; None for an image or a sample."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Explanation":
        """The explanation that `to_json` wrote."""
        features = data.get("features")
        return cls(**{**data, "features": features and [Feature(**feature) for feature in features]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Mean probability of the answer while parts of the inputs are deleted, or inserted into nothing.

    Only parts that differ from the reference take part, in both orders: on blank pixels any map would
    look right.
    """

    fractions: Sequence[float]
    """Share of those parts, rising from 0 to 1."""
    attributed: Sequence[float]
    """When the parts that the attribution rates highest go first."""
    random: Sequence[float]
    """In random order: mean of several."""
    area_attributed: float
    """Below the first curve (trapezoids): of a deletion the smaller the better, of an insertion the
    larger."""
    area_random: float
    difference_low: float | None
    """95 % interval over examples of the first area minus the second; None for fewer than two examples."""
    difference_high: float | None
    num_examples: int

    def __post_init__(self) -> None:
        if not len(self.fractions) == len(self.attributed) == len(self.random):
            raise ValueError(
                f"a curve has {len(self.fractions)} fractions, {len(self.attributed)} attributed and "
                f"{len(self.random)} random values"
            )
        if list(self.fractions) != sorted(self.fractions) or (self.fractions[0], self.fractions[-1]) != (
            0,
            1,
        ):
            raise ValueError(f"fractions {list(self.fractions)} do not rise from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SanityChecks:
    """Can the attributions be believed? By the rules that `sanity.py` states."""

    deletion: Curve
    insertion: Curve
    randomisation_correlation: float | None
    """Mean signed rank correlation (Spearman), over the parts that differ from the reference, between the
    attributions of the trained and of a re-initialised model; None when it could not be had: see notes."""
    randomisation_bound: float
    """What it may be at most."""
    completeness_error: float | None
    """Mean |sum of attributions - (f(x) - f(reference))| / |f(x) - f(reference)|; None for methods that
    do not promise the sum."""
    verdict: Verdict
    reasons: Sequence[str]
    """Sentences with the numbers that led to the verdict."""
    notes: Sequence[str] = ()
    """What could not be checked, and why."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **dataclasses.asdict(self),
            "reasons": list(self.reasons),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SanityChecks":
        """The checks that `to_json` wrote."""
        curves = {name: Curve(**data[name]) for name in ("deletion", "insertion")}
        return cls(**{**data, **curves})


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionChange:
    """Why the variant answers some examples otherwise than the full model.

    A margin is the full model's largest logit minus its second largest. Mostly the answers that flip were
    close calls; where they were not, the pictures of the disagreements show which parts were lost.
    """

    num_agreements: int
    num_disagreements: int
    margin_agreements: float | None
    """Mean margin where both answer the same; None when they never do."""
    margin_disagreements: float | None
    closer_probability: float | None
    """Probability that a disagreement had a smaller margin than an agreement (the area under the ROC
    curve, ties count half): 1 is always, 0.5 is a coin toss. None when either kind is missing."""
    variant_correlation: float | None
    """Mean signed rank correlation between the attributions of the decision that flipped by the full model
    and by the variant, by ablation of both; None when nothing flipped or it would take too long."""
    kept_for: float | None
    """Of what spoke in the full model for its answer and against the variant's, the share left in the
    variant, summed over the disagreements that are shown; 1 is all of it. None as above."""
    kept_against: float | None
    """The same of what spoke for the variant's answer."""
    reasons: Sequence[str]
    """The same in sentences."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**dataclasses.asdict(self), "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CompressionChange":
        """The value that `to_json` wrote."""
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureImportance:
    """What one feature, or one group of features, is worth to a model."""

    name: str
    mean_drop: float
    """Of the metric, when its values are shuffled among the rows; above 0 the model needs it."""
    low: float | None
    """95 % interval over the repeats."""
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Permutation importance of the features of a table for one model."""

    of: Literal["model", "baseline"]
    metric: str
    features: Sequence[FeatureImportance]
    """The most important first."""
    num_examples: int
    num_repeats: int
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**dataclasses.asdict(self), "features": [dataclasses.asdict(each) for each in self.features]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Importance":
        """The value that `to_json` wrote."""
        return cls(**{**data, "features": [FeatureImportance(**each) for each in data["features"]]})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResult:
    """What the explain step found."""

    items: Sequence[Explanation]
    num_compared: int
    """Test examples answered by both models; 0 without a variant."""
    num_disagreements: int | None
    """Of those, how many were answered differently; None without a variant."""
    method: str | None
    """How the attributions were made, in words; None when there are none, and `note` says why."""
    note: str
    method_key: str | None = None
    """The same as `explain.method` of a job names it."""
    checks: SanityChecks | None = None
    changed: CompressionChange | None = None
    """Why the variant differs; None without a variant."""
    importance: Sequence[Importance] | None = None
    """Of a table: what each feature is worth, for the full model first; None for anything else."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "items": [item.to_json() for item in self.items],
            "num_compared": self.num_compared,
            "num_disagreements": self.num_disagreements,
            "method": self.method,
            "method_key": self.method_key,
            "checks": self.checks and self.checks.to_json(),
            "changed": self.changed and self.changed.to_json(),
            "importance": None if self.importance is None else [each.to_json() for each in self.importance],
            "note": self.note,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ExplainResult":
        """The result that `to_json` wrote; of older runs, without their one deletion, which has no place."""
        checks, changed, importance = (data.get(name) for name in ("checks", "changed", "importance"))
        return cls(
            items=[Explanation.from_json(item) for item in data["items"]],
            num_compared=data["num_compared"],
            num_disagreements=data["num_disagreements"],
            method=data["method"],
            method_key=data.get("method_key"),
            checks=checks and SanityChecks.from_json(checks),
            changed=changed and CompressionChange.from_json(changed),
            importance=None if importance is None else [Importance.from_json(each) for each in importance],
            note=data["note"],
        )
