"""Learners as worker processes of a Dask cluster: one started here, or any that is there already.

Dask starts, watches and restarts the processes and carries the bytes; it decides nothing. Each attempt
is one short task pinned to one worker, scheduled at most once: who is tried again, and when, is the
business of `rounds.py`. Futures are disposable, workers keep only caches, and the scheduler may die.

Not covered: more than one local cluster at a time in one process, and clusters whose members do not
trust each other: whoever is in a Dask cluster can run any code on every other machine of it.
"""

import contextlib
import math
import os
import queue
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from ayni.errors import AyniError
from ayni.train import dask_worker
from ayni.train.cluster_checks import NoWorkersError, WorkerFacts
from ayni.train.config import TrainConfig
from ayni.train.dask_connection import PROBE_SECONDS, RECONNECT_SECONDS, DaskConnection
from ayni.train.dask_news import (
    Answered,
    Call,
    ConnectionFailed,
    ConnectionFound,
    ConnectionLost,
    News,
    WorkerGone,
    WorkerReady,
    WorkerRefused,
)
from ayni.train.dask_worker import Meeting
from ayni.train.engine import (
    AttemptFailed,
    EngineEvent,
    EngineNotice,
    Frame,
    FrameStore,
    LearnersLostError,
    LearnerUpdate,
    MergedPart,
    Order,
    PlaceFound,
    PlaceLost,
    Session,
)
from ayni.train.lent_frames import LentFrames, can_lend
from ayni.train.local_cluster import local_settings
from ayni.train.packed_error import PackedError, unpack_error
from ayni.train.seating import Want, choose_places
from ayni.train.strategy_config import TlsConfig
from ayni.train.task_files import TaskFiles, pack_task_files

# How long a cluster may take until its first workers are there, and how often to say that more are missing.
WORKERS_SECONDS = 60.0
_REMIND_SECONDS = 60.0
# A cluster whose only workers were refused gets this long to bring a better one.
_REFUSAL_SECONDS = 5.0
_NUM_PREPARE_TRIES = 3
_TICK_SECONDS = 0.5


@dataclass(slots=True)
class _Seat:
    """Where a learner is and what runs there.

    `token` numbers what was submitted for this learner; an answer with another number is stale.
    """

    token: int = 0
    place: WorkerFacts | None = None
    before: WorkerFacts | None = None
    lost_at: float = 0.0
    is_ready: bool = False
    running: Order | None = None
    call: "Future[None] | None" = None
    num_failed_prepares: int = 0

    def leave(self) -> None:
        """Give up the place, with all that was asked of it."""
        if self.call is not None:
            self.call.cancel()
        self.before, self.lost_at = self.place, time.monotonic()
        self.place, self.is_ready, self.running, self.call = None, False, None, None
        self.token += 1


def make_engine(config: TrainConfig) -> "DaskEngine":
    """The engine that a configuration asks for; enter it with `with`."""
    if config.engine == "local":
        return DaskEngine(config.learners)
    return DaskEngine(address=config.engine, tls=config.tls, num_needed=config.needed_updates)


class DaskEngine:
    """Learners on the workers of a Dask cluster. Fulfils ayni.train.engine.Engine; use it in a `with` block.

    Args:
        num_workers: Processes to start on this machine, when there is no address.
        address: Of a scheduler, tcp:// or tls://; each of its workers hosts one learner.
        tls: Certificates for a tls:// address.
        num_needed: Workers without which entering fails.
        workers_seconds: How long entering waits for them.
        reconnect_seconds: How long a scheduler that went away is waited for.
        probe_seconds: How long a new worker may take to answer.

    Entering connects and checks the workers. Local processes are started and not waited for until torch
    is imported, so that the coordinator can prepare meanwhile.
    """

    def __init__(
        self,
        num_workers: int = 0,
        *,
        address: str | None = None,
        tls: TlsConfig | None = None,
        num_needed: int = 1,
        workers_seconds: float = WORKERS_SECONDS,
        reconnect_seconds: float = RECONNECT_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        if num_workers < 1 and address is None:
            raise ValueError(f"{num_workers} workers cannot train")
        self._is_local = address is None
        self._num_needed = num_workers if self._is_local else num_needed
        self._num_workers = num_workers
        self._workers_seconds = workers_seconds
        self._connection = DaskConnection(
            address,
            num_workers=num_workers,
            tls=tls,
            reconnect_seconds=reconnect_seconds,
            probe_seconds=probe_seconds,
        )
        self._stack = contextlib.ExitStack()
        self._workers: dict[str, WorkerFacts] = {}
        self._session: Session | None = None
        self._files: TaskFiles | None = None
        self._seats: list[_Seat] = []
        self._capacity = 1
        self._events: list[EngineEvent] = []
        self._refusals: list[AyniError] = []
        self._refused_at = self._reminded_at = 0.0

    def __enter__(self) -> "DaskEngine":
        with contextlib.ExitStack() as stack:
            if self._is_local:
                stack.enter_context(local_settings())
            stack.enter_context(self._connection)
            self._await_workers()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_local:
            self._leave_cluster()
        self._session, self._seats = None, []
        self._stack.close()

    def open(self, session: Session, store: FrameStore) -> None:
        """Have each worker build its learner; answers that belong to an earlier session are ignored."""
        for seat in self._seats:
            seat.leave()
        first_token = max((seat.token for seat in self._seats), default=0) + 1
        self._connection.store = store
        session = replace(session, lends_memory=self._is_local and can_lend())
        self._session = session
        self._files = None if self._is_local else pack_task_files(session.task.module_path, session.init_path)
        self._check_capacity(session)
        self._take_news()
        self._seats = [_Seat(token=first_token) for _ in range(session.config.learners)]
        # Only what concerns the cluster is left of what happened before.
        self._events = [event for event in self._events if isinstance(event, EngineNotice)]
        self._reminded_at = time.monotonic()
        num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self._is_local and self._num_workers > num_cores:
            self._notice(
                f"{self._num_workers} learners share {num_cores} cores, and each is slower for it: "
                f"train.learners: {num_cores} keeps all of them busy too"
            )
        self._fill_seats()

    def start(self, order: Order) -> None:
        """Send the attempt to the learner's worker.

        A thread cannot be stopped from outside, so a worker that still runs an older attempt is restarted:
        the learner loses its place, and finds it again.
        """
        seat = self._seats[order.learner]
        if seat.running is not None and seat.place is not None:
            self._connection.restart(seat.place)
            reason = "its worker is restarted, because an older attempt still ran there"
            self._forget_worker(WorkerGone(address=seat.place.address, reason=reason))
        elif seat.is_ready:
            self._submit_order(order)
        # Otherwise the place was lost a moment ago and PlaceLost is on its way to the caller.

    def send(self, learner: int, part: MergedPart) -> None:
        """Bring a merged part to the learner's worker; if that is gone, PlaceLost says so."""
        seat = self._seats[learner]
        if seat.place is not None and self._session is not None:
            self._connection.deliver(seat.place, self._session.session_id, learner, part)

    def wait(self, timeout_seconds: float) -> list[EngineEvent]:
        """What happened since the last call, in order; waits for the first event, at most this long."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self._take_news()
            self._fill_seats()
            self._remind()
            left = deadline - time.monotonic()
            if self._events or left <= 0:
                break
            # Not longer at once, because a learner may lose its patience with a worker that does not return.
            self._take_news(min(left, _TICK_SECONDS))
        events, self._events = self._events, []
        return events

    def worker_process_ids(self) -> list[int]:
        """Process ids of the learners' workers in the order of the learners, then those of the others."""
        self._take_news()
        seated = [seat.place for seat in self._seats if seat.place is not None]
        ordered = [*seated, *sorted(self._workers.values(), key=lambda worker: worker.name)]
        return list(dict.fromkeys(worker.process_id for worker in ordered))

    def _await_workers(self) -> None:
        """Wait until enough workers passed their checks.

        Raises:
            NoWorkersError: too few came.
            PackageMismatchError, UnreachableWorkerError: those that came may not take part.
        """
        deadline = time.monotonic() + self._workers_seconds
        while len(self._workers) < self._num_needed:
            if self._refusals and not self._workers:
                deadline = min(deadline, self._refused_at + _REFUSAL_SECONDS)
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._refusals[0] if self._refusals else self._too_few()
            self._take_news(min(left, _TICK_SECONDS))

    def _too_few(self) -> NoWorkersError:
        return NoWorkersError(
            address=self._connection.address,
            num_workers=len(self._workers),
            num_needed=self._num_needed,
            seconds=self._workers_seconds,
        )

    def _check_capacity(self, session: Session) -> None:
        """Learners that wait for each other in mid-round cannot take turns on one worker."""
        config = session.config
        if not self._is_local:
            self._capacity = 1
            return
        self._capacity = math.ceil(config.learners / self._num_workers)
        if self._capacity > 1 and config.strategy in ("sync", "streaming"):
            raise ValueError(
                f"strategy {config.strategy} needs one worker for each learner: {config.learners} learners, "
                f"{self._num_workers} workers"
            )

    def _leave_cluster(self) -> None:
        """The workers are not ours: end attempts that nobody waits for, and free their memory."""
        for seat in self._seats:
            if seat.running is not None and seat.place is not None:
                self._connection.restart(seat.place)
            seat.leave()
        if self._session is not None and self._workers:
            self._connection.run(list(self._workers.values()), dask_worker.forget, seconds=3)

    def _take_news(self, seconds: float = 0.0) -> None:
        """Take in what happened, waiting for the first news at most so long; events are kept for `wait`."""
        with contextlib.suppress(queue.Empty):
            self._digest(
                self._connection.news.get(timeout=seconds) if seconds else self._connection.news.get_nowait()
            )
            while True:
                self._digest(self._connection.news.get_nowait())

    def _digest(self, news: News) -> None:
        if isinstance(news, WorkerReady):
            self._workers[news.facts.address] = news.facts
            if not news.facts.is_direct:
                self._notice(
                    f"the worker {news.facts.address} cannot be reached from here; models and updates pass "
                    "through the scheduler"
                )
        elif isinstance(news, WorkerRefused):
            self._refusals.append(news.error)
            self._refused_at = time.monotonic()
            self._notice(f"a worker is left out. {news.error}")
        elif isinstance(news, WorkerGone):
            self._forget_worker(news)
            if news.is_final:
                self._notice(f"the worker {news.address} is left out: {news.reason}")
        elif isinstance(news, ConnectionLost):
            self._forget_all()
        elif isinstance(news, ConnectionFound):
            # Workers need a moment to come back too, and each learner's state is where it was.
            for seat in self._seats:
                seat.lost_at = time.monotonic()
            self._notice(f"the scheduler at {self._connection.address} is there again")
        elif isinstance(news, ConnectionFailed):
            self._events.append(AttemptFailed(round=0, learner=0, attempt=0, error=news.error))
        else:
            self._take_answer(news)

    def _notice(self, message: str) -> None:
        self._events.append(EngineNotice(message=message))

    def _forget_all(self) -> None:
        """Without the scheduler nobody is within reach; its workers end or come back with it."""
        self._workers.clear()
        self._notice(f"the scheduler at {self._connection.address} went away; waiting for it")
        for learner, seat in enumerate(self._seats):
            if seat.place is not None:
                seat.leave()
                self._events.append(PlaceLost(learner=learner, reason="the scheduler went away"))

    def _forget_worker(self, news: WorkerGone) -> None:
        self._workers.pop(news.address, None)
        for learner, seat in enumerate(self._seats):
            if seat.place is None or seat.place.address != news.address:
                continue
            was_ready = seat.is_ready
            seat.leave()
            if not was_ready:
                self._count_failed_prepare(learner)
            else:
                self._events.append(PlaceLost(learner=learner, reason=news.reason))

    def _count_failed_prepare(self, learner: int) -> None:
        seat = self._seats[learner]
        seat.num_failed_prepares += 1
        if seat.num_failed_prepares == _NUM_PREPARE_TRIES:
            error = LearnersLostError(
                learner=learner,
                attempts=seat.num_failed_prepares,
                where="building the model and the data",
                reason="its worker process died",
            )
            self._events.append(AttemptFailed(round=0, learner=learner, attempt=0, error=error))

    def _fill_seats(self) -> None:
        """Give places to learners that have none, and have them built there."""
        wants = [
            Want(learner=learner, before=seat.before, lost_at=seat.lost_at)
            for learner, seat in enumerate(self._seats)
            if seat.place is None
        ]
        if not wants or not self._workers:
            return
        loads = Counter(seat.place.address for seat in self._seats if seat.place is not None)
        workers = list(self._workers.values())
        chosen = choose_places(wants, workers, loads, capacity=self._capacity, now=time.monotonic())
        for learner, worker in chosen.items():
            self._seats[learner].place = worker
            self._submit(learner, dask_worker.prepare, self._session, self._files, learner)

    def _remind(self) -> None:
        """Say now and then which learners are missing: somebody may have to do something about it."""
        now = time.monotonic()
        if now - self._reminded_at < _REMIND_SECONDS:
            return
        self._reminded_at = now
        num_seated = sum(seat.place is not None for seat in self._seats)
        if not self._is_local and num_seated < len(self._seats):
            self._notice(
                f"{num_seated} of {len(self._seats)} learners have a worker; more can be started at any "
                f"time: dask worker {self._connection.address}"
            )
        for learner, seat in enumerate(self._seats):
            if seat.place is not None and not seat.is_ready:
                self._notice(
                    f"learner {learner} is still building its model and data on {seat.place.address}; if "
                    "that should not take so long, look at build_model and dataset of the task"
                )

    def _take_answer(self, news: Answered) -> None:
        seat = self._seats[news.learner] if news.learner < len(self._seats) else None
        if seat is None or news.token != seat.token:
            return
        order, seat.running, seat.call = seat.running, None, None
        value = news.value
        if isinstance(value, LearnerUpdate):
            self._events.append(value)
        elif value is None:
            seat.is_ready, seat.num_failed_prepares = True, 0
            self._events.append(PlaceFound(learner=news.learner))
        else:
            error = unpack_error(value) if isinstance(value, PackedError) else value
            assert isinstance(error, Exception)
            if order is None and self._is_dispensable(seat):
                self._leave_out(seat, error)
                return
            round_, attempt = (order.round, order.attempt) if order is not None else (0, 0)
            self._events.append(
                AttemptFailed(round=round_, learner=news.learner, attempt=attempt, error=error)
            )

    def _is_dispensable(self, seat: _Seat) -> bool:
        """Whether a learner that cannot be built there is the worker's fault, and no reason to end the run.

        Where enough others were built, its machine lacks something: the data, a package, memory.
        """
        num_others = sum(other.is_ready for other in self._seats if other is not seat)
        return not self._is_local and num_others >= self._num_needed

    def _leave_out(self, seat: _Seat, error: Exception) -> None:
        assert seat.place is not None
        self._notice(f"the worker {seat.place.address} is left out: it cannot build its learner. {error}")
        self._workers.pop(seat.place.address, None)
        seat.leave()

    def _submit_order(self, order: Order) -> None:
        seat = self._seats[order.learner]
        seat.running = order
        frames = order.model.frames
        if self._is_local and isinstance(frames, LentFrames):
            frames = ()  # the worker reads them where they are
        else:
            order = replace(order, model=replace(order.model, frames=()))
        meeting, store_at = self._meeting(order)
        arguments: tuple[Any, ...] = (self._session, self._files, order, meeting)
        if store_at is None:
            arguments = (*arguments, None)
        self._submit(order.learner, dask_worker.work, *arguments, frames=frames, store_at=store_at)

    def _meeting(self, order: Order) -> tuple[Meeting | None, WorkerFacts | None]:
        """Where a gang meets: workers must be able to reach each other, and need not reach this machine."""
        if not order.members:
            return None, None
        assert self._session is not None
        first, own = self._seats[order.members[0]].place, self._seats[order.learner].place
        if first is None or own is None:
            # A member was lost a moment ago, and the coordinator will void this attempt: it may run alone
            # into the time-out of its gang, or be stopped before.
            first = first or own
        assert first is not None and own is not None
        meeting = Meeting(
            store_host=first.host,
            own_host=own.host,
            prefix=f"{self._session.session_id}/{order.round}/{order.attempt}",
            rank=order.members.index(order.learner),
            num_ranks=len(order.members),
            # nccl refuses ranks that share a device; workers of a cluster have one each, local ones may not.
            backend="nccl" if self._session.config.device == "cuda" and not self._is_local else "gloo",
        )
        return meeting, first

    def _submit(
        self,
        learner: int,
        function: Any,
        *arguments: Any,
        frames: Sequence[Frame] = (),
        store_at: WorkerFacts | None = None,
    ) -> None:
        seat = self._seats[learner]
        assert seat.place is not None
        seat.token += 1
        call = Call(
            learner=learner,
            token=seat.token,
            worker=seat.place,
            function=function,
            arguments=arguments,
            frames=frames,
            store_at=store_at,
            initial=None if self._files is None else self._files.initial,
        )
        seat.call = self._connection.submit(call)
