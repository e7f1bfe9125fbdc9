from ayni.train.clocks import Clocks
from ayni.train.config import TrainConfig
from ayni.train.events import DeadlinePassed, GracePassed


def clocks(**changes: object) -> Clocks:
    config = TrainConfig(**{"round_deadline_seconds": 10.0, "grace_seconds": 2.0, **changes})  # type: ignore[arg-type]
    return Clocks(config, now=0.0)


def test_an_order_that_takes_too_long_rings_once_and_then_again_after_as_long() -> None:
    watched = clocks()
    watched.order_began(learner=1, round_=3, attempt=1, now=0.0)

    rung = [watched.due(round_=3, now=now) for now in (9.0, 10.0, 11.0, 20.0)]

    assert rung == [
        [],
        [DeadlinePassed(round=3, learner=1)],
        [],
        [DeadlinePassed(round=3, learner=1)],
    ]


def test_an_answer_to_an_older_order_stops_no_clock() -> None:
    watched = clocks()
    watched.order_began(learner=1, round_=3, attempt=2, now=0.0)

    watched.order_ended(learner=1, round_=3, attempt=1)

    assert watched.due(round_=3, now=10.0) == [DeadlinePassed(round=3, learner=1)]


def test_a_round_that_nobody_works_on_rings_for_itself() -> None:
    watched = clocks()
    watched.order_began(learner=0, round_=1, attempt=1, now=0.0)
    watched.learner_lost(0)

    assert watched.due(round_=1, now=5.0) == []
    assert watched.due(round_=1, now=15.0) == [DeadlinePassed(round=1)]


def test_a_new_round_starts_its_clock_anew() -> None:
    watched = clocks()
    watched.due(round_=1, now=0.0)

    assert watched.due(round_=2, now=9.0) == []
    assert watched.due(round_=2, now=18.0) == []
    assert watched.due(round_=2, now=19.0) == [DeadlinePassed(round=2)]


def test_grace_passes_once() -> None:
    watched = clocks()
    watched.grace_began(round_=4, now=1.0)

    assert watched.due(round_=4, now=2.9) == []
    assert watched.due(round_=4, now=3.0) == [GracePassed(round=4)]
    assert watched.due(round_=4, now=3.1) == []


def test_nobody_waits_longer_than_until_the_next_ring() -> None:
    watched = clocks(round_deadline_seconds=0.4)

    assert watched.seconds_to_wait(now=0.0) == 0.1
    watched.grace_began(round_=1, now=0.0)
    assert watched.seconds_to_wait(now=1.95) < 0.1


def test_without_a_deadline_nothing_rings() -> None:
    watched = clocks(round_deadline_seconds=None)
    watched.order_began(learner=0, round_=1, attempt=1, now=0.0)

    assert watched.due(round_=1, now=1e9) == []


def test_a_round_is_young_for_one_time_of_grace() -> None:
    watched = clocks()
    watched.due(round_=3, now=10.0)

    assert watched.is_young(round_=3, now=12.0)
    assert not watched.is_young(round_=3, now=12.1)
    assert watched.is_young(round_=4, now=12.1)


def test_what_rang_is_told_with_its_deadline() -> None:
    watched = clocks(round_deadline_seconds=2.5)

    assert watched.text_of(DeadlinePassed(round=3)) == "no learner worked on round 3 for 2.5 s"
    assert watched.text_of(DeadlinePassed(round=3, learner=1)) == (
        "learner 1 took longer than 2.5 s in round 3; its worker is restarted"
    )
