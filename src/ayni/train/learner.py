"""One learner: what it keeps between rounds, and one round of work.

A round is a generator (round_of_work.py): it yields when it needs the other learners or a merged part.

    base       the model of a version, which updates are relative to (held_base.py)
    replica    local values and AdamW state (replica.py)
    residual   what the codec lost so far, with error feedback

Everything here is a function of (job, seed, learner, round, base, what was kept after the round before):
the random generators are set at the start of each round, and integers start each round as the task built
them, so that a round that is tried again gives the same update.
"""

import contextlib
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ayni.errors import UserError
from ayni.keras_weights import is_keras
from ayni.task import Task, TaskFailedError
from ayni.train.codec import NotFiniteError, encode_chunk, most_bytes
from ayni.train.config import TrainConfig
from ayni.train.engine import LearnerUpdate, MergedPart, OptimizerState, Order, Session
from ayni.train.fragments import fragment_chunks, fragment_of_round
from ayni.train.held_base import HeldBase
from ayni.train.layout import Chunk, make_chunks, num_elements, put_chunk_, take_chunk, views
from ayni.train.learner_state import LearnerState
from ayni.train.lent_frames import SMALL_BYTES, FrameBox, FrameList, LendingPool
from ayni.train.local import NonFiniteLossError
from ayni.train.named_arrays import NamedArrays, digest_of, make_manifest, num_bytes
from ayni.train.privacy_accounting import PrivacyPlan
from ayni.train.randomness import derive_seed, seeded
from ayni.train.replica import Replica
from ayni.train.round_of_work import AverageTensors, AwaitPart, Request, RoundOfWork
from ayni.train.stream import sample_order
from ayni.train.torch_replica import TorchReplica

if TYPE_CHECKING:
    from ayni.train.private_gradients import ExampleSampler

_Work: TypeAlias = Generator[Request, MergedPart | None, Any]


def build_model(task: Task, *, seed: int) -> nn.Module:
    """The untrained model of a job, the same in every process.

    Raises:
        TaskFailedError: the task's build_model raised.
    """
    try:
        with seeded(seed, "model"), _building_keras(seed):
            return task.build_model()
    except UserError:
        raise
    except Exception as error:
        raise TaskFailedError(method="build_model", cause=error) from error


def _building_keras(seed: int) -> contextlib.AbstractContextManager[None]:
    """What Keras needs around the building of a model, if the task has imported it."""
    if "keras" not in sys.modules:
        return contextlib.nullcontext()
    from ayni.train.keras_building import building

    return building(seed, "model")


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


def make_replica(task: Task, config: TrainConfig, *, seed: int, init_path: Path | None = None) -> Replica:
    """The task's model with its first weights and its optimizer, the same in every process.

    Raises:
        TaskFailedError: the task's build_model raised.
        NoSuchDeviceError, InitialWeightsError, MissingExtraError, AdapterError: what is asked for cannot be.
    """
    model = build_model(task, seed=seed)
    if is_keras(model):
        from ayni.train.keras_replica import KerasReplica

        return KerasReplica(task, model, config, seed=seed, init_path=init_path)
    return TorchReplica(task, model, config, seed=seed, init_path=init_path)


class FrozenWeightsError(UserError):
    """A worker built other frozen weights than the coordinator."""

    def __init__(self, learner: int) -> None:
        self.learner = learner
        super().__init__(
            f"Learner {learner} built a model whose frozen weights differ from the coordinator's. They do "
            "not travel, so every process must come to the same ones: let build_model draw them from torch's "
            "or numpy's global generator (which are seeded), or load them from the same file everywhere."
        )


class Learner:
    """One seat of a session: works on one order after the other.

    Args:
        session: What all learners share.
        task: The session's, loaded.
        learner: Its number.
        lends: Whether small updates are lent to whoever takes them, who is on the same machine then.
    """

    def __init__(
        self,
        session: Session,
        task: Task,
        learner: int,
        *,
        lends: bool = False,
    ) -> None:
        self._session, self._config, self._task, self._learner = session, session.config, task, learner
        self._dataset = load_dataset(task, "train", seed=session.seed)
        self._sampler: ExampleSampler | None = None
        self._new_replica()
        self._check_frozen_weights()
        arrays = self._replica.arrays()
        manifest = make_manifest(arrays)
        self._chunks = make_chunks(manifest)
        self._fragments: tuple[tuple[Chunk, ...], ...] = ()
        if self._config.strategy == "streaming":
            self._fragments = fragment_chunks(manifest, self._config.streaming.fragments)
        self._lending: LendingPool | None = None
        if lends and num_bytes(arrays) <= SMALL_BYTES:
            self._lending = LendingPool(most_bytes(chain(*(self._fragments or (self._chunks,)))))
        self._base = HeldBase(arrays, learner=learner, chunks=self._chunks)

    def run_round(self, order: Order) -> RoundOfWork:
        """Work on one attempt: local steps from the base, then the update.

        Raises:
            TaskFailedError, LossShapeError, NonFiniteLossError: by the task's doing.
            BaseMissingError, FrameError: the order's model could not be taken in.
            DiskFullError, NotWritableError: the optimizer state could not be kept.
        """
        self._compute_seconds, self._averaged_bytes = 0.0, 0
        self._base.take(order.model, self._untrained_arrays, self._chunks_changed_before(order.round))
        state = self._state.find(order.round, in_gang=bool(order.members))
        self._is_untrained = False
        # Who sat out a round did not mix in what was merged then, and would pull the model back.
        goes_on = bool(self._fragments) and 0 < self._state.last_round == order.round - 1
        if not goes_on:
            self._replica.set_arrays(self._base.arrays)
        if order.members:
            state = yield from self._agree_on_optimizer(order, state)
        if not order.keeps_residual:
            self._state.forget_residual(_names_of(self._chunks_sent_after(self._state.last_round)))
        self._replica.begin_round(derive_seed(self._session.seed, "round", self._learner, order.round))
        loss = yield from self._run_steps(order, mix_at=self._step_to_mix_at(order, goes_on=goes_on))
        update = self._make_update(order, loss, state)
        self._state.keep(order.round)
        return update

    def _run_steps(self, order: Order, *, mix_at: int | None) -> _Work:
        """Optimizer steps, and the merged part in between; returns the mean loss."""
        sum_of_losses = 0.0
        examples_of_step = self._examples_of_steps(order)
        for step in range(order.num_steps):
            if step == mix_at:
                yield from self._mix_in(order)
            examples = next(examples_of_step)
            rate = self._config.learning_rate_at(order.first_step + step * order.step_length)
            where = f"round {order.round}, learner {self._learner}, step {step + 1}"
            sum_of_losses += yield from self._step(order, examples, rate, where)
        if mix_at == order.num_steps:
            yield from self._mix_in(order)
        if order.members and (buffers := self._torch_replica.float_buffers()):
            yield self._average(buffers)
        return sum_of_losses / order.num_steps

    def _step(self, order: Order, examples: Sequence[int], rate: float, where: str) -> _Work:
        with self._computing():
            batch = self._batch(examples)
            if not order.members:
                return self._replica.step(batch, learning_rate=rate, where=where)
            loss = self._torch_replica.compute_gradients(batch, where=where)
        yield self._average(self._torch_replica.gradients())
        with self._computing():
            self._torch_replica.apply_gradients(learning_rate=rate)
        return loss

    def _mix_in(self, order: Order) -> _Work:
        """Take the merged fragment of the round before into the base, and partly into the local values.

        local <- mixing * local + (1 - mixing) * merged

        Source: Douillard et al., "Streaming DiLoCo with overlapping communication", 2025, algorithm 2,
        arXiv:2501.18512.
        """
        round_before = order.round - 1
        if self._base.version is None or self._base.version < round_before:
            part = yield AwaitPart(round_before)
            assert part is not None and part.round == round_before, "the engine brought another part"
            self._base.take_part(part, self._chunks_sent_after(round_before))
        mixing, local, merged = self._config.streaming.mixing, self._replica.arrays(), self._base.arrays
        names = _names_of(self._chunks_sent_after(round_before))
        self._replica.set_arrays({name: mixing * local[name] + (1 - mixing) * merged[name] for name in names})

    def _step_to_mix_at(self, order: Order, *, goes_on: bool) -> int | None:
        """Steps before the merged part is mixed in; None when there is none or it is in already."""
        is_in_base = self._base.version is not None and self._base.version >= order.round - 1
        if not self._fragments or order.round == 1 or (is_in_base and not goes_on):
            return None
        return min(self._config.streaming.overlap_steps, order.num_steps)

    def _make_update(self, order: Order, loss: float, state: OptimizerState) -> LearnerUpdate:
        # All members of a gang end at the same parameters; the first of them brings the news.
        is_messenger = not order.members or order.members[0] == self._learner
        return LearnerUpdate(
            round=order.round,
            learner=order.learner,
            attempt=order.attempt,
            frames=self._frames(order) if is_messenger else (),
            digest=digest_of(self._replica.arrays()) if order.members else "",
            start=order.start,
            num_samples=order.num_steps * self._config.batch_size,
            loss=loss,
            compute_seconds=self._compute_seconds,
            exchanged_bytes=self._exchanged_bytes(len(order.members)),
            optimizer_state=state,
        )

    def _frames(self, order: Order) -> FrameBox:
        """Base minus local values, encoded chunk by chunk."""
        codec = "fp32" if self._config.strategy == "sync" else self._config.codec
        local, residual = self._replica.arrays(), self._state.residual
        chunks = self._chunks_sent_after(order.round)
        # One piece of memory for all chunks: fresh pages would cost as much time as the subtraction.
        scratch = np.empty(max(map(num_elements, chunks), default=0), np.float32)
        box = FrameList() if self._lending is None else self._lending.begin()
        for index, chunk in enumerate(chunks):
            values_E = _difference(self._base.arrays, local, chunk, scratch)
            lost_E = take_chunk(residual, chunk) if residual else None
            try:
                encode_chunk(
                    values_E,
                    chunk,
                    codec,
                    residual_E=lost_E,
                    topk_fraction=self._config.topk_fraction,
                    room=partial(box.room, index),
                )
            except NotFiniteError as error:
                where = f"round {order.round}, learner {self._learner}, after the last step: {error.problem}"
                rate = self._config.learning_rate
                raise NonFiniteLossError(loss=float("nan"), where=where, learning_rate=rate) from error
            if lost_E is not None:
                put_chunk_(residual, chunk, lost_E)
        return box

    def _agree_on_optimizer(self, order: Order, state: OptimizerState) -> _Work:
        """Members that lost their optimizer state get that of the first one that has it."""
        flags = torch.zeros(len(order.members))
        flags[order.members.index(self._learner)] = float(state != "reset")
        yield self._average([flags])
        holders = [member for member, flag in zip(order.members, flags, strict=True) if flag > 0]
        if not holders or len(holders) == len(order.members):
            return state
        replica = self._torch_replica
        arrays = replica.blank_optimizer_arrays()
        if self._learner == holders[0]:
            arrays |= replica.optimizer_arrays()
        # The others bring zeros, so that the mean times the number of members is the holder's state.
        tensors = {name: torch.from_numpy(array) * len(order.members) for name, array in arrays.items()}
        yield self._average(list(tensors.values()))
        replica.set_optimizer_arrays({name: tensor.numpy() for name, tensor in tensors.items()})
        return "restored" if state == "reset" else state

    def _average(self, tensors: list[torch.Tensor]) -> AverageTensors:
        self._averaged_bytes += sum(4 * tensor.numel() for tensor in tensors)  # they travel as float32
        return AverageTensors(tensors)

    def _exchanged_bytes(self, num_members: int) -> int:
        """Payload of ring all-reduces: each of n members sends 2 (n - 1) / n of the bytes."""
        return round(2 * (num_members - 1) / num_members * self._averaged_bytes) if num_members else 0

    def _examples_of_steps(self, order: Order) -> Iterator[list[int]]:
        """Indices into the training split for one step after the other."""
        if self._sampler is not None:
            # The order's block only counts then: it says how many examples the steps take in the mean.
            while True:
                yield self._sampler.draw()
        indices = sample_order(
            seed=self._session.seed,
            num_examples=len(self._dataset),
            start=order.start,
            num_samples=order.num_steps * self._config.batch_size,
        )
        for step in range(order.num_steps):
            yield indices[step * self._config.batch_size :][: self._config.batch_size]

    def _batch(self, indices: Sequence[int]) -> Any:
        try:
            examples = [self._dataset[index] for index in indices]
        except Exception as error:
            raise TaskFailedError(method="dataset('train')[index]", cause=error) from error
        return self._replica.batch(examples)

    def _chunks_sent_after(self, round_: int) -> tuple[Chunk, ...]:
        if not self._fragments:
            return self._chunks
        return self._fragments[fragment_of_round(round_, len(self._fragments))]

    def _chunks_changed_before(self, round_: int) -> tuple[Chunk, ...]:
        return self._chunks_sent_after(round_ - 1)

    def _untrained_arrays(self) -> NamedArrays | None:
        """The arrays that training starts from; None when they are not those that the coordinator has."""
        if not self._is_untrained:
            self._new_replica()
        is_same = self._replica.digest() == self._session.untrained_sha256
        return self._replica.arrays() if is_same else None

    def _check_frozen_weights(self) -> None:
        replica, session = self._replica, self._session
        learning = (
            array.size for name, array in replica.arrays().items() if name not in replica.buffer_names
        )
        has_frozen = sum(learning) < replica.num_parameters
        if has_frozen and session.untrained_sha256 and replica.digest() != session.untrained_sha256:
            raise FrozenWeightsError(self._learner)

    def _new_replica(self) -> None:
        session = self._session
        self._replica: Replica = make_replica(
            self._task, session.config, seed=session.seed, init_path=session.init_path
        )
        if session.privacy is not None:
            self._protect(session.privacy)
        self._state = LearnerState(session, self._replica, learner=self._learner)
        self._is_untrained = True

    def _protect(self, plan: PrivacyPlan) -> None:
        from ayni.train.private_gradients import ExampleSampler

        self._torch_replica.protect(plan)
        self._sampler = ExampleSampler(num_examples=len(self._dataset), sample_rate=plan.sample_rate)

    @property
    def _torch_replica(self) -> TorchReplica:
        assert isinstance(self._replica, TorchReplica), "other replicas refuse strategy sync and privacy"
        return self._replica

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Count the time inside the block as computing."""
        started = time.perf_counter()
        yield
        self._compute_seconds += time.perf_counter() - started


def _difference(
    base: NamedArrays, local: NamedArrays, chunk: Chunk, scratch: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Base minus local values of a chunk, float32 [E], in the memory of `scratch`."""
    values_E = scratch[: num_elements(chunk)]
    position = 0
    for of_base, of_local in zip(views(base, chunk), views(local, chunk), strict=True):
        np.subtract(of_base, of_local, out=values_E[position : position + len(of_base)])
        position += len(of_base)
    return values_E


def _names_of(chunks: Sequence[Chunk]) -> frozenset[str]:
    return frozenset(piece.name for chunk in chunks for piece in chunk)
