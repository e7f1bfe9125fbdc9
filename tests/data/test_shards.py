"""Splits and shards: every row once, the same by seed, classes as asked."""

import numpy as np
import pytest

from ayni.data.shards import dirichlet_shards, split_rows, stratified_shards

LABELS = np.repeat([0, 1, 2], [700, 250, 50])


def test_a_split_takes_its_share_of_every_class_and_each_row_once() -> None:
    rows = split_rows(LABELS, {"validation": 0.1, "test": 0.2}, seed=3)

    assert np.bincount(LABELS[rows["validation"]]).tolist() == [70, 25, 5]
    assert np.bincount(LABELS[rows["test"]]).tolist() == [140, 50, 10]
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(1000))
    again, other = (split_rows(LABELS, {"validation": 0.1, "test": 0.2}, seed=seed) for seed in (3, 4))
    assert (again["test"] == rows["test"]).all()
    assert not np.array_equal(other["test"], rows["test"])


def test_a_small_class_is_in_every_split_and_a_single_example_is_for_training() -> None:
    rows = split_rows(np.array([0, 0, 0, 1]), {"validation": 0.1, "test": 0.1}, seed=0)

    assert {name: len(found) for name, found in rows.items()} == {"validation": 1, "test": 1, "train": 2}
    assert 3 in rows["train"]


def test_a_share_of_nothing_is_empty() -> None:
    rows = split_rows(LABELS, {"validation": 0.0, "test": 0.5}, seed=0)

    assert (len(rows["validation"]), len(rows["test"])) == (0, 500)


def test_stratified_shards_have_the_same_mix() -> None:
    shards = stratified_shards(LABELS, 7, seed=1)

    counts = np.array([np.bincount(LABELS[shard], minlength=3) for shard in shards])
    assert (counts.max(0) - counts.min(0)).max() <= 1
    assert sorted(np.concatenate(shards).tolist()) == list(range(1000))


def test_dirichlet_shards_differ_more_the_smaller_alpha_is() -> None:
    def skew(alpha: float) -> float:
        shards = dirichlet_shards(LABELS, 5, alpha=alpha, seed=2)
        assert sorted(np.concatenate(shards).tolist()) == list(range(1000))
        mixes = np.array([np.bincount(LABELS[shard], minlength=3) / len(shard) for shard in shards])
        return float(mixes.std(0).sum())

    assert skew(0.1) > 3 * skew(10) > 3 * 2 * skew(1000)


def test_no_shard_is_empty_even_when_nearly_all_is_given_to_one() -> None:
    shards = dirichlet_shards(np.zeros(6, dtype=np.int64), 6, alpha=0.01, seed=0)

    assert [len(shard) for shard in shards] == [1] * 6


@pytest.mark.parametrize(
    "call",
    [
        lambda: split_rows(LABELS, {"test": 1.0}, seed=0),
        lambda: stratified_shards(LABELS, 0, seed=0),
        lambda: stratified_shards(LABELS, 1001, seed=0),
        lambda: dirichlet_shards(LABELS, 2, alpha=0.0, seed=0),
    ],
)
def test_impossible_cuts_are_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]
