from types import ModuleType, SimpleNamespace

import pytest

from ayni.footprint.counters.meters import MeterUnavailableError
from ayni.footprint.windows.attribution import attribute_device
from ayni.footprint.windows.gpu_sharing import GpuProcesses, mig_slices, shared_device, sliced_device

SECOND = 1_000_000


class FakeNvml(ModuleType):
    """The functions of the vendor's library about sharing; samples are (pid, microseconds, percent)."""

    NVML_ERROR_NOT_FOUND = 6

    class NVMLError(Exception):
        def __init__(self, value: int) -> None:
            self.value = value
            super().__init__(f"error {value}")

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.samples: list[tuple[int, int, int]] = []
        self.is_divided = True
        self.instances: dict[int, int] = {}

    def nvmlDeviceGetProcessUtilization(self, device: int, since: int) -> list[SimpleNamespace]:  # noqa: N802
        if device != 0:
            raise self.NVMLError(3)
        if not self.samples:
            raise self.NVMLError(self.NVML_ERROR_NOT_FOUND)
        return [SimpleNamespace(pid=pid, timeStamp=at, smUtil=percent) for pid, at, percent in self.samples]

    def nvmlDeviceGetMigMode(self, device: int) -> list[int]:  # noqa: N802
        if device != 0:
            raise self.NVMLError(3)
        return [int(self.is_divided), int(self.is_divided)]

    def nvmlDeviceGetMaxMigDeviceCount(self, device: int) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: int, place: int) -> int:  # noqa: N802
        if place not in self.instances:
            raise self.NVMLError(self.NVML_ERROR_NOT_FOUND)
        return place

    def nvmlDeviceGetUUID(self, instance: int) -> str:  # noqa: N802
        return f"MIG-{instance}"

    def nvmlDeviceGetAttributes(self, instance: int) -> SimpleNamespace:  # noqa: N802
        if self.instances[instance] == 0:
            raise self.NVMLError(3)
        return SimpleNamespace(gpuInstanceSliceCount=self.instances[instance])


def test_each_process_has_the_mean_of_its_new_samples() -> None:
    nvml = FakeNvml()
    processes = GpuProcesses(nvml, 0, now_microseconds=10 * SECOND)

    nvml.samples = [(7, 10 * SECOND + 1, 40), (7, 10 * SECOND + 2, 60), (8, 10 * SECOND + 2, 10), (9, 5, 99)]

    assert processes.read(now_microseconds=11 * SECOND) == {7: 0.5, 8: 0.1}


def test_a_gpu_on_which_nothing_ran_is_busy_for_nobody() -> None:
    assert GpuProcesses(FakeNvml(), 0, now_microseconds=0).read(now_microseconds=SECOND) == {}


def test_a_gpu_that_does_not_tell_is_not_taken_for_idle() -> None:
    with pytest.raises(MeterUnavailableError, match="does not tell who uses it"):
        GpuProcesses(FakeNvml(), 1, now_microseconds=0).read(now_microseconds=SECOND)


def test_busy_time_is_gathered_by_job_and_the_rest_is_other() -> None:
    window = shared_device(
        1000,
        {1: 0.2, 2: 0.1, 3: 0.3, 99: 0.15},
        processes_by_job={"a": {1, 2}, "b": {3}, "c": {4}},
        reserved_by_job={"c": 0.4},
    )

    shares = attribute_device(window)

    assert shares.jobs == {"a": 300, "b": 300, "c": 100}
    assert (shares.other_microjoules, shares.unreserved_idle_microjoules) == (150, 150)


def test_slices_of_a_divided_gpu_share_it_by_their_number() -> None:
    shares = attribute_device(sliced_device(7000, {"a": 3, "b": 2}))

    assert shares.jobs == {"a": 3000, "b": 2000}
    assert shares.unreserved_idle_microjoules == 2000


def test_all_slices_together_are_exactly_the_whole() -> None:
    shares = attribute_device(sliced_device(10**13 + 1, dict.fromkeys("abcdefg", 1)))

    assert sum(shares.jobs.values()) + shares.unreserved_idle_microjoules == 10**13 + 1
    assert shares.unreserved_idle_microjoules <= 1


def test_more_slices_than_the_gpu_has_are_refused() -> None:
    with pytest.raises(ValueError, match="8 slices of a GPU that has 7"):
        sliced_device(1, {"a": 4, "b": 4})


def test_the_instances_of_a_divided_gpu_are_listed_with_their_slices() -> None:
    nvml = FakeNvml()
    nvml.instances = {0: 3, 2: 2}

    assert mig_slices(nvml, 0) == {"MIG-0": 3, "MIG-2": 2}


def test_a_gpu_that_is_not_or_cannot_be_divided_has_no_slices() -> None:
    nvml = FakeNvml()
    nvml.is_divided = False

    assert mig_slices(nvml, 0) == {}
    assert mig_slices(nvml, 1) == {}


def test_an_instance_that_hides_its_size_is_not_left_out_silently() -> None:
    nvml = FakeNvml()
    nvml.instances = {0: 0}

    with pytest.raises(MeterUnavailableError, match="does not tell its size"):
        mig_slices(nvml, 0)
