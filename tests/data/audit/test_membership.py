"""LiRA and RMIA on numbers whose answer is known."""

import numpy as np
import pytest
from scipy.stats import norm

from ayni.data.audit.membership import lira_scores, logit_confidences, rmia_scores

# Three records in four models; each record is in two.
IS_IN = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)


def test_confidence_is_the_logit_of_the_right_class_and_finite_at_certainty() -> None:
    probabilities = np.array([[0.2, 0.8], [1.0, 0.0], [1.0, 0.0]])

    found = logit_confidences(probabilities, np.array([1, 0, 1]))

    assert found[0] == pytest.approx(np.log(0.8 / 0.2))
    assert np.isfinite(found).all() and found[1] > 20 and found[2] < -20


def test_lira_is_the_ratio_of_two_normal_densities_with_pooled_deviations() -> None:
    shadows = np.array([[2.0, 0.0, 5.0], [0.0, 1.0, 1.0], [4.0, 3.0, 3.0], [2.0, 2.0, 7.0]])
    target = np.array([3.0, 1.5, 1.0])
    mean_in, mean_out = np.array([3.0, 2.0, 6.0]), np.array([1.0, 1.0, 2.0])
    # Squares within each record: in 2 + 2 + 2, out 2 + 2 + 2, on three degrees of freedom.
    deviation = np.sqrt(6 / 3)

    found = lira_scores(target, shadows, IS_IN)

    expected = norm.logpdf(target, mean_in, deviation) - norm.logpdf(target, mean_out, deviation)
    assert found == pytest.approx(expected)


def test_rmia_counts_strangers_whose_ratio_is_beaten_twofold() -> None:
    shadows = np.full((4, 3), 0.5)
    target = np.array([0.9, 0.4, 0.5])

    found = rmia_scores(target, shadows, IS_IN, strangers_R=np.array([False, True, True]))

    # Ratios 1.8, 0.8, 1: the first is twice 0.8 and not twice 1.
    assert found == pytest.approx([0.5 + 2 / 6, 0.0 + 0 / 6, 0.0 + 1 / 6])


def test_a_record_that_no_shadow_model_lacks_is_refused() -> None:
    everywhere = np.ones((4, 1), dtype=bool)

    with pytest.raises(ValueError, match="record 0"):
        lira_scores(np.zeros(1), np.zeros((4, 1)), everywhere)
