"""Train a task on an engine: the coordinator's loop.

`Rounds` decides, the engine computes, this file carries the decisions out: it keeps parameters and
outer momentum, applies updates, writes the checkpoint, and validates while the next round already
runs. Everything is under one folder, and a call on a folder with a checkpoint goes on from there:

    checkpoints/        the last two rounds (checkpoint.py)
    accepted.jsonl      which examples entered the model (accepted.py)
    rounds.jsonl        the learning curve, one line a round (curve.py)
    started.jsonl       every attempt that was begun (started.py)
    model.safetensors   the whole state dict, after the last round

Validation takes the coordinator's thread while the learners' processes work on the next round, so it
costs time only when it takes longer than a round.
"""

import hashlib
import json
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from ayni.errors import AyniError, UserError
from ayni.files import write_atomically
from ayni.task import Task, TaskReference
from ayni.train.accepted import AcceptedUpdate, append_accepted, reconcile_accepted
from ayni.train.checkpoint import Checkpoint, load_latest, save_checkpoint
from ayni.train.config import TrainConfig, config_to_json
from ayni.train.curve import append_round, read_curve, reconcile_curve
from ayni.train.diloco import OuterState, mean_update, outer_step
from ayni.train.engine import (
    AttemptFailed,
    Engine,
    EngineEvent,
    LearnersLostError,
    LearnerUpdate,
    Order,
    PlaceFound,
    PlaceLost,
    Session,
)
from ayni.train.learner import build_model, load_dataset
from ayni.train.local import evaluate, one_thread, resolve_device
from ayni.train.named_arrays import (
    NamedArrays,
    buffer_names,
    check_manifest,
    get_arrays,
    make_manifest,
    manifest_digest,
    num_bytes,
    set_arrays,
)
from ayni.train.packed_error import LearnerError
from ayni.train.randomness import seeded
from ayni.train.result import Observer, RoundProgress, TrainResult
from ayni.train.rounds import (
    ApplyUpdates,
    CheckpointSaved,
    Command,
    DeadlinePassed,
    DropUpdate,
    Event,
    GiveUp,
    LearnerFailed,
    LearnerJoined,
    LearnerLost,
    Rounds,
    RunRound,
    SaveCheckpoint,
    UpdateReceived,
)
from ayni.train.shards import Cursor, EmptyDatasetError, check_data_suffices
from ayni.train.started import append_started, count_lost

MODEL_FILE = "model.safetensors"
# How often the coordinator looks at the clock when nothing happens.
_TICK_SECONDS = 1.0
# Keys that may change between two tries of a run without changing what is computed.
_PACE_KEYS = ("device", "round_deadline_seconds", "max_attempts")


class ChangedTrainingError(UserError):
    """A run is to be resumed with another configuration, seed or amount of data."""


def train(
    task: TaskReference,
    config: TrainConfig,
    *,
    seed: int,
    folder: Path,
    spill_folder: Path,
    engine: Engine,
    observer: Observer,
) -> TrainResult:
    """Train a task, or go on from the last checkpoint in `folder`.

    Raises:
        EmptyDatasetError, TooFewExamplesError: not enough data.
        TaskImportError, TaskFailedError, LossShapeError, NonFiniteLossError: by the task's doing.
        ChangedModelError, ChangedTrainingError: the folder holds another training.
        LearnersLostError: a learner used up its attempts.
        DamagedCheckpointError: checkpoints are there and none can be read.
    """
    user_task = task.load()
    num_examples = _checked_length(user_task, config, seed)
    validation = load_dataset(user_task, "validation", seed=seed)
    if len(validation) == 0:
        raise EmptyDatasetError("validation")
    model = build_model(user_task, seed=seed)
    untrained = get_arrays(model)
    fingerprint = _fingerprint(config, seed, num_examples, untrained)
    checkpoint, notices = load_latest(folder / "checkpoints")
    if checkpoint is None:
        checkpoint = Checkpoint(round=0, fingerprint=fingerprint, outer=OuterState(untrained))
    check_manifest(make_manifest(untrained), make_manifest(checkpoint.outer.parameters))
    _check_fingerprint(fingerprint, checkpoint)
    for notice in notices:
        observer.noticed(f"{notice}; going on from the one before")
    session = Session(
        session_id=uuid.uuid4().hex,
        fingerprint=fingerprint,
        task=task,
        config=config,
        seed=seed,
        spill_folder=spill_folder,
    )
    validator = _Validator(user_task, model.to(resolve_device(config.device)), validation, seed)
    return _Coordinator(session, validator, checkpoint, folder=folder, engine=engine, observer=observer).run()


def _checked_length(task: Task, config: TrainConfig, seed: int) -> int:
    num_examples = len(load_dataset(task, "train", seed=seed))
    check_data_suffices(num_examples=num_examples, num_learners=config.learners, batch_size=config.batch_size)
    return num_examples


def _fingerprint(config: TrainConfig, seed: int, num_examples: int, untrained: NamedArrays) -> str:
    """Hash of all that must not change over a resume."""
    manifest_sha256 = manifest_digest(make_manifest(untrained))
    steady = {key: value for key, value in config_to_json(config).items() if key not in _PACE_KEYS}
    content = json.dumps([steady, seed, num_examples, manifest_sha256], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _check_fingerprint(fingerprint: str, checkpoint: Checkpoint) -> None:
    if checkpoint.fingerprint != fingerprint:
        raise ChangedTrainingError(
            f"The checkpoint of round {checkpoint.round} was made with other values under `train:`, another "
            "seed or another number of examples. Restore them "
            f"(only {', '.join(_PACE_KEYS)} may change), or start a new run."
        )


@dataclass(frozen=True, slots=True)
class _Validator:
    """A model of the coordinator's own, and the data that it is judged by."""

    task: Task
    model: nn.Module
    dataset: Sequence[Any]
    seed: int

    def metrics_of(self, parameters: NamedArrays) -> dict[str, float]:
        """The task's metrics on the validation split."""
        set_arrays(self.model, parameters)
        device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
        with seeded(self.seed, "evaluate"), one_thread():
            return evaluate(self.task, self.model, self.dataset, device=device)


class _Coordinator:
    """One call of `train`, after everything that can be refused was refused."""

    def __init__(
        self,
        session: Session,
        validator: _Validator,
        checkpoint: Checkpoint,
        *,
        folder: Path,
        engine: Engine,
        observer: Observer,
    ) -> None:
        config = session.config
        self._session, self._config, self._validator = session, config, validator
        self._folder, self._engine, self._observer = folder, engine, observer
        self._buffer_names = buffer_names(validator.model)
        self._outer, self._totals = checkpoint.outer, checkpoint.totals
        self._cursors = {update.learner: _end_of(update) for update in checkpoint.last_updates}
        self._rounds = Rounds(
            num_learners=config.learners,
            num_rounds=config.rounds,
            max_attempts=config.max_attempts,
            is_gang=config.strategy == "sync",
            round=checkpoint.round + 1,
        )
        self._updates: dict[int, LearnerUpdate] = {}
        self._last_reasons: dict[int, str] = {}
        self._num_started = 0
        self._wall_before = checkpoint.totals.wall_seconds
        self._started_at: float | None = None
        self._round_started_at = self._deadline_from = 0.0
        self._accepted: list[AcceptedUpdate] = []
        self._progress = checkpoint.last_progress
        self._is_validation_due = self._mend_files(checkpoint)

    def run(self) -> TrainResult:
        """All rounds that are left, then the result."""
        if not self._rounds.is_over:
            self._engine.open(self._session)
        while not self._rounds.is_over:
            for happened in self._engine.wait(self._seconds_to_wait()):
                self._handle(happened)
            self._validate_if_due()
            self._watch_clock()
        self._validate_if_due()
        return self._finish()

    def _mend_files(self, checkpoint: Checkpoint) -> bool:
        """Make the appended files agree with the checkpoint; True when its round has no metrics yet."""
        reconcile_accepted(self._folder, last_round=checkpoint.round, last_updates=checkpoint.last_updates)
        has_line = reconcile_curve(self._folder, last_round=checkpoint.round)
        if 0 < checkpoint.round < self._config.rounds:
            self._observer.noticed(f"going on after round {checkpoint.round} of {self._config.rounds}")
        return checkpoint.round > 0 and not has_line

    def _handle(self, happened: EngineEvent) -> None:
        """Let the state machine decide about an event of the engine, and carry its commands out."""
        commands = self._rounds.handle(self._translate(happened))
        is_dropped = any(isinstance(command, DropUpdate) for command in commands)
        if isinstance(happened, LearnerUpdate) and not is_dropped:
            self._updates[happened.learner] = happened
        self._carry_out(commands)

    def _translate(self, happened: EngineEvent) -> Event:
        """What the engine saw, in the words of the state machine; errors that would come again are raised."""
        if isinstance(happened, PlaceFound):
            return LearnerJoined(learner=happened.learner)
        if isinstance(happened, LearnerUpdate):
            return UpdateReceived(round=happened.round, learner=happened.learner, attempt=happened.attempt)
        reason = happened.reason if isinstance(happened, PlaceLost) else str(happened.error)
        if isinstance(happened, AttemptFailed) and _would_come_again(happened.error):
            raise happened.error
        self._last_reasons[happened.learner] = reason
        self._observer.noticed(f"learner {happened.learner} failed in round {self._rounds.round}: {reason}")
        if isinstance(happened, PlaceLost):
            return LearnerLost(learner=happened.learner)
        return LearnerFailed(round=happened.round, learner=happened.learner, attempt=happened.attempt)

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, RunRound):
                self._start(command)
            elif isinstance(command, ApplyUpdates):
                self._apply(command)
            elif isinstance(command, SaveCheckpoint):
                self._save(command)
                self._carry_out(self._rounds.handle(CheckpointSaved(round=command.round)))
            elif isinstance(command, GiveUp):
                reason = self._last_reasons.get(command.learner, "no answer before the round's deadline")
                where = f"round {command.round}"
                raise LearnersLostError(
                    learner=command.learner, attempts=command.attempts, where=where, reason=reason
                )

    def _start(self, command: RunRound) -> None:
        now = time.monotonic()
        if self._started_at is None:
            self._started_at = now
        if self._num_started == 0:
            self._round_started_at = self._deadline_from = now
        self._num_started += 1
        append_started(
            self._folder,
            session=self._session.session_id,
            round_=command.round,
            learner=command.learner,
            attempt=command.attempt,
        )
        order = Order(
            round=command.round,
            learner=command.learner,
            attempt=command.attempt,
            cursor=self._cursors.get(command.learner, Cursor()),
            base=self._outer.parameters,
        )
        self._engine.start(order)

    def _apply(self, command: ApplyUpdates) -> None:
        """Take the updates of a round into the parameters, and into the totals."""
        updates = [self._updates[learner] for learner, _ in command.attempts]
        assert [(update.learner, update.attempt) for update in updates] == list(command.attempts)
        self._updates.clear()
        base_bytes = num_bytes(self._outer.parameters)
        self._outer = self._outer_step(updates)
        self._cursors = {update.learner: update.end for update in updates}
        self._accepted = [_to_accepted(update, self._config.learners) for update in updates]
        sent = sum(base_bytes + num_bytes(update.arrays) + update.exchanged_bytes for update in updates)
        self._add_to_totals(updates, sent)
        self._notice_resets(updates)
        self._progress = self._measure_round(updates, sent)
        self._num_started = 0

    def _outer_step(self, updates: list[LearnerUpdate]) -> OuterState:
        if self._config.strategy == "sync":
            if len({update.digest for update in updates}) > 1:
                self._observer.noticed(
                    "learners ended a round with different parameters; those of learner 0 are kept"
                )
            delta = updates[0].arrays
            return outer_step(self._outer, delta, learning_rate=1, momentum=0, plain_names=frozenset(delta))
        return outer_step(
            self._outer,
            mean_update([update.arrays for update in updates], [update.num_samples for update in updates]),
            learning_rate=self._config.outer_learning_rate,
            momentum=self._config.outer_momentum,
            plain_names=self._buffer_names,
        )

    def _add_to_totals(self, updates: list[LearnerUpdate], sent: int) -> None:
        totals = self._totals
        totals.samples += sum(update.num_samples for update in updates)
        totals.compute_seconds += sum(update.compute_seconds for update in updates)
        totals.bytes_sent += sent
        totals.num_optimizer_resets += sum(update.optimizer_state == "reset" for update in updates)
        totals.wall_seconds = self._wall_seconds()

    def _notice_resets(self, updates: list[LearnerUpdate]) -> None:
        for update in updates:
            if update.optimizer_state == "reset":
                self._observer.noticed(
                    f"learner {update.learner} began round {update.round} with a new optimizer state: "
                    "the one it had was lost"
                )

    def _measure_round(self, updates: list[LearnerUpdate], sent: int) -> dict[str, Any]:
        """A RoundProgress without its metrics, which are known only after validation."""
        seconds = max(time.monotonic() - self._round_started_at, 1e-9)
        return {
            "round": self._rounds.round,
            "num_rounds": self._config.rounds,
            "samples": self._totals.samples,
            "train_loss": sum(update.loss for update in updates) / len(updates),
            "samples_per_second": sum(update.num_samples for update in updates) / seconds,
            "bytes_sent": sent,
            "compute_seconds": sum(update.compute_seconds for update in updates),
            "wall_seconds": self._totals.wall_seconds,
            "learners_alive": self._rounds.learners_alive,
        }

    def _save(self, command: SaveCheckpoint) -> None:
        """The checkpoint is the commit; the appended lines follow, and are mended from it after a crash."""
        checkpoint = Checkpoint(
            round=command.round,
            fingerprint=self._session.fingerprint,
            outer=self._outer,
            totals=self._totals,
            last_updates=self._accepted,
            last_progress=self._progress,
        )
        save_checkpoint(self._folder / "checkpoints", checkpoint)
        append_accepted(self._folder, self._accepted)
        self._is_validation_due = True

    def _validate_if_due(self) -> None:
        """Validate the parameters of the last finished round, while the learners work on the next one."""
        if not self._is_validation_due:
            return
        self._is_validation_due = False
        metrics = self._finite(self._validator.metrics_of(self._outer.parameters))
        if self._rounds.is_over:
            # Nothing overlaps with the last validation, so it belongs to the wall time.
            self._progress = {**self._progress, "wall_seconds": self._wall_seconds()}
        progress = RoundProgress(**self._progress, metrics=metrics)
        append_round(self._folder, progress.to_json())
        self._observer.round_finished(progress)

    def _finite(self, metrics: dict[str, float]) -> dict[str, float]:
        """The metrics that are numbers: an undefined one is a gap in the curve, not the end of a run."""
        for name, value in metrics.items():
            if not math.isfinite(value):
                self._observer.noticed(f"round {self._progress['round']}: {name} is {value}, and is left out")
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def _seconds_to_wait(self) -> float:
        deadline = self._config.round_deadline_seconds
        return _TICK_SECONDS if deadline is None else min(_TICK_SECONDS, deadline / 4)

    def _watch_clock(self) -> None:
        deadline = self._config.round_deadline_seconds
        now = time.monotonic()
        if deadline is None or self._num_started == 0 or now - self._deadline_from < deadline:
            return
        self._deadline_from = now
        self._observer.noticed(
            f"round {self._rounds.round} took longer than {deadline:g} s; its workers are restarted"
        )
        self._carry_out(self._rounds.handle(DeadlinePassed(round=self._rounds.round)))

    def _wall_seconds(self) -> float:
        spent = 0.0 if self._started_at is None else time.monotonic() - self._started_at
        return self._wall_before + spent

    def _finish(self) -> TrainResult:
        model = self._validator.model
        set_arrays(model, self._outer.parameters)
        path = self._folder / MODEL_FILE
        write_atomically(path, _state_dict_bytes(model))
        curve = read_curve(self._folder)
        metrics: Mapping[str, float] = curve[-1]["metrics"]
        return TrainResult(
            model_path=str(path),
            strategy=self._config.strategy,
            num_learners=self._config.learners,
            rounds=self._config.rounds,
            samples=self._totals.samples,
            wall_seconds=curve[-1]["wall_seconds"],
            compute_seconds=self._totals.compute_seconds,
            bytes_sent=self._totals.bytes_sent,
            metrics=dict(metrics),
            num_parameters=sum(parameter.numel() for parameter in model.parameters()),
            num_lost_updates=count_lost(self._folder),
            num_optimizer_resets=self._totals.num_optimizer_resets,
            curve=curve,
        )


def _would_come_again(error: Exception) -> bool:
    """Errors that Ayni raised on purpose have a cause that another try does not remove."""
    return isinstance(error, AyniError) and not isinstance(error, LearnerError)


def _to_accepted(update: LearnerUpdate, num_learners: int) -> AcceptedUpdate:
    return AcceptedUpdate(
        round=update.round,
        learner=update.learner,
        attempt=update.attempt,
        num_learners=num_learners,
        shard_size=update.shard_size,
        start_epoch=update.start.epoch,
        start_position=update.start.position,
        end_epoch=update.end.epoch,
        end_position=update.end.position,
        num_samples=update.num_samples,
    )


def _end_of(update: AcceptedUpdate) -> Cursor:
    return Cursor(epoch=update.end_epoch, position=update.end_position)


def _state_dict_bytes(model: nn.Module) -> bytes:
    """The whole state dict; tied weights under each of their names, so that strict loading works."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    content: bytes = safetensors.torch.save(state)
    return content
