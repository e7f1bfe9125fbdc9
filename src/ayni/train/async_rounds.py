"""Training without a barrier as a state machine: events in, commands out.

    LearnerJoined -> RunRound, turn by turn; an accepted update -> ApplyUpdates, RunRound of the next turn
    every `steps_per_round` accepted local steps -> SaveCheckpoint; the next ApplyUpdates waits for
        CheckpointSaved, while learners compute on
    Diverged -> RollBack; the caller then says by `restore` where training goes on

A learner's orders are its *turns*, counted from 1: `round` in RunRound, UpdateReceived, LearnerFailed,
DropUpdate and AbandonRound is a turn, and in all other commands a round of the job. Each turn ends in
exactly one of ApplyUpdates and AbandonRound, unless GiveUp ends it all.

Orders never ask for more steps than are missing, those under way counted, so that the job takes exactly
`num_rounds * steps_per_round` local steps however many updates are lost.

Staleness counts *versions*, of `buffer_size` accepted updates each. With one version an update, a pool of
learners of equal speed would exceed any cap by its size alone.

Source: Liu et al., "Asynchronous Local-SGD Training for Language Modeling", 2024, Algorithms 1 and 3,
arXiv:2401.09135; staleness and its cap as in Nguyen et al., "Federated Learning with Buffered
Asynchronous Aggregation" (FedBuff), AISTATS 2022, arXiv:2106.06639. Buffers, the roll back and the exact
number of steps are ours. There is no clock, network, engine or tensor here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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
    LearnerFailed,
    LearnerJoined,
    LearnerLost,
    RollBack,
    RunRound,
    SaveCheckpoint,
    UpdateReceived,
    UpdateRefused,
)


@dataclass(slots=True, eq=False)
class _Seat:
    """What is known of one learner.

    `num_steps` are those of its open turn, and 0 when it has none; `running` is the order that it works
    on, which may be one of a turn that is not open any more; `base` is how many updates the model held
    when that order was given.
    """

    learner: int
    is_present: bool = False
    is_excluded: bool = False
    turn: int = 0
    attempt: int = 0
    num_steps: int = 0
    num_failures: int = 0
    base: int = 0
    running: RunRound | None = None
    answered: tuple[int, int] | None = None
    is_held: bool = False


@dataclass(slots=True, kw_only=True)
class AsyncRounds:
    """State of one training without a barrier.

    `handle` takes one event and returns the commands that follow from it. It never raises on an event
    that comes late or twice: those are facts of life, and lead to DropUpdate or to nothing.

    Attributes:
        num_learners: Seats, numbered from 0. Learners take them, leave them and come back.
        num_rounds: Rounds of the whole training, those before a resume included.
        steps_per_round: Accepted local steps, of all learners together, from one checkpoint to the next.
        needed_updates: Learners that must be there for orders to be given, from 1 to `num_learners`.
        max_attempts: Failures of one learner in a row until it is excluded, or the training given up.
        max_staleness: Versions that the model may have moved on since an update's base.
        steps_for: Local steps to ask of a learner in a new turn. A later attempt at the same turn takes as
            many as the first, so that it can use the same examples.
        buffer_size: Updates in a version; None = as many as there are learners.
        turns: Turns that each learner had closed when the checkpoint was made that this goes on from.
            Turns go on from there, because what a learner kept of its own is found by them.
        round: The round being worked on, counted from 1; `num_rounds` + 1 when all steps are taken.
        steps_done: Local steps whose updates entered the model.
    """

    num_learners: int
    num_rounds: int
    steps_per_round: int
    needed_updates: int
    max_attempts: int
    max_staleness: int
    steps_for: Callable[[int], int]
    buffer_size: int | None = None
    turns: Mapping[int, int] = field(default_factory=dict)
    round: int = 1
    steps_done: int = 0
    _seats: list[_Seat] = field(default_factory=list, init=False)
    _held: list[_Seat] = field(default_factory=list, init=False)
    _num_applied: int = field(default=0, init=False)
    _saving_round: int | None = field(default=None, init=False)
    _is_rolling_back: bool = field(default=False, init=False)
    _is_over: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        counts = (self.num_learners, self.num_rounds, self.steps_per_round, self.max_attempts, self.round)
        if min(counts) < 1 or self.max_staleness < 0 or self.steps_done < 0:
            raise ValueError(
                f"{self.num_learners} learners, {self.num_rounds} rounds of {self.steps_per_round} steps, "
                f"{self.max_attempts} attempts, round {self.round}: each must be at least 1; staleness "
                f"{self.max_staleness} and {self.steps_done} steps done: each must be at least 0"
            )
        if not 1 <= self.needed_updates <= self.num_learners:
            raise ValueError(
                f"needed_updates must be from 1 to {self.num_learners} (learners), not {self.needed_updates}"
            )
        if self.buffer_size is not None and self.buffer_size < 1:
            raise ValueError(f"buffer_size must be at least 1, not {self.buffer_size}")
        self._seats = [
            _Seat(learner, turn=self.turns.get(learner, 0)) for learner in range(self.num_learners)
        ]
        self._is_over = self.round > self.num_rounds

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do, because all steps are taken and safe or the machine gave up."""
        return self._is_over

    @property
    def learners_alive(self) -> int:
        """Learners that have a place to run, and were not excluded."""
        return sum(seat.is_present for seat in self._seats)

    @property
    def closed_turns(self) -> dict[int, int]:
        """By learner, its last turn that was applied or given up; what to keep as `turns` of the next try."""
        return {seat.learner: seat.turn - (seat.num_steps > 0) for seat in self._seats}

    def handle(self, event: Event) -> list[Command]:
        """The commands that follow from an event, to be carried out in order.

        Raises:
            ValueError: the event names a learner that does not exist.
        """
        commands: list[Command] = []
        match event:
            case UpdateReceived() | UpdateRefused():
                commands = self._take_update(event)
            case _ if self._is_over:
                pass
            case LearnerJoined():
                seat = self._seat(event.learner)
                seat.is_present = not seat.is_excluded
            case LearnerLost():
                commands = self._lose(self._seat(event.learner))
            case LearnerFailed():
                self._end_attempt(self._seat(event.learner), event)
            case DeadlinePassed():
                self._pass_deadline(event)
            case CheckpointSaved():
                commands = self._note_checkpoint(event)
            case Diverged():
                commands = self._roll_back(event)
        return commands + self._go_on()

    def restore(self, *, round: int, steps_done: int) -> list[Command]:
        """Go on from another state, after RollBack: from this round, with so many steps taken.

        Learners that still work on an order from before are left alone until it ends; what they bring is
        dropped. A CheckpointSaved from before must not be reported any more.
        """
        self.round, self.steps_done = round, steps_done
        self._saving_round, self._is_rolling_back = None, False
        return self._go_on()

    def _seat(self, learner: int) -> _Seat:
        if not 0 <= learner < self.num_learners:
            raise ValueError(
                f"there is no learner {learner}: they are numbered from 0 to {self.num_learners - 1}"
            )
        return self._seats[learner]

    # What events change.

    def _take_update(self, event: UpdateReceived | UpdateRefused) -> list[Command]:
        seat = self._seat(event.learner)
        reason = self._why_not(seat, event)
        if reason is None and isinstance(event, UpdateReceived):
            seat.running, seat.answered, seat.is_held = None, (event.round, event.attempt), True
            self._held.append(seat)
            return []
        self._end_attempt(seat, event)
        return [
            DropUpdate(
                round=event.round,
                learner=event.learner,
                attempt=event.attempt,
                reason=reason or "it cannot be used",
            )
        ]

    def _why_not(self, seat: _Seat, event: UpdateReceived | UpdateRefused) -> str | None:
        """Why an update cannot be taken; None when it is the one that is waited for."""
        name, latest = (event.round, event.attempt), (seat.turn, seat.attempt)
        reason: str | None = "its attempt was given up"
        if self._is_over:
            reason = "the training is over"
        elif seat.is_excluded:
            reason = "its learner was excluded"
        elif name == seat.answered:
            reason = "it came twice"
        elif event.round > seat.turn or (event.round == seat.turn and event.attempt > seat.attempt):
            reason = "it was never asked for"
        elif name != latest:
            reason = f"attempt {seat.attempt} of turn {seat.turn} has replaced it"
        elif seat.running is not None:
            reason = None if seat.num_steps else "the model it started from was rolled back"
        return reason

    def _end_attempt(self, seat: _Seat, event: UpdateReceived | UpdateRefused | LearnerFailed) -> None:
        """Note that the attempt a learner worked on came to nothing, if the event is about that one."""
        if seat.running is not None and (event.round, event.attempt) == (seat.turn, seat.attempt):
            seat.running = None
            # An attempt whose base was rolled back is nobody's failure.
            seat.num_failures += seat.num_steps > 0

    def _lose(self, seat: _Seat) -> list[Command]:
        seat.is_present = False
        if seat.is_held:
            return []
        seat.num_failures += seat.running is not None and seat.num_steps > 0
        seat.running = None
        # Its steps are free for those who are still there.
        return self._abandon(seat)

    def _pass_deadline(self, event: DeadlinePassed) -> None:
        if event.learner is not None:
            seat = self._seat(event.learner)
            if seat.running is not None and seat.turn == event.round:
                seat.running = None
                seat.num_failures += seat.num_steps > 0
        elif event.round == self.round and self.learners_alive < self.needed_updates:
            # Absent learners use up attempts too; those that never return must not hold the job.
            for seat in self._seats:
                seat.num_failures += not seat.is_present and not seat.is_excluded

    def _note_checkpoint(self, event: CheckpointSaved) -> list[Command]:
        if event.round != self._saving_round:
            return []
        self._saving_round = None
        self._is_over = self.round > self.num_rounds
        return [Finish()] if self._is_over else []

    def _roll_back(self, event: Diverged) -> list[Command]:
        if event.round >= self.round or self._is_rolling_back:
            return []
        self._is_rolling_back = True
        commands = self._drop_held("the model it started from was rolled back")
        commands += [command for seat in self._seats for command in self._abandon(seat)]
        return [*commands, RollBack(round=event.round)]

    def _drop_held(self, reason: str) -> list[Command]:
        dropped: list[Command] = [_drop(seat, reason) for seat in self._held]
        for seat in self._held:
            seat.is_held = False
        self._held.clear()
        return dropped

    def _abandon(self, seat: _Seat) -> list[Command]:
        """Close the open turn of a learner without its update."""
        if not seat.num_steps:
            return []
        seat.num_steps = 0
        return [AbandonRound(round=seat.turn, learner=seat.learner, attempt=seat.attempt)]

    # What follows from the state, after any event.

    def _go_on(self) -> list[Command]:
        if self._is_over:
            return []
        commands = self._remove_used_up()
        while self._held and self._saving_round is None and not self._is_over:
            commands += self._apply(self._held.pop(0))
        return commands if self._is_over or self._is_rolling_back else commands + self._start_idle()

    def _remove_used_up(self) -> list[Command]:
        """Exclude the learners that used up their attempts, or give up when too few would be left."""
        used_up = [
            seat for seat in self._seats if seat.num_failures >= self.max_attempts and not seat.is_excluded
        ]
        if not used_up:
            return []
        num_candidates = sum(not seat.is_excluded for seat in self._seats)
        if num_candidates - len(used_up) >= self.needed_updates:
            return [command for seat in used_up for command in self._exclude(seat)]
        self._is_over = True
        first = used_up[0]
        return [
            *self._drop_held("the training was given up"),
            GiveUp(round=self.round, learner=first.learner, attempts=first.num_failures),
        ]

    def _exclude(self, seat: _Seat) -> list[Command]:
        seat.is_excluded, seat.is_present, seat.running = True, False, None
        return [
            *([] if seat.is_held else self._abandon(seat)),
            ExcludeLearner(learner=seat.learner, round=self.round, attempts=seat.num_failures),
        ]

    def _apply(self, seat: _Seat) -> list[Command]:
        """Take one update into the model, unless too much has happened since its base."""
        seat.is_held = False
        updates_a_version = self.buffer_size or self.num_learners
        staleness = self._num_applied // updates_a_version - seat.base // updates_a_version
        if staleness > self.max_staleness:
            reason = f"its base is {staleness} versions old, and {self.max_staleness} are allowed"
            return [_drop(seat, reason), *self._abandon(seat)]
        commands: list[Command] = [
            ApplyUpdates(round=self.round, attempts=((seat.learner, seat.attempt),), staleness=(staleness,))
        ]
        self._num_applied += 1
        self.steps_done += seat.num_steps
        seat.num_steps = seat.num_failures = 0
        if self.steps_done >= self.round * self.steps_per_round:
            self._saving_round = self.round
            commands.append(SaveCheckpoint(round=self.round))
            self.round += 1
        return commands

    def _start_idle(self) -> list[Command]:
        """Give every learner that has nothing to do its next turn, or the next attempt at an open one."""
        if self.learners_alive < self.needed_updates:
            return []
        idle = [seat for seat in self._seats if seat.running is None and seat.is_present and not seat.is_held]
        missing = self._steps_missing() if idle else 0
        commands: list[Command] = []
        for seat in idle:
            if seat.num_steps:
                seat.attempt += 1
                commands.append(self._run(seat))
            elif missing > 0:
                # At most a round's worth, so that one update never ends two rounds.
                seat.num_steps = min(max(1, self.steps_for(seat.learner)), self.steps_per_round, missing)
                missing -= seat.num_steps
                seat.turn, seat.attempt = seat.turn + 1, 1
                commands.append(self._run(seat))
        return commands

    def _steps_missing(self) -> int:
        """Steps that are neither taken nor asked for."""
        steps_asked_for = sum(seat.num_steps for seat in self._seats)
        return self.num_rounds * self.steps_per_round - self.steps_done - steps_asked_for

    def _run(self, seat: _Seat) -> Command:
        seat.base = self._num_applied
        seat.running = RunRound(
            round=seat.turn, learner=seat.learner, attempt=seat.attempt, num_steps=seat.num_steps
        )
        return seat.running


def _drop(seat: _Seat, reason: str) -> Command:
    return DropUpdate(round=seat.turn, learner=seat.learner, attempt=seat.attempt, reason=reason)
