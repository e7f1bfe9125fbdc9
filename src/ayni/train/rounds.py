"""The rounds of one training as a state machine: events in, commands out.

    LearnerJoined ... all present, or grace passed -> RunRound for each
    UpdateReceived: all answered, or the quorum and grace passed -> ApplyUpdates, SaveCheckpoint, and at
        once RunRound of the next round; its ApplyUpdates waits for CheckpointSaved of this one
    LearnerLost, LearnerFailed, UpdateRefused, DeadlinePassed -> RunRound with the next attempt, or
        ExcludeLearner, or GiveUp

There is no clock, network, engine or tensor here, so that each order of events can be tested in
microseconds. An update is named by (round, learner, attempt) and accepted at most once: what arrives
twice, late, or from an attempt that was given up is dropped. What a learner was asked to do in a round
ends in exactly one of ApplyUpdates and AbandonRound, unless GiveUp ends it all.

An absent learner is *awaited* until one time of grace has passed without it; from then on rounds close
without waiting for it, until it joins again. A learner whose abandoned attempt still runs is *busy*: it
gets no order until that attempt ends, because stopping it may cost its process.
A learner that comes late in a round that can do without it waits for the next one, if `has_time` says so.

Two ways to run a round differ from this:

- A *gang* (gradient averaging) starts together with one attempt number. The loss or failure of one member
  voids the attempt, and the next one starts when every member has come to rest, with those present.
- *Streaming* lets a learner go on with the next round as soon as it has sent its update. It gets what
  the round changed by SendModel.

Not covered: training without a barrier, which is async_rounds.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ayni.train.events import (
    ApplyUpdates,
    CheckpointSaved,
    Command,
    DeadlinePassed,
    DropUpdate,
    Event,
    ExcludeLearner,
    Finish,
    GiveUp,
    GracePassed,
    LearnerFailed,
    LearnerJoined,
    LearnerLost,
    SaveCheckpoint,
    SendModel,
    StartGrace,
    UpdateReceived,
    UpdateRefused,
)
from ayni.train.seats import Seat


@dataclass(slots=True, kw_only=True)
class Rounds:
    """State of one training with a barrier at the end of each round.

    `handle` takes one event and returns the commands that follow from it. It never raises on an event
    that comes late or twice: those are facts of life, and lead to DropUpdate or to nothing.

    Attributes:
        num_learners: Seats, numbered from 0. Learners take them, leave them and come back.
        num_rounds: Rounds of the whole training, those before a resume included.
        needed_updates: Updates without which no round closes, from 1 to `num_learners`.
        max_attempts: Failures of one learner between two merges until it is excluded, or the training is
            given up because too few would be left.
        steps_for: Local steps to ask of a learner. A later attempt at the same round takes as many as the
            first, so that it can use the same examples.
        has_time: Whether a learner that begins the current round now can end it in time. If not, and if the
            round can do without it, it waits for the next one: out of step with the others, it would
            come too late again and again. A gang has no use for this.
        counts_refused: A refused update counts as an answer, because the aggregation rule reckons with wrong
            ones: the round needs no other in its place.
        is_gang: Learners average gradients with each other in a round.
        is_streaming: Learners begin the next round before this one is merged.
        round: The round being worked on, counted from 1; `num_rounds` + 1 when all are closed.
    """

    num_learners: int
    num_rounds: int
    needed_updates: int
    max_attempts: int
    steps_for: Callable[[int], int]
    has_time: Callable[[], bool] = lambda: True
    counts_refused: bool = False
    is_gang: bool = False
    is_streaming: bool = False
    round: int = 1
    _seats: list[Seat] = field(default_factory=list, init=False)
    _has_begun: bool = field(default=False, init=False)
    _num_answered: int = field(default=0, init=False)
    _members: tuple[int, ...] = field(default=(), init=False)
    _is_grace_asked: bool = field(default=False, init=False)
    _is_grace_over: bool = field(default=False, init=False)
    _saving_round: int | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.num_learners < 1 or self.num_rounds < 1 or self.max_attempts < 1 or self.round < 1:
            raise ValueError(
                f"{self.num_learners} learners, {self.num_rounds} rounds, {self.max_attempts} attempts, "
                f"round {self.round}: each must be at least 1"
            )
        if not 1 <= self.needed_updates <= self.num_learners:
            raise ValueError(
                f"needed_updates must be from 1 to {self.num_learners} (learners), not {self.needed_updates}"
            )
        if self.is_gang and self.is_streaming:
            raise ValueError("a gang ends each round together and cannot stream: choose one of the two")
        self._seats = [Seat(learner, self.round) for learner in range(self.num_learners)]
        self._is_over = self.round > self.num_rounds

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do, because all rounds are done and safe or the machine gave up."""
        return self._is_over

    @property
    def learners_alive(self) -> int:
        """Learners that have a place to run, and were not excluded."""
        return sum(seat.is_present for seat in self._seats)

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
                seat.is_present = seat.is_awaited = not seat.is_excluded
            case LearnerLost():
                seat = self._seat(event.learner)
                seat.is_present = False
                commands = self._end_attempt(seat)
            case LearnerFailed():
                seat = self._seat(event.learner)
                if seat.is_running(event):
                    commands = self._end_attempt(seat)
            case DeadlinePassed():
                commands = self._pass_deadline(event)
            case GracePassed():
                self._pass_grace(event)
            case CheckpointSaved():
                commands = self._note_checkpoint(event)
        return commands + self._go_on()

    def _seat(self, learner: int) -> Seat:
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
            seat.running = None
            seat.work(event.round).has_update = True
            self._num_answered += event.round == self.round
            return []
        dropped: list[Command] = [
            DropUpdate(
                round=event.round,
                learner=event.learner,
                attempt=event.attempt,
                reason=reason or "it cannot be used",
            )
        ]
        if reason is None and not self.is_gang:
            seat.work(event.round).is_refused = True
            self._num_answered += self.counts_refused and event.round == self.round
        # Dropped or not, an update says that its sender has come to rest.
        return dropped + (self._end_attempt(seat) if seat.is_running(event) else [])

    def _why_not(self, seat: Seat, event: UpdateReceived | UpdateRefused) -> str | None:
        """Why an update cannot be taken; None when it is the one that is waited for."""
        if self._is_over:
            return "the training is over"
        reason = seat.why_not(event)
        if reason is None and self.is_gang and not self._members:
            reason = "another member of its gang was lost"
        return reason

    def _end_attempt(self, seat: Seat) -> list[Command]:
        """Note that the attempt a learner worked on came to nothing, if there was one that mattered."""
        order, seat.running = seat.running, None
        if order is None or order.round < self.round:
            return []
        # In a broken gang the others fail because of the first one, which alone is to blame.
        is_blamed = not self.is_gang or bool(self._members)
        seat.num_failures += is_blamed
        return self._void_gang() if self.is_gang and is_blamed else []

    def _void_gang(self) -> list[Command]:
        self._members = ()
        return self._drop_held("another member of its gang was lost")

    def _drop_held(self, reason: str) -> list[Command]:
        """Drop all updates that were taken and not applied yet."""
        dropped: list[Command] = []
        self._num_answered = 0
        for seat in self._seats:
            for round_, work in ((self.round, seat.now), (self.round + 1, seat.ahead)):
                if work.has_update:
                    work.has_update = False
                    dropped.append(
                        DropUpdate(round=round_, learner=seat.learner, attempt=work.attempt, reason=reason)
                    )
        return dropped

    def _pass_deadline(self, event: DeadlinePassed) -> list[Command]:
        if event.learner is not None:
            # This order may be one of an earlier round, which closed without it.
            seat = self._seat(event.learner)
            late = [seat] if seat.running is not None and seat.running.round == event.round else []
        elif event.round == self.round:
            late = [
                seat for seat in self._seats if seat.running is not None and seat.running.round <= self.round
            ]
        else:
            return []
        if event.learner is None and self.learners_alive < self.needed_updates:
            # An absent learner uses up attempts too; one that never returns must not hold the job.
            for seat in self._seats:
                seat.num_failures += not seat.is_present and not seat.now.has_update
        if not self.is_gang:
            return [command for seat in late for command in self._end_attempt(seat)]
        # In a gang one hung member holds all others up, and nobody can tell which it was.
        for seat in late:
            seat.num_failures += 1
            seat.running = None
        return self._void_gang() if late else []

    def _pass_grace(self, event: GracePassed) -> None:
        if event.round == self.round and self._is_grace_asked:
            self._is_grace_asked, self._is_grace_over = False, True
            for seat in self._seats:
                seat.is_awaited = seat.is_present

    def _note_checkpoint(self, event: CheckpointSaved) -> list[Command]:
        if event.round != self._saving_round:
            return []
        self._saving_round = None
        self._is_over = self.round > self.num_rounds
        return [Finish()] if self._is_over else []

    # What follows from the state, after any event.

    def _go_on(self) -> list[Command]:
        commands: list[Command] = [] if self._is_over else self._remove_used_up()
        if self._is_over or self.round > self.num_rounds:
            return commands
        commands += self._start_gang() if self.is_gang else self._start_idle()
        if not self._is_complete():
            return commands + self._ask_for_grace()
        if self._saving_round is not None:
            return commands
        return commands + self._close() + self._go_on()

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

    def _exclude(self, seat: Seat) -> list[Command]:
        excluded = ExcludeLearner(learner=seat.learner, round=self.round, attempts=seat.num_failures)
        return [*seat.exclude(), excluded]

    def _start_idle(self) -> list[Command]:
        """Give every learner that has nothing to do the next thing that is of use."""
        if not self._has_begun:
            if not self._may_begin():
                return []
            self._has_begun, self._is_grace_asked, self._is_grace_over = True, False, False
        idle = [seat for seat in self._seats if seat.running is None and seat.is_present]
        if not idle:
            return []
        # A round that waits for nothing but the disk takes nobody in any more.
        is_open, num_expected = not self._is_complete(), self._num_expected()
        is_in_time = num_expected == 0 or self.has_time()
        commands: list[Command] = []
        for seat in sorted(idle, key=lambda seat: seat.now.is_refused):
            if seat.now.has_update:
                commands += [self._run(seat, self.round + 1)] if self._may_run_ahead(seat) else []
            elif is_open and (num_expected < self.needed_updates or (is_in_time and not seat.now.is_refused)):
                # Whoever was refused, or would come too late, tries only if the round cannot do without.
                self._num_answered -= self._has_answered(seat)
                seat.now.is_refused = False
                num_expected += 1
                commands.append(self._run(seat, self.round))
        return commands

    def _may_run_ahead(self, seat: Seat) -> bool:
        is_useful = not seat.ahead.has_update and not seat.ahead.is_refused
        return self.is_streaming and self.round < self.num_rounds and is_useful

    def _num_expected(self) -> int:
        """Updates of the current round that are there or on their way."""
        return sum(seat.is_at_work or self._has_answered(seat) for seat in self._seats)

    def _has_answered(self, seat: Seat) -> bool:
        return seat.now.has_update or (self.counts_refused and seat.now.is_refused)

    def _run(self, seat: Seat, round_: int) -> Command:
        return seat.run(round_, steps_for=self.steps_for, members=self._members)

    def _start_gang(self) -> list[Command]:
        """Start all present learners together, once everybody is at rest; those that come later wait."""
        if self._members or any(seat.running for seat in self._seats) or not self._may_begin():
            return []
        members = [seat for seat in self._seats if seat.is_present]
        self._members = tuple(seat.learner for seat in members)
        self._has_begun, self._is_grace_asked, self._is_grace_over = True, False, False
        # One number for all members: it names the meeting place of this try.
        latest = max(seat.now.attempt for seat in self._seats)
        num_steps = max(seat.now.num_steps for seat in self._seats) or self.steps_for(self._members[0])
        for seat in members:
            seat.now.attempt, seat.now.num_steps = latest, num_steps
        return [self._run(seat, self.round) for seat in members]

    def _may_begin(self) -> bool:
        return self.learners_alive >= self.needed_updates and not any(self._absent_awaited())

    def _absent_awaited(self) -> Iterator[Seat]:
        return (seat for seat in self._seats if seat.is_awaited and not seat.is_present)

    def _is_complete(self) -> bool:
        """Whether the round waits for no update any more."""
        if self.is_gang:
            return bool(self._members) and self._num_answered == len(self._members)
        if self._num_answered < self.needed_updates or not any(seat.now.has_update for seat in self._seats):
            return False
        return self._is_grace_over or not self._is_somebody_late()

    def _is_somebody_late(self) -> bool:
        """Whether an update may still come that a round with its quorum is willing to wait for."""
        return any(seat.is_at_work for seat in self._seats) or any(
            not seat.now.has_update for seat in self._absent_awaited()
        )

    def _ask_for_grace(self) -> list[Command]:
        """Ask for the time of grace when only those are missing that the round can do without."""
        if self._has_begun and not self.is_gang:
            is_due = self._num_answered >= self.needed_updates
        else:
            is_at_rest = not self._members and not any(seat.running for seat in self._seats)
            is_due = is_at_rest and self.learners_alive >= self.needed_updates
        if not is_due or self._is_grace_asked:
            return []
        self._is_grace_asked = True
        return [StartGrace(round=self.round)]

    def _close(self) -> list[Command]:
        """Merge what came, and turn to the next round."""
        attempts = tuple((seat.learner, seat.now.attempt) for seat in self._seats if seat.now.has_update)
        commands = [command for seat in self._seats for command in seat.abandon(self.round)]
        commands += [
            ApplyUpdates(round=self.round, attempts=attempts, staleness=(0,) * len(attempts)),
            SaveCheckpoint(round=self.round),
        ]
        merged, self._saving_round = self.round, self.round
        self.round += 1
        self._members, self._is_grace_asked, self._is_grace_over = (), False, False
        for seat in self._seats:
            seat.turn_to_next_round()
        self._num_answered = sum(map(self._has_answered, self._seats))
        # Whoever works on the next round already began it before the merge.
        commands += [SendModel(round=merged, learner=seat.learner) for seat in self._seats if seat.is_at_work]
        return commands
