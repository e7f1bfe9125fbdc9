"""Train a task on an engine, or go on from the last checkpoint.

Everything is under one folder, and a call on a folder with a checkpoint goes on from there:

    checkpoints/        the last two rounds, and the best one where that matters (checkpoint.py)
    accepted.jsonl      which examples entered the model (accepted.py)
    rounds.jsonl        the learning curve, one line a round (curve.py)
    notices.jsonl       what happened besides (curve.py)
    started.jsonl       every attempt that was begun (started.py)
    model.safetensors   the whole state dict, after the last round

This file checks what can be checked before work is spent; coordinator.py does the rounds.
"""

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ayni.errors import UserError
from ayni.keras_weights import is_keras
from ayni.task import Task, TaskReference
from ayni.train.accepted import read_accepted
from ayni.train.checkpoint import Checkpoint, Totals, load_latest
from ayni.train.config import PACE_KEYS, TrainConfig, config_to_json
from ayni.train.coordinator import Coordinator
from ayni.train.curve import read_curve
from ayni.train.engine import Engine, Session
from ayni.train.learner import build_model, load_dataset, make_replica
from ayni.train.local import one_thread
from ayni.train.named_arrays import NamedArrays, check_manifest, make_manifest, manifest_digest
from ayni.train.privacy_accounting import PrivacyPlan, PrivacyTargetError, plan_privacy, privacy_spent
from ayni.train.replica import Replica
from ayni.train.result import Observer, TrainResult, utilisation_over
from ayni.train.shared_model import SharedModel
from ayni.train.started import count_begun, count_lost
from ayni.train.stream import EmptyDatasetError, check_data_suffices
from ayni.train.validation import Validator

MODEL_FILE = "model.safetensors"


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
    init_path: Path | None = None,
) -> TrainResult:
    """Train a task, or go on from the last checkpoint in `folder`.

    `init_path` is the safetensors file that `config.init_from` names; whoever calls finds it.

    Raises:
        EmptyDatasetError, TooFewExamplesError: not enough data.
        TaskImportError, TaskFailedError, LossShapeError, NonFiniteLossError: by the task's doing.
        InitialWeightsError: nothing in `init_path` fits the model.
        ChangedModelError, ChangedTrainingError: the folder holds another training.
        LearnersLostError: too few learners are left.
        DivergedError: training without a barrier became worse again and again.
        DamagedCheckpointError: checkpoints are there and none can be read.
        PrivacyTargetError, UnsafeLayerError, NotPerExampleError: privacy cannot be had as asked for.
        PrivacyBudgetUsedError: too many attempts were lost for it.
    """
    user_task = task.load()
    num_examples = _checked_length(user_task, config, seed)
    validation = load_dataset(user_task, "validation", seed=seed)
    if len(validation) == 0:
        raise EmptyDatasetError("validation")
    privacy = checked_privacy(user_task, config, seed=seed)
    # The other cores belong to the learners.
    with one_thread():
        replica = make_replica(user_task, config, seed=seed, init_path=init_path)
    untrained_sha256 = replica.digest()
    model = _shared_model(replica, config)
    fingerprint = _fingerprint(config, seed, num_examples, model.parameters)
    checkpoint = _load(folder, model, fingerprint, observer)
    session = Session(
        session_id=uuid.uuid4().hex,
        fingerprint=fingerprint,
        task=task,
        config=config,
        seed=seed,
        spill_folder=spill_folder,
        untrained_sha256=untrained_sha256,
        init_path=init_path,
        privacy=privacy,
    )
    coordinator = Coordinator(
        session,
        Validator(replica=replica, dataset=validation),
        model,
        checkpoint,
        num_examples=num_examples,
        folder=folder,
        engine=engine,
        observer=observer,
    )
    if checkpoint.round == 0:
        for notice in replica.notices:
            coordinator.notice(notice)
    coordinator.run()
    replica.set_arrays(model.parameters)
    replica.save(folder / MODEL_FILE)
    return _result(config, folder, coordinator.totals, privacy, num_parameters=replica.num_parameters)


def _checked_length(task: Task, config: TrainConfig, seed: int) -> int:
    num_examples = len(load_dataset(task, "train", seed=seed))
    check_data_suffices(num_examples=num_examples, num_learners=config.learners, batch_size=config.batch_size)
    return num_examples


def checked_privacy(task: Task, config: TrainConfig, *, seed: int) -> PrivacyPlan | None:
    """The plan of a private training, once model and loss have shown that they keep examples apart.

    None for a job that asks for no privacy. Cost: up to some seconds the first time, for the noise.

    Raises:
        MissingExtraError: Opacus is not installed.
        PrivacyTargetError, UnsafeLayerError, NotPerExampleError: privacy cannot be had as asked for.
    """
    if config.privacy is None:
        return None
    model = build_model(task, seed=seed)
    if is_keras(model):
        raise PrivacyTargetError("train.privacy needs a model of torch, and this task's is one of Keras.")
    dataset = load_dataset(task, "train", seed=seed)
    plan = plan_privacy(config, num_examples=len(dataset))
    from ayni.train.privacy_checks import check_examples_apart, check_layers

    check_layers(model)
    with one_thread():
        check_examples_apart(task, model, dataset, device=config.device, seed=seed)
    return plan


def _shared_model(replica: Replica, config: TrainConfig) -> SharedModel:
    """The coordinator's model, in the replica's own memory where that is possible.

    The replica validates between two merges and never trains, so nobody is disturbed when a merge changes
    its arrays, and the model is not held twice.
    """
    parameters: NamedArrays = {
        name: np.require(array, requirements=["C", "W"]) for name, array in replica.arrays().items()
    }
    return SharedModel(
        config, parameters, plain_names=replica.buffer_names, embedding_names=replica.embedding_names
    )


def _fingerprint(config: TrainConfig, seed: int, num_examples: int, parameters: NamedArrays) -> str:
    """Hash of all that must not change over a resume."""
    manifest_sha256 = manifest_digest(make_manifest(parameters))
    steady = {key: value for key, value in config_to_json(config).items() if key not in PACE_KEYS}
    content = json.dumps([steady, seed, num_examples, manifest_sha256], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _load(folder: Path, model: SharedModel, fingerprint: str, observer: Observer) -> Checkpoint:
    """The newest checkpoint, read into the model; round 0 when there is none."""
    manifest = make_manifest(model.parameters)
    checkpoint, notices = load_latest(
        folder / "checkpoints",
        into=model.groups,
    )
    for notice in notices:
        observer.noticed(f"{notice}; going on from the one before")
    if checkpoint is None:
        return Checkpoint(round=0, fingerprint=fingerprint)
    check_manifest(manifest, make_manifest(checkpoint.groups.get("parameters", {})))
    if checkpoint.fingerprint != fingerprint:
        raise ChangedTrainingError(
            f"The checkpoint of round {checkpoint.round} was made with other values under `train:`, another "
            "seed or another number of examples. Restore them "
            f"(only {', '.join(PACE_KEYS)} may change), or start a new run."
        )
    model.restored(checkpoint.version, checkpoint.outer, checkpoint.groups)
    num_rounds = checkpoint.last_progress.get("num_rounds", checkpoint.round)
    if checkpoint.round < num_rounds:
        observer.noticed(f"going on after round {checkpoint.round} of {num_rounds}")
    return checkpoint


def _result(
    config: TrainConfig, folder: Path, totals: Totals, privacy: PrivacyPlan | None, *, num_parameters: int
) -> TrainResult:
    curve: Sequence[dict[str, Any]] = read_curve(folder)
    wall_seconds = curve[-1]["wall_seconds"]
    return TrainResult(
        model_path=str(folder / MODEL_FILE),
        strategy=config.strategy,
        codec=config.codec,
        download_codec=config.download_codec,
        num_learners=config.learners,
        rounds=config.rounds,
        samples=totals.samples,
        wall_seconds=wall_seconds,
        compute_seconds=totals.compute_seconds,
        utilisation=utilisation_over(curve),
        bytes_sent=totals.bytes_sent,
        bytes_up=totals.bytes_up,
        bytes_down=totals.bytes_down,
        metrics=dict(curve[-1]["metrics"]),
        num_parameters=num_parameters,
        num_updates=sum(line["num_updates"] for line in curve),
        num_dropped=totals.num_dropped,
        num_lost_updates=count_lost(folder),
        num_optimizer_resets=totals.num_optimizer_resets,
        curve=list(curve),
        privacy=None
        if privacy is None
        else privacy_spent(
            privacy, config, num_begun=count_begun(folder), num_accepted=len(read_accepted(folder))
        ).to_json(),
    )
