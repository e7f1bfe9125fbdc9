"""Learners as worker processes of a local Dask cluster, one core each.

Dask starts, watches and restarts the processes and carries the arrays; it decides nothing. Each attempt
is one short task pinned to one worker, scheduled at most once (`allowed-failures: 0`): who is tried
again, and when, is the business of `rounds.py`. Futures are disposable, workers keep only caches.

All conversation with Dask happens on its event loop; the coordinator's thread only takes items from a
queue, so that a worker that hangs can never hang the coordinator.

Not covered: clusters on other machines, and more than one engine at a time in one process (Dask's
configuration is global to a process).
"""

import asyncio
import contextlib
import logging
import os
import queue
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker, spawn
from types import TracebackType
from typing import TYPE_CHECKING, Any

import dask
import distributed
from distributed.diagnostics.plugin import SchedulerPlugin

from ayni.errors import AyniError
from ayni.train import worker
from ayni.train.engine import (
    AttemptFailed,
    EngineEvent,
    LearnersLostError,
    LearnerUpdate,
    Order,
    PlaceFound,
    PlaceLost,
    Session,
)
from ayni.train.named_arrays import NamedArrays
from ayni.train.packed_error import PackedError, unpack_error

if TYPE_CHECKING:
    from ayni.train.sync import MeetingPlace

# What Dask calls the process of a worker.
_WORKER_PROCESS = "Dask Worker process"
_SETTINGS: dict[str, Any] = {
    # A worker that dies takes its task with it; the coordinator alone decides about the next attempt.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # A pinned task whose worker is gone would wait for ever.
    "distributed.scheduler.no-workers-timeout": "30s",
    # Only the heartbeat tells that a process hangs; torch releases the GIL, so a busy one still beats.
    "distributed.scheduler.worker-ttl": "60s",
    # After 15 s, a stale timer of the first death would keep Dask from restarting a worker that dies again.
    "distributed.deploy.lost-worker-timeout": "1h",
    # torch's memory is "unmanaged" for Dask: it must not pause or kill a worker that trains.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # Processes that are daemons may not have children, and a task's DataLoader may want some.
    "distributed.worker.daemon": False,
    "distributed.worker.multiprocessing-method": "spawn",
    # Nobody looks at HTTP pages of a cluster that lives for minutes; nothing is served.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.tick.limit": "1h",
    # This replaces Dask's own list, whose MALLOC_TRIM_THRESHOLD_ makes every large tensor a fresh mapping:
    # page faults then cost as much as the training itself.
    "distributed.nanny.pre-spawn-environ": {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # Threads that spin while they wait steal the core of another learner.
        "OMP_WAIT_POLICY": "PASSIVE",
    },
}
_NUM_PREPARE_TRIES = 3


class ClusterStartError(AyniError):
    """The worker processes could not be started."""

    def __init__(self, num_workers: int, cause: BaseException) -> None:
        super().__init__(
            f"{num_workers} worker processes could not be started ({cause}). Check free memory and the "
            "limits of processes and open files (ulimit -u, ulimit -n)."
        )


@dataclass(slots=True)
class _Seat:
    """Where a learner is: its worker's address, what runs there, and what waits for a restarted worker.

    `token` numbers what was submitted for this learner; an answer with another number is stale.
    """

    token: int = 0
    address: str | None = None
    is_ready: bool = False
    running: Order | None = None
    waiting: Order | None = None
    num_failed_prepares: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerAdded:
    name: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerRemoved:
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """What a submitted function gave back, or why there is nothing: `value` is then an exception."""

    learner: int
    token: int
    value: object


class _Watch(SchedulerPlugin):
    """Reports each worker that comes and goes, within milliseconds."""

    def __init__(self, news: "queue.SimpleQueue[Any]") -> None:
        self._news = news

    def add_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        self._news.put(_WorkerAdded(name=int(scheduler.workers[worker].name), address=worker))

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        self._news.put(_WorkerRemoved(address=worker))


class DaskEngine:
    """A local cluster of worker processes. Fulfils ayni.train.engine.Engine; use it in a `with` block.

    Entering starts the processes and has them import torch; it returns before they are done, so that
    the coordinator can prepare meanwhile. Learner i runs on worker i mod num_workers.
    """

    def __init__(self, num_workers: int) -> None:
        if num_workers < 1:
            raise ValueError(f"{num_workers} workers cannot train")
        self._num_workers = num_workers
        self._stack = contextlib.ExitStack()
        self._news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._addresses: dict[int, str] = {}
        self._session: Session | None = None
        self._seats: list[_Seat] = []
        self._store: Any = None
        self._cluster: Any = None
        self._client: Any = None

    def __enter__(self) -> "DaskEngine":
        with contextlib.ExitStack() as stack:
            stack.enter_context(dask.config.set(_SETTINGS))
            stack.enter_context(_workers_without_main())
            try:
                with _without_interrupts():
                    self._cluster = stack.enter_context(self._start_cluster())
                self._client = stack.enter_context(self._connect())
                self._cluster.sync(self._install_watch)
            except (OSError, RuntimeError, TimeoutError) as error:
                raise ClusterStartError(self._num_workers, error) from error
            self._stack = stack.pop_all()
        for address in self._addresses.values():
            self._client.submit(worker.warm_up, workers=[address], pure=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session, self._seats = None, []
        self._stack.close()

    def open(self, session: Session) -> None:
        """Have each worker build its learners; answers that belong to an earlier session are ignored."""
        first_token = max((seat.token for seat in self._seats), default=0) + 1_000
        self._session = session
        self._seats = [_Seat(token=first_token) for _ in range(session.config.learners)]
        self._digest_places()
        if session.config.strategy == "sync" and self._store is None:
            from ayni.train.sync import host_store

            self._store = host_store()
        for learner in range(len(self._seats)):
            self._seat_learner(learner)

    def start(self, order: Order) -> None:
        """Send the attempt to the learner's worker; a worker that still runs an older one is killed."""
        seat = self._seats[order.learner]
        if seat.running is not None:
            seat.waiting, seat.running = order, None
            seat.token += 1
            self._kill_worker(seat)
        elif seat.address is not None and seat.is_ready:
            self._submit_order(order)
        # Otherwise the place was lost a moment ago and PlaceLost is on its way to the caller.

    def wait(self, timeout_seconds: float) -> list[EngineEvent]:
        """What happened since the last call, in order; waits for the first event, at most this long."""
        deadline = time.monotonic() + timeout_seconds
        events: list[EngineEvent] = []
        while not events and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                events += self._digest(self._news.get(timeout=left))
            while not self._news.empty():
                events += self._digest(self._news.get())
        return events

    def worker_process_ids(self) -> list[int]:
        """Process ids of the living workers, for tests that kill them and for metering."""
        return [pid for nanny in self._cluster.workers.values() if (pid := nanny.pid) is not None]

    def _start_cluster(self) -> Any:
        start: Any = distributed.LocalCluster
        return start(
            n_workers=self._num_workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=None,
            # Any free port: the default one may be taken, and Dask would warn about it.
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
        )

    def _connect(self) -> Any:
        connect: Any = distributed.Client
        return connect(self._cluster, set_as_default=False)

    async def _install_watch(self) -> None:
        scheduler = self._cluster.scheduler
        scheduler.add_plugin(_Watch(self._news))
        self._addresses = {int(state.name): address for address, state in scheduler.workers.items()}

    def _digest(self, news: _WorkerAdded | _WorkerRemoved | _Answered) -> list[EngineEvent]:
        if isinstance(news, _WorkerAdded):
            self._addresses[news.name] = news.address
            for learner in self._learners_of(news.name):
                self._seat_learner(learner)
            return []
        if isinstance(news, _WorkerRemoved):
            return self._forget_place(news.address)
        seat = self._seats[news.learner] if news.learner < len(self._seats) else None
        if seat is None or news.token != seat.token:
            return []
        return self._take_answer(news.learner, seat, news.value)

    def _digest_places(self) -> None:
        """Take in which workers came and went while no session was open."""
        while not self._news.empty():
            news = self._news.get()
            if isinstance(news, _WorkerAdded):
                self._addresses[news.name] = news.address
            elif isinstance(news, _WorkerRemoved):
                self._drop_address(news.address)

    def _drop_address(self, address: str) -> None:
        self._addresses = {name: known for name, known in self._addresses.items() if known != address}

    def _learners_of(self, name: int) -> list[int]:
        return [learner for learner in range(len(self._seats)) if learner % self._num_workers == name]

    def _seat_learner(self, learner: int) -> None:
        """Have the learner built on its worker, if that is there; its answer says that the place is ready."""
        address = self._addresses.get(learner % self._num_workers)
        seat = self._seats[learner]
        if address is None or seat.address == address:
            return
        seat.address, seat.is_ready = address, False
        self._submit(learner, worker.prepare, self._session, learner)

    def _forget_place(self, address: str) -> list[EngineEvent]:
        self._drop_address(address)
        events: list[EngineEvent] = []
        for learner, seat in enumerate(self._seats):
            if seat.address != address:
                continue
            was_ready, seat.address, seat.is_ready, seat.running = seat.is_ready, None, False, None
            seat.token += 1
            if not was_ready:
                events += self._count_failed_prepare(learner)
            elif seat.waiting is None:
                events.append(PlaceLost(learner=learner, reason="its worker process died"))
        return events

    def _count_failed_prepare(self, learner: int) -> list[EngineEvent]:
        seat = self._seats[learner]
        seat.num_failed_prepares += 1
        if seat.num_failed_prepares < _NUM_PREPARE_TRIES:
            return []
        error = LearnersLostError(
            learner=learner,
            attempts=seat.num_failed_prepares,
            where="building the model and the data",
            reason="its worker process died",
        )
        return [AttemptFailed(round=0, learner=learner, attempt=0, error=error)]

    def _take_answer(self, learner: int, seat: _Seat, value: object) -> list[EngineEvent]:
        order, seat.running = seat.running, None
        if isinstance(value, LearnerUpdate):
            return [value]
        if value is None:
            seat.is_ready, seat.num_failed_prepares = True, 0
            if seat.waiting is not None:
                self._submit_order(seat.waiting)
                return []
            return [PlaceFound(learner=learner)]
        if not isinstance(value, PackedError) and not self._is_place_alive(seat):
            # The task died with its worker; the news that the worker is gone follows and says so.
            seat.running = order
            return []
        error = unpack_error(value) if isinstance(value, PackedError) else value
        assert isinstance(error, Exception)
        name = (order.round, order.attempt) if order is not None else (0, 0)
        return [AttemptFailed(round=name[0], learner=learner, attempt=name[1], error=error)]

    def _is_place_alive(self, seat: _Seat) -> bool:
        return seat.address is not None and seat.address in self._cluster.scheduler.workers

    def _submit_order(self, order: Order) -> None:
        seat = self._seats[order.learner]
        seat.running, seat.waiting = order, None
        without_arrays = replace(order, base={})
        arguments = (self._session, without_arrays, self._meeting_place(order))
        self._submit(order.learner, worker.work, *arguments, base=order.base)

    def _meeting_place(self, order: Order) -> "MeetingPlace | None":
        assert self._session is not None
        if self._session.config.strategy != "sync":
            return None
        from ayni.train.sync import MeetingPlace

        return MeetingPlace(
            host="127.0.0.1",
            port=self._store.port,
            prefix=f"{self._session.session_id}/{order.round}/{order.attempt}",
            rank=order.learner,
            num_ranks=self._session.config.learners,
        )

    def _submit(self, learner: int, function: Any, *arguments: Any, base: NamedArrays | None = None) -> None:
        seat = self._seats[learner]
        seat.token += 1
        answer = _Answered(learner=learner, token=seat.token, value=None)
        call = self._call(answer, seat.address, function, arguments, base)
        asyncio.run_coroutine_threadsafe(call, self._client.loop.asyncio_loop)

    async def _call(
        self,
        answer: _Answered,
        address: str | None,
        function: Any,
        arguments: tuple[Any, ...],
        base: NamedArrays | None,
    ) -> None:
        """Run a function on a worker and put its answer into the queue, whatever happens."""
        value: object
        try:
            if base is not None:
                # Arrays go to the worker directly: inside a task's arguments they would be pickled and
                # pass through the scheduler.
                sent = await self._client.scatter([base], workers=[address], hash=False, direct=True)
                arguments = (*arguments, *sent)
            future = self._client.submit(
                function, *arguments, workers=[address], allow_other_workers=False, pure=False, retries=0
            )
            value = await self._client.gather(future, direct=True)
        except asyncio.CancelledError:
            return
        except Exception as error:  # whatever Dask raises becomes an event; the coordinator decides
            value = error
        self._news.put(replace(answer, value=value))

    def _kill_worker(self, seat: _Seat) -> None:
        """End a worker that does not answer; SIGKILL also ends a stopped one; the nanny starts another."""
        for nanny in self._cluster.workers.values():
            if nanny.worker_address == seat.address and nanny.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(nanny.pid, signal.SIGKILL)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let no thread or process that is started inside the block ever see Ctrl-C.

    A terminal sends SIGINT to all processes of its group. The coordinator alone shall act on it, by
    ending the workers; they would only print tracebacks. Signal masks are inherited, also by workers
    that Dask's thread starts later, and an interrupt inside the block arrives after it.
    """
    # Python's resource tracker unblocks SIGINT in the thread that starts it, so it must run before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _workers_without_main() -> Iterator[None]:
    """Keep workers from importing the script that started the run: it would start runs of its own.

    multiprocessing has each process that it spawns import the parent's main module, which is why scripts
    are told to guard their last lines. Our workers need nothing of it: tasks are found by their file.
    Other processes that the caller spawns meanwhile are left alone.
    """
    original = spawn.get_preparation_data

    def prepared(name: str) -> dict[str, Any]:
        data: dict[str, Any] = original(name)
        if name.startswith(_WORKER_PROCESS):
            data.pop("init_main_from_name", None)
            data.pop("init_main_from_path", None)
        return data

    spawn.get_preparation_data = prepared
    try:
        yield
    finally:
        spawn.get_preparation_data = original
