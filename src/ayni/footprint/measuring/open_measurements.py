"""The measurements that run in this process, and what keeps them when it ends before they do.

A measurement counts the whole process with its children, so two that overlap count the same energy twice. One
inside the other is well: the inner one's receipt names the outer. Side by side they are refused when the
second begins, before any work is lost: in threads and tasks, measure once around all and split by steps.

    the process ends        what is open is ended, the innermost first (atexit)
    SIGTERM, SIGHUP         likewise, where nobody else handles them; then the signal takes its course
    fork                    the child forgets its parent's measurements: its CPU time is counted there

Not covered: SIGKILL and power loss. The windows until then are on the disk, and whoever measures next in
the same home writes the receipts.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ayni.errors import UserError

if TYPE_CHECKING:
    import asyncio

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
# Signing takes a tenth of a second. Longer than this, something holds what the ending needs.
_LONGEST_ENDING_SECONDS = 10.0


class MeasurementNestingError(UserError):
    """Measurements of one process overlap, or are ended in another order than they were begun."""

    def __init__(self, name: str, other: str, what_to_do: str) -> None:
        self.name = name
        self.other = other
        super().__init__(f"{what_to_do} Each measures the whole process: their energy would count twice.")


class NotMeasuringError(UserError):
    """Something was asked of a measurement that does not run."""

    def __init__(self, name: str, what: str) -> None:
        self.name = name
        super().__init__(
            f"The measurement {name!r} does not run, so {what} belongs to nothing. Call it inside the `with` "
            "block, or between start() and stop()."
        )


class Endable(Protocol):
    """A measurement, as far as its ending is concerned."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def end(self, status: str) -> None:
        """Keep what was measured. Further calls do nothing."""
        ...

    def forget(self) -> None:
        """Leave it to the parent process."""
        ...


@dataclass(slots=True)
class _Open:
    measurement: Endable
    thread: int
    task: "asyncio.Task[Any] | None"


@dataclass(slots=True)
class _State:
    """What is open, the outermost first, and the handlers that were there before ours."""

    lock: Any = field(default_factory=threading.RLock)
    stack: list[_Open] = field(default_factory=list)
    handlers: dict[int, Any] = field(default_factory=dict)
    is_prepared: bool = False
    num_ending: int = 0
    deadly_signal: int | None = None


_STATE = _State()
_CONTEXT: ContextVar[tuple[int, ...]] = ContextVar("ayni_open_measurements", default=())


def check_may_begin(name: str) -> None:
    """Refuse a measurement beside one that it is not inside of.

    Raises:
        MeasurementNestingError: another thread or task is measuring.
    """
    with _STATE.lock:
        innermost = _STATE.stack[-1] if _STATE.stack else None
    if innermost is None or id(innermost.measurement) in _CONTEXT.get():
        return
    task = innermost.task
    is_beside = task is not None and task is not _current_task() and not task.done()
    if innermost.thread != threading.get_ident() or is_beside:
        other = innermost.measurement.name
        raise MeasurementNestingError(
            name,
            other,
            f"The measurement {name!r} begins while {other!r} runs in another thread or task. Begin one "
            "measurement around all of them, and name its parts with its method step().",
        )


def opened(measurement: Endable) -> None:
    """Remember a measurement that has begun."""
    with _STATE.lock:
        _prepare()
        _STATE.stack.append(_Open(measurement, threading.get_ident(), _current_task()))
        _CONTEXT.set((*_CONTEXT.get(), id(measurement)))
        _take_signals()


def inside_of(measurement: Endable) -> list[Endable]:
    """The measurements that began after this one and have not ended, the innermost first."""
    with _STATE.lock:
        measurements = [each.measurement for each in _STATE.stack]
    if measurement not in measurements:
        return []
    return measurements[measurements.index(measurement) + 1 :][::-1]


def closed(measurement: Endable) -> None:
    """Forget a measurement that has ended."""
    with _STATE.lock:
        _STATE.stack = [each for each in _STATE.stack if each.measurement is not measurement]
        if not _STATE.stack:
            _give_signals_back()
    _CONTEXT.set(tuple(each for each in _CONTEXT.get() if each != id(measurement)))


def end_all(status: str = "interrupted") -> None:
    """End everything that is open, the innermost first."""
    with _STATE.lock:
        measurements = [each.measurement for each in _STATE.stack]
    for measurement in reversed(measurements):
        measurement.end(status)


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """While a measurement is written: a signal that would end the process waits for that."""
    _STATE.num_ending += 1
    try:
        yield
    finally:
        _STATE.num_ending -= 1
        if _STATE.num_ending == 0 and _STATE.deadly_signal is not None:
            _die(_STATE.deadly_signal)


def _current_task() -> "asyncio.Task[Any] | None":
    if "asyncio" not in sys.modules:
        return None  # it takes longer to import than all of a measurement, and without it there is no task
    import asyncio

    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None


def _prepare() -> None:
    if not _STATE.is_prepared:
        _STATE.is_prepared = True
        atexit.register(end_all)
        os.register_at_fork(after_in_child=_forget_all)


def _forget_all() -> None:
    """In a forked child. Its lock may have been held by a thread that was not forked with it."""
    _STATE.lock = threading.RLock()
    stack, _STATE.stack = _STATE.stack, []
    for each in stack:
        each.measurement.forget()
    _give_signals_back()


def _take_signals() -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may
    for number in _SIGNALS:
        # Whoever handles a signal ends the process in order, and atexit is heard.
        if number not in _STATE.handlers and signal.getsignal(number) is signal.SIG_DFL:
            _STATE.handlers[number] = signal.signal(number, _end_and_die)


def _give_signals_back() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, before in _STATE.handlers.items():
        if signal.getsignal(number) is _end_and_die:
            signal.signal(number, before)
    _STATE.handlers.clear()


def _end_and_die(number: int, _frame: object) -> None:
    if _STATE.num_ending:
        _STATE.deadly_signal = number  # it came while this very thread writes; see `ending`
        return
    # In a thread of its own: this one may hold the lock that the ending waits for.
    thread = threading.Thread(target=end_all, name="ayni-ending", daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread can be started any more
        thread.start()
        thread.join(_LONGEST_ENDING_SECONDS)
    _die(number)


def _die(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
