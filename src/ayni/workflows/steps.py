"""Steps of a run that are done once, metered, and receipted, however often the run is interrupted.

A step is finished when its result file is there. The receipt follows the result, so that a crash
between the two only delays the receipt: whoever goes on first writes the receipts that are owed, over
all energy windows of all attempts. Lost and repeated work is therefore paid for, once.

Not covered: steps that run side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from ayni.footprint.windows.node_meter import NodeMeter
from ayni.jobs.runs import Run
from ayni.workflows.house import House
from ayni.workflows.progress import Progress
from ayni.workflows.receipts import write_owed_receipts


class StepResult(Protocol):
    """A value that can be kept as JSON and had back."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        ...

    @classmethod
    def from_json(cls, data: Any, /) -> Self:
        """The value that `to_json` wrote."""
        ...


Result = TypeVar("Result", bound=StepResult)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Runs the steps of one run, one after the other."""

    run: Run
    house: House
    meter: NodeMeter
    progress: Progress

    def do(
        self,
        name: str,
        kind: type[Result],
        work: Callable[[], Result],
        *,
        text: Callable[[Result], str],
        total: float | None = None,
    ) -> Result:
        """The result of step `name`: kept from an earlier attempt, or worked out now.

        `text` says the result in a few words, `total` is the length of the work in its own units.
        """
        self.progress.started(name, total=total)
        if (kept := self.run.result(name)) is not None:
            value = kind.from_json(kept)
            self.progress.finished(name, text=f"{text(value)} (kept)")
        else:
            value = self._work(name, work)
            self.progress.finished(name, text=text(value))
        write_owed_receipts(self.run, self.house, [name])
        return value

    def skip(self, name: str, *, reason: str) -> None:
        """Note that the job does not ask for this step."""
        if self.run.result(name) is None:
            self.run.save_result(name, {"skipped": reason})
        self.progress.started(name, total=None)
        self.progress.finished(name, text=reason)

    def _work(self, name: str, work: Callable[[], Result]) -> Result:
        self.meter.begin_step(name, attempt=self.run.begin_attempt(name))
        try:
            value = work()
        finally:
            self.meter.end_step()
        self.run.save_result(name, value.to_json())
        return value
