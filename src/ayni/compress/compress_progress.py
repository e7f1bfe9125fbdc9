"""One progress bar over all parts of a compression."""

from collections.abc import Callable

from ayni.compress.config import CompressConfig
from ayni.compress.ports import Observer
from ayni.compress.steps import DistillStep, PruneStep, QuantizeStep, RecoverStep, Step
from ayni.errors import AyniError

FILE_UNITS = 1
VALUE_UNITS = 3
TRAIN_UNITS = 12
MEASURE_UNITS = 4
"""Shares of the progress bar, by what the parts of the digits example take."""


def units_of(step: Step) -> int:
    """How much of the bar a step takes."""
    is_training = isinstance(step, DistillStep | RecoverStep)
    if is_training or (isinstance(step, QuantizeStep) and step.epochs):
        return TRAIN_UNITS
    finds_values = (isinstance(step, PruneStep) and step.makes_masks) or (
        isinstance(step, QuantizeStep) and step.torch_runtime in ("torch", "packed")
    )
    return VALUE_UNITS if finds_values else FILE_UNITS


class TimeIsUpError(AyniError):
    """The time of a search ended while one of its pipelines was made."""

    def __init__(self) -> None:
        super().__init__(
            "The time of the search was used up while this was made. Give it more seconds, or put the steps "
            "into compress.steps."
        )


class CompressProgress:
    """Tells an observer how far compression is, and ends a step whose time is up."""

    def __init__(self, observer: Observer, config: CompressConfig) -> None:
        self._observer, self._done = observer, 0
        planned = (
            sum(units_of(entry.step) for entry in config.steps)
            if config.search is None
            else TRAIN_UNITS * config.search.trials
        )
        self._total = 2 * FILE_UNITS + MEASURE_UNITS + planned
        self._name = self._text = ""
        self._is_late: Callable[[], bool] | None = None

    def end_when(self, is_late: Callable[[], bool] | None) -> None:
        """From now on a step with many parts ends once this is true, with TimeIsUpError; None: never."""
        self._is_late = is_late

    def check_time(self) -> None:
        """Do nothing while there is time.

        Raises:
            TimeIsUpError: there is none left.
        """
        if self._is_late is not None and self._is_late():
            raise TimeIsUpError

    def start(self, name: str, text: str) -> None:
        """A part begins."""
        self._name, self._text = name, text
        self._observer.step_progress(name, self._done, self._total, text)

    def finish_file(self) -> None:
        """A form of the full model is there."""
        self._finish(FILE_UNITS)

    def finish_step(self, step: Step) -> None:
        """A variant is there."""
        self._finish(units_of(step))

    def finish_trial(self, done: int, total: int) -> None:
        """So many trials of a search are done; a search that ends early jumps to the end of its share."""
        self._done = 2 * FILE_UNITS + (self._total - 2 * FILE_UNITS - MEASURE_UNITS) * done // total
        self._observer.step_progress(self._name, self._done, self._total, f"{self._name} done")

    def finish_measuring(self) -> None:
        """All is measured."""
        self._done = self._total - MEASURE_UNITS
        self._finish(MEASURE_UNITS)

    def within(self, step: Step) -> Callable[[int, int], None]:
        """For a step with many parts: tells the bar only when it moves."""
        return _Within(self, units_of(step))

    def part(self, done: int) -> None:
        """So many units of the running part are done."""
        self._observer.step_progress(self._name, self._done + done, self._total, self._text)

    def _finish(self, units: int) -> None:
        self._done += units
        self._observer.step_progress(self._name, self._done, self._total, f"{self._name} done")


class _Within:
    """Looks at the time with each part, and tells the bar when it moves: a step may have thousands."""

    def __init__(self, progress: CompressProgress, units: int) -> None:
        self._progress, self._units, self._told = progress, units, 0

    def __call__(self, done: int, total: int) -> None:
        self._progress.check_time()
        reached = self._units * done // total
        if self._told < reached < self._units:
            self._told = reached
            self._progress.part(reached)
