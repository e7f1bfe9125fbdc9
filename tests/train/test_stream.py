import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ayni.train.stream import (
    EmptyDatasetError,
    Stream,
    TooFewExamplesError,
    check_data_suffices,
    sample_order,
)

BATCH_SIZE = 4


class Handing(RuleBasedStateMachine):
    """Any order of leases, commits, losses and restarts, against a list of who has which position."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream()
        self.leased: list[tuple[int, int]] = []
        self.committed: set[int] = set()

    @rule(num_steps=st.integers(1, 5))
    def lease(self, num_steps: int) -> None:
        start = self.stream.lease(num_steps * BATCH_SIZE)
        block = range(start, start + num_steps * BATCH_SIZE)
        taken = self.committed.union(*(range(s, s + n) for s, n in self.leased))
        assert not taken & set(block)
        assert start % BATCH_SIZE == 0
        self.leased.append((start, len(block)))

    @rule(num_steps=st.integers(1, 5))
    def lease_what_fits(self, num_steps: int) -> None:
        """Whoever takes what fits always takes the lowest free position."""
        taken = self.committed.union(*(range(s, s + n) for s, n in self.leased))
        lowest = next(p for p in range(10**6) if p not in taken)
        num_samples = self.stream.fitting(num_steps * BATCH_SIZE)
        start = self.stream.lease(num_samples)
        assert start == lowest
        assert 0 < num_samples <= num_steps * BATCH_SIZE
        assert num_samples % BATCH_SIZE == 0
        self.leased.append((start, num_samples))

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        start, num_samples = self.leased.pop(data.draw(st.integers(0, len(self.leased) - 1)))
        self.stream.commit(start, num_samples)
        self.committed |= set(range(start, start + num_samples))

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        start, num_samples = self.leased.pop(data.draw(st.integers(0, len(self.leased) - 1)))
        self.stream.give_back(start, num_samples)
        # Either a fresh attempt of the same length gets this very block, or there is a lower one for it.
        again = self.stream.lease(num_samples)
        assert again <= start
        self.stream.give_back(again, num_samples)

    @rule()
    def restart(self) -> None:
        self.stream = Stream.from_json(self.stream.to_json())
        self.leased = []

    @invariant()
    def holes_are_what_is_not_committed(self) -> None:
        holes = {p for start, end in self.stream.holes for p in range(start, end)}
        assert holes == set(range(max(self.committed, default=-1) + 1)) - self.committed


TestHanding = Handing.TestCase
TestHanding.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_blocks_that_are_all_committed_leave_one_interval() -> None:
    stream = Stream()
    blocks = [(stream.lease(n), n) for n in (8, 4, 12)]

    for start, num_samples in reversed(blocks):
        stream.commit(start, num_samples)

    assert stream.to_json() == {"committed": [[0, 24]]}
    assert stream.holes == []


def test_a_block_that_was_given_back_is_used_before_anything_new() -> None:
    stream = Stream()
    first, second = stream.lease(8), stream.lease(8)
    stream.commit(second, 8)

    stream.give_back(first, 8)

    assert stream.fitting(12) == 8
    assert (stream.lease(4), stream.lease(4), stream.lease(4)) == (0, 4, 16)


@pytest.mark.parametrize("block", [(0, 4), (4, 8), (0, 12), (8, 8)])
def test_only_what_is_leased_can_be_committed_or_given_back(block: tuple[int, int]) -> None:
    stream = Stream()
    stream.lease(8)

    with pytest.raises(ValueError, match="is not leased"):
        stream.commit(*block)
    with pytest.raises(ValueError, match="is not leased"):
        stream.give_back(*block)


def test_nothing_is_committed_twice() -> None:
    stream = Stream()
    start = stream.lease(8)
    stream.commit(start, 8)

    with pytest.raises(ValueError, match=r"\[0, 8\) is not leased"):
        stream.commit(start, 8)


@pytest.mark.parametrize(
    "committed", [None, [[0]], [[0, "8"]], [[8, 0]], [[-4, 4]], [[0, 8], [4, 12]], [[8, 12], [0, 4]], "all"]
)
def test_a_damaged_description_is_refused(committed: object) -> None:
    with pytest.raises(ValueError, match="committed"):
        Stream.from_json({"committed": committed})


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    num_examples=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_the_blocks_of_a_stream_are_the_stream(sizes: list[int], num_examples: int, seed: int) -> None:
    whole = sample_order(seed=seed, num_examples=num_examples, start=0, num_samples=sum(sizes))

    pieces: list[int] = []
    for size in sizes:
        pieces += sample_order(seed=seed, num_examples=num_examples, start=len(pieces), num_samples=size)

    assert pieces == whole


def test_each_epoch_visits_each_example_once_in_another_order() -> None:
    order = sample_order(seed=1, num_examples=40, start=0, num_samples=80)

    assert sorted(order[:40]) == sorted(order[40:]) == list(range(40))
    assert order[:40] != order[40:]


def test_another_seed_gives_another_order() -> None:
    one, two = (sample_order(seed=seed, num_examples=50, start=0, num_samples=50) for seed in (1, 2))

    assert one != two


@pytest.mark.parametrize(("num_examples", "start", "num_samples"), [(0, 0, 1), (5, -1, 1), (5, 0, -1)])
def test_an_order_that_cannot_be_is_refused(num_examples: int, start: int, num_samples: int) -> None:
    with pytest.raises(ValueError, match="samples from position"):
        sample_order(seed=0, num_examples=num_examples, start=start, num_samples=num_samples)


def test_too_little_data_is_refused_with_the_numbers() -> None:
    with pytest.raises(EmptyDatasetError, match="'train'"):
        check_data_suffices(num_examples=0, num_learners=2, batch_size=8)
    with pytest.raises(TooFewExamplesError, match="one step takes 16"):
        check_data_suffices(num_examples=15, num_learners=2, batch_size=8)
