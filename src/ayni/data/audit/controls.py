"""Controls of an audit: what must be found is found, what is not there is not.

Source: the practice of assays, with a positive and a negative control beside every sample. The two kinds
here are ours: records known by heart, and records that were never seen.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ayni.data.audit.attack import AttackResult, Scores
from ayni.data.audit.distances import distances_between
from ayni.data.audit.membership import Flags
from ayni.data.audit.verdict import Limits
from ayni.data.records import Records
from ayni.intervals import NORMAL_QUANTILE

# A control that is right must not make audits void by chance: once in a thousand, not once in twenty.
CONTROL_QUANTILE = 3.29
COPY_NOISE = 0.02


def why_void(positive: AttackResult, negative: AttackResult, limits: Limits) -> list[str]:
    """Why nothing follows from an audit with these controls; empty when they came out as they must."""
    reasons = []
    if positive.auc.low <= limits.auc_fail:
        reasons.append(
            f"the positive control passed: on records that are known by heart the attack's AUC is "
            f"{positive.auc.value:.3f} ({positive.auc.low:.3f} to {positive.auc.high:.3f}), so that it would "
            "find no leak here"
        )
    half = (negative.auc.high - negative.auc.low) / 2 * CONTROL_QUANTILE / NORMAL_QUANTILE
    if abs(negative.auc.value - 0.5) > half and not math.isclose(negative.auc.value, 0.5):
        reasons.append(
            f"the negative control did not come out at 0.5: where nothing can leak the attack's AUC is "
            f"{negative.auc.value:.3f} +-{half:.3f}, so that members and non-members differ by themselves"
        )
    return reasons


def answers_by_heart(
    audited: Records, base: Records | None, *, num_classes: int
) -> Callable[[Flags], Scores]:
    """Models that know their records by heart: a function from "has these of the audited" to probabilities.

    Such a model has the base too, and answers [R, C] by the distance d to the nearest record of each class:
    p_c is proportional to exp(-4 d_c / s), with s the median distance from one audited record to the next.
    """
    distances_RR = distances_between(audited.inputs, audited.inputs)
    np.fill_diagonal(distances_RR, 0.0)
    scale = float(np.median(np.partition(distances_RR, 1, axis=1)[:, 1])) or 1.0
    of_base_RC = _nearest_by_class(audited, base, num_classes)

    def answers(is_in_R: Flags) -> Scores:
        nearest_RC = of_base_RC.copy()
        for label in range(num_classes):
            of_class_R = is_in_R & (audited.labels == label)
            if of_class_R.any():
                nearest = distances_RR[:, of_class_R].min(axis=1)
                nearest_RC[:, label] = np.minimum(nearest_RC[:, label], nearest)
        weights_RC = np.exp(-np.minimum(nearest_RC / scale, 50.0) * 4)
        probabilities: Scores = weights_RC / weights_RC.sum(axis=1, keepdims=True)
        return probabilities

    return answers


def noisy_copies(records: Records, *, seed: int) -> Records:
    """The records with Gaussian noise of 2 % of each column's range: a generator that repeats its data."""
    rng = np.random.default_rng([seed, 3])
    flat: NDArray[np.float32] = records.inputs.reshape(len(records), -1)
    span = float(flat.max() - flat.min()) if records.inputs.ndim > 2 else np.ptp(flat, axis=0)
    noisy = flat + rng.standard_normal(flat.shape).astype(np.float32) * np.float32(COPY_NOISE) * span
    return Records(
        inputs=noisy.reshape(records.inputs.shape).astype(np.float32), labels=records.labels.copy()
    )


def _nearest_by_class(audited: Records, base: Records | None, num_classes: int) -> Scores:
    """Distance [R, C] from each audited record to the nearest of the base in each class; infinite without."""
    nearest_RC = np.full((len(audited), num_classes), np.inf)
    if base is not None:
        for label in range(num_classes):
            of_class = base.labels == label
            if of_class.any():
                nearest_RC[:, label] = distances_between(audited.inputs, base.inputs[of_class]).min(axis=1)
    return nearest_RC
