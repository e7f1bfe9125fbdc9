"""Calibrates this node: known loads, a meter that is trusted, and the curve that joins them.

    idle, then for each share (10, 25, 50, 75, 100 %):  every CPU busy for that share of the time
                                                        that share of the CPUs busy all the time

Both kinds, because at one load they differ by up to a factor of two: cores that sleep cost nothing, cores
that are woken all the time keep their clock up. With the wall and the processor's counters at hand, the
same run also joins these two (tier W1+).

Takes ten levels of ten seconds by default. What else runs meanwhile is part of the load that is measured, so
it does no harm, but an idle level that is not idle leaves the lower end of the curve to guessing.

Not covered: loads that heat the processor more than arithmetic does (AVX-512), memory at full bandwidth,
GPUs.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol

from ayni.footprint.counters.cpu_frequency import Frequency
from ayni.footprint.counters.meters import EnergyCounter, energy_between
from ayni.footprint.counters.node_model import (
    MIN_SPREAD_OF_LOAD,
    NodeCalibrationError,
    NodeModel,
    PowerPoint,
    fit_curve,
    fit_wall_line,
    mean_error,
    processor_name,
)
from ayni.footprint.windows.cpu_time import CpuClock
from ayni.units import MICROJOULES_PER_JOULE

DEFAULT_SHARES = (0.10, 0.25, 0.50, 0.75, 1.0)
# One process: arithmetic for a share of each tenth of a second, until it is ended or its parent is gone.
_BURNER = """
import os, sys, time
share, parent = float(sys.argv[1]), os.getppid()
while os.getppid() == parent:
    begun = time.perf_counter()
    while time.perf_counter() - begun < 0.1 * share:
        sum(range(200))
    time.sleep(max(0.0, 0.1 - (time.perf_counter() - begun)))
"""


class Load(Protocol):
    """Something that keeps CPUs busy."""

    def set(self, *, num_busy: int, share: float) -> None:
        """From now on `num_busy` CPUs are busy for `share` of the time; 0 for none."""
        ...


class ProcessLoad:
    """One Python process for each busy CPU. Fulfils `Load`; a context manager that ends them all."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "ProcessLoad":
        """Nothing runs yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all."""
        self.set(num_busy=0, share=0.0)

    def set(self, *, num_busy: int, share: float) -> None:
        """End what runs, and start `num_busy` processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        command = [sys.executable, "-S", "-c", _BURNER, str(share)]
        # In a session of their own they do not hear Ctrl-C, and do not complain of it; they are ended below.
        self._processes = [subprocess.Popen(command, start_new_session=True) for _ in range(num_busy)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPlan:
    """Which loads, and how long each: 10 s average a wall meter that answers each second to about 1 %.

    `settle_seconds` (2) pass before each: fans, clocks and wall meters follow a load with a delay.
    """

    shares: tuple[float, ...] = DEFAULT_SHARES
    seconds_per_level: float = 10.0
    settle_seconds: float = 2.0
    read_every_seconds: float = 1.0

    def __post_init__(self) -> None:
        if not (self.seconds_per_level > 0 and self.settle_seconds >= 0 and self.read_every_seconds > 0):
            raise ValueError(f"a level of {self.seconds_per_level} s cannot be measured")
        if not all(0 < share <= 1 for share in self.shares):
            raise ValueError(f"shares of load lie above 0 and at most at 1, not {self.shares}")

    @classmethod
    def lasting(cls, seconds: float, *, num_cpus: int) -> "CalibrationPlan":
        """The plan that takes so long altogether; of each level a sixth, at most 2 s, is for settling."""
        usual = cls()
        level_seconds = seconds / len(usual.levels(num_cpus))
        settle_seconds = min(usual.settle_seconds, level_seconds / 6)
        measured_seconds = level_seconds - settle_seconds
        return cls(
            seconds_per_level=measured_seconds,
            settle_seconds=settle_seconds,
            read_every_seconds=min(usual.read_every_seconds, measured_seconds / 4),
        )

    def levels(self, num_cpus: int) -> list[tuple[int, float]]:
        """(busy CPUs, share of the time) of each level, idle first, none twice."""
        spread = [(num_cpus, share) for share in self.shares]
        packed = [(max(1, round(share * num_cpus)), 1.0) for share in self.shares]
        return list(dict.fromkeys([(0, 0.0), *spread, *packed]))

    def seconds(self, num_cpus: int) -> float:
        """How long all levels take."""
        return len(self.levels(num_cpus)) * (self.seconds_per_level + self.settle_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """What a calibration reads; `component` is a second meter, such as RAPL beside a wall `reference`."""

    reference: EnergyCounter
    cpu_clock: CpuClock
    frequency: Frequency | None = None
    component: EnergyCounter | None = None


def calibrate_node(
    instruments: Instruments,
    load: Load,
    *,
    num_cpus: int,
    plan: CalibrationPlan | None = None,
    processor: str | None = None,
    on_point: Callable[[PowerPoint], None] = lambda point: None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> NodeModel:
    """Run the levels and fit the node's model; nothing is stored.

    `on_point` hears of each level as it ends. A level in which the reference lost track is left out.

    Raises:
        NodeCalibrationError: too few levels could be measured, or their loads are too much alike.
    """
    plan = plan or CalibrationPlan()
    measured: list[_Level] = []
    for num_busy, share in plan.levels(num_cpus):
        load.set(num_busy=num_busy, share=share)
        level = _measure(instruments, plan, num_cpus=num_cpus, now=now, sleep=sleep)
        if level is not None:
            measured.append(level)
            on_point(level.point(highest_megahertz=None))
            _refuse_busy_node(measured[0].load)
    load.set(num_busy=0, share=0.0)
    if not measured:
        raise NodeCalibrationError(
            f"The reference meter lost track in every level: {instruments.reference.trust.method}. "
            "Look whether it answers each second."
        )
    return _model(measured, instruments, num_cpus=num_cpus, processor=processor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    load: float
    watts: float
    megahertz: float | None
    component_watts: float | None

    def point(self, *, highest_megahertz: float | None) -> PowerPoint:
        share = None
        if self.megahertz is not None and highest_megahertz is not None:
            share = self.megahertz / highest_megahertz
        return PowerPoint(
            load=self.load,
            watts=self.watts,
            frequency_share=share,
            component_watts=self.component_watts,
        )


def _measure(
    instruments: Instruments,
    plan: CalibrationPlan,
    *,
    num_cpus: int,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> _Level | None:
    """One level; None when the reference lost track."""
    sleep(plan.settle_seconds)
    reference, component, clock = instruments.reference, instruments.component, instruments.cpu_clock
    begun = now()
    before, component_before = reference.read(), None if component is None else component.read()
    busy_before = clock.node_busy_seconds()
    megahertz: list[float | None] = []
    while (left := begun + plan.seconds_per_level - now()) > 1e-9:
        sleep(min(plan.read_every_seconds, left))
        reference.read()  # power is integrated by being read
        megahertz.append(None if instruments.frequency is None else instruments.frequency.megahertz())
    seconds = now() - begun
    energy = energy_between(before, reference.read())
    part = None
    if component is not None and component_before is not None:
        part = energy_between(component_before, component.read())
    busy = clock.node_busy_seconds() - busy_before
    if energy is None:
        return None
    return _Level(
        load=min(1.0, max(0.0, busy) / (seconds * num_cpus)),
        watts=energy / MICROJOULES_PER_JOULE / seconds,
        megahertz=_mean_or_none(megahertz),
        component_watts=None if part is None else part / MICROJOULES_PER_JOULE / seconds,
    )


def _refuse_busy_node(idle_load: float) -> None:
    """At once, not after two minutes of loads that could not be told apart."""
    if idle_load > 1 - MIN_SPREAD_OF_LOAD:
        raise NodeCalibrationError(
            f"The node is {idle_load:.0%} busy before any load of ours runs, which leaves nothing to "
            "compare: calibrate while nothing else runs."
        )


def _model(
    levels: Sequence[_Level], instruments: Instruments, *, num_cpus: int, processor: str | None
) -> NodeModel:
    clocks = [level.megahertz for level in levels if level.megahertz is not None]
    highest = max(clocks) if len(clocks) == len(levels) else None
    points = tuple(level.point(highest_megahertz=highest) for level in levels)
    curve = fit_curve(points)
    return NodeModel(
        processor=processor_name() if processor is None else processor,
        num_cpus=num_cpus,
        calibrated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        reference=instruments.reference.trust,
        curve=curve,
        highest_megahertz=highest,
        wall_line=fit_wall_line(points),
        points=points,
        mean_error=mean_error(curve, points),
    )


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
