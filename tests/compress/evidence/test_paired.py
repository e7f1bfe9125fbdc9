"""Paired differences meet SciPy, published tables and simulation."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, ttest_rel
from scipy.stats import t as student

from ayni.compress.evidence.paired import (
    PairedDifference,
    UnpairedError,
    difference_by_bootstrap,
    difference_of_means,
    difference_of_shares,
    mcnemar_p_value,
    student_quantile,
)
from ayni.intervals import LEVEL

answers = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.booleans(), min_size=n, max_size=n), st.lists(st.booleans(), min_size=n, max_size=n)
    )
)
values = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(-100, 100), min_size=n, max_size=n),
        st.lists(st.floats(-100, 100), min_size=n, max_size=n),
    )
)


def table(*, both: int, only_before: int, only_after: int, neither: int) -> tuple[list[bool], list[bool]]:
    before = [True] * (both + only_before) + [False] * (only_after + neither)
    after = [True] * both + [False] * only_before + [True] * only_after + [False] * neither
    return before, after


def test_the_interval_of_shares_agrees_with_a_published_table() -> None:
    # Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables, 2017, chapter 8 (complete
    # response before and after therapy): 59, 6, 16, 80; before - after = -0.0621 (-0.1186 to -0.0046).
    result = difference_of_shares(*table(both=59, only_before=6, only_after=16, neither=80))

    assert result.difference == pytest.approx(0.0621, abs=5e-5)
    assert (result.low, result.high) == pytest.approx((0.0046, 0.1186), abs=5e-5)


@given(answers)
def test_the_interval_of_shares_holds_the_difference_and_turns_with_it(
    pair: tuple[list[bool], list[bool]],
) -> None:
    forth, back = difference_of_shares(*pair), difference_of_shares(*reversed(pair))

    assert -1 <= forth.low <= forth.difference + 1e-12
    assert forth.difference - 1e-12 <= forth.high <= 1
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


def test_no_changed_answer_still_leaves_some_doubt() -> None:
    result = difference_of_shares([True] * 8 + [False] * 2, [True] * 8 + [False] * 2)

    assert result.difference == 0
    assert result.low < 0 < result.high


def test_pairing_narrows_the_interval() -> None:
    before, after = table(both=850, only_before=20, only_after=10, neither=120)
    shuffled = list(np.random.default_rng(0).permutation(after))

    paired, unpaired = difference_of_shares(before, after), difference_of_shares(before, shuffled)

    assert paired.high - paired.low < 0.6 * (unpaired.high - unpaired.low)


def test_the_interval_of_shares_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        cells = rng.choice(4, size=150, p=[0.8, 0.07, 0.03, 0.1])
        result = difference_of_shares(np.isin(cells, (0, 1)), np.isin(cells, (0, 2)))
        covered += result.low <= -0.04 <= result.high

    assert covered / 400 >= LEVEL - 0.03


def test_a_budget_is_tested_against_the_worse_end() -> None:
    result = difference_of_shares(*table(both=90, only_before=5, only_after=1, neither=4))

    assert result.drop(lower_is_better=False) == pytest.approx(0.04)
    assert result.worst_drop(lower_is_better=False) == -result.low > 0.04
    assert result.worst_drop(lower_is_better=True) == result.high
    assert result.drop(lower_is_better=True) == pytest.approx(-0.04)


@given(values)
def test_the_interval_of_means_is_that_of_the_paired_t_test(pair: tuple[list[float], list[float]]) -> None:
    before, after = pair
    result = difference_of_means(before, after)
    differences = np.subtract(after, before)
    half_width = student.ppf(0.975, len(before) - 1) * differences.std(ddof=1) / math.sqrt(len(before))

    assert result is not None
    assert result.low == pytest.approx(differences.mean() - half_width, rel=1e-6, abs=1e-9)
    assert result.high == pytest.approx(differences.mean() + half_width, rel=1e-6, abs=1e-9)


def test_a_significant_difference_excludes_zero_as_the_paired_t_test_says() -> None:
    before = np.random.default_rng(3).normal(0, 5, 50)
    after = before + np.random.default_rng(4).normal(0.3, 0.5, 50)
    result = difference_of_means(before, after)

    assert result is not None
    assert ttest_rel(after, before).pvalue < 0.05
    assert result.low > 0


def test_examples_that_hang_together_widen_the_interval() -> None:
    of_groups = np.random.default_rng(5).normal(0, 1, 10)
    after = np.repeat(of_groups, 20)
    alone = difference_of_means(np.zeros(200), after)
    together = difference_of_means(np.zeros(200), after, groups_N=np.repeat(np.arange(10), 20))
    of_means = difference_of_means(np.zeros(10), of_groups)

    assert alone is not None and together is not None and of_means is not None
    assert (together.low, together.high) == pytest.approx((of_means.low, of_means.high))
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_one_group_tells_no_spread() -> None:
    assert difference_of_means([1.0], [2.0]) is None
    assert difference_of_means([1.0, 2.0], [2.0, 4.0], groups_N=["a", "a"]) is None


def test_equal_models_differ_by_nothing() -> None:
    result = difference_of_means([0.0] * 5, [0.0] * 5)

    assert result is not None
    assert (result.low, result.difference, result.high) == (0, 0, 0)


def test_tensors_of_any_kind_are_taken() -> None:
    before = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.bfloat16, requires_grad=True)[:, 0]
    result = difference_of_means(before, torch.tensor([2, 3]))

    assert result is not None
    assert (result.before, result.after) == (2, 2.5)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ([1.0], [1.0, 2.0], "shapes"),
        ([], [], "shapes"),
        ([[1.0]], [[1.0]], "shapes"),
        ([1.0, math.nan], [1.0, 1.0], "1 values before are not finite"),
        ([1.0, 1.0], [math.inf, 1.0], "1 values after are not finite"),
    ],
)
def test_values_that_are_no_pairs_are_refused(before: Any, after: Any, reason: str) -> None:
    with pytest.raises(UnpairedError, match=reason):
        difference_of_means(before, after)


def test_a_share_is_of_right_and_wrong_only() -> None:
    with pytest.raises(UnpairedError, match="nothing between"):
        difference_of_shares([0.5, 1.0], [1.0, 1.0])


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(UnpairedError, match="3 groups"):
        difference_of_means([1.0, 2.0], [1.0, 2.0], groups_N=[1, 2, 3])


def test_the_bootstrap_of_a_mean_agrees_with_students_interval() -> None:
    rng = np.random.default_rng(6)
    before, after = rng.normal(0, 3, 300), rng.normal(0, 3, 300)
    exact = difference_of_means(before, after)

    drawn = difference_by_bootstrap(
        lambda indices: float(before[indices].mean()),
        lambda indices: float(after[indices].mean()),
        num_examples=300,
        seed=0,
    )

    assert exact is not None and drawn is not None
    width = exact.high - exact.low
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.08 * width)
    assert drawn.difference == pytest.approx(exact.difference)


def test_the_bootstrap_uses_the_same_resample_for_both_and_is_a_function_of_its_seed() -> None:
    scores = np.random.default_rng(7).random(40)

    def median(indices: Any) -> float:
        return float(np.median(scores[indices]))

    same = difference_by_bootstrap(median, median, num_examples=40, seed=0, num_resamples=50)
    runs = [
        difference_by_bootstrap(median, lambda _: 0.5, num_examples=40, seed=seed, num_resamples=50)
        for seed in (1, 1, 2)
    ]

    assert same is not None
    assert (same.low, same.high) == (0, 0)
    assert runs[0] == runs[1] != runs[2]


def test_the_bootstrap_draws_whole_groups() -> None:
    groups = np.repeat(np.arange(12), 5)
    seen: list[Any] = []

    def watch(indices: Any) -> float:
        seen.append(np.bincount(groups[indices], minlength=12))
        return 0.0

    difference_by_bootstrap(
        watch, lambda _: 0.0, num_examples=60, seed=0, num_resamples=20, groups_N=list(groups)
    )

    assert all((counts % 5 == 0).all() for counts in seen)
    assert any(counts.max() > 5 for counts in seen)


def test_the_bootstrap_does_not_guess() -> None:
    few = difference_by_bootstrap(lambda _: 0.0, lambda _: 1.0, num_examples=9, seed=0)
    undefined = difference_by_bootstrap(
        lambda indices: 0.0 if len(set(indices)) == 20 else math.nan,
        lambda _: 1.0,
        num_examples=20,
        seed=0,
        num_resamples=30,
    )
    never = difference_by_bootstrap(lambda _: math.nan, lambda _: 1.0, num_examples=20, seed=0)

    assert few is undefined is never is None


@given(lost=st.integers(0, 300), won=st.integers(0, 300))
def test_mcnemars_test_is_a_binomial_test(lost: int, won: int) -> None:
    upper = float(binom.sf(lost - 1, lost + won, 0.5))
    lower = float(binom.cdf(lost, lost + won, 0.5))

    assert mcnemar_p_value(num_lost=lost, num_won=won, one_sided=True) == pytest.approx(upper, rel=1e-9)
    assert mcnemar_p_value(num_lost=lost, num_won=won) == pytest.approx(
        min(1, 2 * min(upper, lower)), rel=1e-9
    )


def test_mcnemars_test_by_hand() -> None:
    assert mcnemar_p_value(num_lost=5, num_won=0, one_sided=True) == pytest.approx(1 / 32)
    assert mcnemar_p_value(num_lost=0, num_won=0) == 1
    assert mcnemar_p_value(num_lost=60_000, num_won=50_000) < 1e-100
    with pytest.raises(ValueError, match="-1 lost"):
        mcnemar_p_value(num_lost=-1, num_won=0)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 10, 19, 50, 99, 100, 101, 1000, 10**7])
def test_students_quantile_is_that_of_scipy(degrees: int) -> None:
    assert student_quantile(degrees) == pytest.approx(student.ppf(0.975, degrees), rel=1e-6)


def test_no_freedom_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="not 0"):
        student_quantile(0)


def test_a_difference_comes_back_from_its_json() -> None:
    difference = difference_of_shares([True, True, False], [True, False, False])

    assert PairedDifference.from_json(json.loads(json.dumps(difference.to_json()))) == difference
