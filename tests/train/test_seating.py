from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ayni.train.cluster_checks import WorkerFacts
from ayni.train.seating import PATIENCE_SECONDS, Want, choose_places


def worker(name: str, *, host: str = "here") -> WorkerFacts:
    return WorkerFacts(
        address=f"tcp://{host}:{name}", name=name, host=host, process_id=1, num_threads=1, has_nanny=True
    )


def test_new_learners_take_workers_in_the_order_of_their_names() -> None:
    workers = [worker("10"), worker("9"), worker("0")]

    chosen = choose_places([Want(learner=0), Want(learner=1)], workers, {}, capacity=1, now=0.0)

    assert [chosen[0].name, chosen[1].name] == ["0", "9"]


def test_a_learner_waits_for_its_restarted_worker_although_another_one_is_free() -> None:
    want = Want(learner=0, before=worker("0"), lost_at=10.0)

    early = choose_places([want], [worker("1")], {}, capacity=1, now=10.0)
    returned = replace(worker("0"), address="tcp://here:again")
    later = choose_places([want], [worker("1"), returned], {}, capacity=1, now=10.5)

    assert early == {}
    assert later == {0: returned}


def test_a_learner_that_waited_long_enough_takes_any_worker_first_on_the_same_machine() -> None:
    want = Want(learner=0, before=worker("0"), lost_at=10.0)
    workers = [worker("1", host="there"), worker("2", host="here")]

    chosen = choose_places([want], workers, {}, capacity=1, now=10.0 + PATIENCE_SECONDS)

    assert chosen == {0: workers[1]}


def test_a_newcomer_does_not_take_the_place_of_one_that_returns() -> None:
    returned = replace(worker("0"), address="tcp://here:again")
    wants = [Want(learner=0), Want(learner=1, before=worker("0"), lost_at=10.0)]

    chosen = choose_places(wants, [returned], {}, capacity=1, now=10.1)

    assert chosen == {1: returned}


@given(
    num_learners=st.integers(0, 6),
    num_workers=st.integers(0, 6),
    capacity=st.integers(1, 3),
    had=st.lists(st.none() | st.integers(0, 7), min_size=6, max_size=6),
    now=st.floats(0, 10),
)
def test_no_worker_hosts_more_than_it_may_and_none_stays_free_while_a_new_learner_wants_it(
    num_learners: int, num_workers: int, capacity: int, had: list[int | None], now: float
) -> None:
    workers = [worker(str(index)) for index in range(num_workers)]
    befores = [None if index is None else worker(str(index)) for index in had[:num_learners]]
    wants = [Want(learner=learner, before=before) for learner, before in enumerate(befores)]

    chosen = choose_places(wants, workers, {}, capacity=capacity, now=now)

    hosted = [place.address for place in chosen.values()]
    assert all(hosted.count(place.address) <= capacity for place in workers)
    is_new_one_left = any(want.before is None and want.learner not in chosen for want in wants)
    assert not is_new_one_left or len(chosen) == capacity * num_workers
