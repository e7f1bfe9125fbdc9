"""All conversation with Dask, on an event loop in a thread of its own.

The engine's thread only posts calls and takes news from a queue, so that a worker that hangs can never
hang the coordinator. Nothing of ours runs in the scheduler: who comes and goes is read from the events
that it publishes. A scheduler that goes away is waited for, with growing pauses, and a new client made.
"""

import asyncio
import contextlib
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import distributed

from ayni.errors import AyniError
from ayni.train import dask_worker
from ayni.train.cluster_checks import SchedulerLostError, UnreachableWorkerError, WorkerFacts
from ayni.train.cluster_security import await_listener, connection_error, make_security
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
from ayni.train.engine import Frame, FrameStore, LearnerUpdate, MergedPart
from ayni.train.fetched_frames import PIECE_BYTES, FetchedFrames, LargeUpdate, UpdateName
from ayni.train.lent_frames import BorrowedFrames
from ayni.train.local_cluster import start_local_cluster, without_interrupts
from ayni.train.packed_error import PackedError, unpack_error
from ayni.train.strategy_config import TlsConfig
from ayni.train.task_files import InitialFile
from ayni.train.worker_probe import check_worker

T = TypeVar("T")

# A worker that is asked answers within milliseconds; a loaded machine gets some seconds.
PROBE_SECONDS = 15.0
_PROBE_AGAIN_SECONDS = 30.0
CONNECT_SECONDS = 10.0
# A scheduler that was started a moment ago may not listen yet.
_LISTENER_SECONDS = 2.0
# How long a scheduler that went away is waited for: a restart by systemd or Kubernetes takes seconds.
RECONNECT_SECONDS = 60.0
_WATCH_SECONDS = 0.2
# A scheduler that hangs keeps its connections; one that says nothing for so long counts as gone.
_SILENCE_SECONDS = 60.0
# The news that a worker died takes milliseconds; an error that comes with it must not be told before it.
_VERDICT_SECONDS = 1.0
# A nanny starts its worker again within a second or two; one that does not in this time hangs as well.
_RESTART_SECONDS = 15.0
# Models are sent and updates fetched one at a time, for the sake of memory; one that takes longer than this
# lets the next begin, so that a worker that hangs stops nobody else.
_TURN_SECONDS = 10.0


class DaskConnection:
    """A client of a cluster, and the cluster itself where it is a local one; use it in a `with` block."""

    def __init__(
        self,
        address: str | None,
        *,
        num_workers: int = 0,
        tls: TlsConfig | None = None,
        reconnect_seconds: float = RECONNECT_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self.news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self.store: FrameStore | None = None
        self._address = address
        self._num_workers = num_workers
        self._tls = tls
        self._reconnect_seconds, self._probe_seconds = reconnect_seconds, probe_seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ayni-dask", daemon=True)
        self._cluster: Any = None
        self._client: Any = None
        self._security: Any = None
        self._sending, self._fetching = asyncio.Lock(), asyncio.Lock()
        self._workers: dict[str, WorkerFacts | None] = {}
        self._stores: dict[str, asyncio.Task[int]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._stack = contextlib.ExitStack()

    @property
    def address(self) -> str:
        """Where the scheduler is, for messages."""
        return self._address or "this machine"

    def __enter__(self) -> "DaskConnection":
        self._stack.enter_context(_quiet_logs())
        with without_interrupts():
            self._thread.start()
            opening = self._post(self._open())
        try:
            opening.result()
        except BaseException:
            opening.cancel()
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._post(self._close()).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        if not self._thread.is_alive():
            self._loop.close()
        self._stack.close()

    def submit(self, call: Call) -> "Future[None]":
        """Run a function on a worker; Answered follows unless the returned future is cancelled."""
        return self._post(self._perform(call))

    def deliver(self, worker: WorkerFacts, session_id: str, learner: int, part: MergedPart) -> None:
        """Give a part to the attempt that runs on a worker; a failure shows in the attempt."""
        self._post(self._deliver(worker, session_id, learner, part))

    def restart(self, worker: WorkerFacts) -> None:
        """End a worker that does not answer, by its nanny; WorkerGone follows, final if none does."""
        self._post(self._restart(worker))

    def run(self, workers: list[WorkerFacts], function: Any, *, seconds: float) -> None:
        """Run a function in the event loop of workers, beside their tasks; errors do not matter."""
        addresses = [worker.address for worker in workers]

        async def ask() -> None:
            asking = self._client.run(function, workers=addresses, on_error="ignore")
            await asyncio.wait_for(asking, seconds)

        with contextlib.suppress(Exception):
            self._post(ask()).result(timeout=seconds + 1)

    def _post(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run in the background; a reference must be kept, or the task may be collected while it runs."""
        task = self._loop.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _open(self) -> None:
        if self._address is None:
            self._cluster = await start_local_cluster(self._num_workers)
        self._security = make_security(self._tls)
        await self._connect(CONNECT_SECONDS)
        self._begin(self._stay_connected())

    async def _close(self) -> None:
        for task in self._background:
            task.cancel()
        await self._drop_client()
        if self._cluster is not None:
            await self._cluster.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for other in left:
            other.cancel()
        if left:
            await asyncio.wait(left, timeout=1)

    async def _connect(self, seconds: float) -> None:
        """Make a client and learn which workers are there.

        Raises:
            SchedulerUnreachableError, SchedulerRefusedError: no client could be made.
        """
        address = self._cluster.scheduler_address if self._cluster is not None else self._address
        make: Any = distributed.Client
        try:
            await await_listener(str(address), _LISTENER_SECONDS)
            self._client = await make(
                address, security=self._security, asynchronous=True, set_as_default=False, timeout=seconds
            )
            self._client.subscribe_topic("all", self._on_event)
            await self._compare_workers()
        except (OSError, TimeoutError, RuntimeError) as error:
            raise connection_error(error, address=str(address)) from error

    async def _drop_client(self) -> None:
        self._workers.clear()
        self._stores.clear()
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                # Or the scheduler would log that it could not tell us about our own leaving.
                client.unsubscribe_topic("all")
            with contextlib.suppress(Exception):
                # What Dask's own blocking client does: the gentle way takes two seconds more.
                await asyncio.wait_for(client._close(fast=True), 5)

    async def _stay_connected(self) -> None:
        """Notice that the scheduler is gone, wait for it, and begin anew; until the connection is closed."""
        while True:
            await self._until_lost()
            self.news.put(ConnectionLost())
            await self._drop_client()
            if not await self._reconnect():
                seconds = self._reconnect_seconds
                self.news.put(
                    ConnectionFailed(error=SchedulerLostError(address=self.address, seconds=seconds))
                )
                return
            self.news.put(ConnectionFound())

    async def _until_lost(self) -> None:
        # Dask's client reconnects by itself, within a moment or never: its connection is what to compare.
        connection, num_looks = self._client.scheduler_comm, 0
        while self._client.status == "running" and self._client.scheduler_comm is connection:
            await asyncio.sleep(_WATCH_SECONDS)
            num_looks += 1
            if num_looks % 10 == 0:
                # Events that were published while the subscription was on its way would be missed.
                try:
                    await asyncio.wait_for(self._compare_workers(), _SILENCE_SECONDS)
                except TimeoutError:
                    return
                except OSError:
                    # The connection is gone, and Dask's client is about to notice it too.
                    continue

    async def _reconnect(self) -> bool:
        pause, deadline = 0.1, time.monotonic() + self._reconnect_seconds
        while time.monotonic() < deadline:
            try:
                await self._connect(min(CONNECT_SECONDS, max(1.0, deadline - time.monotonic())))
            except AyniError:
                await self._drop_client()
                await asyncio.sleep(pause)
                pause = min(2 * pause, 5.0)
            else:
                return True
        return False

    async def _on_event(self, event: tuple[float, Any]) -> None:
        message = event[1]
        action = message.get("action") if isinstance(message, dict) else None
        if action == "add-worker":
            self._add(message["worker"])
        elif action == "remove-worker":
            self._remove(message["worker"])

    async def _compare_workers(self) -> None:
        there = set(await self._client.scheduler.ncores())
        for address in there - set(self._workers):
            self._add(address)
        for address in set(self._workers) - there:
            self._remove(address)

    def _add(self, address: str) -> None:
        if address not in self._workers:
            self._workers[address] = None
            self._begin(self._welcome(self._client, address))

    def _remove(self, address: str) -> None:
        self._stores.pop(address, None)
        if address in self._workers:
            del self._workers[address]
            self.news.put(WorkerGone(address=address))

    async def _welcome(self, client: Any, address: str) -> None:
        """Check a worker, and say how that went; nothing is said of one that left meanwhile."""
        is_refused = False
        while client is self._client and address in self._workers:
            try:
                facts = await check_worker(client, address, self._probe_seconds)
            except AyniError as error:
                if not is_refused and address in self._workers:
                    self.news.put(WorkerRefused(error=error))
                is_refused = True
                if not isinstance(error, UnreachableWorkerError):
                    return
                # A network may heal, and an overloaded machine may calm down.
                await asyncio.sleep(_PROBE_AGAIN_SECONDS)
            else:
                await self._take_in(client, facts)
                return

    async def _take_in(self, client: Any, facts: WorkerFacts) -> None:
        if client is not self._client or facts.address not in self._workers:
            return
        self._workers[facts.address] = facts
        # Importing torch takes a second; whoever is asked first would wait for it.
        warming = _submit_to(client, facts, dask_worker.warm_up)
        self.news.put(WorkerReady(facts=facts))
        with contextlib.suppress(Exception):
            await _until_done(client, warming)

    async def _perform(self, call: Call) -> None:
        value: object
        try:
            value = await self._run_task(call)
        except AyniError as error:
            value = error
        except Exception as error:  # whatever Dask raises becomes an answer; the coordinator decides
            await asyncio.sleep(_VERDICT_SECONDS)
            value = error
        self.news.put(Answered(learner=call.learner, token=call.token, value=value))

    async def _run_task(self, call: Call) -> object:
        client, worker = self._client, call.worker
        arguments = call.arguments
        if call.initial is not None:
            await self._bring(worker, call.initial)
        if call.store_at is not None:
            arguments = (*arguments, await self._port_of_store(call.store_at))
        if len(call.frames) > 0:
            # Inside a task's arguments, arrays would be pickled and pass through the scheduler.
            arguments = (*arguments, *await self._in_turn(self._sending, self._scatter(worker, call.frames)))
        task = _submit_to(client, worker, call.function, *arguments)
        await _until_done(client, task)
        return await self._in_turn(self._fetching, self._fetch(task, worker))

    async def _bring(self, worker: WorkerFacts, initial: InitialFile) -> None:
        """Send the file of the first weights, unless the worker's machine has it."""
        client = self._client
        if not await client.gather(_submit_to(client, worker, dask_worker.lacks_initial_file, initial)):
            return
        pieces = initial.pieces()
        while piece := await asyncio.to_thread(next, pieces, None):
            [content] = await client.scatter(
                [piece[1]], workers=[worker.address], hash=False, direct=worker.is_direct
            )
            taking = _submit_to(client, worker, dask_worker.take_initial_piece, initial, piece[0], content)
            await client.gather(taking)

    async def _in_turn(self, lock: asyncio.Lock, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for the lock, then run; the lock is given up after a while even if that is not done."""
        try:
            await lock.acquire()
        except BaseException:
            coroutine.close()
            raise
        working = self._loop.create_task(coroutine)
        try:
            await asyncio.wait({working}, timeout=_TURN_SECONDS)
        except asyncio.CancelledError:
            working.cancel()
            raise
        finally:
            lock.release()
        return await working

    async def _scatter(self, worker: WorkerFacts, frames: Sequence[Frame]) -> list[Any]:
        """Bring frames to a worker piece by piece; returns Dask's handle of each piece."""
        handles: list[Any] = []
        # Frames may be encoded when they are taken, which must not hold up the loop.
        pieces = _pieces(frames)
        while piece := await asyncio.to_thread(next, pieces, None):
            handles += await self._client.scatter(
                [piece], workers=[worker.address], hash=False, direct=worker.is_direct
            )
            # Or it would stay while the next one is encoded.
            piece = []
        return handles

    async def _fetch(self, task: Any, worker: WorkerFacts) -> object:
        """The result of a finished task; the frames of an update go to the store at once."""
        value = await self._client.gather(task, direct=worker.is_direct)
        frames: Sequence[Frame] = ()
        if isinstance(value, LargeUpdate):
            aside, value = value.aside, value.update
            frames = FetchedFrames(aside.sizes, partial(self._fetch_piece, worker, aside.name))
        elif isinstance(value, LearnerUpdate):
            frames = value.frames
            if isinstance(frames, BorrowedFrames):
                frames.open()  # before the worker forgets them together with the task
        if isinstance(value, LearnerUpdate) and self.store is not None and len(frames) > 0:
            return replace(value, frames=await asyncio.to_thread(self.store.keep, frames))
        return value

    def _fetch_piece(self, worker: WorkerFacts, name: UpdateName, start: int, stop: int) -> Sequence[Frame]:
        """Some frames of an update; called in another thread than the loop's."""

        async def fetch() -> Any:
            task = _submit_to(self._client, worker, dask_worker.take_update_piece, name, start, stop)
            return await self._client.gather(task, direct=worker.is_direct)

        value = self._post(fetch()).result()
        if isinstance(value, PackedError):
            raise unpack_error(value)
        frames: list[Frame] = value
        return frames

    async def _port_of_store(self, worker: WorkerFacts) -> int:
        """The members of a gang ask at about the same time, and must get the same answer."""
        if worker.address not in self._stores:
            asking = self._ask_one(worker.address, dask_worker.open_store)
            self._stores[worker.address] = self._loop.create_task(asking)
        port: int = await self._stores[worker.address]
        return port

    async def _deliver(self, worker: WorkerFacts, session_id: str, learner: int, part: MergedPart) -> None:
        with contextlib.suppress(Exception):
            sent = await self._in_turn(self._sending, self._scatter(worker, part.frames))
            keys = [handle.key for handle in sent]
            bare = replace(part, frames=())
            await self._ask_one(worker.address, dask_worker.deliver, session_id, learner, bare, keys)

    async def _restart(self, worker: WorkerFacts) -> None:
        if not worker.has_nanny:
            self._leave_out(worker, "it does not answer, and no nanny is there to restart it")
            return
        with contextlib.suppress(Exception):
            # The nanny's host is the worker's: SIGKILL also ends a process that is stopped.
            end = self._client.run(
                os.kill, worker.process_id, signal.SIGKILL, workers=[worker.address], nanny=True
            )
            await asyncio.wait_for(end, _RESTART_SECONDS)
        await asyncio.sleep(_RESTART_SECONDS)
        if self._workers.get(worker.address) is worker:
            self._leave_out(
                worker, f"it does not answer, nor could it be restarted within {_RESTART_SECONDS:g} s"
            )

    def _leave_out(self, worker: WorkerFacts, reason: str) -> None:
        # The address stays known, so that the worker is not taken for a new one.
        self.news.put(WorkerGone(address=worker.address, reason=reason, is_final=True))

    async def _ask_one(self, address: str, function: Any, *arguments: Any) -> Any:
        answers = await self._client.run(function, *arguments, workers=[address])
        return answers[address]


def _submit_to(client: Any, worker: WorkerFacts, function: Any, *arguments: Any) -> Any:
    """A task that runs on this worker or nowhere."""
    return client.submit(
        function,
        *arguments,
        workers=[worker.address],
        allow_other_workers=False,
        pure=False,
        retries=0,
    )


async def _until_done(client: Any, task: Any) -> None:
    """Wait for the end of a task without fetching its result."""
    as_completed: Any = distributed.as_completed
    async for _ in as_completed([task], loop=client.loop):
        pass


def _pieces(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Consecutive frames in lists of about PIECE_BYTES: encoded copies need no more memory."""
    piece: list[Frame] = []
    for index in range(len(frames)):
        piece.append(frames[index])
        if sum(frame.nbytes for frame in piece) >= PIECE_BYTES:
            yield piece
            piece = []
    if piece:
        yield piece


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Dask's own log lines say nothing that our events do not, and would disturb the terminal."""
    names = [
        "distributed",
        *(name for name in logging.root.manager.loggerDict if name.startswith("distributed.")),
    ]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
