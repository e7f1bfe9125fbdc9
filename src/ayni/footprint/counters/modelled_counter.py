"""An energy counter for machines without one: the power model, integrated over time and CPU time.

Where the model is a straight line, it does not matter when it is read. Where it is bent, it is added up
over pieces of half a second and more: CPU time ticks every hundredth of a second, so that shorter pieces
would see a load of nothing or of twice the machine.

Not covered: anything a model cannot know. The tier says so in every receipt.
"""

import threading
import time
from collections.abc import Callable

from ayni.footprint.counters.cpu_frequency import Frequency
from ayni.footprint.counters.meters import CounterReading, Trust
from ayni.footprint.counters.power_model import PowerModel
from ayni.footprint.windows.cpu_time import CpuClock
from ayni.units import MICROJOULES_PER_JOULE

_PIECE_SECONDS = 0.5


class ModelledCounter:
    """E = sum over pieces of model(wall time, busy CPU time, clock). Fulfils `EnergyCounter`.

    `frequency` is asked when the model uses it; without one the clock counts as full.
    """

    def __init__(
        self,
        model: PowerModel,
        cpu_clock: CpuClock,
        *,
        frequency: Frequency | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._cpu_clock = cpu_clock
        self._frequency = frequency if model.uses_frequency else None
        self._now = now
        self._lock = threading.Lock()
        self._piece_began = now()
        self._busy_at_begin = cpu_clock.node_busy_seconds()
        self._joules_before = 0.0
        self._reported_microjoules = 0

    @property
    def trust(self) -> Trust:
        """Tier, interval and method of the model."""
        return self._model.trust

    @property
    def idle_watts(self) -> float:
        """Power of the idle node."""
        return max(self._model.idle_watts, self._model.lowest_watts)

    def read(self) -> CounterReading:
        """The modelled energy since this counter was made."""
        with self._lock:
            now, busy = self._now(), self._cpu_clock.node_busy_seconds()
            joules = self._joules_before + self._model.joules(
                wall_seconds=now - self._piece_began,
                busy_cpu_seconds=busy - self._busy_at_begin,
                frequency_share=1.0 if self._frequency is None else self._frequency.share(),
            )
            if now - self._piece_began >= _PIECE_SECONDS:
                self._piece_began, self._busy_at_begin, self._joules_before = now, busy, joules
            # A clock that slows down within a piece takes back a little of it: a counter never falls.
            self._reported_microjoules = max(
                self._reported_microjoules, round(joules * MICROJOULES_PER_JOULE)
            )
            return CounterReading(microjoules=self._reported_microjoules)
