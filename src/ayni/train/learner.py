"""One learner: what it keeps between rounds, and one round of work.

A round is a generator. Learners that average gradients yield the tensors to be averaged and go on once
they were; DiLoCo learners yield nothing. So the same loop runs under torch.distributed, in lock-step
inside one process, and alone.

Everything here is a function of (job, seed, learner, round, base parameters, optimizer state): the
random generators are set at the start of each round, and integer buffers start each round as the
task built them, so that a round that is tried again gives the same update.
"""

import hashlib
import time
from collections.abc import Generator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from ayni.task import Task, TaskFailedError
from ayni.train.engine import LearnerUpdate, OptimizerState, Order, Session
from ayni.train.local import (
    NonFiniteLossError,
    apply_gradients,
    collate,
    compute_gradients,
    make_optimizer,
    resolve_device,
    to_device,
)
from ayni.train.named_arrays import (
    NamedArrays,
    buffer_names,
    get_arrays,
    set_arrays,
    travelling_tensors,
)
from ayni.train.optimizer_spill import restore, spill
from ayni.train.randomness import derive_seed, seed_everything, seeded
from ayni.train.shards import Cursor, make_shard

RoundOfWork: TypeAlias = Generator[list[torch.Tensor], None, LearnerUpdate]


def build_model(task: Task, *, seed: int) -> nn.Module:
    """The untrained model of a job, the same in every process.

    Raises:
        TaskFailedError: the task's build_model raised.
    """
    try:
        with seeded(seed, "model"):
            return task.build_model()
    except Exception as error:
        raise TaskFailedError(method="build_model", cause=error) from error


def load_dataset(task: Task, split: str, *, seed: int) -> Sequence[Any]:
    """A split of a job's data, the same in every process.

    Raises:
        TaskFailedError: the task's dataset raised, or what it returned has no length.
    """
    try:
        with seeded(seed, "dataset", split):
            dataset = task.dataset(split)
            len(dataset)
            return dataset
    except Exception as error:
        raise TaskFailedError(method=f"dataset({split!r})", cause=error) from error


class Learner:
    """A replica of the model with its shard and its optimizer."""

    def __init__(self, session: Session, task: Task, learner: int) -> None:
        config = session.config
        self._session = session
        self._learner = learner
        self._task = task
        self._device = resolve_device(config.device)
        self._model = build_model(task, seed=session.seed).to(self._device)
        self._counters = {
            name: buffer.clone()
            for name, buffer in self._model.named_buffers()
            if not buffer.is_floating_point()
        }
        self._dataset = load_dataset(task, "train", seed=session.seed)
        self._shard = make_shard(
            seed=session.seed,
            num_examples=len(self._dataset),
            num_learners=config.learners,
            learner=learner,
        )
        self._finished_round: int | None = None
        self._new_optimizer()

    def run_round(self, order: Order) -> RoundOfWork:
        """Work on one attempt: local steps from the base parameters, then the update.

        Yields lists of tensors whose mean over the gang must be left in them.

        Raises:
            TaskFailedError, LossShapeError, NonFiniteLossError: by the task's doing.
            DiskFullError, NotWritableError: the optimizer state could not be kept.
        """
        started = time.perf_counter()
        seed_everything(derive_seed(self._session.seed, "round", self._learner, order.round))
        set_arrays(self._model, order.base)
        self._reset_counters()
        optimizer_state = yield from self._agree_on_optimizer(order)
        self._finished_round = None
        losses, end = yield from self._run_steps(order)
        update = self._make_update(order, losses, end, optimizer_state, time.perf_counter() - started)
        spill(
            self._session.spill_folder,
            self._optimizer,
            learner=self._learner,
            round_=order.round,
            fingerprint=self._session.fingerprint,
        )
        self._finished_round = order.round
        return update

    def _run_steps(self, order: Order) -> Generator[list[torch.Tensor], None, tuple[list[float], Cursor]]:
        config = self._session.config
        cursor = order.cursor
        losses: list[float] = []
        self._model.train()
        for step in range(config.local_steps):
            pairs, cursor = self._shard.take(cursor, config.batch_size)
            batch = self._batch([sample for _, sample in pairs])
            where = f"round {order.round}, learner {self._learner}, step {step + 1}"
            losses.append(
                compute_gradients(self._model, self._optimizer, batch, self._task.loss, where=where)
            )
            if self._is_in_gang:
                yield self._gradients()
            rate = config.learning_rate_at((order.round - 1) * config.local_steps + step)
            apply_gradients(self._optimizer, learning_rate=rate, gradient_clip=config.gradient_clip)
        if self._is_in_gang and (buffers := self._float_buffers()):
            yield buffers
        return losses, cursor

    def _make_update(
        self, order: Order, losses: list[float], end: Cursor, state: OptimizerState, compute_seconds: float
    ) -> LearnerUpdate:
        local = get_arrays(self._model)
        trained = self._trained_names()
        arrays = {name: order.base[name] - array for name, array in local.items() if name in trained}
        self._check_finite(arrays, order)
        # All members of a gang end at the same parameters; one of them brings the news.
        is_messenger = not self._is_in_gang or self._learner == 0
        return LearnerUpdate(
            round=order.round,
            learner=order.learner,
            attempt=order.attempt,
            arrays=arrays if is_messenger else {},
            digest=_digest(local) if self._is_in_gang else "",
            num_samples=self._session.config.samples_per_round,
            shard_size=len(self._shard),
            start=order.cursor,
            end=end,
            loss=sum(losses) / len(losses),
            compute_seconds=compute_seconds,
            exchanged_bytes=self._exchanged_bytes(),
            optimizer_state=state,
        )

    def _agree_on_optimizer(self, order: Order) -> Generator[list[torch.Tensor], None, OptimizerState]:
        """Continue with the state after the round before; a gang does so together or not at all."""
        state = self._find_optimizer_state(order.round)
        if not self._is_in_gang:
            return state
        has_state = torch.tensor([float(state != "reset")])
        yield [has_state]
        if state != "reset" and float(has_state) < 1.0:
            self._new_optimizer()
            return "reset"
        return state

    def _find_optimizer_state(self, round_: int) -> OptimizerState:
        if round_ == 1:
            self._new_optimizer()
            return "new"
        if self._finished_round == round_ - 1:
            return "kept"
        self._new_optimizer()
        # All members of a gang hold the same state, so another one's file is as good as one's own.
        others = range(self._session.config.learners) if self._is_in_gang else ()
        for learner in (self._learner, *others):
            if restore(
                self._session.spill_folder,
                self._optimizer,
                learner=learner,
                round_=round_ - 1,
                fingerprint=self._session.fingerprint,
            ):
                return "restored"
        return "reset"

    def _new_optimizer(self) -> None:
        config = self._session.config
        self._optimizer = make_optimizer(
            self._model, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )
        self._finished_round = None

    @property
    def _is_in_gang(self) -> bool:
        return self._session.config.strategy == "sync"

    def _batch(self, samples: list[int]) -> Any:
        try:
            return to_device(collate([self._dataset[sample] for sample in samples]), self._device)
        except Exception as error:
            raise TaskFailedError(method="dataset('train')[index]", cause=error) from error

    def _gradients(self) -> list[torch.Tensor]:
        """Gradients in the order of the parameters; an unused parameter has zeros, so all agree."""
        gradients: list[torch.Tensor] = []
        for parameter in self._model.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        return gradients

    def _float_buffers(self) -> list[torch.Tensor]:
        tensors = travelling_tensors(self._model)
        return [tensors[name] for name in sorted(buffer_names(self._model))]

    def _trained_names(self) -> set[str]:
        learning = {name for name, parameter in self._model.named_parameters() if parameter.requires_grad}
        return learning | buffer_names(self._model)

    def _reset_counters(self) -> None:
        for name, buffer in self._model.named_buffers():
            if name in self._counters:
                buffer.copy_(self._counters[name])

    def _check_finite(self, arrays: NamedArrays, order: Order) -> None:
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                where = f"round {order.round}, learner {self._learner}, in {name} after the last step"
                rate = self._session.config.learning_rate
                raise NonFiniteLossError(loss=float("nan"), where=where, learning_rate=rate)

    def _exchanged_bytes(self) -> int:
        """Payload of ring all-reduces: each member sends 2 (n - 1) / n of the bytes, each step."""
        config = self._session.config
        if not self._is_in_gang:
            return 0
        gradients = sum(p.nbytes for p in self._model.parameters() if p.requires_grad)
        buffers = sum(buffer.nbytes for buffer in self._float_buffers())
        sent = gradients * config.local_steps + buffers
        return round(2 * (config.learners - 1) / config.learners * sent)


def _digest(arrays: NamedArrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
