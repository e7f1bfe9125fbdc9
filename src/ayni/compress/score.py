"""One number for a variant, by declared weights, and the choice it leads to. Pure.

    f(x) = sum_i a_i x_i,   x_i = value of the variant / value of the full model

So every x_i of the full model is 1, and a weight says what a relative change is worth: with
{accuracy: 1.0, stored_bytes: -0.2} losing 1 % of the accuracy costs as much as 5 % more bytes.
The term "metric" is the task's first metric turned so that more is better (its inverse ratio when lower
is better); a metric called by its own name is taken as it is.

Not covered: learning the weights. They are a statement of what the user wants.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from ayni.compress.config import COST_TERMS, METRIC_TERM
from ayni.errors import UserError

Values = Mapping[str, float | None]
ROUNDING = 1e-9
"""0.988 - 0.978 is 0.010000000000000009 in floats, and a drop of 0.01 is allowed."""


class UnknownScoreTermError(UserError):
    """The score weighs something that nobody measures."""

    def __init__(self, *, term: str, allowed: Sequence[str]) -> None:
        self.term = term
        super().__init__(
            f"compress.score weighs {term!r}, which is not measured. Allowed here: {', '.join(allowed)}."
        )


class Rated(Protocol):
    """What the choice looks at."""

    @property
    def name(self) -> str:
        """Name of the variant."""
        ...

    @property
    def qualifies(self) -> bool:
        """Within the budget."""
        ...

    @property
    def drop(self) -> float | None:
        """Loss of the first metric on validation."""
        ...

    @property
    def score(self) -> float | None:
        """f(x)."""
        ...


def check_terms(weights: Mapping[str, float], metric_names: Sequence[str]) -> None:
    """Refuse a score that names something unknown, before work is spent on it.

    Raises:
        UnknownScoreTermError: a term is neither a metric of the task nor a cost.
    """
    allowed = [METRIC_TERM, *metric_names, *COST_TERMS]
    for term in weights:
        if term not in allowed:
            raise UnknownScoreTermError(term=term, allowed=allowed)


def weighted_score(weights: Mapping[str, float], values: Values, full_values: Values) -> float | None:
    """f(x) of one variant, without the `unrated_terms`; None when another term is unknown.

    Args:
        weights: a_i by term.
        values: of the variant, by term.
        full_values: of the full model, by term.
    """
    total = 0.0
    for term, weight in weights.items():
        full_value = full_values.get(term)
        if not full_value:
            continue
        value = values.get(term)
        if value is None:
            return None
        total += weight * value / full_value
    return total


def unrated_terms(weights: Mapping[str, float], full_values: Values) -> list[str]:
    """Terms that nothing can be compared by: the full model's value is unknown or 0."""
    return [term for term in weights if not full_values.get(term)]


def metric_drop(value: float | None, full_value: float, *, lower_is_better: bool) -> float | None:
    """How much worse `value` is than the full model's, in the metric's own units; negative when better."""
    if value is None:
        return None
    return value - full_value if lower_is_better else full_value - value


def is_within(drop: float | None, max_drop: float) -> bool:
    """Whether a drop is allowed; an unknown one is not."""
    return drop is not None and drop <= max_drop + ROUNDING


def choose(
    candidates: Sequence[Rated], *, metric: str, max_drop: float, unrated: Sequence[str] = ()
) -> tuple[str | None, str]:
    """Name of the qualifying candidate of the best score, and the reason in a sentence.

    Ties go to the later one, which is further compressed; an unknown score loses against any other.
    None when no candidate qualifies: that is a result, and the reason says how close they came.
    `unrated` terms are named in the reason, because the score is not what was declared.
    """
    rated = [candidate for candidate in candidates if candidate.qualifies]
    if not rated:
        drops = ", ".join(f"{candidate.name} {_text(candidate.drop)}" for candidate in candidates)
        return None, (
            f"No variant qualifies: at most {max_drop:g} of {metric} may be lost on the validation split, "
            f"and these lose more: {drops}. Allow more with compress.max_accuracy_drop, prune less, "
            "or distill for more epochs."
        )
    best = max(enumerate(rated), key=lambda pair: (_or_lowest(pair[1].score), pair[0]))[1]
    left_out = f" Left out of the score, because unknown here: {', '.join(unrated)}." if unrated else ""
    return best.name, (
        f"{best.name} has the best score ({_text(best.score)}) of the {len(rated)} variants that lose at "
        f"most {max_drop:g} of {metric} on the validation split; it {_loss(best.drop)}.{left_out}"
    )


def _or_lowest(score: float | None) -> float:
    return -math.inf if score is None else score


def _loss(drop: float | None) -> str:
    return f"gains {-drop:.4f}" if drop is not None and drop < 0 else f"loses {_text(drop)}"


def _text(value: float | None) -> str:
    return "an unknown amount" if value is None else f"{value:.4f}"
