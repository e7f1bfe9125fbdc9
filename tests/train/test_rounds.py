from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ayni.train.rounds import (
    ApplyUpdates,
    CheckpointSaved,
    Command,
    DeadlinePassed,
    DropUpdate,
    Event,
    Finish,
    GiveUp,
    LearnerFailed,
    LearnerJoined,
    LearnerLost,
    Rounds,
    RunRound,
    SaveCheckpoint,
    UpdateReceived,
)


def all_joined(num_learners: int = 2, **arguments: int | bool) -> tuple[Rounds, list[Command]]:
    values: dict[str, int | bool] = {"num_rounds": 2, "max_attempts": 3, **arguments}
    rounds = Rounds(num_learners=num_learners, **values)  # type: ignore[arg-type]
    commands = [c for i in range(num_learners) for c in rounds.handle(LearnerJoined(learner=i))]
    return rounds, commands


def update(learner: int, *, round_: int = 1, attempt: int = 1) -> UpdateReceived:
    return UpdateReceived(round=round_, learner=learner, attempt=attempt)


def run(learner: int, *, round_: int = 1, attempt: int = 1) -> RunRound:
    return RunRound(round=round_, learner=learner, attempt=attempt)


def test_each_learner_works_as_soon_as_it_joins() -> None:
    _, commands = all_joined()

    assert commands == [run(0), run(1)]


def test_a_round_closes_when_all_updates_are_there_and_the_next_waits_for_the_checkpoint() -> None:
    rounds, _ = all_joined()

    first = rounds.handle(update(1))
    second = rounds.handle(update(0))
    third = rounds.handle(CheckpointSaved(round=1))

    assert first == []
    assert second == [ApplyUpdates(round=1, attempts=((0, 1), (1, 1))), SaveCheckpoint(round=1)]
    assert third == [run(0, round_=2), run(1, round_=2)]


def test_the_last_checkpoint_finishes_the_training() -> None:
    rounds, _ = all_joined(num_rounds=1)
    rounds.handle(update(0))
    rounds.handle(update(1))

    commands = rounds.handle(CheckpointSaved(round=1))

    assert commands == [Finish()]
    assert rounds.is_over


def test_an_update_that_comes_twice_is_dropped() -> None:
    rounds, _ = all_joined()
    rounds.handle(update(0))

    commands = rounds.handle(update(0))

    assert commands == [DropUpdate(round=1, learner=0, attempt=1, reason="it came twice")]


def test_an_update_of_an_earlier_attempt_is_dropped() -> None:
    rounds, _ = all_joined()
    rounds.handle(LearnerFailed(round=1, learner=0, attempt=1))

    commands = rounds.handle(update(0, attempt=1))

    assert commands == [DropUpdate(round=1, learner=0, attempt=1, reason="attempt 2 has replaced it")]


def test_a_lost_learner_tries_again_when_it_is_back() -> None:
    rounds, _ = all_joined()

    lost = rounds.handle(LearnerLost(learner=1))
    alive = rounds.learners_alive
    back = rounds.handle(LearnerJoined(learner=1))

    assert (lost, alive, back) == ([], 1, [run(1, attempt=2)])


def test_a_learner_that_is_lost_after_its_update_does_not_repeat_the_round() -> None:
    rounds, _ = all_joined()
    rounds.handle(update(1))
    rounds.handle(LearnerLost(learner=1))

    back = rounds.handle(LearnerJoined(learner=1))
    closed = rounds.handle(update(0))

    assert back == []
    assert isinstance(closed[0], ApplyUpdates)


def test_a_deadline_starts_the_slow_learner_again_and_leaves_the_others() -> None:
    rounds, _ = all_joined()
    rounds.handle(update(0))

    commands = rounds.handle(DeadlinePassed(round=1))

    assert commands == [run(1, attempt=2)]


def test_too_many_failures_end_the_training() -> None:
    rounds, _ = all_joined(max_attempts=2)
    rounds.handle(LearnerFailed(round=1, learner=0, attempt=1))

    commands = rounds.handle(LearnerFailed(round=1, learner=0, attempt=2))

    assert commands == [GiveUp(round=1, learner=0, attempts=2)]
    assert rounds.is_over


def test_a_learner_that_never_comes_back_ends_the_training_by_deadlines() -> None:
    rounds, _ = all_joined(max_attempts=3)
    rounds.handle(update(0))
    rounds.handle(LearnerLost(learner=1))

    commands = [rounds.handle(DeadlinePassed(round=1)) for _ in range(2)]

    assert commands == [[], [GiveUp(round=1, learner=1, attempts=3)]]


def test_a_gang_starts_together() -> None:
    rounds = Rounds(num_learners=2, num_rounds=1, max_attempts=3, is_gang=True)

    first = rounds.handle(LearnerJoined(learner=0))
    second = rounds.handle(LearnerJoined(learner=1))

    assert (first, second) == ([], [run(0), run(1)])


def test_a_gang_that_lost_a_member_starts_again_when_the_others_have_come_to_rest() -> None:
    rounds, _ = all_joined(3, is_gang=True)
    rounds.handle(update(0))

    lost = rounds.handle(LearnerLost(learner=1))
    back = rounds.handle(LearnerJoined(learner=1))
    rest = rounds.handle(LearnerFailed(round=1, learner=2, attempt=1))

    assert (lost, back) == ([], [])
    assert rest == [run(0, attempt=2), run(1, attempt=2), run(2, attempt=2)]


def test_an_update_from_a_broken_gang_is_dropped_and_its_sender_is_at_rest() -> None:
    rounds, _ = all_joined(is_gang=True)
    rounds.handle(LearnerLost(learner=1))
    rounds.handle(LearnerJoined(learner=1))

    commands = rounds.handle(update(0))

    assert isinstance(commands[0], DropUpdate)
    assert commands[1:] == [run(0, attempt=2), run(1, attempt=2)]


def test_a_finished_training_has_nothing_to_do() -> None:
    rounds = Rounds(num_learners=1, num_rounds=3, max_attempts=1, round=4)

    assert rounds.is_over
    assert rounds.handle(LearnerJoined(learner=0)) == []


events = st.one_of(
    st.builds(LearnerJoined, learner=st.integers(0, 2)),
    st.builds(LearnerLost, learner=st.integers(0, 2)),
    st.builds(DeadlinePassed, round=st.integers(1, 3)),
    st.builds(LearnerFailed, round=st.integers(1, 3), learner=st.integers(0, 2), attempt=st.integers(1, 4)),
    st.builds(UpdateReceived, round=st.integers(1, 3), learner=st.integers(0, 2), attempt=st.integers(1, 4)),
)


@given(noise=st.lists(events, max_size=60), is_gang=st.booleans())
def test_whatever_happens_each_round_is_applied_once_with_attempts_that_were_started(
    noise: list[Event], is_gang: bool
) -> None:
    rounds = Rounds(num_learners=3, num_rounds=3, max_attempts=50, is_gang=is_gang)
    started: set[tuple[int, int, int]] = set()
    applied: list[ApplyUpdates] = []

    def carry_out(commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, RunRound):
                assert (command.round, command.learner, command.attempt) not in started
                started.add((command.round, command.learner, command.attempt))
            elif isinstance(command, ApplyUpdates):
                applied.append(command)
            elif isinstance(command, SaveCheckpoint):
                carry_out(rounds.handle(CheckpointSaved(round=command.round)))

    for event in noise:
        carry_out(rounds.handle(event))
    assert all((c.round, *pair) in started for c in applied for pair in c.attempts)
    assert [c.round for c in applied] == list(range(1, len(applied) + 1))
    assert all([learner for learner, _ in c.attempts] == [0, 1, 2] for c in applied)
    if is_gang:
        assert all(len({attempt for _, attempt in c.attempts}) == 1 for c in applied)


@given(data=st.data(), is_gang=st.booleans())
def test_learners_that_answer_in_the_end_always_finish(data: st.DataObject, is_gang: bool) -> None:
    """A simulated engine: running attempts succeed, fail, vanish or answer twice, in any order."""
    rounds = Rounds(num_learners=3, num_rounds=2, max_attempts=100, is_gang=is_gang)
    running: list[RunRound] = []
    applied: Counter[int] = Counter()
    pending: list[Event] = [LearnerJoined(learner=learner) for learner in range(3)]
    trouble_left = data.draw(st.integers(0, 12))

    while not rounds.is_over:
        if pending:
            event = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
        else:
            assert running, "nothing runs and nothing is on its way: the machine is stuck"
            attempt = running.pop(data.draw(st.integers(0, len(running) - 1)))
            kinds = ["update", "twice", "fail", "lose"] if trouble_left else ["update"]
            kind = data.draw(st.sampled_from(kinds))
            trouble_left -= kind in ("fail", "lose")
            names = {"round": attempt.round, "learner": attempt.learner, "attempt": attempt.attempt}
            event = LearnerFailed(**names) if kind == "fail" else UpdateReceived(**names)
            if kind == "lose":
                event = LearnerLost(learner=attempt.learner)
                pending.append(LearnerJoined(learner=attempt.learner))
            if kind == "twice":
                pending.append(event)
        commands = rounds.handle(event)
        while commands:
            command = commands.pop(0)
            if isinstance(command, RunRound):
                running = [r for r in running if r.learner != command.learner] + [command]
            elif isinstance(command, ApplyUpdates):
                applied[command.round] += 1
            elif isinstance(command, SaveCheckpoint):
                commands += rounds.handle(CheckpointSaved(round=command.round))

    assert applied == {1: 1, 2: 1}
