"""The rounds of one training as a state machine: events in, commands out.

    LearnerJoined ... all present -> RunRound for each learner
    UpdateReceived, once per learner -> ApplyUpdates, SaveCheckpoint
    CheckpointSaved -> the next round, or Finish
    LearnerLost, LearnerFailed, DeadlinePassed -> RunRound with the next attempt, or GiveUp

There is no clock, network, engine or tensor here, so that each order of events can be tested in
microseconds. An update is named by (round, learner, attempt) and accepted at most once: what arrives
twice, late, or from an attempt that was given up is dropped.

A *gang* is a set of learners that talk to each other while they compute (gradient averaging): when
one of them is lost, the whole round starts again once every member has come to rest.

Not covered: rounds that go on without a slow learner (quorum), and learners that join for good in
the middle of a job; the number of learners is fixed because their shards are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerJoined:
    """A learner has a place to run: at the start, or again after it was lost."""

    learner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReceived:
    """A learner sent the update of one attempt."""

    round: int
    learner: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerLost:
    """The place where a learner ran is gone, and with it the attempt it was working on."""

    learner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerFailed:
    """An attempt ended with an error that another try may not meet; the learner is still there."""

    round: int
    learner: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed:
    """A round took longer than it may."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """The state after a round is safe."""

    round: int


Event: TypeAlias = (
    LearnerJoined | UpdateReceived | LearnerLost | LearnerFailed | DeadlinePassed | CheckpointSaved
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRound:
    """Let a learner work on a round. It replaces any earlier attempt that still runs."""

    round: int
    learner: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyUpdates:
    """Combine the updates of these attempts, in this order: learner 0 first, whoever came first."""

    round: int
    attempts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropUpdate:
    """Forget an update, and say why."""

    round: int
    learner: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveCheckpoint:
    """Make the state after a round safe, then report CheckpointSaved."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """All rounds are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """A learner used up its attempts at a round."""

    round: int
    learner: int
    attempts: int


Command: TypeAlias = RunRound | ApplyUpdates | DropUpdate | SaveCheckpoint | Finish | GiveUp


@dataclass(slots=True)
class _Seat:
    """What is known of one learner."""

    is_present: bool = False
    attempt: int = 0
    is_running: bool = False
    has_update: bool = False


@dataclass(slots=True)
class Rounds:
    """State of one training. `round` is the round being worked on, counted from 1.

    `handle` takes one event and returns the commands that follow from it. It never raises on an
    event that comes late or twice: those are facts of life, and lead to DropUpdate or to nothing.
    """

    num_learners: int
    num_rounds: int
    max_attempts: int
    is_gang: bool = False
    round: int = 1
    _seats: list[_Seat] = field(default_factory=list)
    _is_saving: bool = False
    _is_over: bool = False

    def __post_init__(self) -> None:
        if self.num_learners < 1 or self.num_rounds < 1 or self.max_attempts < 1:
            raise ValueError(
                f"{self.num_learners} learners, {self.num_rounds} rounds, {self.max_attempts} attempts: "
                "each must be at least 1"
            )
        self._seats = [_Seat() for _ in range(self.num_learners)]
        self._is_over = self.round > self.num_rounds

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do, because all rounds are done or the machine gave up."""
        return self._is_over

    @property
    def learners_alive(self) -> int:
        """Learners that have a place to run."""
        return sum(seat.is_present for seat in self._seats)

    def handle(self, event: Event) -> list[Command]:
        """The commands that follow from an event, to be carried out in order."""
        commands: list[Command] = []
        match event:
            case UpdateReceived():
                commands = self._take_update(event)
            case _ if self._is_over:
                pass
            case LearnerJoined():
                self._seats[event.learner].is_present = True
                commands = self._start_waiting()
            case LearnerLost():
                commands = self._lose(event.learner)
            case LearnerFailed():
                commands = self._fail(event)
            case DeadlinePassed():
                commands = self._pass_deadline(event)
            case CheckpointSaved():
                commands = self._begin_next_round(event)
        return commands

    def _take_update(self, event: UpdateReceived) -> list[Command]:
        reason = self._why_not(event)
        if reason is not None:
            return [
                DropUpdate(round=event.round, learner=event.learner, attempt=event.attempt, reason=reason),
                *self._rest(event),
            ]
        seat = self._seats[event.learner]
        seat.is_running, seat.has_update = False, True
        if not all(other.has_update for other in self._seats):
            return []
        self._is_saving = True
        attempts = tuple((learner, seat.attempt) for learner, seat in enumerate(self._seats))
        return [ApplyUpdates(round=self.round, attempts=attempts), SaveCheckpoint(round=self.round)]

    def _why_not(self, event: UpdateReceived) -> str | None:
        seat = self._seats[event.learner]
        if self._is_over or event.round != self.round or self._is_saving:
            return "its round is closed"
        if event.attempt != seat.attempt:
            return f"attempt {seat.attempt} has replaced it"
        if seat.has_update:
            return "it came twice"
        if not seat.is_running:
            return "its attempt was given up"
        if self.is_gang and self._gang_is_broken():
            return "another member of its gang was lost"
        return None

    def _rest(self, event: UpdateReceived) -> list[Command]:
        """Dropped or not, an update says that this member of a broken gang has come to rest."""
        seat = self._seats[event.learner]
        if self._is_over or self._is_saving or not self.is_gang:
            return []
        if (event.round, event.attempt) == (self.round, seat.attempt) and not seat.has_update:
            seat.is_running = False
        return self._start_waiting()

    def _lose(self, learner: int) -> list[Command]:
        seat = self._seats[learner]
        was_running = seat.is_running
        seat.is_present, seat.is_running = False, False
        # A gang member that had already answered is only absent; its update counts.
        if was_running and self.is_gang:
            self._void_updates()
        return self._start_waiting()

    def _fail(self, event: LearnerFailed) -> list[Command]:
        seat = self._seats[event.learner]
        if (event.round, event.attempt) != (self.round, seat.attempt) or not seat.is_running:
            return []
        seat.is_running = False
        if self.is_gang:
            self._void_updates()
        return self._start_waiting()

    def _pass_deadline(self, event: DeadlinePassed) -> list[Command]:
        if event.round != self.round or self._is_saving:
            return []
        for seat in self._seats:
            if seat.is_running:
                seat.is_running = False
            elif not seat.has_update and not seat.is_present:
                # An absent learner uses up attempts too; one that never returns must not hold the job.
                seat.attempt += 1
        if self.is_gang:
            self._void_updates()
        return self._start_waiting()

    def _begin_next_round(self, event: CheckpointSaved) -> list[Command]:
        if event.round != self.round or not self._is_saving:
            return []
        self._is_saving = False
        if self.round == self.num_rounds:
            self._is_over = True
            return [Finish()]
        self.round += 1
        for seat in self._seats:
            seat.attempt, seat.is_running, seat.has_update = 0, False, False
        return self._start_waiting()

    def _gang_is_broken(self) -> bool:
        """Whether some member will never answer this attempt: it neither runs nor has answered."""
        return any(not seat.is_running and not seat.has_update for seat in self._seats)

    def _void_updates(self) -> None:
        for seat in self._seats:
            seat.has_update = False

    def _start_waiting(self) -> list[Command]:
        """Start every learner that can run and has nothing to do; a gang starts together or not at all."""
        if self._is_saving:
            return []
        waiting = [
            learner
            for learner, seat in enumerate(self._seats)
            if seat.is_present and not seat.is_running and not seat.has_update
        ]
        if self.is_gang:
            waiting = waiting if len(waiting) == self.num_learners else []
            # One number for all members: it names the meeting place of this try.
            latest = max(seat.attempt for seat in self._seats)
            for learner in waiting:
                self._seats[learner].attempt = latest
        return self._give_up_or(self._run(learner) for learner in waiting)

    def _run(self, learner: int) -> Command:
        seat = self._seats[learner]
        if seat.attempt >= self.max_attempts:
            return GiveUp(round=self.round, learner=learner, attempts=seat.attempt)
        seat.attempt += 1
        seat.is_running = True
        return RunRound(round=self.round, learner=learner, attempt=seat.attempt)

    def _give_up_or(self, commands: Iterable[Command]) -> list[Command]:
        collected = list(commands)
        absent = [
            GiveUp(round=self.round, learner=learner, attempts=seat.attempt)
            for learner, seat in enumerate(self._seats)
            if not seat.is_present and seat.attempt >= self.max_attempts and not seat.has_update
        ]
        giving_up = [command for command in collected if isinstance(command, GiveUp)] + absent
        if giving_up:
            self._is_over = True
            return [giving_up[0]]
        return collected
