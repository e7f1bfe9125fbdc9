"""Audit of a model: can somebody who has it tell which records it was trained on?

Three attacks of the same kind on the same records:

    the audit          the model that is to be published
    positive control   a model that knows its records by heart (nearest neighbour), attacked through shadow
                       models of its own: it must fail, or the attack sees nothing on such data
    negative control   a shadow model, attacked with the target's membership, which its own training knows
                       nothing of: its AUC's interval must hold 0.5, or the attack finds what is not there

Sources: data.audit.membership for the attacks. The controls are ours.

Not covered: attacks with more than the model's answers (its gradients, its history of rounds), text that a
language model repeats, and what variants of the model give away, which ask the same shadow models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ayni.data.audit.attack import AttackResult, Scores, measure_attack
from ayni.data.audit.controls import answers_by_heart, why_void
from ayni.data.audit.membership import Flags, lira_scores, logit_confidences, rmia_scores
from ayni.data.audit.shadows import (
    Predict,
    TrainShadow,
    ask_shadows,
    draw_audited,
    draw_halves,
    right_probabilities,
)
from ayni.data.audit.verdict import Limits, Verdict, judge_attack, too_few, void
from ayni.data.records import Records

Method = Literal["lira", "rmia"]

NUM_WORST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedPrivacy:
    """What differential privacy promises of the model: (epsilon, delta)."""

    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposedRecord:
    """A member that the attack is surest of."""

    row: int
    """Its place among the audited records."""
    label: int
    score: float
    confidence: float
    """Probability of its class by the model."""
    usual_confidence: float
    """The same by shadow models that never saw it, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAudit:
    """What an attack on a model found, what its controls say, and the verdict."""

    method: Method
    num_shadow_models: int
    attack: AttackResult
    positive_control: AttackResult
    negative_control: AttackResult
    verdict: Verdict
    exposed: Sequence[ExposedRecord]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "method": self.method,
            "num_shadow_models": self.num_shadow_models,
            "attack": self.attack.to_json(),
            "positive_control": self.positive_control.to_json(),
            "negative_control": self.negative_control.to_json(),
            "verdict": self.verdict.to_json(),
            "exposed": [
                {name: getattr(one, name) for name in ExposedRecord.__slots__} for one in self.exposed
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The audit that `to_json` wrote."""
        return cls(
            method=data["method"],
            num_shadow_models=data["num_shadow_models"],
            attack=AttackResult.from_json(data["attack"]),
            positive_control=AttackResult.from_json(data["positive_control"]),
            negative_control=AttackResult.from_json(data["negative_control"]),
            verdict=Verdict.from_json(data["verdict"]),
            exposed=[ExposedRecord(**one) for one in data["exposed"]],
        )


def audit_model(
    target: Predict,
    train: TrainShadow,
    members: Records,
    non_members: Records,
    *,
    method: Method = "lira",
    num_shadow_models: int = 16,
    most_records: int = 1000,
    limits: Limits | None = None,
    claimed: ClaimedPrivacy | None = None,
    seed: int = 0,
    on_trained: Callable[[int], None] | None = None,
) -> tuple[ModelAudit, Records]:
    """Attack a model with shadow models of the same recipe.

    Args:
        target: The model: inputs to class probabilities.
        train: Trains a shadow model on other records by the same recipe.
        members: All records that the target was trained on.
        non_members: Records of the same source that it never saw.
        method: lira (16 shadow models or more) or rmia (4 will do).
        num_shadow_models: An even number; each costs one training.
        most_records: Audited records of each side, at most.
        limits: What warns and what fails.
        claimed: Privacy that was promised; an attack that disproves it fails the audit.
        seed: Of the draws and of the shadow models.
        on_trained: Called with the number of shadow models that are ready.

    Returns:
        The audit, and the audited records, members first, which `exposed` counts.

    Raises:
        RecordsError: records do not fit each other or the model, or a side is empty.
        ValueError: num_shadow_models is odd or below 4.
    """
    audited, is_member_R, base = draw_audited(members, non_members, most=most_records, seed=seed)
    is_in_SR = draw_halves(len(audited), num_shadow_models, seed=seed)
    shadows_SRC = ask_shadows(audited, base, is_in_SR, train, seed=seed, on_trained=on_trained)
    attack = _Attack(method, audited.labels, is_member_R, is_in_SR)
    delta = 0.0 if claimed is None else claimed.delta
    target_RC = np.asarray(target(audited.inputs), dtype=np.float64)
    scores_R = attack.scores(target_RC, shadows_SRC, is_in_SR)
    found = attack.measured(scores_R, delta)
    positive = attack.measured(attack.by_heart(audited, base, num_classes=target_RC.shape[1]), 0.0)
    negative = attack.measured(attack.scores(shadows_SRC[0], shadows_SRC[1:], is_in_SR[1:]), 0.0)
    return (
        ModelAudit(
            method=method,
            num_shadow_models=num_shadow_models,
            attack=found,
            positive_control=positive,
            negative_control=negative,
            verdict=_verdict(found, positive, negative, limits or Limits(), claimed),
            exposed=_exposed(
                audited,
                np.where(is_member_R, scores_R, -np.inf),
                right_probabilities(target_RC, audited.labels),
                right_probabilities(shadows_SRC, audited.labels),
                is_in_SR,
            ),
        ),
        audited,
    )


class _Attack:
    """One method on one set of records, against whatever model answered."""

    def __init__(
        self, method: Method, labels_R: NDArray[np.int64], is_member_R: Flags, is_in_SR: Flags
    ) -> None:
        self._method, self._labels_R = method, labels_R
        self._is_member_R, self._is_in_SR = is_member_R, is_in_SR

    def scores(self, target_RC: Scores, shadows_SRC: Scores, is_in_SR: Flags) -> Scores:
        if self._method == "lira":
            shadows_SR = np.stack([logit_confidences(one, self._labels_R) for one in shadows_SRC])
            return lira_scores(logit_confidences(target_RC, self._labels_R), shadows_SR, is_in_SR)
        return rmia_scores(
            right_probabilities(target_RC, self._labels_R),
            right_probabilities(shadows_SRC, self._labels_R),
            is_in_SR,
            strangers_R=~self._is_member_R,
        )

    def by_heart(self, audited: Records, base: Records | None, *, num_classes: int) -> Scores:
        """Scores against a model that answers by its nearest record, through shadow models of that kind."""
        answers = answers_by_heart(audited, base, num_classes=num_classes)
        shadows_SRC = np.stack([answers(is_in_R) for is_in_R in self._is_in_SR])
        return self.scores(answers(self._is_member_R), shadows_SRC, self._is_in_SR)

    def measured(self, scores_R: Scores, delta: float) -> AttackResult:
        return measure_attack(scores_R[self._is_member_R], scores_R[~self._is_member_R], delta=delta)


def _verdict(
    found: AttackResult,
    positive: AttackResult,
    negative: AttackResult,
    limits: Limits,
    claimed: ClaimedPrivacy | None,
) -> Verdict:
    if (few := too_few(found.num_members, found.num_non_members)) is not None:
        return few
    if reasons := why_void(positive, negative, limits):
        return void(reasons)
    return judge_attack(found, limits, claimed_epsilon=None if claimed is None else claimed.epsilon)


def _exposed(
    audited: Records, scores_R: Scores, confidence_R: Scores, shadows_SR: Scores, is_in_SR: Flags
) -> list[ExposedRecord]:
    """The records with the highest scores."""
    usual_R = np.nanmean(np.where(is_in_SR, np.nan, shadows_SR), axis=0)
    return [
        ExposedRecord(
            row=int(row),
            label=int(audited.labels[row]),
            score=float(scores_R[row]),
            confidence=float(confidence_R[row]),
            usual_confidence=float(usual_R[row]),
        )
        for row in np.argsort(-scores_R, kind="stable")[:NUM_WORST]
        if np.isfinite(scores_R[row])
    ]
