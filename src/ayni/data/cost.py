"""What a piece of work cost: CPU seconds always, joules where somebody can read a meter.

The meter is an argument, a function that returns the joules drawn so far: `data` knows no meter.

Not covered: work in other processes, which the CPU seconds of this one leave out.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

ReadJoules: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds of this process, all threads together; joules None means that nothing was metered."""

    cpu_seconds: float
    joules: float | None = None

    def __add__(self, other: "Cost") -> "Cost":
        known = self.joules is not None and other.joules is not None
        return Cost(
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            joules=(self.joules or 0.0) + (other.joules or 0.0) if known else None,
        )

    @property
    def energy(self) -> float:
        """What arms are compared by: joules where they are known, else CPU seconds."""
        return self.cpu_seconds if self.joules is None else self.joules

    @property
    def unit(self) -> str:
        """Of `energy`."""
        return "CPU s" if self.joules is None else "J"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"cpu_seconds": self.cpu_seconds, "joules": self.joules}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The cost that `to_json` wrote."""
        return cls(cpu_seconds=data["cpu_seconds"], joules=data["joules"])


class CostMeter:
    """Measures from its making on; `read` may be asked often."""

    def __init__(self, read_joules: ReadJoules | None = None) -> None:
        self._read_joules = read_joules
        self._joules = None if read_joules is None else read_joules()
        self._cpu_seconds = time.process_time()

    def read(self) -> Cost:
        """The cost since the meter was made."""
        seconds = time.process_time() - self._cpu_seconds
        if self._read_joules is None or self._joules is None:
            return Cost(cpu_seconds=seconds)
        return Cost(cpu_seconds=seconds, joules=self._read_joules() - self._joules)
