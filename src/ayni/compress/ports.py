"""What compression needs from outside: something that meters energy, and someone who watches.

Ports are owned here, by their consumer; the composition root fills them. Each comes with an in-memory
twin for tests and for use without the rest of Ayni.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class EnergyEstimate(Protocol):
    """Energy of a metered block, its interval and the tier of its method; None when nothing could tell."""

    @property
    def joules(self) -> float | None:
        """Best estimate."""
        ...

    @property
    def low_joules(self) -> float | None:
        """Lower end of the interval."""
        ...

    @property
    def high_joules(self) -> float | None:
        """Upper end of the interval."""
        ...

    @property
    def tier(self) -> str:
        """Name of the kind of meter: a sensor or a model."""
        ...


class EnergyMeter(Protocol):
    """Meters a short block of work."""

    def measure(self, function: Callable[[], int]) -> EnergyEstimate:
        """Energy of one call of `function`, all of it; `function` returns how many repeats it did."""
        ...


class Observer(Protocol):
    """Hears how far compression is. It may raise to stop the work; finished steps are kept."""

    def step_progress(self, name: str, done: int, total: int, text: str) -> None:
        """`done` of `total` units of the step `name` are finished."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerEstimate:
    """Energy by a declared power."""

    joules: float
    low_joules: float
    high_joules: float
    tier: str


@dataclass(frozen=True, slots=True)
class DeclaredPowerMeter:
    """In-memory twin of EnergyMeter: CPU seconds of this process times a declared power in watts."""

    watts: float = 10.0

    def measure(self, function: Callable[[], int]) -> PowerEstimate:
        """Run `function` once. The interval is a factor of two each way, for a power nobody measured."""
        started = time.process_time()
        function()
        joules = self.watts * (time.process_time() - started)
        return PowerEstimate(joules=joules, low_joules=joules / 2, high_joules=joules * 2, tier="declared")


@dataclass(slots=True)
class RecordingObserver:
    """In-memory twin of Observer: remembers what it was told."""

    heard: list[tuple[str, int, int, str]] = field(default_factory=list)

    def step_progress(self, name: str, done: int, total: int, text: str) -> None:
        """Remember one notice."""
        self.heard.append((name, done, total, text))
