"""What events and commands promise each other, whatever happens: properties of both round coordinators.

`Ledger` follows the conversation and checks each command; the two machines below it make up learners that
answer, fail, vanish, come back, answer twice or late, and reports that get lost or arrive in any order.
"""

import re
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ayni.train.async_rounds import AsyncRounds
from ayni.train.events import (
    AbandonRound,
    ApplyUpdates,
    CheckpointSaved,
    Command,
    DeadlinePassed,
    Diverged,
    DropUpdate,
    Event,
    ExcludeLearner,
    Finish,
    GiveUp,
    GracePassed,
    LearnerFailed,
    LearnerJoined,
    LearnerLost,
    RollBack,
    RunRound,
    SaveCheckpoint,
    SendModel,
    StartGrace,
    UpdateReceived,
    UpdateRefused,
)
from ayni.train.rounds import Rounds

NUM_LEARNERS = 4
NUM_ROUNDS = 3
Name = tuple[int, int, int]

learners = st.integers(0, NUM_LEARNERS - 1)
numbers = st.integers(1, 4)
attempts = {"round": numbers, "learner": learners, "attempt": numbers}
noise = st.one_of(
    st.builds(LearnerJoined, learner=learners),
    st.builds(LearnerLost, learner=learners),
    st.builds(UpdateReceived, **attempts),
    st.builds(UpdateRefused, **attempts),
    st.builds(LearnerFailed, **attempts),
    st.builds(DeadlinePassed, round=numbers, learner=st.none() | learners),
    st.builds(GracePassed, round=numbers),
    st.builds(CheckpointSaved, round=numbers),
)


def name_of(named: UpdateReceived | UpdateRefused | LearnerFailed | RunRound | DropUpdate) -> Name:
    return named.round, named.learner, named.attempt


class Ledger:
    """What was asked, taken, applied and dropped so far; its checks hold for both kinds of rounds."""

    def __init__(self, machine: Rounds | AsyncRounds) -> None:
        self.machine = machine
        self.is_async = isinstance(machine, AsyncRounds)
        self.orders: dict[tuple[int, int], list[RunRound]] = {}
        self.outstanding: dict[int, RunRound] = {}
        self.present: set[int] = set()
        self.excluded: set[int] = set()
        self.taken: set[Name] = set()
        self.applied: list[ApplyUpdates] = []
        self.ends: Counter[tuple[int, int]] = Counter()
        self.saving: int | None = None
        self.sent: set[tuple[int, int]] = set()
        self.given_up = self.finished = False

    def handle(self, event: Event) -> list[Command]:
        """Pass an event on, and check what comes back against all that happened before."""
        self._note(event)
        commands = self.machine.handle(event)
        self.read(
            commands
            if not isinstance(event, UpdateReceived | UpdateRefused)
            else self._answer(event, commands)
        )
        return commands

    def read(self, commands: Sequence[Command]) -> None:
        for command in commands:
            words = re.findall("[A-Z][a-z]+", type(command).__name__)
            getattr(self, f"see_{'_'.join(words).lower()}")(command)

    def _note(self, event: Event) -> None:
        if isinstance(event, LearnerJoined):
            self.present |= {event.learner} - self.excluded
        elif isinstance(event, LearnerLost):
            self.present.discard(event.learner)
            self.outstanding.pop(event.learner, None)
        elif isinstance(event, CheckpointSaved) and event.round == self.saving:
            self.saving = None
        elif isinstance(event, UpdateReceived | UpdateRefused | LearnerFailed):
            order = self.outstanding.get(event.learner)
            if order is not None and name_of(order) == name_of(event):
                del self.outstanding[event.learner]
        elif isinstance(event, DeadlinePassed):
            self._note_deadline(event)

    def _note_deadline(self, event: DeadlinePassed) -> None:
        for learner, order in list(self.outstanding.items()):
            if event.learner is not None:
                is_meant = (event.round, event.learner) == (order.round, learner)
            else:
                is_meant = not self.is_async and event.round == self.machine.round >= order.round
            if is_meant:
                del self.outstanding[learner]

    def _answer(self, event: UpdateReceived | UpdateRefused, commands: list[Command]) -> list[Command]:
        """An update is taken or dropped at once, never both and never neither; returns the other commands."""
        if commands and isinstance(commands[0], DropUpdate) and name_of(commands[0]) == name_of(event):
            return commands[1:]
        assert isinstance(event, UpdateReceived), "a refused update must be dropped"
        assert name_of(event) not in self.taken, "an update was taken twice"
        assert any(order.attempt == event.attempt for order in self.orders[event.round, event.learner])
        self.taken.add(name_of(event))
        return commands

    def see_run_round(self, command: RunRound) -> None:
        earlier = self.orders.setdefault((command.round, command.learner), [])
        assert command.learner in self.present - self.excluded
        assert command.learner not in self.outstanding, "an order came while another one was at work"
        assert command.num_steps == (
            earlier[0].num_steps if earlier and not command.members else command.num_steps
        )
        assert all(command.attempt > order.attempt for order in earlier)
        assert self.ends[command.round, command.learner] == 0, "its examples were given back already"
        assert not any(name[:2] == (command.round, command.learner) for name in self.taken)
        if not self.is_async:
            ahead = int(self.machine.is_streaming)  # type: ignore[union-attr]
            assert 0 <= command.round - len(self.applied) - 1 <= ahead
        earlier.append(command)
        self.outstanding[command.learner] = command

    def see_apply_updates(self, command: ApplyUpdates) -> None:
        assert self.saving is None, "the model must not change while it is being saved"
        assert len(command.staleness) == len(command.attempts) >= 1
        self.applied.append(command)
        for learner, attempt in command.attempts:
            name = self._applied_name(command, learner, attempt)
            assert name in self.taken, "an update was applied that was not there, or not any more"
            self.taken.remove(name)
            self.ends[name[:2]] += 1

    def _applied_name(self, command: ApplyUpdates, learner: int, attempt: int) -> Name:
        if not self.is_async:
            return command.round, learner, attempt
        (name,) = [name for name in self.taken if name[1:] == (learner, attempt)]
        return name

    def see_drop_update(self, command: DropUpdate) -> None:
        assert name_of(command) in self.taken, "an update was dropped that was not there"
        self.taken.remove(name_of(command))

    def see_abandon_round(self, command: AbandonRound) -> None:
        assert self.orders[command.round, command.learner][-1].attempt == command.attempt
        self.ends[command.round, command.learner] += 1

    def see_send_model(self, command: SendModel) -> None:
        assert self.applied[-1].round == command.round
        assert self.outstanding[command.learner].round == command.round + 1
        assert (command.round, command.learner) not in self.sent
        self.sent.add((command.round, command.learner))

    def see_save_checkpoint(self, command: SaveCheckpoint) -> None:
        assert self.saving is None and self.applied[-1].round == command.round
        self.saving = command.round

    def see_start_grace(self, command: StartGrace) -> None:
        assert command.round == self.machine.round

    def see_exclude_learner(self, command: ExcludeLearner) -> None:
        self.excluded.add(command.learner)
        self.present.discard(command.learner)
        self.outstanding.pop(command.learner, None)
        assert NUM_LEARNERS - len(self.excluded) >= self.machine.needed_updates

    def see_roll_back(self, command: RollBack) -> None:
        assert not self.taken, "an update from before a roll back would be applied after it"

    def see_give_up(self, command: GiveUp) -> None:
        assert not self.taken, "updates were lost silently"
        self.given_up = True

    def see_finish(self, command: Finish) -> None:
        assert self.saving is None and not self.taken
        assert all(self.ends[key] == 1 for key in self.orders), "examples were neither used nor given back"
        self.finished = True


class Pool(RuleBasedStateMachine):
    """Learners that do as they please; `make` says with which rounds."""

    ledger: Ledger

    def make(self, data: st.DataObject) -> Rounds | AsyncRounds:
        raise NotImplementedError

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.ledger = Ledger(self.make(data))
        self.at_work: dict[int, RunRound] = {}
        self.on_the_way: list[Event] = []
        self.grace: set[int] = set()
        self.is_anything_lost = False

    def tell(self, event: Event) -> None:
        self.carry_out(self.ledger.handle(event))

    def carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, RunRound):
                self.at_work[command.learner] = command
            elif isinstance(command, StartGrace):
                self.grace.add(command.round)

    @rule(learner=learners)
    def join(self, learner: int) -> None:
        self.tell(LearnerJoined(learner=learner))

    @rule(learner=learners)
    def lose(self, learner: int) -> None:
        self.at_work.pop(learner, None)
        self.tell(LearnerLost(learner=learner))

    @precondition(lambda self: self.at_work)
    @rule(data=st.data(), kind=st.sampled_from([UpdateReceived] * 4 + [UpdateRefused, LearnerFailed]))
    def answer(self, data: st.DataObject, kind: type[UpdateReceived]) -> None:
        order = self.at_work.pop(data.draw(st.sampled_from(sorted(self.at_work))))
        self.on_the_way.append(kind(round=order.round, learner=order.learner, attempt=order.attempt))

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), fate=st.sampled_from(["arrives"] * 6 + ["arrives twice", "is lost"]))
    def deliver(self, data: st.DataObject, fate: str) -> None:
        event = self.on_the_way.pop(data.draw(st.integers(0, len(self.on_the_way) - 1)))
        if fate == "is lost":
            self.is_anything_lost = True
            return
        self.tell(event)
        if fate == "arrives twice":
            self.on_the_way.append(event)

    @precondition(lambda self: self.grace)
    @rule()
    def pass_grace(self) -> None:
        self.tell(GracePassed(round=self.grace.pop()))

    @precondition(lambda self: self.ledger.saving)
    @rule()
    def save(self) -> None:
        assert self.ledger.saving is not None
        self.tell(CheckpointSaved(round=self.ledger.saving))

    @rule(event=noise)
    def disturb(self, event: Event) -> None:
        if isinstance(event, LearnerLost):
            self.at_work.pop(event.learner, None)
        self.tell(event)

    @invariant()
    def the_learners_alive_are_those_that_joined(self) -> None:
        ledger = self.ledger
        if not ledger.machine.is_over:
            assert ledger.machine.learners_alive == len(ledger.present)

    def teardown(self) -> None:
        """From here on all learners answer: the training must come to its end."""
        if not hasattr(self, "ledger"):
            return
        for _ in range(1000):
            if self.ledger.machine.is_over:
                break
            self.calm_step()
        assert self.ledger.finished != self.ledger.given_up
        self.check_end()

    def calm_step(self) -> None:
        absent = [learner for learner in range(NUM_LEARNERS) if learner not in self.ledger.present]
        for learner in absent:
            self.tell(LearnerJoined(learner=learner))
        if self.on_the_way:
            self.tell(self.on_the_way.pop(0))
        elif self.at_work:
            order = self.at_work.pop(min(self.at_work))
            self.tell(UpdateReceived(round=order.round, learner=order.learner, attempt=order.attempt))
        elif self.ledger.saving is not None:
            self.save()
        elif self.grace:
            self.pass_grace()
        else:
            assert self.is_anything_lost, "nothing is at work or on its way: the machine is stuck"
            for order in list(self.ledger.outstanding.values()):
                self.tell(DeadlinePassed(round=order.round, learner=order.learner))

    def check_end(self) -> None:
        pass


class BarrierPool(Pool):
    def make(self, data: st.DataObject) -> Rounds:
        kind = data.draw(st.sampled_from(["plain", "gang", "streaming"]))
        return Rounds(
            num_learners=NUM_LEARNERS,
            num_rounds=NUM_ROUNDS,
            needed_updates=data.draw(st.integers(1, NUM_LEARNERS)),
            max_attempts=data.draw(st.sampled_from([2, 1000])),
            steps_for=lambda _: data.draw(st.integers(1, 9)),
            has_time=lambda: data.draw(st.booleans()),
            is_gang=kind == "gang",
            is_streaming=kind == "streaming",
        )

    def tell(self, event: Event) -> None:
        num_applied = len(self.ledger.applied)
        super().tell(event)
        machine = self.ledger.machine
        assert isinstance(machine, Rounds)
        for command in self.ledger.applied[num_applied:]:
            assert [learner for learner, _ in command.attempts] == sorted(
                {who for who, _ in command.attempts}
            )
            assert len(command.attempts) >= machine.needed_updates
            if machine.is_gang:
                assert len({attempt for _, attempt in command.attempts}) == 1
                learner = command.attempts[0][0]
                order = self.ledger.orders[command.round, learner][-1]
                assert order.members == tuple(learner for learner, _ in command.attempts)

    def check_end(self) -> None:
        rounds = [command.round for command in self.ledger.applied]
        assert rounds == list(range(1, len(rounds) + 1))
        assert len(rounds) == NUM_ROUNDS or self.ledger.given_up


class AsyncPool(Pool):
    def make(self, data: st.DataObject) -> AsyncRounds:
        self.saved: dict[int, int] = {0: 0}
        return AsyncRounds(
            num_learners=NUM_LEARNERS,
            num_rounds=NUM_ROUNDS,
            steps_per_round=10,
            needed_updates=data.draw(st.integers(1, NUM_LEARNERS)),
            max_attempts=data.draw(st.sampled_from([2, 1000])),
            max_staleness=data.draw(st.integers(0, 2)),
            steps_for=lambda _: data.draw(st.integers(1, 12)),
            buffer_size=data.draw(st.none() | st.integers(1, 3)),
        )

    def tell(self, event: Event) -> None:
        machine = self.ledger.machine
        assert isinstance(machine, AsyncRounds)
        super().tell(event)
        if self.ledger.saving is not None:
            self.saved[self.ledger.saving] = machine.steps_done
        total = NUM_ROUNDS * machine.steps_per_round
        if not machine.is_over:
            open_turns = [seat.num_steps for seat in machine._seats]
            assert machine.steps_done + sum(open_turns) <= total
        for command in self.ledger.applied:
            assert all(0 <= staleness <= machine.max_staleness for staleness in command.staleness)

    @precondition(lambda self: not self.ledger.machine.is_over)
    @rule(data=st.data(), round_=numbers)
    def diverge(self, data: st.DataObject, round_: int) -> None:
        machine = self.ledger.machine
        assert isinstance(machine, AsyncRounds)
        commands = self.ledger.handle(Diverged(round=round_))
        self.carry_out(commands)
        if not any(isinstance(command, RollBack) for command in commands):
            return
        best = data.draw(st.sampled_from([saved for saved in self.saved if saved <= round_]))
        self.saved = {saved: steps for saved, steps in self.saved.items() if saved <= best}
        self.ledger.saving = None
        commands = machine.restore(round=best + 1, steps_done=self.saved[best])
        self.ledger.read(commands)
        self.carry_out(commands)

    def check_end(self) -> None:
        machine = self.ledger.machine
        assert isinstance(machine, AsyncRounds)
        if self.ledger.finished:
            assert machine.steps_done == NUM_ROUNDS * machine.steps_per_round


quick = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
BarrierPool.TestCase.settings = quick
AsyncPool.TestCase.settings = quick
TestBarrier = BarrierPool.TestCase
TestAsync = AsyncPool.TestCase


@pytest.mark.slow
class TestBarrierForLong(BarrierPool.TestCase):
    settings = settings(quick, max_examples=1000, stateful_step_count=60)


@pytest.mark.slow
class TestAsyncForLong(AsyncPool.TestCase):
    settings = settings(quick, max_examples=1000, stateful_step_count=60)
