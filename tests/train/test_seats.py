import pytest

from ayni.train.events import AbandonRound, LearnerFailed, RunRound, UpdateReceived
from ayni.train.seats import Seat, Work


def seated(*, attempts: int = 1) -> Seat:
    """Learner 2, at work on round 5 for the so manyth time."""
    seat = Seat(learner=2, round=5, is_present=True)
    for _ in range(attempts):
        seat.run(5, steps_for=lambda _: 10)
    return seat


def received(round_: int = 5, attempt: int = 1) -> UpdateReceived:
    return UpdateReceived(round=round_, learner=2, attempt=attempt)


def take(seat: Seat, round_: int = 5) -> None:
    """What a round does with an update that it takes."""
    seat.work(round_).has_update, seat.running = True, None


def test_an_order_names_the_learner_its_attempt_and_its_gang() -> None:
    seat = Seat(learner=2, round=5)

    order = seat.run(5, steps_for=lambda learner: 10 + learner, members=(0, 2))

    assert order == RunRound(round=5, learner=2, attempt=1, num_steps=12, members=(0, 2))
    assert seat.running is order


def test_another_try_has_the_next_number_and_as_many_steps_as_the_first() -> None:
    seat = seated()

    again = seat.run(5, steps_for=lambda _: 99)

    assert (again.attempt, again.num_steps) == (2, 10)


def test_the_round_ahead_counts_its_own_attempts_and_steps() -> None:
    seat = seated(attempts=2)

    ahead = seat.run(6, steps_for=lambda _: 30)

    assert (ahead.round, ahead.attempt, ahead.num_steps) == (6, 1, 30)
    assert (seat.now.attempt, seat.ahead.attempt) == (2, 1)
    assert not seat.is_at_work


def test_who_has_an_order_of_the_current_round_is_at_work() -> None:
    seat = Seat(learner=2, round=5)
    assert not seat.is_at_work

    seat.run(5, steps_for=lambda _: 10)

    assert seat.is_at_work


def test_a_report_is_about_the_running_order_only_with_its_round_and_attempt() -> None:
    seat = seated(attempts=2)

    assert seat.is_running(received(attempt=2))
    assert seat.is_running(LearnerFailed(round=5, learner=2, attempt=2))
    assert not seat.is_running(received(attempt=1))
    assert not seat.is_running(received(6, attempt=2))


def test_the_update_that_is_waited_for_is_taken() -> None:
    assert seated().why_not(received()) is None


def test_an_update_of_an_order_ahead_is_taken() -> None:
    seat = seated()
    take(seat)

    seat.run(6, steps_for=lambda _: 10)

    assert seat.why_not(received(6)) is None


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (received(4), "its round is closed"),
        (received(7), "it was never asked for"),
        (received(6), "it was never asked for"),
        (received(attempt=3), "it was never asked for"),
        (received(attempt=0), "it was never asked for"),
        (received(attempt=1), "attempt 2 has replaced it"),
    ],
)
def test_an_update_that_is_not_waited_for_is_refused_with_a_reason(
    report: UpdateReceived, reason: str
) -> None:
    assert seated(attempts=2).why_not(report) == reason


def test_an_update_that_came_already_is_refused() -> None:
    seat = seated()

    take(seat)

    assert seat.why_not(received()) == "it came twice"


def test_an_update_of_an_attempt_that_was_given_up_is_refused() -> None:
    seat = seated()

    seat.running = None

    assert seat.why_not(received()) == "its attempt was given up"


def test_giving_up_a_round_names_the_last_attempt() -> None:
    assert seated(attempts=3).abandon(5) == [AbandonRound(round=5, learner=2, attempt=3)]


def test_nothing_is_given_up_that_was_never_asked_or_is_there_already() -> None:
    seat = seated()
    take(seat)

    assert seat.abandon(5) == []
    assert seat.abandon(6) == []


def test_an_excluded_learner_loses_both_rounds_once_and_is_no_longer_waited_for() -> None:
    seat = seated()
    seat.run(6, steps_for=lambda _: 10)

    commands = seat.exclude()

    assert commands == [
        AbandonRound(round=5, learner=2, attempt=1),
        AbandonRound(round=6, learner=2, attempt=1),
    ]
    assert (seat.is_excluded, seat.is_present, seat.is_awaited, seat.running) == (True, False, False, None)
    assert seat.why_not(received()) == "its learner was excluded"
    assert seat.exclude() == []


def test_in_the_next_round_what_was_ahead_is_now_and_failures_are_forgiven() -> None:
    seat = seated()
    take(seat)
    seat.run(6, steps_for=lambda _: 10)
    seat.num_failures = 2

    seat.turn_to_next_round()

    assert (seat.round, seat.num_failures) == (6, 0)
    assert (seat.now, seat.ahead) == (Work(attempt=1, num_steps=10), Work())
    assert seat.is_at_work
    assert seat.why_not(received(5)) == "its round is closed"
    assert seat.why_not(received(6)) is None
