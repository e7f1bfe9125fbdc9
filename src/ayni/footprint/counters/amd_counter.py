"""The energy counters of AMD GPUs (amdsmi, which comes with ROCm or as a wheel).

    E = difference of the accumulator * its resolution (15.3 microjoules on Instinct)

Known faults of these counters are met, not trusted: some stand still under load (ROCm/amdsmi issues 22
and 38) and some fall (issue 115). A GPU always draws some watts, so a counter that did not move for half a
second has lost track, and so has one that fell: those windows are unknown.

Not covered: GPUs without an accumulator (most consumer boards), virtual machines (amdsmi refuses them),
and partitions. Written against the library's interface and its known faults; not measured on a device.

Source: AMD, "AMD SMI documentation", amdsmi_get_energy_count.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from ayni.footprint.counters.meters import CounterReading, MeterUnavailableError, Trust

# Idle boards draw watts, and one watt is 65,000 steps of the accumulator a second.
_STANDSTILL_SECONDS = 0.5
_TRUST = Trust(
    tier="W1",
    low_factor=0.91,
    high_factor=1.10,
    method="amdsmi energy counters",
    scope="GPU boards",
)


class AmdCounter:
    """All AMD GPUs of this machine, as one counter. Fulfils `EnergyCounter`.

    Raises:
        MeterUnavailableError: no driver, no GPU, no package, or a GPU without a counter.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._library = _import_amdsmi()
        self._now = now
        self._lock = threading.Lock()
        try:
            self._library.amdsmi_init()
            self._devices = list(self._library.amdsmi_get_processor_handles())
            self._last = [self._read_device(device) for device in self._devices]
        except (self._library.AmdSmiException, KeyError) as error:
            raise MeterUnavailableError(f"The AMD GPUs of this machine cannot be metered: {error}") from error
        if not self._devices:
            raise MeterUnavailableError("amdsmi answers but lists no GPU.")
        self._moved_at = [now()] * len(self._devices)
        self._total_microjoules = 0
        self._num_gaps = 0

    @property
    def trust(self) -> Trust:
        """W1: counted by the hardware."""
        return _TRUST

    @property
    def idle_watts(self) -> float:
        """Not used: a GPU belongs to the job as a whole, so its idle power is the job's."""
        return 0.0

    def read(self) -> CounterReading:
        """The energy since this counter was made."""
        with self._lock:
            now = self._now()
            for index, device in enumerate(self._devices):
                self._advance(index, device, now)
            return CounterReading(microjoules=self._total_microjoules, num_gaps=self._num_gaps)

    def _advance(self, index: int, device: Any, now: float) -> None:
        try:
            current = self._read_device(device)
        except (self._library.AmdSmiException, KeyError):
            self._num_gaps += 1
            return
        difference, self._last[index] = current - self._last[index], current
        if difference > 0:
            self._total_microjoules += difference
            self._moved_at[index] = now
        elif difference < 0 or now - self._moved_at[index] >= _STANDSTILL_SECONDS:
            self._num_gaps += 1

    def _read_device(self, device: Any) -> int:
        answer = self._library.amdsmi_get_energy_count(device)
        # Called "power" before amdsmi 6.2.1. The resolution is in microjoules, the only unit that leaves.
        count = answer["energy_accumulator"] if "energy_accumulator" in answer else answer["power"]
        microjoules: int = round(count * answer["counter_resolution"])
        return microjoules


def _import_amdsmi() -> Any:
    try:
        import amdsmi
    except ImportError as error:
        raise MeterUnavailableError("No amdsmi here. Run: pip install 'ayni[amd]'") from error
    except (OSError, KeyError, AttributeError) as error:
        # The package looks for AMD's driver library while it is imported, and fails in its own ways.
        raise MeterUnavailableError(f"amdsmi finds no driver of AMD GPUs: {error!r}") from error
    return amdsmi
