"""The coordinator's loop: events of the engine to the state machine, its commands to the engine.

`Rounds` or `AsyncRounds` decides; this file carries out, and moves no tensor itself: the model is in
shared_model.py, blocks of examples in leases.py, deadlines in clocks.py, figures in round_meter.py.

While learners work on the next round, a thread writes the checkpoint and this one validates. Neither
may see the model change: the state machine holds the next merge until the checkpoint is saved.
"""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayni.train.accepted import AcceptedUpdate, reconcile_accepted, write_unused
from ayni.train.async_rounds import AsyncRounds
from ayni.train.checkpoint import Checkpoint, Totals, save_checkpoint
from ayni.train.checkpoint_writer import CheckpointWriter
from ayni.train.clocks import Clocks
from ayni.train.codec import FrameError
from ayni.train.curve import append_notice, append_round, reconcile_curve
from ayni.train.divergence import DivergenceGuard
from ayni.train.engine import (
    AttemptFailed,
    Engine,
    EngineEvent,
    EngineNotice,
    LearnerUpdate,
    Order,
    PlaceFound,
    PlaceLost,
    Session,
)
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
    GiveUp,
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
from ayni.train.failures import Failures
from ayni.train.frame_store import SpillingStore
from ayni.train.intake import Intake, WrongExamplesError, to_accepted
from ayni.train.leases import Leases
from ayni.train.lent_frames import SMALL_BYTES, total_bytes
from ayni.train.named_arrays import num_bytes
from ayni.train.pace import Pace
from ayni.train.result import Observer, RoundProgress
from ayni.train.round_meter import RoundMeter
from ayni.train.shared_model import MergeTerms, SharedModel
from ayni.train.started import StartedAttempts
from ayni.train.state_machine import make_rounds
from ayni.train.stream import Stream
from ayni.train.validation import Validator

# A checkpoint's end must be noticed at once: the next merge waits for it.
_SAVING_TICK_SECONDS = 0.005
# Updates that wait for the merge are kept in memory up to this size together, and on disk beyond it: the
# memory that is left beside a large model and its momentum is for other things.
_STORE_BYTES, _STORE_BYTES_BESIDE_LARGE = 64 * 2**20, 4 * 2**20


class Coordinator:
    """One call of `train`, after everything that can be refused was refused.

    Args:
        session: What learners need to know.
        validator: A replica of the coordinator's own, with the data that judges it.
        model: The model as of the checkpoint.
        checkpoint: Where to go on; round 0 is the beginning.
        num_examples: Of the training split.
        folder: Of this training, see training.py.
        engine: Where learners run.
        observer: Who watches.
    """

    def __init__(
        self,
        session: Session,
        validator: Validator,
        model: SharedModel,
        checkpoint: Checkpoint,
        *,
        num_examples: int,
        folder: Path,
        engine: Engine,
        observer: Observer,
    ) -> None:
        self._session, self._config = session, session.config
        self._validator, self._model = validator, model
        self._num_examples, self._folder = num_examples, folder
        self._engine, self._observer = engine, observer
        self._meter = RoundMeter(checkpoint.totals)
        self._pace = Pace(self._config, checkpoint.extra.get("speeds"))
        self._clocks = Clocks(self._config, now=time.monotonic())
        is_large = num_bytes(model.parameters) > SMALL_BYTES
        budget_bytes = _STORE_BYTES_BESIDE_LARGE if is_large else _STORE_BYTES
        self._store = SpillingStore(folder / "updates", budget_bytes=budget_bytes)
        self._writer = CheckpointWriter(folder)
        self._adopt(checkpoint)
        self._rounds = make_rounds(
            self._config, checkpoint, steps_for=self._steps_for, has_time=self._has_time
        )
        # What each learner holds of the model, which of them cannot build it, and whose last update counts.
        self._held: dict[int, int] = {}
        self._cannot_build: set[int] = set()
        self._excluded: set[int] = set()
        self._has_contributed = {update.learner for update in checkpoint.last_updates}
        self._failures = Failures(can_spare=self._config.needed_updates < self._config.learners)
        # (round, learner) whose update was refused since the last merge.
        self._refused: set[tuple[int, int]] = set()
        factor = self._config.asynchronous.guard_factor if self._config.strategy == "async" else None
        self._guard = DivergenceGuard(folder, factor, num_returns=checkpoint.extra.get("num_returns", 0))
        self._guard_loss: float | None = None
        self._started = StartedAttempts(folder, session.session_id, privacy=session.privacy)
        self._to_handle: list[Event] = []

    @property
    def totals(self) -> Totals:
        """Sums over all tries of this training."""
        return self._meter.totals

    def run(self) -> None:
        """All rounds that are left."""
        try:
            if not self._rounds.is_over:
                self._engine.open(self._session, self._store)
            while not self._rounds.is_over:
                for happened in self._engine.wait(self._seconds_to_wait()):
                    self._take(happened)
                self._validate_if_due()
                self._see_whether_saved()
                self._watch_clocks()
            self._validate_if_due()
            write_unused(self._folder, self._stream.holes)
        finally:
            self._writer.close()
            self._store.close()

    def _adopt(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, and mend the appended files so that they agree with it."""
        self._fingerprint = checkpoint.fingerprint
        self._stream = Stream.from_json(checkpoint.stream)
        self._leases = Leases(self._stream, self._config.batch_size)
        self._intake = Intake(self._model, self._leases, self._store, strategy=self._config.strategy)
        self._steps_done = checkpoint.steps_done
        self._accepted: list[AcceptedUpdate] = []
        self._progress = checkpoint.last_progress
        self._rate_scale = float(checkpoint.extra.get("rate_scale", 1.0))
        reconcile_accepted(self._folder, last_round=checkpoint.round, last_updates=checkpoint.last_updates)
        has_line = reconcile_curve(self._folder, last_round=checkpoint.round)
        self._is_validation_due = checkpoint.round > 0 and not has_line

    def _steps_for(self, learner: int) -> int:
        wanted, size = self._pace.steps_for(learner), self._config.batch_size
        return max(1, self._stream.fitting(wanted * size) // size)

    def _has_time(self) -> bool:
        """Whether a learner that begins the present round now can end it while others are waited for."""
        return self._clocks.is_young(round_=self._rounds.round, now=time.monotonic())

    # Events

    def _take(self, happened: EngineEvent) -> None:
        """Let the state machine decide about an event of the engine, and carry its commands out."""
        match happened:
            case EngineNotice():
                self.notice(happened.message)
            case PlaceFound():
                self._handle(LearnerJoined(learner=happened.learner))
            case PlaceLost():
                self._take_loss(happened)
            case AttemptFailed():
                self._take_failure(happened)
            case LearnerUpdate():
                self._take_update(happened)

    def _take_loss(self, happened: PlaceLost) -> None:
        learner = happened.learner
        self._held.pop(learner, None)
        self._clocks.learner_lost(learner)
        self._failures.note(learner, happened.reason)
        self.notice(f"learner {learner} was lost in round {self._rounds.round}: {happened.reason}")
        self._handle(LearnerLost(learner=learner))

    def _take_failure(self, happened: AttemptFailed) -> None:
        self._failures.note_error(happened)
        learner = happened.learner
        # Whatever it was, the next try gets the whole model, and need not build it.
        self._held.pop(learner, None)
        self._cannot_build.add(learner)
        self._clocks.order_ended(learner=learner, round_=happened.round, attempt=happened.attempt)
        self.notice(f"learner {learner} failed in round {self._rounds.round}: {happened.error}")
        self._handle(LearnerFailed(round=happened.round, learner=learner, attempt=happened.attempt))

    def _take_update(self, update: LearnerUpdate) -> None:
        learner, round_, attempt = update.learner, update.round, update.attempt
        self._meter.received(total_bytes(update.frames))
        self._clocks.order_ended(learner=learner, round_=round_, attempt=attempt)
        try:
            kept = self._intake.look_at(update)
        except (FrameError, WrongExamplesError) as error:
            self._refuse(update, str(error))
            return
        num_steps = update.num_samples // self._config.batch_size
        self._pace.record(learner, num_steps=num_steps, seconds=update.compute_seconds)
        commands = self._rounds.handle(UpdateReceived(round=round_, learner=learner, attempt=attempt))
        if not self._drop_newcomer(commands, update):
            self._intake.keep(update, kept)
        self._carry_out(commands)

    def _drop_newcomer(self, commands: list[Command], update: LearnerUpdate) -> bool:
        """Carry out, and take from the commands, the one to drop what came just now; whether there is one.

        It may be a copy of an update that is kept under the same name, and must stay.
        """
        dropped = next((command for command in commands if _drops(command, update)), None)
        if dropped is not None:
            commands.remove(dropped)
            self._meter.dropped()
            self._intake.release(update)
        return dropped is not None

    def _refuse(self, update: LearnerUpdate, reason: str) -> None:
        self._failures.note(update.learner, reason)
        self.notice(f"the update of learner {update.learner} in round {update.round} was refused: {reason}")
        self._refused.add((update.round, update.learner))
        refused = UpdateRefused(round=update.round, learner=update.learner, attempt=update.attempt)
        commands = self._rounds.handle(refused)
        self._drop_newcomer(commands, update)
        self._carry_out(commands)

    def _handle(self, event: Event) -> None:
        self._carry_out(self._rounds.handle(event))

    # Commands

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            self._carry_out_one(command)
        while self._to_handle:
            self._handle(self._to_handle.pop(0))

    def _carry_out_one(self, command: Command) -> None:
        match command:
            case RunRound():
                self._start(command)
            case SendModel():
                self._engine.send(command.learner, self._model.part_for(command.round))
                self._held[command.learner] = self._model.version
            case ApplyUpdates():
                self._apply(command)
            case SaveCheckpoint():
                self._save(command.round)
            case DropUpdate():
                self._meter.dropped()
                self._intake.drop(learner=command.learner, round_=command.round)
            case AbandonRound():
                self._leases.give_back(learner=command.learner, round_=command.round)
                self._has_contributed.discard(command.learner)
                self.notice(
                    f"turn {command.round} of learner {command.learner} is given up; its examples are free"
                    if self._config.strategy == "async"
                    else f"round {command.round} goes on without learner {command.learner}"
                )
            case StartGrace():
                self._clocks.grace_began(round_=command.round, now=time.monotonic())
            case RollBack():
                self._roll_back(command.round)
            case ExcludeLearner():
                self._excluded.add(command.learner)
                # Nobody waits for what it may still do; its clock would keep that of the round from ringing.
                self._clocks.learner_lost(command.learner)
                self.notice(
                    f"learner {command.learner} takes no further part after {command.attempts} attempts: "
                    f"{self._failures.reason_of(command.learner)}"
                )
            case GiveUp():
                raise self._failures.given_up(command)

    def _start(self, command: RunRound) -> None:
        learner, round_, attempt = command.learner, command.round, command.attempt
        now = time.monotonic()
        self._meter.started(now)
        self._clocks.order_began(learner=learner, round_=round_, attempt=attempt, now=now)
        self._started.begin(round_=round_, learner=learner, attempt=attempt)
        if self._config.strategy != "async":
            self._leases.reserve(round_=round_, num_steps=self._expected_steps())
        start, _ = self._leases.take(learner=learner, round_=round_, num_steps=command.num_steps)
        model = self._model.model_for(
            held=self._held.get(learner), is_rebuildable=learner not in self._cannot_build
        )
        self._held[learner] = model.version
        first_step, step_length = self._pace.place_in_schedule(
            round_=round_, num_steps=command.num_steps, steps_done=self._steps_done
        )
        order = Order(
            round=round_,
            learner=learner,
            attempt=attempt,
            num_steps=command.num_steps,
            start=start,
            first_step=first_step,
            step_length=step_length,
            model=model,
            members=command.members,
            keeps_residual=learner in self._has_contributed,
        )
        self._engine.start(order)

    def _expected_steps(self) -> dict[int, int]:
        learners = (who for who in range(self._config.learners) if who not in self._excluded)
        return {learner: self._pace.steps_for(learner) for learner in learners}

    def _apply(self, command: ApplyUpdates) -> None:
        """Take updates into the model, in the order given, and commit their examples."""
        # Where rounds follow faster than they can be judged, the next merge waits.
        self._validate_if_due()
        updates, kept = self._intake.take(command.attempts, round_=command.round)
        self._notice_resets(updates)
        if self._config.strategy == "sync":
            if len({update.digest for update in updates}) > 1:
                self.notice("learners ended a round with different parameters; those of the first are kept")
            kept = [update for update in kept if update.frames]
        terms = MergeTerms(
            seed=self._session.seed + command.round,
            staleness=command.staleness[0],
            rate_scale=self._rate_scale,
            num_refused=self._num_refused(command),
        )
        self._model.apply_updates(kept, round_=command.round, terms=terms)
        self._refused = {(round_, learner) for round_, learner in self._refused if round_ > command.round}
        self._count(updates, command.round)

    def _num_refused(self, command: ApplyUpdates) -> int:
        """Learners that sent nonsense for this round and nothing else: so many fewer of the others can lie.

        Counted by learner, and late answers to earlier rounds not at all: otherwise one liar could use up the
        number of wrong updates that the rule reckons with, and then be merged itself.
        """
        refused = {learner for round_, learner in self._refused if round_ == command.round}
        return len(refused - {learner for learner, _ in command.attempts})

    def _count(self, updates: list[LearnerUpdate], round_: int) -> None:
        self._meter.merged(updates)
        self._has_contributed |= {update.learner for update in updates}
        self._accepted += [
            to_accepted(update, round_=round_, num_examples=self._num_examples) for update in updates
        ]
        self._steps_done += sum(update.num_samples for update in updates) // self._config.batch_size
        for update in updates:
            self._intake.release(update)

    # Checkpoints and validation

    def _save(self, round_: int) -> None:
        self._progress = self._meter.end_round(
            time.monotonic(),
            round_=round_,
            num_rounds=self._config.rounds,
            learners_alive=self._rounds.learners_alive,
            bytes_down=self._model.bytes_down,
        )
        self._is_validation_due = True
        if round_ % self._config.checkpoint_every and round_ != self._config.rounds:
            self._to_handle.append(CheckpointSaved(round=round_))
            return
        accepted, self._accepted = self._accepted, []
        self._writer.begin(
            Checkpoint(
                round=round_,
                fingerprint=self._fingerprint,
                version=self._model.version,
                steps_done=self._steps_done,
                groups=self._model.groups,
                outer=self._model.outer.to_json(),
                stream=self._stream.to_json(),
                totals=replace(self._meter.totals),
                last_updates=accepted,
                last_progress=self._progress,
                extra=self._extra(),
            )
        )

    def _extra(self) -> dict[str, Any]:
        turns = self._rounds.closed_turns if isinstance(self._rounds, AsyncRounds) else {}
        return {
            "rate_scale": self._rate_scale,
            "num_returns": self._guard.num_returns,
            "speeds": self._pace.speeds,
            "turns": turns,
        }

    def _see_whether_saved(self) -> None:
        round_ = self._writer.finished()
        if round_ is None:
            return
        loss, self._guard_loss = self._guard_loss, None
        # Instead of CheckpointSaved, not after it: the merges that wait for that may begin the next
        # checkpoint at once, whose arrays a roll back would change while they are written. And the last
        # round's model must not be a diverged one either.
        has_diverged = loss is not None and self._guard.has_diverged(round_, loss)
        self._handle(Diverged(round=round_) if has_diverged else CheckpointSaved(round=round_))

    def _validate_if_due(self) -> None:
        """Validate the model of the last finished round, while the learners work on the next one."""
        if not self._is_validation_due:
            return
        self._is_validation_due = False
        metrics, undefined = self._validator.metrics_of(self._model.parameters)
        for name, value in undefined.items():
            self.notice(f"round {self._progress['round']}: {name} is {value}, and is left out")
        if self._rounds.is_over:
            # Nothing overlaps with the last validation, so it belongs to the wall time.
            seconds = self._meter.wall_seconds(time.monotonic())
            self._progress = {**self._progress, "wall_seconds": seconds}
        progress = RoundProgress(**self._progress, metrics=metrics)
        append_round(self._folder, progress.to_json())
        if self._guard.is_on:
            self._guard_loss = self._validator.loss_of(self._model.parameters)
        self._observer.round_finished(progress)

    # Divergence

    def _roll_back(self, round_: int) -> None:
        """Back to the best checkpoint, with half the outer rate."""
        assert isinstance(self._rounds, AsyncRounds), "rounds with a barrier do not diverge"
        rate_scale = self._rate_scale / 2
        checkpoint = self._guard.go_back(self._model.groups)
        self._adopt(checkpoint)
        self._rate_scale = rate_scale
        self._meter.rolled_back(checkpoint.totals)
        self._model.restored(checkpoint.version, checkpoint.outer, checkpoint.groups)
        self._held.clear()
        self._is_validation_due = False
        # At once, or a crash before the next checkpoint would forget the smaller rate.
        save_checkpoint(self._folder / "checkpoints", replace(checkpoint, extra=self._extra()))
        self.notice(
            f"round {round_} diverged on held-out data: going on from round {checkpoint.round} with "
            f"{rate_scale:g} times the outer learning rate"
        )
        again = self._rounds.restore(round=checkpoint.round + 1, steps_done=checkpoint.steps_done)
        self._carry_out(again)

    # Clocks and notices

    def _seconds_to_wait(self) -> float:
        return (
            _SAVING_TICK_SECONDS if self._writer.is_busy else self._clocks.seconds_to_wait(time.monotonic())
        )

    def _watch_clocks(self) -> None:
        for event in self._clocks.due(round_=self._rounds.round, now=time.monotonic()):
            if isinstance(event, DeadlinePassed):
                self.notice(self._clocks.text_of(event))
            self._handle(event)

    def _notice_resets(self, updates: list[LearnerUpdate]) -> None:
        for update in updates:
            # A learner that joins late has no state to lose.
            if update.optimizer_state == "reset" and update.learner in self._has_contributed:
                self.notice(
                    f"learner {update.learner} began round {update.round} with a new optimizer state: "
                    "the one it had was lost"
                )

    def notice(self, message: str) -> None:
        """Tell the observer something, and keep it for those who look later."""
        append_notice(self._folder, message, now=datetime.now(UTC))
        self._observer.noticed(message)


def _drops(command: Command, update: LearnerUpdate) -> bool:
    name = (update.round, update.learner, update.attempt)
    return isinstance(command, DropUpdate) and (command.round, command.learner, command.attempt) == name
