"""Shadow models: which records each of them is trained on, and what they answer.

The target was trained on all its members M. For the audit R records are drawn, half of them members, half
strangers of the same source. The other members are the base, which every shadow model has like the target;
of the audited ones each shadow model has a random half:

    target    base + audited members
    shadow s  base + a random half of the audited records       (as many records as the target)

so that each record is in exactly half of the shadow models.

Source: Carlini et al., IEEE S&P 2022, arXiv:2112.03570, section V (online attack). The base is ours: a job
has fewer unseen records than training records, and models of half the size would be another recipe.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ayni.data.audit.attack import Scores
from ayni.data.audit.membership import Flags
from ayni.data.records import Records, RecordsError
from ayni.data.splits import fingerprint

Predict = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""Inputs [N, ...] to class probabilities [N, C]."""


class TrainShadow(Protocol):
    """Trains a model as the target was trained, on other records."""

    def __call__(self, records: Records, *, seed: int) -> Predict:
        """The trained model as a function."""
        ...


class TooFewRecordsError(RecordsError):
    """Nothing is left to audit."""


def draw_audited(
    members: Records, non_members: Records, *, most: int, seed: int
) -> tuple[Records, Flags, Records | None]:
    """Audited records [R], which of them are members, and the base (None when every member is audited).

    Records that occur twice, or on both sides, are left out first: they would be both. At most `most`
    of each side are drawn, and as many of one as of the other.

    Raises:
        TooFewRecordsError: a side has no record of its own.
    """
    own_rows, other_rows = _distinct_rows(members, non_members)
    if len(own_rows) == 0 or len(other_rows) == 0:
        raise TooFewRecordsError(
            f"Of {len(members)} members {len(own_rows)} and of {len(non_members)} non-members "
            f"{len(other_rows)} are left after repeated records were taken out: an audit needs both."
        )
    rng = np.random.default_rng([seed, 1])
    count = min(most, len(own_rows), len(other_rows))
    own_rows = rng.permutation(own_rows)
    audited_rows, base_rows = own_rows[:count], np.setdiff1d(np.arange(len(members)), own_rows[:count])
    drawn = members.subset(audited_rows).joined(non_members.subset(rng.permutation(other_rows)[:count]))
    base = members.subset(base_rows) if len(base_rows) else None
    return drawn, np.arange(2 * count) < count, base


def draw_halves(num_records: int, num_shadows: int, *, seed: int) -> Flags:
    """Which of R records each of S shadow models has [S, R]; each record is in S / 2 of them.

    Raises:
        ValueError: S is not an even number of 4 or more; with less the negative control has no reference.
    """
    if num_shadows < 4 or num_shadows % 2:
        raise ValueError(f"{num_shadows} shadow models: expected an even number of 4 or more")
    rng = np.random.default_rng([seed, 2])
    # Models come in pairs that share out the records between them.
    halves = []
    for _ in range(num_shadows // 2):
        is_in_R = np.zeros(num_records, dtype=np.bool_)
        is_in_R[rng.permutation(num_records)[: num_records // 2]] = True
        halves += [is_in_R, ~is_in_R]
    return np.stack(halves)


def ask_shadows(
    audited: Records,
    base: Records | None,
    is_in_SR: Flags,
    train: TrainShadow,
    *,
    seed: int,
    on_trained: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Class probabilities [S, R, C] of shadow models for all audited records."""
    answers = []
    for number, is_in_R in enumerate(is_in_SR):
        chosen = audited.subset(is_in_R)
        predict = train(chosen if base is None else base.joined(chosen), seed=seed + 1 + number)
        answers.append(np.asarray(predict(audited.inputs), dtype=np.float64))
        if on_trained is not None:
            on_trained(number + 1)
    return np.stack(answers)


def right_probabilities(probabilities: NDArray[np.floating], labels_R: NDArray[np.int64]) -> Scores:
    """Probability of the right class, from [..., R, C] to [..., R].

    Raises:
        RecordsError: a label is beyond the model's classes (its row is named).
    """
    num_classes = probabilities.shape[-1]
    if labels_R.max() >= num_classes:
        row = int(np.flatnonzero(labels_R >= num_classes)[0])
        raise RecordsError(
            f"The label of audited record {row} is {labels_R[row]}, and the model answers "
            f"{num_classes} classes."
        )
    right: Scores = np.asarray(probabilities, dtype=np.float64)[..., np.arange(len(labels_R)), labels_R]
    return right


def _distinct_rows(members: Records, non_members: Records) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows whose input occurs once among all."""
    marks = [fingerprint(values) for values in members.inputs] + [
        fingerprint(values) for values in non_members.inputs
    ]
    _, inverse, counts = np.unique(np.array(marks), return_inverse=True, return_counts=True)
    once = counts[inverse] == 1
    return np.flatnonzero(once[: len(members)]), np.flatnonzero(once[len(members) :])
