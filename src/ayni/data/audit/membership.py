"""Membership inference against models: LiRA and RMIA, from confidences of the target and of shadow models.

Legend: R audited records, S shadow models, C classes. Scores [R]: higher means "was a member".

Sources: Carlini et al., "Membership inference attacks from first principles", IEEE S&P 2022, arXiv:2112.03570
(LiRA, section V; one variance for all records where shadows are few, section VI-B); Zarifzadeh, Liu and
Shokri, "Low-cost high-power membership inference attacks", ICML 2024, arXiv:2312.03262 (RMIA, sections 3-4).
An attack that thresholds the loss alone is not offered: it misses what these find (their figure 1).

We differ from LiRA in asking each model once for a record, without augmented views.
"""

import numpy as np
from numpy.typing import NDArray

from ayni.data.audit.attack import Scores

Flags = NDArray[np.bool_]

# Below so many shadow models a variance for each record is noise; all records share one (Carlini et al.: 64).
SHADOWS_FOR_OWN_VARIANCE = 64
# gamma of RMIA: how much likelier than a stranger's a record's confidence must be (the paper's choice).
RMIA_GAMMA = 2.0
_SMALLEST = 1e-12


def logit_confidences(probabilities_RC: NDArray[np.floating], labels_R: NDArray[np.int64]) -> Scores:
    """The right class's log p - log(1 - p), nearly Gaussian over models (Carlini et al., eq. 4)."""
    right_R = np.asarray(probabilities_RC, dtype=np.float64)[np.arange(len(labels_R)), labels_R]
    wrong_R = np.asarray(probabilities_RC, dtype=np.float64).sum(axis=1) - right_R
    scores: Scores = np.log(np.maximum(right_R, _SMALLEST)) - np.log(np.maximum(wrong_R, _SMALLEST))
    return scores


def lira_scores(target_R: Scores, shadows_SR: Scores, is_in_SR: Flags) -> Scores:
    """Log-likelihood ratio of a record's confidence under models with it and models without it.

        score = ln N(phi; mu_in, sigma_in) - ln N(phi; mu_out, sigma_out)

    `target_R` and `shadows_SR` are logit confidences; every record must be in some shadows and out of some.
    """
    mean_in_R, deviation_in_R = _moments(shadows_SR, is_in_SR)
    mean_out_R, deviation_out_R = _moments(shadows_SR, ~is_in_SR)
    return _log_density(target_R, mean_in_R, deviation_in_R) - _log_density(
        target_R, mean_out_R, deviation_out_R
    )


def rmia_scores(target_R: Scores, shadows_SR: Scores, is_in_SR: Flags, *, strangers_R: Flags) -> Scores:
    """Share of strangers z whose likelihood ratio is beaten by gamma: P(ratio(x) / ratio(z) >= gamma).

        ratio(x) = p(x | target) / p(x),  p(x) = mean over models with x and models without it, half each

    `target_R` and `shadows_SR` are probabilities of the right class; `strangers_R` marks the records z, which
    were not in the target's data. Needs one shadow model of each kind for a record, LiRA many.
    """
    with_R = _mean_where(shadows_SR, is_in_SR)
    without_R = _mean_where(shadows_SR, ~is_in_SR)
    ratio_R = target_R / np.maximum((with_R + without_R) / 2, _SMALLEST)
    strangers = np.sort(ratio_R[strangers_R])
    beaten: Scores = np.searchsorted(strangers, ratio_R / RMIA_GAMMA, side="right") / len(strangers)
    # Many beat all strangers, or none; the ratio itself decides among them, by less than one stranger.
    order_R = np.argsort(np.argsort(ratio_R)) / (len(ratio_R) * len(strangers))
    scores: Scores = beaten + order_R
    return scores


def _moments(values_SR: Scores, chosen_SR: Flags) -> tuple[Scores, Scores]:
    """Mean and deviation of each record over the chosen models."""
    count_R = chosen_SR.sum(axis=0)
    mean_R = _mean_where(values_SR, chosen_SR)
    squares_R = (np.where(chosen_SR, values_SR - mean_R, 0.0) ** 2).sum(axis=0)
    if len(values_SR) >= SHADOWS_FOR_OWN_VARIANCE:
        variance_R = squares_R / np.maximum(count_R - 1, 1)
    else:
        degrees = max(1, int((count_R - 1).clip(min=0).sum()))
        variance_R = np.full(len(mean_R), squares_R.sum() / degrees)
    return mean_R, np.sqrt(np.maximum(variance_R, 1e-6))


def _mean_where(values_SR: Scores, chosen_SR: Flags) -> Scores:
    count_R = chosen_SR.sum(axis=0)
    if (count_R == 0).any():
        row = int(np.flatnonzero(count_R == 0)[0])
        raise ValueError(f"no shadow model is of one kind for record {row}: add shadow models")
    means: Scores = np.where(chosen_SR, values_SR, 0.0).sum(axis=0) / count_R
    return means


def _log_density(values_R: Scores, mean_R: Scores, deviation_R: Scores) -> Scores:
    standardised_R = (values_R - mean_R) / deviation_R
    density: Scores = -0.5 * standardised_R**2 - np.log(deviation_R)
    return density
