from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.train import aggregation
from ayni.train.aggregation import CohortTooSmallError
from ayni.train.strategy_config import SMALLEST_COHORT

Rule = Callable[[np.ndarray, int], np.ndarray]

RULES: dict[str, Rule] = {
    "trimmed_mean": lambda updates_ND, f: aggregation.trimmed_mean(updates_ND, num_trimmed=f),
    "median": lambda updates_ND, f: aggregation.median(updates_ND),
    "krum": lambda updates_ND, f: aggregation.krum(updates_ND, num_faulty=f),
    "multi_krum": lambda updates_ND, f: aggregation.multi_krum(updates_ND, num_faulty=f),
    "bulyan": lambda updates_ND, f: aggregation.bulyan(updates_ND, num_faulty=f),
    "geometric_median": lambda updates_ND, f: aggregation.geometric_median(updates_ND),
    "centered_clip": lambda updates_ND, f: aggregation.centered_clip(updates_ND),
}
ATTACKS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "sign flip": lambda honest_D, rng: -3 * honest_D,
    "scaled": lambda honest_D, rng: 1e4 * honest_D,
    "noise": lambda honest_D, rng: 30 * rng.normal(size=honest_D.shape),
    "zero": lambda honest_D, rng: np.zeros_like(honest_D),
}


def _cohort(num_updates: int, num_faulty: int, attack: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Honest updates around one direction, and the same cohort with the last ones replaced."""
    rng = np.random.default_rng(seed)
    direction_D = rng.normal(size=50)
    honest_ND = direction_D + 0.3 * rng.normal(size=(num_updates, 50))
    mixed_ND = honest_ND.copy()
    for row in range(num_updates - num_faulty, num_updates):
        mixed_ND[row] = ATTACKS[attack](honest_ND[row], rng)
    return honest_ND[: num_updates - num_faulty], mixed_ND


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("num_faulty", [1, 2])
def test_the_smallest_cohort_of_a_rule_withstands_its_liars(rule: str, attack: str, num_faulty: int) -> None:
    num_updates = SMALLEST_COHORT[rule](num_faulty)
    honest_ND, mixed_ND = _cohort(num_updates, num_faulty, attack, seed=4)

    clipped_ND = aggregation.norm_clip(mixed_ND)
    merged_D = RULES[rule](clipped_ND, num_faulty)

    truth_D = honest_ND.mean(axis=0)
    error = np.linalg.norm(merged_D - truth_D) / np.linalg.norm(truth_D)
    # Two liars of five do pull these three, but the merged update still points the right way.
    assert error < 0.75
    assert merged_D @ truth_D > 0.5 * np.linalg.norm(merged_D) * np.linalg.norm(truth_D)


@pytest.mark.parametrize("rule", RULES)
def test_without_liars_a_rule_stays_close_to_the_mean(rule: str) -> None:
    honest_ND, _ = _cohort(11, 0, "zero", seed=5)

    merged_D = RULES[rule](honest_ND, 2)

    assert np.linalg.norm(merged_D - honest_ND.mean(axis=0)) < 0.35 * np.linalg.norm(honest_ND.mean(axis=0))


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=20)
@given(st.integers(7, 10), st.integers(0, 2**32 - 1))
def test_the_order_of_the_learners_does_not_matter(rule: str, num_updates: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    updates_ND = rng.normal(size=(num_updates, 6))

    shuffled_ND = updates_ND[rng.permutation(num_updates)]

    np.testing.assert_allclose(RULES[rule](updates_ND, 1), RULES[rule](shuffled_ND, 1), atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=20)
@given(st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_a_rule_follows_the_scale_of_the_updates(rule: str, scale: float, seed: int) -> None:
    updates_ND = np.random.default_rng(seed).normal(size=(7, 6))

    scaled_D = RULES[rule](scale * updates_ND, 1)

    np.testing.assert_allclose(scaled_D, scale * RULES[rule](updates_ND, 1), atol=1e-6 * scale)


@pytest.mark.parametrize("rule", RULES)
def test_equal_updates_give_that_update(rule: str) -> None:
    updates_ND = np.tile(np.arange(6.0), (7, 1))

    np.testing.assert_allclose(RULES[rule](updates_ND, 1), np.arange(6.0), atol=1e-9)


@pytest.mark.parametrize("rule", ["trimmed_mean", "krum", "multi_krum", "bulyan"])
def test_a_cohort_that_is_too_small_is_refused_with_the_numbers(rule: str) -> None:
    needed = SMALLEST_COHORT[rule](1)

    with pytest.raises(
        CohortTooSmallError, match=f"wrong of {needed} updates or more.*there are {needed - 1}"
    ) as found:
        RULES[rule](np.zeros((needed - 1, 3)), 1)

    assert (found.value.needed, found.value.num_updates, found.value.num_faulty) == (needed, needed - 1, 1)


def test_only_a_rule_that_needs_more_is_told_of_the_trimmed_mean() -> None:
    with pytest.raises(CohortTooSmallError, match="trimmed_mean: 3"):
        aggregation.check_cohort("bulyan", 6, 1)
    with pytest.raises(CohortTooSmallError) as found:
        aggregation.check_cohort("median", 2, 1)

    assert "trimmed_mean" not in str(found.value)


@given(st.integers(1, 9), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_the_trimmed_mean_is_that_of_a_sort(num_updates: int, num_trimmed: int, seed: int) -> None:
    num_trimmed = min(num_trimmed, (num_updates - 1) // 2)
    updates_ND = np.random.default_rng(seed).normal(size=(num_updates, 5))

    found_D = aggregation.trimmed_mean(updates_ND, num_trimmed=num_trimmed)

    kept_ND = np.sort(updates_ND, axis=0)[num_trimmed : num_updates - num_trimmed]
    np.testing.assert_allclose(found_D, kept_ND.mean(axis=0), atol=1e-12)
    if num_updates % 2 == 0 or num_updates == 2 * num_trimmed + 1:
        np.testing.assert_allclose(aggregation.median(updates_ND), np.median(updates_ND, axis=0), atol=1e-12)


def test_one_liar_cannot_pull_the_trimmed_mean_outside_the_honest_range() -> None:
    honest_ND = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    liar_1D = np.array([[1e30, -1e30]])

    mean_D = aggregation.trimmed_mean(np.vstack([honest_ND, liar_1D]), num_trimmed=1)

    assert (honest_ND.min(axis=0) <= mean_D).all()
    assert (mean_D <= honest_ND.max(axis=0)).all()


def test_krum_returns_one_of_the_updates_and_multi_krum_the_mean_of_the_honest_ones() -> None:
    honest_ND, mixed_ND = _cohort(7, 2, "noise", seed=1)

    krum_D = aggregation.krum(mixed_ND, num_faulty=2)
    multi_D = aggregation.multi_krum(mixed_ND, num_faulty=2)

    assert any(np.array_equal(krum_D, update_D) for update_D in honest_ND)
    np.testing.assert_allclose(multi_D, honest_ND.mean(axis=0))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_mean_around_the_median_takes_the_closest_values(
    num_updates: int, num_kept: int, seed: int
) -> None:
    num_kept = min(num_kept, num_updates)
    updates_ND = np.random.default_rng(seed).normal(size=(num_updates, 5))

    found_D = aggregation.mean_around_median(updates_ND, num_kept=num_kept)

    for d, found in enumerate(found_D):
        middle = np.median(updates_ND[:, d])
        closest = sorted(updates_ND[:, d], key=lambda value, middle=middle: abs(value - middle))[:num_kept]
        # With an even number of values two of them are equally far from the median.
        if num_updates % 2 or num_kept % 2 == 0:
            assert found == pytest.approx(np.mean(closest), abs=1e-9)
        assert min(updates_ND[:, d]) - 1e-12 <= found <= max(updates_ND[:, d]) + 1e-12


def test_bulyan_finds_a_lie_in_one_coordinate_that_krum_lets_through() -> None:
    rng = np.random.default_rng(0)
    updates_ND = rng.normal(size=(7, 1000))
    # Closest to all others but for one coordinate: Krum's favourite.
    updates_ND[6] = updates_ND[:6].mean(axis=0)
    updates_ND[6, 0] = 20.0

    assert aggregation.krum(updates_ND, num_faulty=1)[0] == 20.0
    assert abs(aggregation.bulyan(updates_ND, num_faulty=1)[0]) < 3.0


def test_norm_clip_bounds_what_one_update_can_do_to_the_mean() -> None:
    honest_ND, mixed_ND = _cohort(5, 1, "scaled", seed=2)

    clipped_ND = aggregation.norm_clip(mixed_ND)

    np.testing.assert_array_equal(clipped_ND[:4], mixed_ND[:4])
    assert np.linalg.norm(clipped_ND[4]) == pytest.approx(2 * np.median(np.linalg.norm(mixed_ND, axis=1)))
    assert np.linalg.norm(aggregation.mean(clipped_ND, np.ones(5))) < 2 * np.linalg.norm(honest_ND[0])


def test_the_mean_is_weighted_by_the_examples() -> None:
    np.testing.assert_allclose(aggregation.mean(np.array([[0.0], [4.0]]), np.array([1, 3])), [3.0])


def test_buckets_differ_less_than_their_members() -> None:
    updates_ND = np.random.default_rng(0).normal(size=(64, 200))

    buckets_MD = aggregation.bucketing(updates_ND, bucket_size=2, seed=0)

    assert buckets_MD.shape == (32, 200)
    np.testing.assert_allclose(buckets_MD.mean(axis=0), updates_ND.mean(axis=0), atol=1e-12)
    assert buckets_MD.std() == pytest.approx(updates_ND.std() / np.sqrt(2), rel=0.1)


def test_centered_clipping_remembers_so_that_one_round_cannot_move_it_far() -> None:
    before_D = np.ones(50)
    liars_ND = np.tile(-1e6 * np.ones(50), (2, 1))
    honest_ND = before_D + 0.1 * np.random.default_rng(0).normal(size=(5, 50))

    merged_D = aggregation.centered_clip(np.vstack([honest_ND, liars_ND]), previous_D=before_D)

    assert np.linalg.norm(merged_D - before_D) < 1.5


def test_rda_keeps_the_length_however_many_disagree() -> None:
    lengths: dict[int, Any] = {}
    for num_updates in (2, 32):
        updates_ND = np.random.default_rng(0).normal(size=(num_updates, 400)) + 0.5
        lengths[num_updates] = [
            np.linalg.norm(aggregation.rda_merge(updates_ND, np.ones(num_updates))),
            np.linalg.norm(aggregation.mean(updates_ND, np.ones(num_updates))),
        ]

    assert lengths[32][0] == pytest.approx(lengths[2][0], rel=0.05)
    assert lengths[32][1] < 0.75 * lengths[2][1]
