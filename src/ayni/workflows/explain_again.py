"""Explain a model that is there already: by another method, or with more examples than its run showed.

The run stays as it is, for it is sealed; pictures, numbers and the page go where the caller says.

Not covered: fitting baselines again; the report of the run has them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ayni.errors import UserError
from ayni.explain.choosing import Wanted
from ayni.explain.explaining import explain
from ayni.explain.explanation import ExplainResult
from ayni.explain.importance import NoImportance, permutation_importances
from ayni.keras_weights import is_keras
from ayni.train.local import one_thread
from ayni.workflows.explain_source import ExplainSource


class NotExplainableError(UserError):
    """Nothing can be said of this model."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"{name} cannot be explained. {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedAgain:
    """What was found, with paths relative to the folder of its pictures."""

    name: str
    variant: str | None
    explanations: ExplainResult

    def to_json(self) -> dict[str, Any]:
        """The explanations' own keys, with what they are of."""
        return {"of": self.name, "variant": self.variant, **self.explanations.to_json()}


def explain_again(
    source: ExplainSource, *, method: Wanted, num_samples: int, seed: int, folder: Path
) -> ExplainedAgain:
    """Explain `num_samples` test examples and as many disagreements; of a table its features' importance.

    Raises:
        NotExplainableError: no method reaches this model.
        MethodDoesNotFitError: the method was named and does not fit.
        TaskFailedError, MissingExtraError: see `explain`.
    """
    if is_keras(source.model):
        raise NotExplainableError(
            source.name, "It is a model of Keras, and explanations look into models of torch."
        )
    with one_thread(), threadpool_limits(1):
        found = explain(
            source.task,
            source.model,
            variant=source.variant,
            num_samples=num_samples,
            seed=seed,
            folder=folder,
            wanted=method,
        )
        importance = permutation_importances(
            source.task, source.model, of="model", better=source.better, seed=seed
        )
    if found.method is None and isinstance(importance, NoImportance):
        raise NotExplainableError(source.name, found.note)
    if not isinstance(importance, NoImportance):
        found = replace(found, importance=[importance])
    return ExplainedAgain(name=source.name, variant=source.variant_name, explanations=found)
