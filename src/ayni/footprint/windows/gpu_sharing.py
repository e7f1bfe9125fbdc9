"""Who shares an NVIDIA GPU: processes by their time on its multiprocessors, instances by their slices.

    busy share of a process = mean of its SM utilisation over the window
    reserved share of an instance (MIG) = its slices / 7, or however many the GPU has

The shares are what `attribution.attribute_device` splits the GPU's energy by.

Not covered: power of one MIG instance (no counter tells it); AMD partitions; processes inside containers
whose numbers the host does not see. Written against the library's interface, not measured on a device.

Source: NVIDIA NVML API reference, nvmlDeviceGetProcessUtilization, nvmlDeviceGetAttributes.
"""

from collections.abc import Collection, Mapping
from typing import Any

from ayni.footprint.counters.meters import MeterUnavailableError
from ayni.footprint.windows.attribution import DeviceUse, DeviceWindow


class GpuProcesses:
    """The busy share of each process on one GPU, from one reading to the next.

    `nvml` is the module pynvml, initialised, and `device` one of its handles.
    """

    def __init__(self, nvml: Any, device: Any, *, now_microseconds: int) -> None:
        self._nvml = nvml
        self._device = device
        self._seen_until = now_microseconds

    def read(self, *, now_microseconds: int) -> dict[int, float]:
        """Process number -> share of the time since the last reading that it kept the GPU busy, 0 to 1.

        `now_microseconds` is wall-clock time since 1970, as the library stamps its samples.

        Raises:
            MeterUnavailableError: the GPU does not tell, as with MIG switched on.
        """
        since, self._seen_until = self._seen_until, now_microseconds
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(self._device, since)
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) == getattr(self._nvml, "NVML_ERROR_NOT_FOUND", 6):
                return {}  # nothing ran since then
            raise MeterUnavailableError(f"This GPU does not tell who uses it: {error}") from error
        percent: dict[int, list[int]] = {}
        for sample in samples:
            # The buffer of the driver may hold entries older than what was asked for.
            if sample.timeStamp > since:
                percent.setdefault(sample.pid, []).append(sample.smUtil)
        return {pid: sum(values) / len(values) / 100 for pid, values in percent.items()}


def shared_device(
    microjoules: int,
    busy_by_process: Mapping[int, float],
    *,
    processes_by_job: Mapping[str, Collection[int]],
    reserved_by_job: Mapping[str, float] | None = None,
) -> DeviceWindow:
    """One GPU's window, its busy time gathered by job; processes of no job count as other.

    `reserved_by_job` are shares of the GPU that jobs hold whether they use them or not.
    """
    reserved = reserved_by_job or {}
    uses = {
        job: DeviceUse(
            reserved=reserved.get(job, 0.0), busy=sum(busy_by_process.get(pid, 0.0) for pid in pids)
        )
        for job, pids in processes_by_job.items()
    }
    owned = {pid for pids in processes_by_job.values() for pid in pids}
    other = sum(busy for pid, busy in busy_by_process.items() if pid not in owned)
    return DeviceWindow(microjoules=microjoules, uses=uses, other_busy=other)


def sliced_device(microjoules: int, slices_by_job: Mapping[str, int], *, num_slices: int = 7) -> DeviceWindow:
    """One GPU's window, split by slices; slices of no job are idle capacity that nobody reserved.

    Raises:
        ValueError: more slices than the GPU has.
    """
    if sum(slices_by_job.values()) > num_slices:
        raise ValueError(f"{sum(slices_by_job.values())} slices of a GPU that has {num_slices}")
    uses = {job: DeviceUse(reserved=slices / num_slices) for job, slices in slices_by_job.items()}
    return DeviceWindow(microjoules=microjoules, uses=uses)


def mig_slices(nvml: Any, device: Any) -> dict[str, int]:
    """Name (UUID) -> slices of each MIG instance of a GPU; empty where it is not divided.

    Raises:
        MeterUnavailableError: the GPU is divided and does not say how.
    """
    try:
        if nvml.nvmlDeviceGetMigMode(device)[0] == 0:
            return {}
        num_places = nvml.nvmlDeviceGetMaxMigDeviceCount(device)
    except nvml.NVMLError:
        return {}  # GPUs that cannot be divided answer "not supported"
    slices: dict[str, int] = {}
    for place in range(num_places):
        try:
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, place)
        except nvml.NVMLError:
            continue  # an empty place
        try:
            name = nvml.nvmlDeviceGetUUID(instance)
            slices[name] = nvml.nvmlDeviceGetAttributes(instance).gpuInstanceSliceCount
        except nvml.NVMLError as error:
            raise MeterUnavailableError(f"A MIG instance does not tell its size: {error}") from error
    return slices
