"""An energy counter for machines without one: the power model, integrated over time and CPU time.

Not covered: anything a model cannot know. The tier says so in every receipt.
"""

import time
from collections.abc import Callable

from ayni.footprint.cpu_time import CpuClock
from ayni.footprint.meters import CounterReading, Trust
from ayni.footprint.power_model import PowerModel
from ayni.units import MICROJOULES_PER_JOULE


class ModelledCounter:
    """E(t) = idle_watts * t + watts_per_busy_cpu * busy CPU seconds. Fulfils `EnergyCounter`."""

    def __init__(
        self, model: PowerModel, cpu_clock: CpuClock, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._model = model
        self._cpu_clock = cpu_clock
        self._now = now
        self._started = now()
        self._busy_at_start = cpu_clock.node_busy_seconds()

    @property
    def trust(self) -> Trust:
        """Tier, interval and method of the model."""
        return self._model.trust

    @property
    def idle_watts(self) -> float:
        """Power of the idle node."""
        return self._model.idle_watts

    def read(self) -> CounterReading:
        """The modelled energy since this counter was made."""
        joules = self._model.joules(
            wall_seconds=self._now() - self._started,
            busy_cpu_seconds=self._cpu_clock.node_busy_seconds() - self._busy_at_start,
        )
        return CounterReading(microjoules=round(joules * MICROJOULES_PER_JOULE))
