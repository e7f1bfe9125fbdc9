import pytest

from ayni.train.async_rounds import AsyncRounds
from ayni.train.events import (
    AbandonRound,
    ApplyUpdates,
    CheckpointSaved,
    Command,
    DeadlinePassed,
    Diverged,
    DropUpdate,
    ExcludeLearner,
    Finish,
    GiveUp,
    LearnerFailed,
    LearnerJoined,
    LearnerLost,
    RollBack,
    RunRound,
    SaveCheckpoint,
    UpdateReceived,
    UpdateRefused,
)


def new_rounds(num_learners: int = 2, **changes: object) -> AsyncRounds:
    values = {
        "num_rounds": 3,
        "steps_per_round": 20,
        "needed_updates": 1,
        "max_attempts": 3,
        "max_staleness": 8,
        "steps_for": lambda _: 10,
    }
    return AsyncRounds(num_learners=num_learners, **{**values, **changes})  # type: ignore[arg-type]


def all_joined(num_learners: int = 2, **changes: object) -> AsyncRounds:
    rounds = new_rounds(num_learners, **changes)
    for learner in range(num_learners):
        rounds.handle(LearnerJoined(learner=learner))
    return rounds


def update(learner: int, *, turn: int = 1, attempt: int = 1) -> UpdateReceived:
    return UpdateReceived(round=turn, learner=learner, attempt=attempt)


def run(learner: int, *, turn: int = 1, attempt: int = 1, num_steps: int = 10) -> RunRound:
    return RunRound(round=turn, learner=learner, attempt=attempt, num_steps=num_steps)


def apply(learner: int, *, round_: int = 1, attempt: int = 1, staleness: int = 0) -> ApplyUpdates:
    return ApplyUpdates(round=round_, attempts=((learner, attempt),), staleness=(staleness,))


def test_each_learner_works_as_soon_as_it_joins() -> None:
    rounds = new_rounds()

    commands = [rounds.handle(LearnerJoined(learner=learner)) for learner in (1, 0)]

    assert commands == [[run(1)], [run(0)]]


def test_an_update_is_applied_at_once_and_its_learner_goes_on() -> None:
    rounds = all_joined()

    commands = rounds.handle(update(1))

    assert commands == [apply(1), run(1, turn=2)]


def test_a_round_is_so_many_accepted_steps_whoever_took_them() -> None:
    rounds = all_joined()
    rounds.handle(update(1))

    commands = rounds.handle(update(1, turn=2))

    assert commands == [apply(1), SaveCheckpoint(round=1), run(1, turn=3)]
    assert (rounds.round, rounds.steps_done) == (2, 20)


def test_nothing_is_applied_while_a_checkpoint_is_written() -> None:
    rounds = all_joined()
    for event in (update(1), update(1, turn=2)):
        rounds.handle(event)

    held = rounds.handle(update(0))
    saved = rounds.handle(CheckpointSaved(round=1))

    assert held == []
    assert saved == [apply(0, round_=2, staleness=1), run(0, turn=2)]


def test_orders_never_exceed_the_steps_that_are_missing() -> None:
    rounds = all_joined(num_rounds=1, steps_per_round=15)

    first = rounds.handle(update(0))
    last = rounds.handle(update(1))
    end = rounds.handle(CheckpointSaved(round=1))

    assert first == [apply(0)]
    assert last == [apply(1), SaveCheckpoint(round=1)]
    assert (end, rounds.steps_done) == ([Finish()], 15)


def test_the_steps_of_a_lost_learner_are_taken_over_by_the_others() -> None:
    rounds = all_joined(num_rounds=1)
    rounds.handle(update(0))

    commands = rounds.handle(LearnerLost(learner=1))

    assert commands == [AbandonRound(round=1, learner=1, attempt=1), run(0, turn=2)]


def test_one_order_never_spans_more_than_a_round() -> None:
    rounds = new_rounds(steps_for=lambda _: 1000)

    commands = rounds.handle(LearnerJoined(learner=0))

    assert commands == [run(0, num_steps=20)]


def test_staleness_counts_versions_of_as_many_updates_as_there_are_learners() -> None:
    rounds = all_joined(num_rounds=10)

    for turn in (1, 2, 3):
        rounds.handle(update(0, turn=turn))
        rounds.handle(CheckpointSaved(round=rounds.round - 1))
    commands = rounds.handle(update(1))

    assert commands[0] == apply(1, round_=2, staleness=1)


def test_an_update_with_too_old_a_base_is_dropped_and_its_learner_starts_from_the_new_model() -> None:
    rounds = all_joined(num_rounds=10, buffer_size=1, max_staleness=0)
    rounds.handle(update(0))

    commands = rounds.handle(update(1))

    reason = "its base is 1 versions old, and 0 are allowed"
    assert commands == [
        DropUpdate(round=1, learner=1, attempt=1, reason=reason),
        AbandonRound(round=1, learner=1, attempt=1),
        run(1, turn=2),
    ]


@pytest.mark.parametrize(
    ("late", "reason"),
    [
        (update(0), "it came twice"),
        (update(0, turn=3), "it was never asked for"),
        (update(0, turn=2, attempt=2), "it was never asked for"),
    ],
)
def test_an_update_that_is_not_waited_for_is_dropped_with_the_reason(
    late: UpdateReceived, reason: str
) -> None:
    rounds = all_joined()
    rounds.handle(update(0))

    commands = rounds.handle(late)

    assert commands == [DropUpdate(round=late.round, learner=0, attempt=late.attempt, reason=reason)]


def test_an_update_of_a_lost_attempt_is_dropped() -> None:
    rounds = all_joined()
    rounds.handle(LearnerLost(learner=0))
    rounds.handle(LearnerJoined(learner=0))

    commands = rounds.handle(update(0))

    reason = "attempt 1 of turn 2 has replaced it"
    assert commands == [DropUpdate(round=1, learner=0, attempt=1, reason=reason)]


def test_a_failed_attempt_is_tried_again_with_the_same_steps() -> None:
    speeds = iter([7, 8, 9])
    rounds = all_joined(steps_for=lambda _: next(speeds))

    commands = rounds.handle(LearnerFailed(round=1, learner=1, attempt=1))

    assert commands == [run(1, attempt=2, num_steps=8)]


def test_a_refused_update_is_dropped_and_tried_again() -> None:
    rounds = all_joined()

    commands = rounds.handle(UpdateRefused(round=1, learner=1, attempt=1))

    dropped = DropUpdate(round=1, learner=1, attempt=1, reason="it cannot be used")
    assert commands == [dropped, run(1, attempt=2)]


def test_a_hung_learner_is_started_again_at_the_deadline_of_its_turn() -> None:
    rounds = all_joined()

    other_turn = rounds.handle(DeadlinePassed(round=2, learner=0))
    commands = rounds.handle(DeadlinePassed(round=1, learner=0))

    assert (other_turn, commands) == ([], [run(0, attempt=2)])


def test_failures_in_a_row_exclude_a_learner_and_the_last_one_ends_the_training() -> None:
    rounds = all_joined(max_attempts=1)

    first = rounds.handle(LearnerFailed(round=1, learner=0, attempt=1))
    second = rounds.handle(LearnerFailed(round=1, learner=1, attempt=1))

    assert first == [
        AbandonRound(round=1, learner=0, attempt=1),
        ExcludeLearner(learner=0, round=1, attempts=1),
    ]
    assert second == [GiveUp(round=1, learner=1, attempts=1)]
    assert rounds.is_over


def test_an_accepted_update_forgives_earlier_failures() -> None:
    rounds = all_joined(num_rounds=10, max_attempts=2)
    rounds.handle(LearnerFailed(round=1, learner=0, attempt=1))
    rounds.handle(update(0, attempt=2))

    commands = rounds.handle(LearnerFailed(round=2, learner=0, attempt=1))

    assert commands == [run(0, turn=2, attempt=2)]


def test_no_orders_are_given_while_fewer_learners_are_there_than_needed() -> None:
    rounds = new_rounds(needed_updates=2)

    alone = rounds.handle(LearnerJoined(learner=0))
    together = rounds.handle(LearnerJoined(learner=1))

    assert (alone, together) == ([], [run(0), run(1)])


def test_learners_that_never_come_end_the_training_by_deadlines() -> None:
    rounds = new_rounds(needed_updates=2)
    rounds.handle(LearnerJoined(learner=0))

    commands = [rounds.handle(DeadlinePassed(round=1)) for _ in range(3)]

    assert commands == [[], [], [GiveUp(round=1, learner=1, attempts=3)]]


# Going back.


def rolled_back() -> tuple[AsyncRounds, list[Command]]:
    """Two learners; round 1 is saved, learner 0 has begun turn 3, and learner 1 is still at its first."""
    rounds = all_joined()
    for event in (update(0), update(0, turn=2), CheckpointSaved(round=1)):
        rounds.handle(event)
    return rounds, rounds.handle(Diverged(round=1))


def test_a_diverged_model_goes_back_and_everything_under_way_is_given_up() -> None:
    _, commands = rolled_back()

    assert commands == [
        AbandonRound(round=3, learner=0, attempt=1),
        AbandonRound(round=1, learner=1, attempt=1),
        RollBack(round=1),
    ]


def test_updates_from_before_a_roll_back_are_dropped_and_their_learners_start_anew() -> None:
    rounds, _ = rolled_back()
    rounds.restore(round=1, steps_done=0)

    commands = rounds.handle(update(1))

    reason = "the model it started from was rolled back"
    assert commands == [DropUpdate(round=1, learner=1, attempt=1, reason=reason), run(1, turn=2)]


def test_held_updates_are_dropped_by_a_roll_back() -> None:
    rounds = all_joined()
    for event in (update(0), update(0, turn=2), update(1)):
        rounds.handle(event)

    commands = rounds.handle(Diverged(round=1))

    reason = "the model it started from was rolled back"
    assert commands[0] == DropUpdate(round=1, learner=1, attempt=1, reason=reason)


def test_after_a_roll_back_idle_learners_work_on_the_restored_round() -> None:
    rounds = all_joined()
    for event in (update(0), update(0, turn=2), update(1), Diverged(round=1)):
        rounds.handle(event)

    commands = rounds.restore(round=1, steps_done=0)

    assert commands == [run(1, turn=2)]
    assert (rounds.round, rounds.steps_done) == (1, 0)


def test_a_round_that_was_rolled_back_already_does_not_roll_back_again() -> None:
    rounds, _ = rolled_back()

    twice = rounds.handle(Diverged(round=1))
    rounds.restore(round=1, steps_done=0)
    late = rounds.handle(Diverged(round=1))

    assert (twice, late) == ([], [])


def test_turns_go_on_where_a_checkpoint_left_them() -> None:
    rounds = all_joined()
    rounds.handle(update(0))

    again = all_joined(turns=rounds.closed_turns)

    assert rounds.closed_turns == {0: 1, 1: 0}
    assert again.handle(update(0, turn=2)) == [apply(0), run(0, turn=3)]


@pytest.mark.parametrize("changes", [{"steps_per_round": 0}, {"needed_updates": 3}, {"buffer_size": 0}])
def test_a_pool_that_cannot_work_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        new_rounds(**changes)  # type: ignore[arg-type]
