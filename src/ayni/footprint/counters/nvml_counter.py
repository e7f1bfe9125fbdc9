"""The energy counters of NVIDIA GPUs (NVML, through nvidia-ml-py).

A GPU is taken to belong to the job as a whole while it runs. Volta and newer count energy; older ones
are refused rather than integrated from power samples (A100 and H100 sample power 25 % of the time).

Not covered: sharing a GPU among jobs, MIG slices, AMD and Intel GPUs.

Source: NVIDIA NVML API reference, nvmlDeviceGetTotalEnergyConsumption (millijoules since the driver
was loaded). Accuracy: Yang et al., "Part-time Power Measurements", SC24, arXiv:2312.02741.
"""

from typing import Any

from ayni.footprint.counters.meters import CounterReading, MeterUnavailableError, Trust

MICROJOULES_PER_MILLIJOULE = 1_000
_TRUST = Trust(
    tier="W1",
    low_factor=0.91,
    high_factor=1.10,
    method="NVML energy counters",
    scope="GPU boards",
)


class NvmlCounter:
    """All NVIDIA GPUs of this machine, as one counter. Fulfils `EnergyCounter`.

    Raises:
        MeterUnavailableError: no driver, no GPU, no package, or a GPU without a counter.
    """

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise MeterUnavailableError("No pynvml here. Run: pip install 'ayni[nvidia]'") from error
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            indices = range(pynvml.nvmlDeviceGetCount())
            self._devices = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in indices]
            self._start = [self._read_device(device) for device in self._devices]
        except pynvml.NVMLError as error:
            raise MeterUnavailableError(f"The GPUs of this machine cannot be metered: {error}") from error
        if not self._devices:
            raise MeterUnavailableError("NVML answers but lists no GPU.")
        self._last = list(self._start)
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
        for index, device in enumerate(self._devices):
            try:
                current = self._read_device(device)
            except self._nvml.NVMLError:
                self._num_gaps += 1
                continue
            # A counter that fell was reset with its driver: what it held is gone, so it is a gap.
            if current < self._last[index]:
                self._num_gaps += 1
                self._start[index] += current - self._last[index]
            self._last[index] = current
        microjoules = sum(self._last) - sum(self._start)
        return CounterReading(microjoules=microjoules, num_gaps=self._num_gaps)

    def _read_device(self, device: Any) -> int:
        # NVML counts in millijoules. Microjoules are the only unit that leaves this file.
        millijoules: int = self._nvml.nvmlDeviceGetTotalEnergyConsumption(device)
        return millijoules * MICROJOULES_PER_MILLIJOULE
