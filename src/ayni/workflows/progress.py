"""Ports through which a workflow shows what it does and asks before it exceeds a limit.

The command line fulfils them with bars and questions, Python callers with silence. `RecordedProgress`
is the in-memory twin.

Not covered: logging. What must be kept is in the run's files, not in what was shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

STEPS = ("load", "plan", "train", "compress", "audit", "explain", "publish", "settle", "report")

# Given the plan as JSON (with its "violations"), whether to go on all the same.
Approve = Callable[[Mapping[str, Any]], bool]


class Progress(Protocol):
    """What a person sees of a running job. `total` and `done` count the step's own units."""

    def started(self, step: str, *, total: float | None) -> None:
        """A step begins; total is None when its length is unknown."""
        ...

    def advanced(self, step: str, *, done: float, text: str) -> None:
        """A step got on; text says in a few words what it is at."""
        ...

    def finished(self, step: str, *, text: str) -> None:
        """A step is done; text is its result in a few words."""
        ...


class SilentProgress:
    """Shows nothing: for callers who read the result."""

    def started(self, step: str, *, total: float | None) -> None:
        """Nothing to show."""

    def advanced(self, step: str, *, done: float, text: str) -> None:
        """Nothing to show."""

    def finished(self, step: str, *, text: str) -> None:
        """Nothing to show."""


@dataclass(slots=True)
class RecordedProgress:
    """Keeps what was shown, for tests: one tuple (event, step, text) each."""

    events: list[tuple[str, str, str]] = field(default_factory=list)

    def started(self, step: str, *, total: float | None) -> None:
        """Keep that the step began."""
        self.events.append(("started", step, ""))

    def advanced(self, step: str, *, done: float, text: str) -> None:
        """Keep what the step was at."""
        self.events.append(("advanced", step, text))

    def finished(self, step: str, *, text: str) -> None:
        """Keep the step's result."""
        self.events.append(("finished", step, text))
