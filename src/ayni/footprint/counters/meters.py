"""What an energy counter is, how far each kind is trusted, and the value that a measurement gives.

A counter only ever counts up, in integer microjoules, and says how often it lost track. Energy is the
difference of two readings: a counter that is read twice, late or by two readers still gives one truth.

    tier  basis                                     90 % factors on the energy
    W0    meter at the wall, or of the board (BMC)  by its declared class, 0.95 .. 1.05
    W1    counters inside the hardware              0.91 .. 1.10
    W1+   the same, extended to the wall by a       0.87 .. 1.15
          calibration of this node
    W2    model of CPU time calibrated on this node 0.68 .. 1.45, see node_model
    W3    model of CPU time from the design power   0.35 .. 2.6, see power_model
    W4    model of CPU time from declared watts     0.5 .. 2.0
    third-party   what another tool wrote           nobody states them
    W5    unknown                                   none: the energy is None, never 0

W0 and W1+ stand for the whole machine, W1 and W3 for the component (processor, memory, accelerator), W2
for what it was calibrated against. The rest of a machine (board, disks, power supply) is outside a
component; on a workstation it was 45 % of what the plug showed. So a better tier is not a larger scope:
both stand on the receipt.

Figures of other tools (`third_party`) are worse than declared watts, whose assumption and interval can be
read, and better than nothing known: somebody stands for them. Three tools gave 28, 95 and 217 W for one
busy core of one machine, without an interval, so no factors are made up for them here. No counter has this
tier.

Not covered: meters of other machines.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from ayni.errors import AyniError

# From best to worst: a sum is only as good as its worst part.
TIERS = ("W0", "W1", "W1+", "W2", "W3", "W4", "third-party", "W5")


class MeterUnavailableError(AyniError):
    """A counter was asked for and this machine does not offer it, or does not let us read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterReading:
    """Energy since the counter was made, and how often it lost track since then."""

    microjoules: int
    num_gaps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How a counter knows what it says: printed beside every number that comes from it.

    `low_factor` and `high_factor` times the energy are a 90 % interval. `scope` names the parts of
    the machine that are counted.
    """

    tier: str
    low_factor: float
    high_factor: float
    method: str
    scope: str

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise ValueError(f"tier {self.tier!r} is none of {', '.join(TIERS)}")
        if not 0 <= self.low_factor <= 1 <= self.high_factor:
            raise ValueError(f"factors {self.low_factor} .. {self.high_factor} do not enclose 1")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for window files and receipts."""
        return {
            name: getattr(self, name) for name in ("tier", "low_factor", "high_factor", "method", "scope")
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Trust":
        """The value that `to_json` wrote; further keys are ignored."""
        names = ("tier", "low_factor", "high_factor", "method", "scope")
        return cls(**{name: data[name] for name in names})


class EnergyCounter(Protocol):
    """A cumulative energy counter of one part of the node. Reading it changes nothing for other readers."""

    @property
    def trust(self) -> Trust:
        """Tier, interval and method."""
        ...

    @property
    def idle_watts(self) -> float:
        """Power of this part of the node when nothing runs: the share that reserving it costs."""
        ...

    def read(self) -> CounterReading:
        """The energy so far."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyEstimate:
    """Energy of a block of work with its 90 % interval.

    `joules`, `low_joules` and `high_joules` are None when nothing could tell, never 0 then. `tier`
    says how the number came about; `cpu_seconds` are those of the work, dead children included.
    """

    joules: float | None
    low_joules: float | None
    high_joules: float | None
    tier: str
    cpu_seconds: float
    wall_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def energy_between(before: CounterReading, after: CounterReading) -> int | None:
    """Microjoules between two readings; None when the counter lost track in between."""
    if after.num_gaps != before.num_gaps:
        return None
    return after.microjoules - before.microjoules


def worst_tier(tiers: list[str]) -> str:
    """The tier of a sum; W5 for the sum of nothing."""
    return max(tiers, key=TIERS.index, default="W5")


class ScriptedCounter:
    """A counter in memory, for tests and simulation. Fulfils `EnergyCounter`."""

    def __init__(self, *, tier: str = "W1", idle_watts: float = 0.0) -> None:
        self.trust = Trust(
            tier=tier, low_factor=0.5, high_factor=2.0, method="scripted", scope="whole of a pretended node"
        )
        self.idle_watts = idle_watts
        self._now = CounterReading(microjoules=0)

    def add(self, microjoules: int) -> None:
        """Draw energy."""
        self._now = CounterReading(
            microjoules=self._now.microjoules + microjoules, num_gaps=self._now.num_gaps
        )

    def lose_track(self) -> None:
        """Pretend that the counter could not be followed for a while."""
        self._now = CounterReading(microjoules=self._now.microjoules, num_gaps=self._now.num_gaps + 1)

    def read(self) -> CounterReading:
        """The energy so far."""
        return self._now
