import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.train.shards import (
    Cursor,
    EmptyDatasetError,
    TooFewExamplesError,
    check_data_suffices,
    make_shard,
)


@given(num_examples=st.integers(1, 60), num_learners=st.integers(1, 8), seed=st.integers(0, 5))
def test_shards_are_disjoint_equal_and_cover_everything(
    num_examples: int, num_learners: int, seed: int
) -> None:
    num_examples = max(num_examples, num_learners)

    shards = [
        make_shard(seed=seed, num_examples=num_examples, num_learners=num_learners, learner=learner)
        for learner in range(num_learners)
    ]

    together = sorted(int(index) for shard in shards for index in shard.indices)
    assert together == list(range(num_examples))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8), seed=st.integers(0, 5))
def test_a_stream_taken_in_pieces_is_the_stream_taken_at_once(sizes: list[int], seed: int) -> None:
    shard = make_shard(seed=seed, num_examples=23, num_learners=2, learner=1)
    whole, end = shard.take(Cursor(), sum(sizes))

    pieces, cursor = [], Cursor()
    for size in sizes:
        fresh = make_shard(seed=seed, num_examples=23, num_learners=2, learner=1)
        taken, cursor = fresh.take(cursor, size)
        pieces += taken

    assert pieces == whole
    assert cursor == end
    assert len(set(whole)) == len(whole)


def test_each_epoch_visits_each_example_once_in_another_order() -> None:
    shard = make_shard(seed=1, num_examples=40, num_learners=2, learner=0)

    pairs, end = shard.take(Cursor(), 40)

    first, second = [s for e, s in pairs if e == 0], [s for e, s in pairs if e == 1]
    assert sorted(first) == sorted(second) == sorted(shard.indices.tolist())
    assert first != second
    assert end == Cursor(epoch=2, position=0)


def test_another_seed_gives_other_shards() -> None:
    one, two = (make_shard(seed=s, num_examples=50, num_learners=2, learner=0) for s in (1, 2))

    assert set(one.indices.tolist()) != set(two.indices.tolist())


def test_too_little_data_is_refused_with_the_numbers() -> None:
    with pytest.raises(EmptyDatasetError, match="'train'"):
        check_data_suffices(num_examples=0, num_learners=2, batch_size=8)
    with pytest.raises(TooFewExamplesError, match="one step takes 16"):
        check_data_suffices(num_examples=15, num_learners=2, batch_size=8)
