import pytest

from ayni.train.events import (
    AbandonRound,
    ApplyUpdates,
    CheckpointSaved,
    Command,
    DeadlinePassed,
    DropUpdate,
    ExcludeLearner,
    Finish,
    GiveUp,
    GracePassed,
    LearnerFailed,
    LearnerJoined,
    LearnerLost,
    RunRound,
    SaveCheckpoint,
    SendModel,
    StartGrace,
    UpdateReceived,
    UpdateRefused,
)
from ayni.train.rounds import Rounds

STEPS = 10


def new_rounds(num_learners: int = 2, **changes: object) -> Rounds:
    values = {
        "num_rounds": 3,
        "needed_updates": num_learners,
        "max_attempts": 3,
        "steps_for": lambda _: STEPS,
    }
    return Rounds(num_learners=num_learners, **{**values, **changes})  # type: ignore[arg-type]


def all_joined(num_learners: int = 2, **changes: object) -> tuple[Rounds, list[Command]]:
    rounds = new_rounds(num_learners, **changes)
    return rounds, [c for i in range(num_learners) for c in rounds.handle(LearnerJoined(learner=i))]


def update(learner: int, *, round_: int = 1, attempt: int = 1) -> UpdateReceived:
    return UpdateReceived(round=round_, learner=learner, attempt=attempt)


def run(learner: int, *, round_: int = 1, attempt: int = 1, members: tuple[int, ...] = ()) -> RunRound:
    return RunRound(round=round_, learner=learner, attempt=attempt, num_steps=STEPS, members=members)


def apply(*attempts: tuple[int, int], round_: int = 1) -> ApplyUpdates:
    return ApplyUpdates(round=round_, attempts=attempts, staleness=(0,) * len(attempts))


def gang(*members: int, round_: int = 1, attempt: int = 1) -> list[RunRound]:
    return [run(member, round_=round_, attempt=attempt, members=members) for member in members]


# Beginning and closing.


def test_the_first_round_begins_when_all_learners_are_there() -> None:
    rounds = new_rounds()

    first = rounds.handle(LearnerJoined(learner=0))
    second = rounds.handle(LearnerJoined(learner=1))

    assert (first, second) == ([], [run(0), run(1)])


def test_with_a_quorum_the_first_round_begins_without_those_who_do_not_come_in_time() -> None:
    rounds = new_rounds(3, needed_updates=2)
    rounds.handle(LearnerJoined(learner=0))

    quorum = rounds.handle(LearnerJoined(learner=2))
    passed = rounds.handle(GracePassed(round=1))

    assert quorum == [StartGrace(round=1)]
    assert passed == [run(0), run(2)]


def test_a_round_closes_when_all_updates_are_there_and_the_next_begins_before_the_disk_has_it() -> None:
    rounds, _ = all_joined()

    first = rounds.handle(update(1))
    second = rounds.handle(update(0))

    assert first == []
    assert second == [apply((0, 1), (1, 1)), SaveCheckpoint(round=1), run(0, round_=2), run(1, round_=2)]
    assert rounds.round == 2


def test_a_round_is_not_merged_before_the_one_before_it_is_safe() -> None:
    rounds, _ = all_joined()
    for learner in (0, 1):
        rounds.handle(update(learner))

    early = [rounds.handle(update(learner, round_=2)) for learner in (0, 1)]
    saved = rounds.handle(CheckpointSaved(round=1))

    assert early == [[], []]
    assert saved[:2] == [apply((0, 1), (1, 1), round_=2), SaveCheckpoint(round=2)]


def test_the_training_ends_with_the_last_checkpoint() -> None:
    rounds, _ = all_joined(1, num_rounds=1)

    closed = rounds.handle(update(0))
    is_over_early = rounds.is_over
    saved = rounds.handle(CheckpointSaved(round=1))

    assert closed == [apply((0, 1)), SaveCheckpoint(round=1)]
    assert not is_over_early
    assert (saved, rounds.is_over) == ([Finish()], True)


def test_a_finished_training_has_nothing_to_do() -> None:
    rounds = new_rounds(1, round=4)

    assert rounds.is_over
    assert rounds.handle(LearnerJoined(learner=0)) == []


# Updates that are not taken.


@pytest.mark.parametrize(
    ("before", "late", "reason"),
    [
        (update(0), update(0), "it came twice"),
        (LearnerFailed(round=1, learner=0, attempt=1), update(0), "attempt 2 has replaced it"),
        (LearnerLost(learner=0), update(0), "its attempt was given up"),
        (LearnerJoined(learner=0), update(0, attempt=2), "it was never asked for"),
        (LearnerJoined(learner=0), update(0, round_=7), "it was never asked for"),
        (LearnerJoined(learner=0), update(0, round_=0), "its round is closed"),
    ],
)
def test_an_update_that_is_not_waited_for_is_dropped_with_the_reason(
    before: UpdateReceived, late: UpdateReceived, reason: str
) -> None:
    rounds, _ = all_joined()
    rounds.handle(before)

    commands = rounds.handle(late)

    expected = DropUpdate(round=late.round, learner=0, attempt=late.attempt, reason=reason)
    assert commands == [expected]


def test_an_update_after_the_end_is_dropped() -> None:
    rounds = new_rounds(1, round=4)

    commands = rounds.handle(update(0, round_=3))

    assert commands == [DropUpdate(round=3, learner=0, attempt=1, reason="the training is over")]


def test_a_learner_whose_update_is_refused_tries_again_when_the_round_needs_it() -> None:
    rounds, _ = all_joined()

    commands = rounds.handle(UpdateRefused(round=1, learner=0, attempt=1))

    dropped = DropUpdate(round=1, learner=0, attempt=1, reason="it cannot be used")
    assert commands == [dropped, run(0, attempt=2)]


def test_a_learner_whose_update_is_refused_sits_the_round_out_when_there_are_enough_others() -> None:
    rounds, _ = all_joined(3, needed_updates=2)

    refused = rounds.handle(UpdateRefused(round=1, learner=0, attempt=1))
    rounds.handle(update(1))
    closed = rounds.handle(update(2))

    assert len(refused) == 1
    assert closed[:2] == [AbandonRound(round=1, learner=0, attempt=1), apply((1, 1), (2, 1))]
    assert run(0, round_=2) in closed


def test_a_learner_that_does_not_exist_is_a_callers_mistake() -> None:
    with pytest.raises(ValueError, match="there is no learner 2"):
        new_rounds().handle(LearnerJoined(learner=2))


# Losses, failures and deadlines.


def test_a_lost_learner_tries_again_when_it_is_back() -> None:
    rounds, _ = all_joined()

    lost = rounds.handle(LearnerLost(learner=1))
    alive = rounds.learners_alive
    back = rounds.handle(LearnerJoined(learner=1))

    assert (lost, alive, back) == ([], 1, [run(1, attempt=2)])


def test_another_attempt_takes_as_many_steps_as_the_first_so_that_it_can_use_the_same_examples() -> None:
    speeds = iter([5, 6, 7, 8])
    rounds, _ = all_joined(steps_for=lambda _: next(speeds))

    (again,) = rounds.handle(LearnerFailed(round=1, learner=1, attempt=1))

    assert again == RunRound(round=1, learner=1, attempt=2, num_steps=6)


def test_a_learner_that_is_lost_after_its_update_does_not_repeat_the_round() -> None:
    rounds, _ = all_joined()
    rounds.handle(update(1))
    rounds.handle(LearnerLost(learner=1))

    back = rounds.handle(LearnerJoined(learner=1))
    closed = rounds.handle(update(0))

    assert back == []
    assert closed[0] == apply((0, 1), (1, 1))


def test_a_deadline_starts_the_slow_learner_again_and_leaves_the_others() -> None:
    rounds, _ = all_joined()
    rounds.handle(update(0))

    commands = rounds.handle(DeadlinePassed(round=1))

    assert commands == [run(1, attempt=2)]


def test_too_many_failures_end_the_training_and_drop_what_was_held() -> None:
    rounds, _ = all_joined(max_attempts=2)
    rounds.handle(update(1))
    rounds.handle(LearnerFailed(round=1, learner=0, attempt=1))

    commands = rounds.handle(LearnerFailed(round=1, learner=0, attempt=2))

    dropped = DropUpdate(round=1, learner=1, attempt=1, reason="the training was given up")
    assert commands == [dropped, GiveUp(round=1, learner=0, attempts=2)]
    assert rounds.is_over


def test_too_many_failures_exclude_a_learner_that_the_quorum_can_do_without() -> None:
    rounds, _ = all_joined(3, needed_updates=2, max_attempts=1)

    excluded = rounds.handle(LearnerFailed(round=1, learner=0, attempt=1))
    back = rounds.handle(LearnerJoined(learner=0))

    assert excluded == [
        AbandonRound(round=1, learner=0, attempt=1),
        ExcludeLearner(learner=0, round=1, attempts=1),
    ]
    assert (back, rounds.learners_alive) == ([], 2)


def test_a_learner_that_never_comes_back_ends_the_training_by_deadlines() -> None:
    rounds, _ = all_joined()
    rounds.handle(LearnerLost(learner=1))
    rounds.handle(update(0))

    commands = [rounds.handle(DeadlinePassed(round=1)) for _ in range(2)]

    assert commands[0] == []
    assert commands[1][-1] == GiveUp(round=1, learner=1, attempts=3)


# Quorum.


def test_a_round_with_its_quorum_waits_a_time_of_grace_for_the_others() -> None:
    rounds, _ = all_joined(3, needed_updates=2)
    rounds.handle(update(0))

    quorum = rounds.handle(update(1))
    in_time = rounds.handle(update(2))

    assert quorum == [StartGrace(round=1)]
    assert in_time[0] == apply((0, 1), (1, 1), (2, 1))


def test_after_the_time_of_grace_a_round_closes_without_the_slow() -> None:
    rounds, _ = all_joined(3, needed_updates=2)
    rounds.handle(update(0))
    rounds.handle(update(1))

    commands = rounds.handle(GracePassed(round=1))

    assert commands == [
        AbandonRound(round=1, learner=2, attempt=1),
        apply((0, 1), (1, 1)),
        SaveCheckpoint(round=1),
        run(0, round_=2),
        run(1, round_=2),
    ]


def test_a_learner_whose_abandoned_attempt_still_runs_gets_work_when_that_is_over() -> None:
    rounds, _ = all_joined(3, needed_updates=2)
    for event in (update(0), update(1), GracePassed(round=1)):
        rounds.handle(event)

    late = rounds.handle(update(2))

    dropped = DropUpdate(round=1, learner=2, attempt=1, reason="its round is closed")
    assert late == [dropped, run(2, round_=2)]


def test_a_round_does_not_wait_for_a_learner_that_is_still_busy_with_an_earlier_one() -> None:
    rounds, _ = all_joined(3, needed_updates=2)
    for event in (update(0), update(1), GracePassed(round=1), CheckpointSaved(round=1)):
        rounds.handle(event)

    rounds.handle(update(0, round_=2))
    closed = rounds.handle(update(1, round_=2))

    assert closed[0] == apply((0, 1), (1, 1), round_=2)


def test_a_deadline_brings_back_a_learner_that_hangs_in_an_earlier_round() -> None:
    rounds, _ = all_joined(3, needed_updates=2)
    for event in (update(0), update(1), GracePassed(round=1)):
        rounds.handle(event)

    commands = rounds.handle(DeadlinePassed(round=1, learner=2))

    assert commands == [run(2, round_=2)]


def test_a_learner_is_awaited_for_one_time_of_grace_only_until_it_joins_again() -> None:
    rounds, _ = all_joined(3, needed_updates=2)
    rounds.handle(LearnerLost(learner=2))
    rounds.handle(update(0))

    awaited = rounds.handle(update(1))
    rounds.handle(GracePassed(round=1))
    rounds.handle(CheckpointSaved(round=1))
    rounds.handle(update(0, round_=2))
    not_awaited = rounds.handle(update(1, round_=2))
    rounds.handle(CheckpointSaved(round=2))
    back = rounds.handle(LearnerJoined(learner=2))

    assert awaited == [StartGrace(round=1)]
    assert not_awaited[0] == apply((0, 1), (1, 1), round_=2)
    assert back == [run(2, round_=3)]


def test_a_round_that_waits_for_nothing_but_the_disk_takes_nobody_in() -> None:
    rounds, _ = all_joined(3, needed_updates=2)
    rounds.handle(LearnerLost(learner=2))
    for event in (update(0), update(1), GracePassed(round=1), update(0, round_=2), update(1, round_=2)):
        rounds.handle(event)

    joined = rounds.handle(LearnerJoined(learner=2))
    saved = rounds.handle(CheckpointSaved(round=1))

    assert joined == []
    assert saved[-3:] == [run(0, round_=3), run(1, round_=3), run(2, round_=3)]


def test_a_learner_that_comes_too_late_for_a_round_waits_for_the_next_one() -> None:
    rounds, _ = all_joined(3, needed_updates=2, has_time=lambda: False)
    rounds.handle(LearnerLost(learner=2))

    back = rounds.handle(LearnerJoined(learner=2))
    rounds.handle(update(0))
    closed = rounds.handle(update(1))

    assert back == []
    assert closed[0] == AbandonRound(round=1, learner=2, attempt=1)
    assert closed[3:] == [run(0, round_=2), run(1, round_=2), run(2, round_=2)]


def test_a_learner_that_comes_late_works_at_once_when_the_round_needs_it() -> None:
    rounds, _ = all_joined(3, needed_updates=2, has_time=lambda: False)
    rounds.handle(LearnerLost(learner=1))
    rounds.handle(LearnerLost(learner=2))

    back = rounds.handle(LearnerJoined(learner=2))

    assert back == [run(2, attempt=2)]


# Gangs.


def test_a_gang_starts_together_and_names_its_members() -> None:
    _, commands = all_joined(is_gang=True)

    assert commands == gang(0, 1)


def test_a_gang_that_lost_a_member_starts_again_when_the_others_have_come_to_rest() -> None:
    rounds, _ = all_joined(3, is_gang=True)
    rounds.handle(update(0))

    lost = rounds.handle(LearnerLost(learner=1))
    back = rounds.handle(LearnerJoined(learner=1))
    rest = rounds.handle(LearnerFailed(round=1, learner=2, attempt=1))

    reason = "another member of its gang was lost"
    assert (lost, back) == ([DropUpdate(round=1, learner=0, attempt=1, reason=reason)], [])
    assert rest == gang(0, 1, 2, attempt=2)


def test_an_update_from_a_broken_gang_is_dropped_and_its_sender_is_at_rest() -> None:
    rounds, _ = all_joined(is_gang=True)
    rounds.handle(LearnerLost(learner=1))
    rounds.handle(LearnerJoined(learner=1))

    commands = rounds.handle(update(0))

    assert isinstance(commands[0], DropUpdate)
    assert commands[1:] == gang(0, 1, attempt=2)


def test_a_gang_with_a_quorum_goes_on_with_the_survivors_after_the_time_of_grace() -> None:
    rounds, _ = all_joined(3, needed_updates=2, is_gang=True)
    rounds.handle(LearnerLost(learner=1))
    rounds.handle(LearnerFailed(round=1, learner=0, attempt=1))

    rest = rounds.handle(LearnerFailed(round=1, learner=2, attempt=1))
    passed = rounds.handle(GracePassed(round=1))
    rounds.handle(update(0, attempt=2))
    closed = rounds.handle(update(2, attempt=2))

    assert rest == [StartGrace(round=1)]
    assert passed == gang(0, 2, attempt=2)
    assert closed[:2] == [AbandonRound(round=1, learner=1, attempt=1), apply((0, 2), (2, 2))]


def test_a_learner_that_joins_while_a_gang_works_is_a_member_from_the_next_round_on() -> None:
    rounds, _ = all_joined(3, needed_updates=2, is_gang=True)
    rounds.handle(LearnerLost(learner=1))
    for learner in (0, 2):
        rounds.handle(LearnerFailed(round=1, learner=learner, attempt=1))
    rounds.handle(GracePassed(round=1))

    joined = rounds.handle(LearnerJoined(learner=1))
    rounds.handle(update(0, attempt=2))
    closed = rounds.handle(update(2, attempt=2))

    assert joined == []
    assert closed[3:] == gang(0, 1, 2, round_=2)


def test_only_the_first_failure_in_a_gang_is_blamed() -> None:
    rounds, _ = all_joined(is_gang=True, max_attempts=2)
    for attempt in (1, 2):
        rounds.handle(LearnerFailed(round=1, learner=1, attempt=attempt))
        commands = rounds.handle(LearnerFailed(round=1, learner=0, attempt=attempt))

    assert rounds.is_over
    assert commands == []


def test_a_hung_gang_starts_again_at_the_deadline() -> None:
    rounds, _ = all_joined(is_gang=True)

    commands = rounds.handle(DeadlinePassed(round=1))

    assert commands == gang(0, 1, attempt=2)


# Streaming.


def test_streaming_goes_on_with_the_next_round_right_after_its_own_update() -> None:
    rounds, _ = all_joined(is_streaming=True)

    commands = rounds.handle(update(1))

    assert commands == [run(1, round_=2)]


def test_streaming_sends_what_a_round_changed_to_those_that_are_at_work_already() -> None:
    rounds, _ = all_joined(is_streaming=True)
    rounds.handle(update(1))
    rounds.handle(LearnerLost(learner=1))

    commands = rounds.handle(update(0))
    back = rounds.handle(LearnerJoined(learner=1))

    assert commands == [
        run(0, round_=2),
        apply((0, 1), (1, 1)),
        SaveCheckpoint(round=1),
        SendModel(round=1, learner=0),
    ]
    assert back == [run(1, round_=2, attempt=2)]


def test_streaming_holds_an_update_that_is_ahead_of_the_others() -> None:
    rounds, _ = all_joined(is_streaming=True)
    rounds.handle(update(1))

    ahead = rounds.handle(update(1, round_=2))
    rounds.handle(update(0))
    rounds.handle(CheckpointSaved(round=1))
    closed = rounds.handle(update(0, round_=2))

    assert ahead == []
    assert apply((0, 1), (1, 1), round_=2) in closed


def test_streaming_begins_no_round_after_the_last() -> None:
    rounds, _ = all_joined(is_streaming=True, num_rounds=1)

    commands = rounds.handle(update(1))

    assert commands == []


def test_a_learner_that_is_excluded_while_it_is_ahead_still_brings_what_it_had_finished() -> None:
    rounds, _ = all_joined(3, needed_updates=2, is_streaming=True, max_attempts=1)
    rounds.handle(update(2))

    excluded = rounds.handle(LearnerFailed(round=2, learner=2, attempt=1))
    rounds.handle(update(0))
    closed = rounds.handle(update(1))

    assert excluded == [
        AbandonRound(round=2, learner=2, attempt=1),
        ExcludeLearner(learner=2, round=1, attempts=1),
    ]
    assert apply((0, 1), (1, 1), (2, 1)) in closed


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_rounds": 0}, "at least 1"),
        ({"needed_updates": 3}, "needed_updates must be from 1 to 2"),
        ({"is_gang": True, "is_streaming": True}, "choose one of the two"),
    ],
)
def test_a_pool_that_cannot_work_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_rounds(**changes)  # type: ignore[arg-type]
