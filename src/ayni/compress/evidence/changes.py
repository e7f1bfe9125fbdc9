"""What changed between two models' answers to the same examples, beyond the one number of the mean.

A compressed model can keep its accuracy and still be another model: it answers other examples right, it
loses one class and gains on the rest, it is as sure as before and less often right. So we look at

    flips         examples whose answer differs, right or wrong (by index, to be looked at)
    groups        every class and every slice: accuracy before and after, interval, test for chance
    calibration   how far confidence lies from accuracy

Sources: Dutta et al., "Accuracy is not all you need", 2024, arXiv:2407.09141 (flips); Hooker et al., "What
do compressed deep neural networks forget?", 2019, arXiv:1911.05248 (classes and examples that pay for
compression); Guo et al., "On calibration of modern neural networks", ICML 2017, arXiv:1706.04599.

Shape suffixes: N examples, C classes.

Not covered: regression, rankings, several labels for one example; text is compared token by token, if the
caller flattens it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ayni.compress.evidence.paired import (
    Floats,
    Integers,
    PairedDifference,
    UnpairedError,
    Values,
    as_floats,
    difference_of_shares,
    mcnemar_p_value,
)
from ayni.intervals import LEVEL

Booleans = NDArray[np.bool_]
Kind = Literal["class", "slice"]
Verdict = Literal["kept", "unclear", "lost"]
"""kept: within what it may lose. lost: beyond, and not by chance. unclear: beyond, on too few examples."""

NUM_BINS = 15
"""As in Guo et al.; fewer than about 20 examples a bin make the error look larger than it is."""
NO_ANSWER = -1
# What JSON carries over as it is.
_GROUP_FIELDS = (
    *("name", "kind", "num_examples", "num_lost", "num_won"),
    *("p_value", "verdict", "is_hidden_loss"),
)
_INDEX_FIELDS = ("flipped", "lost", "won")
_CHANGES_FIELDS = (
    *("num_flipped", "num_lost", "num_won"),
    *("calibration_before", "calibration_after", "num_without_answer"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one model answered: a class for each example, and how sure it was, if it said so.

    classes: class numbers; NO_ANSWER where the model gave no finite number, which is never right.
    confidences: probability of the answer, 0 where there is none; None when only classes are known.
    """

    classes: Integers
    confidences: Floats | None = None

    @classmethod
    def from_logits(cls, logits: Values) -> Self:
        """From the outputs before the softmax, [N, C]; [N] or [N, 1] is one logit of class 1 against class 0.

        confidence = max_c exp(z_c) / sum_j exp(z_j)

        Raises:
            UnpairedError: another number of axes.
        """
        logits_NC, is_finite_N = _columns(logits, "logits")
        if logits_NC.shape[1] == 1:
            logits_NC = np.concatenate([np.zeros_like(logits_NC), logits_NC], axis=1)
        shifted_NC = logits_NC - logits_NC.max(axis=1, keepdims=True)
        confidences_N = 1 / np.exp(shifted_NC).sum(axis=1)
        return cls(
            np.where(is_finite_N, logits_NC.argmax(axis=1), NO_ANSWER).astype(np.int64),
            np.where(is_finite_N, confidences_N, 0.0),
        )

    @classmethod
    def from_probabilities(cls, probabilities: Values) -> Self:
        """From the outputs after the softmax, [N, C]; [N] or [N, 1] is the probability of class 1, not 0.

        They need not add up to 1: those of a model of eight bits miss it. What lies outside [0, 1] counts as
        the nearer end of it.

        Raises:
            UnpairedError: another number of axes.
        """
        probabilities_NC, is_finite_N = _columns(probabilities, "probabilities")
        if probabilities_NC.shape[1] == 1:
            probabilities_NC = np.concatenate([1 - probabilities_NC, probabilities_NC], axis=1)
        confidences_N = np.clip(probabilities_NC.max(axis=1), 0.0, 1.0)
        return cls(
            np.where(is_finite_N, probabilities_NC.argmax(axis=1), NO_ANSWER).astype(np.int64),
            np.where(is_finite_N, confidences_N, 0.0),
        )

    @classmethod
    def from_classes(cls, answers: Values) -> Self:
        """From class numbers alone: then nothing is said about calibration."""
        values_N = as_floats(answers)
        if values_N.ndim != 1:
            raise UnpairedError(f"answers are one class an example, these have the shape {values_N.shape}")
        return cls(np.where(np.isfinite(values_N), values_N, NO_ANSWER).astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChange:
    """One class or slice.

    accuracy: before and after with the interval of the difference; None for a group without examples.
    p_value: one-sided McNemar for "it lost", corrected (Holm) for the number of groups; None if it is empty.
    num_lost, num_won: answers that became wrong, that became right.
    """

    name: str
    kind: Kind
    num_examples: int
    num_lost: int
    num_won: int
    accuracy: PairedDifference | None
    p_value: float | None
    verdict: Verdict
    is_hidden_loss: bool

    @property
    def drop(self) -> float | None:
        """Loss of accuracy in this group; negative when it gained."""
        return None if self.accuracy is None else self.accuracy.drop(lower_is_better=False)

    @property
    def accuracy_before(self) -> float | None:
        """Share of right answers before; None for a group without examples."""
        return None if self.accuracy is None else self.accuracy.before

    @property
    def accuracy_after(self) -> float | None:
        """Share of right answers after; None for a group without examples."""
        return None if self.accuracy is None else self.accuracy.after

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **{name: getattr(self, name) for name in (*_GROUP_FIELDS, "drop")},
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The group that `to_json` wrote."""
        accuracy = data["accuracy"]
        return cls(
            **{name: data[name] for name in _GROUP_FIELDS},
            accuracy=None if accuracy is None else PairedDifference.from_json(accuracy),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """All that changed. Indices point into the examples as they were given.

    flipped: the answer differs. lost, won: of those, was right and is wrong; was wrong and is right. Changes
        that were kept as JSON may hold only the first of them.
    num_flipped, num_lost, num_won: how many there are.
    calibration_before, calibration_after: expected calibration error, None when confidences are unknown.
    num_without_answer: examples where the model after gave no finite output.
    """

    accuracy: PairedDifference
    groups: tuple[GroupChange, ...]
    flipped: tuple[int, ...]
    lost: tuple[int, ...]
    won: tuple[int, ...]
    num_flipped: int
    num_lost: int
    num_won: int
    calibration_before: float | None
    calibration_after: float | None
    num_without_answer: int

    @property
    def flip_rate(self) -> float:
        """Share of examples that are answered differently."""
        return self.num_flipped / self.accuracy.num_examples

    @property
    def hidden_losses(self) -> tuple[GroupChange, ...]:
        """Groups that lost, beyond chance, more than the whole did; the worst first."""
        return tuple(sorted((group for group in self.groups if group.is_hidden_loss), key=_by_drop))

    def worst(self, kind: Kind) -> GroupChange | None:
        """The group of this kind with the largest drop, chance or not; None when there is none."""
        rated = [group for group in self.groups if group.kind == kind and group.drop is not None]
        return min(rated, key=_by_drop, default=None)

    @property
    def worst_class(self) -> GroupChange | None:
        """The class that lost most, chance or not; None when no class has examples."""
        return self.worst("class")

    @property
    def worst_slice(self) -> GroupChange | None:
        """The slice that lost most, chance or not; None when no slice has examples."""
        return self.worst("slice")

    def of_examples(self, examples: Sequence[int]) -> Self:
        """The same with indices into a larger list, of which `examples[i]` was example i here."""
        moved = (
            tuple(examples[index] for index in indices) for indices in (self.flipped, self.lost, self.won)
        )
        flipped, lost, won = moved
        return replace(self, flipped=flipped, lost=lost, won=won)

    def to_json(self, *, max_indices: int | None = None) -> dict[str, Any]:
        """Plain values; at most `max_indices` of each list of indices, whose full lengths are given.

        Raises:
            ValueError: a negative `max_indices`.
        """
        if max_indices is not None and max_indices < 0:
            raise ValueError(f"max_indices is at least 0, or None for all, not {max_indices}")
        worst = {"worst_class": self.worst_class, "worst_slice": self.worst_slice}
        return {
            "accuracy": self.accuracy.to_json(),
            "groups": [group.to_json() for group in self.groups],
            "hidden_losses": [group.name for group in self.hidden_losses],
            **{name: None if group is None else group.name for name, group in worst.items()},
            "flip_rate": self.flip_rate,
            **{name: list(getattr(self, name)[:max_indices]) for name in _INDEX_FIELDS},
            **{name: getattr(self, name) for name in _CHANGES_FIELDS},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The changes that `to_json` wrote, with as many indices as were kept."""
        return cls(
            accuracy=PairedDifference.from_json(data["accuracy"]),
            groups=tuple(GroupChange.from_json(group) for group in data["groups"]),
            flipped=tuple(data["flipped"]),
            lost=tuple(data["lost"]),
            won=tuple(data["won"]),
            **{name: data[name] for name in _CHANGES_FIELDS},
        )


def find_changes(
    before: Answers,
    after: Answers,
    labels: Values,
    *,
    max_drop: float = 0.0,
    class_names: Sequence[str] | None = None,
    slices: Mapping[str, Values] | None = None,
) -> Changes:
    """Compare two models' answers to the same labelled examples.

    A group is "lost" when its accuracy drops by more than `max_drop` and the exact test says that coin flips
    would rarely do so: p < 1 - LEVEL after Holm's correction for the number of groups. It is a hidden loss
    when it is lost and dropped by more than the whole did: the mean does not tell of it.

    Cost: O(N * number of groups).

    Args:
        before: answers of the full model.
        after: answers of the variant.
        labels: the right class of each example, [N].
        max_drop: what a group may lose, in shares: the budget of the whole is a good choice.
        class_names: by class number; the numbers themselves when not given.
        slices: by name, which examples belong to it: N values that are true or false. They may overlap.

    Raises:
        UnpairedError: lengths differ, there are no examples, or a label is negative or not finite.
        ValueError: a negative or non-finite `max_drop`.
    """
    if not (math.isfinite(max_drop) and max_drop >= 0):
        raise ValueError(f"max_drop is a share of at least 0, not {max_drop}")
    labels_N = _labels(labels)
    for answers in (before, after):
        if answers.classes.shape != labels_N.shape:
            raise UnpairedError(f"{len(answers.classes)} answers were given for {len(labels_N)} labels")
    was_right_N, is_right_N = before.classes == labels_N, after.classes == labels_N
    accuracy = difference_of_shares(was_right_N, is_right_N)
    members: list[tuple[str, Kind, Booleans]] = [
        *((name, "class", member_N) for name, member_N in _classes(labels_N, class_names)),
        *((name, "slice", _membership(name, mask, len(labels_N))) for name, mask in (slices or {}).items()),
    ]
    p_values = _holm([_p_value(was_right_N[member_N], is_right_N[member_N]) for _, _, member_N in members])
    flipped = _indices(before.classes != after.classes)
    lost, won = _indices(was_right_N & ~is_right_N), _indices(~was_right_N & is_right_N)
    return Changes(
        accuracy=accuracy,
        groups=tuple(
            _group(
                name,
                kind,
                was_right_N[member_N],
                is_right_N[member_N],
                p_value=p_value,
                max_drop=max_drop,
                whole_drop=accuracy.drop(lower_is_better=False),
            )
            for (name, kind, member_N), p_value in zip(members, p_values, strict=True)
        ),
        flipped=flipped,
        lost=lost,
        won=won,
        num_flipped=len(flipped),
        num_lost=len(lost),
        num_won=len(won),
        calibration_before=_calibration(before, was_right_N),
        calibration_after=_calibration(after, is_right_N),
        num_without_answer=int((after.classes == NO_ANSWER).sum()),
    )


def expected_calibration_error(confidences: Values, is_right: Values, *, num_bins: int = NUM_BINS) -> float:
    """Mean distance between how sure a model is and how often it is right, in [0, 1].

        ECE = sum_b |B_b| / N * |accuracy(B_b) - mean confidence(B_b)|,   B_b = ((b - 1) / M, b / M]

    Biased upwards when bins hold few examples: compare models on the same examples, not across data sets.

    Source: Guo et al., ICML 2017, section 2, equation 3, arXiv:1706.04599.

    Raises:
        UnpairedError: lengths differ, no examples, or a confidence outside [0, 1].
    """
    confidences_N, is_right_N = as_floats(confidences), as_floats(is_right)
    if confidences_N.ndim != 1 or confidences_N.shape != is_right_N.shape or len(confidences_N) == 0:
        raise UnpairedError(f"{confidences_N.shape} confidences were given for {is_right_N.shape} answers")
    if not ((confidences_N >= 0) & (confidences_N <= 1 + 1e-9)).all():
        raise UnpairedError("a confidence is a probability between 0 and 1")
    # Bins are open below and closed above, so that full confidence has a bin; 0 joins the first.
    bins_N = np.clip(np.ceil(confidences_N * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    gaps_B = np.bincount(bins_N, weights=is_right_N - confidences_N, minlength=num_bins)
    return float(np.abs(gaps_B).sum() / len(confidences_N))


def _columns(outputs: Values, what: str) -> tuple[Floats, Booleans]:
    """Outputs as [N, C] with rows of 0 where one is not finite, and which rows are finite."""
    outputs_NC = as_floats(outputs)
    if outputs_NC.ndim == 1:
        outputs_NC = outputs_NC[:, None]
    if outputs_NC.ndim != 2 or outputs_NC.shape[1] == 0:
        raise UnpairedError(f"{what} are [N, C], these have the shape {outputs_NC.shape}")
    # A row that is not finite would give a class by accident of argmax, and a confidence of nan.
    is_finite_N = np.asarray(np.isfinite(outputs_NC).all(axis=1))
    return np.where(is_finite_N[:, None], outputs_NC, 0.0), is_finite_N


def _labels(labels: Values) -> Integers:
    labels_N = as_floats(labels)
    if labels_N.ndim != 1 or len(labels_N) == 0 or not np.isfinite(labels_N).all():
        raise UnpairedError(f"labels are one finite class number an example; the shape is {labels_N.shape}")
    if (labels_N < 0).any():
        raise UnpairedError(f"{int((labels_N < 0).sum())} labels are negative; leave those examples out")
    return labels_N.astype(np.int64)


def _classes(labels_N: Integers, names: Sequence[str] | None) -> list[tuple[str, Booleans]]:
    numbers = list(range(len(names))) if names is not None else []
    # A label beyond the given names still is a class, called by its number.
    numbers += [int(number) for number in np.unique(labels_N) if int(number) not in set(numbers)]
    called = {
        number: names[number] if names and number in range(len(names)) else str(number) for number in numbers
    }
    return [(called[number], labels_N == number) for number in numbers]


def _membership(name: str, mask: Values, num_examples: int) -> Booleans:
    mask_N = as_floats(mask)
    if mask_N.shape != (num_examples,) or not np.isin(mask_N, (0.0, 1.0)).all():
        raise UnpairedError(
            f"slice {name!r} says true or false of each of the {num_examples} examples, "
            f"this one has the shape {mask_N.shape}"
        )
    return mask_N.astype(np.bool_)


def _p_value(was_right: Booleans, is_right: Booleans) -> float | None:
    if len(was_right) == 0:
        return None
    lost, won = int((was_right & ~is_right).sum()), int((~was_right & is_right).sum())
    return mcnemar_p_value(num_lost=lost, num_won=won, one_sided=True)


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrected for their number: the k-th smallest times (m - k + 1), never below a smaller one's.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.
    """
    known = sorted((value, index) for index, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (value, index) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        corrected[index] = highest
    return corrected


def _group(
    name: str,
    kind: Kind,
    was_right: Booleans,
    is_right: Booleans,
    *,
    p_value: float | None,
    max_drop: float,
    whole_drop: float,
) -> GroupChange:
    accuracy = difference_of_shares(was_right, is_right) if len(was_right) else None
    drop = accuracy.drop(lower_is_better=False) if accuracy else 0.0
    verdict: Verdict = "kept"
    # Shares such as 0.9 - 0.8 are not exact in floats; what is allowed stays allowed.
    if p_value is not None and drop > max_drop + 1e-9:
        verdict = "lost" if p_value < 1 - LEVEL else "unclear"
    return GroupChange(
        name=name,
        kind=kind,
        num_examples=len(was_right),
        num_lost=int((was_right & ~is_right).sum()),
        num_won=int((~was_right & is_right).sum()),
        accuracy=accuracy,
        p_value=p_value,
        verdict=verdict,
        is_hidden_loss=verdict == "lost" and drop > whole_drop + 1e-9,
    )


def _calibration(answers: Answers, is_right_N: Booleans) -> float | None:
    if answers.confidences is None:
        return None
    return expected_calibration_error(answers.confidences, is_right_N)


def _indices(mask_N: Booleans) -> tuple[int, ...]:
    return tuple(int(index) for index in np.flatnonzero(mask_N))


def _by_drop(group: GroupChange) -> float:
    return -(group.drop or 0.0)
