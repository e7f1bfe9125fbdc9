from ayni.train.leases import Leases
from ayni.train.stream import Stream


def test_a_later_attempt_at_a_round_uses_the_same_examples() -> None:
    leases = Leases(Stream(), batch_size=8)

    first = leases.take(learner=0, round_=1, num_steps=4)
    again = leases.take(learner=0, round_=1, num_steps=4)

    assert first == again == (0, 32)


def test_what_a_round_went_on_without_is_used_first_by_the_next_order() -> None:
    leases = Leases(Stream(), batch_size=8)
    lost = leases.take(learner=0, round_=1, num_steps=4)
    kept = leases.take(learner=1, round_=1, num_steps=4)

    leases.give_back(learner=0, round_=1)
    leases.commit(learner=1, round_=1)

    assert leases.take(learner=2, round_=2, num_steps=4) == lost
    assert leases.take(learner=1, round_=2, num_steps=4) == (kept[0] + 32, 32)


def test_committed_examples_are_in_the_stream_and_the_lease_is_gone() -> None:
    stream = Stream()
    leases = Leases(stream, batch_size=8)
    leases.take(learner=0, round_=1, num_steps=1)

    leases.commit(learner=0, round_=1)

    assert stream.to_json() == {"committed": [[0, 8]]}
    assert leases.find(learner=0, round_=1) is None


def test_giving_back_what_was_never_taken_changes_nothing() -> None:
    stream = Stream()

    Leases(stream, batch_size=8).give_back(learner=0, round_=1)

    assert stream.to_json() == {"committed": []}


def test_reserved_blocks_are_in_the_order_of_the_learners_whoever_comes_first() -> None:
    leases = Leases(Stream(), batch_size=8)
    for learner in (1, 0):
        leases.reserve(round_=1, num_steps={0: 2, 1: 2})
        leases.take(learner=learner, round_=1, num_steps=2)

    assert leases.find(learner=0, round_=1) == (0, 16)
    assert leases.find(learner=1, round_=1) == (16, 16)


def test_what_was_reserved_for_nobody_is_free_when_the_round_ends() -> None:
    stream = Stream()
    leases = Leases(stream, batch_size=8)
    leases.reserve(round_=1, num_steps={0: 1, 1: 1, 2: 1})
    leases.commit(learner=0, round_=1)
    leases.commit(learner=2, round_=1)

    leases.end_round(1)

    assert stream.holes == [(8, 16)]
    assert leases.take(learner=5, round_=2, num_steps=1) == (8, 8)
