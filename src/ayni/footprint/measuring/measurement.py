"""Measure a block or a function of Python: energy, carbon and a signed receipt in three lines.

    from ayni.footprint import measure

    with measure("training", zone="DE") as m:
        train()
    print(m)      # 28 J (12 to 73, W3), 0.003 g CO2e (0.0008 to 0.012, annual mean, DE)

    @measure("evaluation")
    def evaluate(): ...

What is measured is this process with its threads and children, dead ones included, from the beginning of
the block to its end, and the idle power of the cores that it reserves. `m.step("epoch")` splits it: the
steps add up to the whole, and each has a receipt. Nothing is printed, and nothing leaves the machine.

Measuring never stops what it measures. What cannot work is an error before the block begins; what fails
later, such as a full disk, is a warning (`MeasurementWarning`) when it ends. Exceptions of the block pass
through, and what was measured is kept.

Not covered: a part of a process, such as one thread or one task: CPU time and energy are those of all. GPUs
belong to the measurement as a whole.
"""

import contextlib
import functools
import inspect
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from ayni.errors import AyniError
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.measuring import open_measurements
from ayni.footprint.measuring.measured_footprint import Footprint
from ayni.footprint.measuring.open_measurements import MeasurementNestingError, NotMeasuringError
from ayni.footprint.measuring.recording import Recorded, Recording, Request
from ayni.footprint.receipts.receipt import Receipt

_Function = TypeVar("_Function", bound=Callable[..., Any])


class MeasurementWarning(UserWarning):
    """A measurement could not be kept as it should; the work that it measured is not touched."""


def measure(
    name: str,
    *,
    zone: str | None = None,
    pue: float = 1.0,
    reserved_cores: int | None = None,
    uses_gpu: bool | None = None,
    grid_files: Sequence[str | Path] = (),
    home: str | Path | None = None,
    save: bool = True,
) -> "Measurement":
    """A measurement, not begun yet: use it with `with`, as a decorator, or by `start()` and `stop()`.

    Args:
        name: what it is called in receipts and folders.
        zone: where the electricity comes from, such as DE or US-CA; None is unknown, never guessed.
        pue: energy of the building over energy of its machines, at least 1.
        reserved_cores: cores that it keeps from others; all that the process may use by default.
        uses_gpu: whether the GPUs of this machine are its own; found out by default.
        grid_files: hourly carbon intensities, see docs/grid-data.md.
        home: folder of all state; AYNI_HOME by default.
        save: keep windows, signed receipts and result below `home`/footprint.

    Raises:
        ValueError: an argument that cannot be.
    """
    request = Request(
        name=name,
        zone=zone,
        pue=pue,
        reserved_cores=reserved_cores,
        uses_gpu=uses_gpu,
        grid_files=tuple(Path(path) for path in grid_files),
        home=None if home is None else Path(home),
        save=save,
    )
    return Measurement(request)


class Measurement:
    """What `measure` gives. After its end the figures are there; before, and where unknown, they are None.

    One that has ended may begin again: its figures are then those of the new measurement.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._recording: Recording | None = None
        self._recorded = Recorded()
        self._folder: Path | None = None
        self._num_calls = 0
        self._calls_lock = threading.Lock()
        self._is_inherited = False

    @property
    def name(self) -> str:
        """What it is called."""
        return self._request.name

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended."""
        return self._recording is not None

    def start(self) -> "Measurement":
        """Begin. `with` does this; by hand for notebooks, where a block spans cells.

        Raises:
            MeasurementNestingError: it runs already, or another one does in another thread or task.
            UserError: the zone, a grid file or the home cannot be used.
        """
        if self._recording is not None:
            raise MeasurementNestingError(
                self.name,
                self.name,
                f"The measurement {self.name!r} runs already. Make another one with measure(), or name a "
                "part of this one with its method step().",
            )
        open_measurements.check_may_begin(self.name)
        self._recorded, self._is_inherited = Recorded(), False
        self._recording = Recording(self._request)
        self._folder = self._recording.folder if self._request.save else None
        open_measurements.opened(self)
        return self

    def stop(self) -> "Measurement":
        """End, and write the receipts. Does nothing when it has ended already.

        Raises:
            MeasurementNestingError: one that began inside of this one still ran. Both have ended now.
        """
        still_open = [inner.name for inner in open_measurements.inside_of(self)]
        self.end("finished")
        if still_open:
            raise MeasurementNestingError(
                still_open[0],
                self.name,
                f"The measurement {still_open[0]!r} began inside {self.name!r} and did not end before it; "
                "both have ended now. End the inner one first.",
            )
        return self

    def end(self, status: str) -> None:
        """End with this status, and first what began inside; whatever goes wrong becomes a warning."""
        for inner in open_measurements.inside_of(self):
            inner.end(status)
        recording, self._recording = self._recording, None
        if recording is None:
            return
        open_measurements.closed(self)
        with open_measurements.ending():
            self._recorded = recording.finish(status)
        for problem in self._recorded.problems:
            warnings.warn(f"Measuring {self.name!r}: {problem}", MeasurementWarning, stacklevel=3)

    def forget(self) -> None:
        """In a forked child: this measurement is its parent's, who counts the child as well."""
        if self._recording is not None:
            self._recording.forget()
        self._recording, self._is_inherited, self._num_calls = None, True, 0
        self._calls_lock = threading.Lock()

    def __enter__(self) -> "Measurement":
        """Begin."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End; an exception of the block goes on."""
        if error is None:
            self.stop()
        else:
            self.end(_status_of(error))

    def step(self, name: str) -> "Step":
        """From now on another step is measured; a name that was used gets a number: epoch, epoch-2, ...

        With `with`, the step that was measured before goes on after the block. In a forked child nothing
        happens: its steps are its parent's.

        Raises:
            NotMeasuringError: the measurement does not run.
        """
        recording = self._running("step()")
        before = "" if recording is None else recording.step
        if recording is not None:
            with self._failures_as_warnings():
                recording.begin_step(name)
        return Step(self, recording, before)

    def go_on_with(self, step: str, recording: Recording | None) -> None:
        """Measure an earlier step again, unless `recording` has ended."""
        if recording is not None and recording is self._recording:
            with self._failures_as_warnings():
                recording.go_on_with(step)

    def count(self, number: float, unit: str) -> None:
        """Say how much the present step has done, so that carbon per unit can be told.

        Args:
            number: how many; added to what was counted before.
            unit: run, epoch, 1k images, 1k tokens or 1k requests. Images, tokens and requests are counted
                one by one: 2,500 images are `count(2500, "1k images")`.

        Raises:
            NotMeasuringError: the measurement does not run.
            ValueError: no such unit, or the step counts another one.
        """
        recording = self._running("count()")
        if recording is not None:
            recording.count(FunctionalUnit(name=unit, count=number))

    def __call__(self, function: _Function) -> _Function:
        """Measure every call of a function, also of an async one.

        Calls inside a call, and beside it in other threads and tasks, are part of the first: it ends with
        the last of them. Each such group is a measurement with a folder of its own.

        Raises:
            ValueError: a generator, which does its work after it was called.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ValueError(
                f"{function.__qualname__} is a generator: it works while somebody loops over it. Measure the "
                "loop with `with measure(...)`."
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def measured_async(*arguments: Any, **keywords: Any) -> Any:
                with self._call():
                    return await function(*arguments, **keywords)

            measured_async.measurement = self  # type: ignore[attr-defined]
            return cast("_Function", measured_async)

        @functools.wraps(function)
        def measured(*arguments: Any, **keywords: Any) -> Any:
            with self._call():
                return function(*arguments, **keywords)

        measured.measurement = self  # type: ignore[attr-defined]
        return cast("_Function", measured)

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        with self._calls_lock:
            if self._num_calls == 0:
                self.start()
            self._num_calls += 1
        status = "finished"
        try:
            yield
        except BaseException as error:
            status = _status_of(error)
            raise
        finally:
            with self._calls_lock:
                # A forked child begins to count anew.
                self._num_calls = max(0, self._num_calls - 1)
                if self._num_calls == 0:
                    self.end(status)

    def _running(self, what: str) -> Recording | None:
        if self._recording is None and not self._is_inherited:
            raise NotMeasuringError(self.name, what)
        return self._recording

    @contextlib.contextmanager
    def _failures_as_warnings(self) -> Iterator[None]:
        try:
            yield
        except (AyniError, OSError, ValueError) as error:
            warnings.warn(f"Measuring {self.name!r}: {error}", MeasurementWarning, stacklevel=4)

    @property
    def footprint(self) -> Footprint | None:
        """All figures with their intervals."""
        return self._recorded.footprint

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """One for each step, in the order of their chain."""
        return self._recorded.receipts

    @property
    def receipt(self) -> Receipt | None:
        """The newest receipt: the only one, unless there were steps."""
        return self.receipts[-1] if self.receipts else None

    @property
    def folder(self) -> Path | None:
        """Where windows, receipts and result are kept; None when nothing is."""
        return self._folder

    @property
    def energy_joules(self) -> float | None:
        """IT energy."""
        energy = None if self.footprint is None else self.footprint.energy_joules
        return None if energy is None else energy.value

    @property
    def interval(self) -> tuple[float, float] | None:
        """Joules between which the energy lies with 90 %."""
        energy = None if self.footprint is None else self.footprint.energy_joules
        return None if energy is None else (energy.low, energy.high)

    @property
    def grams_co2e(self) -> float | None:
        """Grams of CO2e of the electricity, PUE included."""
        grams = None if self.footprint is None else self.footprint.grams_co2e
        return None if grams is None else grams.value

    @property
    def tier(self) -> str | None:
        """How the energy was come by, from a wall meter (W0) to unknown (W5)."""
        return None if self.footprint is None else self.footprint.tier

    def __str__(self) -> str:
        if self.footprint is not None:
            return str(self.footprint)
        return "still measuring" if self.is_running else "not measured"

    def __repr__(self) -> str:
        return f"<Measurement {self.name!r}: {self}>"


class Step:
    """A step of a measurement; as a context manager it gives way to the step before when the block ends."""

    def __init__(self, measurement: Measurement, recording: Recording | None, before: str) -> None:
        self._measurement = measurement
        self._recording = recording
        self._before = before

    def __enter__(self) -> "Step":
        """The step has begun already."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Go on with the step before."""
        self._measurement.go_on_with(self._before, self._recording)


def _status_of(error: BaseException | None) -> str:
    """`finished`, `failed` by an exception, or `interrupted` by Ctrl-C, cancellation and the like."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    return "failed" if isinstance(error, Exception | SystemExit) else "interrupted"
