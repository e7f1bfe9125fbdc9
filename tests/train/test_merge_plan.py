import numpy as np
import pytest

from ayni.train.aggregation import CohortTooSmallError
from ayni.train.layout import Piece
from ayni.train.merge_plan import PLAIN, TRAINED, MergeRules, Products, make_plan
from ayni.train.strategy_config import AggregationConfig

MEAN = MergeRules(aggregation=AggregationConfig())


def test_neighbouring_pieces_of_one_group_are_one_run() -> None:
    rules = MergeRules(aggregation=AggregationConfig(), plain_names=frozenset({"mean", "variance"}))
    chunk = (
        Piece("a", 0, 3),
        Piece("b", 0, 2),
        Piece("mean", 0, 4),
        Piece("variance", 0, 4),
        Piece("c", 5, 6),
    )

    assert list(rules.runs(chunk)) == [(TRAINED, 0, 5), (PLAIN, 5, 13), (TRAINED, 13, 14)]


def test_with_rda_each_trained_tensor_is_a_group() -> None:
    rules = MergeRules(aggregation=AggregationConfig(), merge="rda", plain_names=frozenset({"mean"}))

    assert [rules.group_of(name) for name in ("a", "b", "mean")] == ["a", "b", PLAIN]


def test_the_plain_mean_of_two_is_weighted_and_never_cut() -> None:
    plan = make_plan(Products(by_group={TRAINED: np.array([1.0, 1e12])}), [1, 3], MEAN)

    assert plan.scales == (1.0, 1.0)
    assert plan.weights == (0.25, 0.75)


def test_an_update_of_three_that_is_too_long_is_cut_to_twice_the_median() -> None:
    plan = make_plan(Products(by_group={TRAINED: np.array([1.0, 1.0, 1e4])}), [1, 1, 2], MEAN)

    assert plan.scales == (1.0, 1.0, 0.02)
    assert plan.weights == pytest.approx((0.25, 0.25, 0.01))


def test_long_buffers_do_not_cut_what_was_learned_nor_the_other_way_round() -> None:
    products = Products(by_group={TRAINED: np.array([1.0, 1.0, 1e4]), PLAIN: np.array([1e8, 1.0, 1.0])})

    plan = make_plan(products, [1, 1, 1], MEAN)

    assert plan.scales == (1.0, 1.0, 0.02)
    np.testing.assert_allclose(plan.treatments[PLAIN].mix_MN, [[2e-4 / 3, 1 / 3, 1 / 3]])


def test_multi_krum_leaves_a_liar_out_and_says_so() -> None:
    updates_ND = np.array([[1.0, 0.0], [1.0, 0.1], [0.9, 0.0], [1.1, 0.0], [-1.0, 0.0]])
    rules = MergeRules(aggregation=AggregationConfig(rule="multi_krum", num_faulty=1))

    plan = make_plan(Products(by_group={TRAINED: updates_ND @ updates_ND.T}), [1] * 5, rules)

    assert plan.weights == (0.25, 0.25, 0.25, 0.25, 0.0)


def test_a_refused_update_counts_as_one_of_the_liars() -> None:
    config = AggregationConfig(rule="multi_krum", num_faulty=1)
    gram_NN = np.eye(4)

    with pytest.raises(CohortTooSmallError):
        make_plan(Products(by_group={TRAINED: gram_NN}), [1] * 4, MergeRules(aggregation=config))

    plan = make_plan(
        Products(by_group={TRAINED: gram_NN}), [1] * 4, MergeRules(aggregation=config, num_refused=1)
    )
    assert plan.weights == (0.25,) * 4


def test_groups_of_updates_ask_for_more_updates_but_not_with_the_mean() -> None:
    rules = MergeRules(aggregation=AggregationConfig(rule="median", num_faulty=1, bucket_size=2))

    with pytest.raises(CohortTooSmallError, match=r"of 6 updates or more.*there are 5"):
        rules.check_cohort(5)
    rules.check_cohort(6)
    MergeRules(aggregation=AggregationConfig(bucket_size=2)).check_cohort(1)


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_weights_that_cannot_be_averaged_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot merge"):
        make_plan(Products(by_group={TRAINED: np.ones(len(weights))}), weights, MEAN)
