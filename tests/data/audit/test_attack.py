"""Measures of an attack, against counting by hand and known intervals."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from ayni.data.audit.attack import AttackResult, area_under_curve, measure_attack, share_of


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.integers(0, 9, 40).astype(float), rng.integers(0, 7, 30).astype(float)
    pairs = [(m > n) + 0.5 * (m == n) for m in members for n in others]

    assert area_under_curve(members, others).value == pytest.approx(np.mean(pairs))


def test_its_interval_holds_the_truth_in_95_of_100_draws() -> None:
    truth = norm.cdf(1 / math.sqrt(2))  # of two normals one deviation apart
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        area = area_under_curve(rng.normal(1, 1, 150), rng.normal(0, 1, 150))
        held += area.low <= truth <= area.high

    assert 0.92 <= held / 400 <= 0.98


def test_hits_are_counted_above_the_score_that_one_percent_of_non_members_exceed() -> None:
    non_members = np.arange(1000.0)
    members = np.array([500.0, 989.0, 989.5, 990.5, 2000.0])

    found = measure_attack(members, non_members).hits_at_1_percent

    # Ten of 1,000 may be above: the threshold is 989.
    assert found.value == 3 / 5


def test_a_thousandth_is_only_reported_where_it_could_be_seen() -> None:
    rng = np.random.default_rng(2)

    assert measure_attack(rng.normal(size=50), rng.normal(size=9_999)).hits_at_01_percent is None
    assert measure_attack(rng.normal(size=50), rng.normal(size=10_000)).hits_at_01_percent is not None


def test_an_attack_that_guesses_proves_no_privacy_spent_and_a_sure_one_proves_much() -> None:
    rng = np.random.default_rng(3)

    assert measure_attack(rng.normal(size=500), rng.normal(size=500)).epsilon_low == 0
    assert measure_attack(rng.normal(9, 1, 500), rng.normal(size=500)).epsilon_low > 3


def test_the_proven_epsilon_stays_below_the_true_one_of_randomised_response() -> None:
    # Randomised response with epsilon = 1 answers the truth with probability e / (1 + e).
    truth = math.e / (1 + math.e)
    rng = np.random.default_rng(4)
    for _ in range(50):
        members = (rng.random(2000) < truth) + 1e-9 * rng.random(2000)
        others = (rng.random(2000) > truth) + 1e-9 * rng.random(2000)

        assert measure_attack(members, others).epsilon_low <= 1


def test_a_share_has_the_interval_of_clopper_and_pearson() -> None:
    # 0 of n: the upper bound is 1 - 0.025 ** (1 / n).
    assert share_of(0, 100).high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert (share_of(0, 100).low, share_of(100, 100).high) == (0, 1)


def test_json_gives_the_same_result_back() -> None:
    found = measure_attack(np.arange(5.0), np.arange(4.0))

    assert AttackResult.from_json(found.to_json()) == found


@pytest.mark.parametrize("members", [[], [float("nan")]])
def test_no_scores_and_no_numbers_are_refused(members: list[float]) -> None:
    with pytest.raises(ValueError, match=r"members|NaN"):
        measure_attack(np.array(members), np.array([1.0]))
