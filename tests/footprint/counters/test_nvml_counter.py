import sys
from types import ModuleType

import pytest

from ayni.footprint.counters.meters import MeterUnavailableError, energy_between
from ayni.footprint.counters.nvml_counter import NvmlCounter


class FakeNvml(ModuleType):
    """The few functions of the vendor's library that are called; energy in millijoules by GPU."""

    class NVMLError(Exception):
        pass

    def __init__(self, *millijoules: int) -> None:
        super().__init__("pynvml")
        self.millijoules = list(millijoules)
        self.is_failing = False

    def nvmlInit(self) -> None:  # noqa: N802
        if self.is_failing:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.millijoules)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        if self.is_failing:
            raise self.NVMLError("Not Supported")
        return self.millijoules[handle]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    library = FakeNvml(1_000, 5_000)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library


def test_all_gpus_are_counted_in_microjoules(nvml: FakeNvml) -> None:
    counter = NvmlCounter()

    nvml.millijoules = [1_300, 5_020]

    assert counter.read().microjoules == 320_000
    assert counter.trust.tier == "W1"


def test_a_counter_reset_by_its_driver_is_a_gap_and_counting_goes_on(nvml: FakeNvml) -> None:
    counter = NvmlCounter()
    before = counter.read()

    nvml.millijoules = [0, 5_000]
    after = counter.read()
    nvml.millijoules = [7, 5_000]

    assert energy_between(before, after) is None
    assert energy_between(after, counter.read()) == 7_000


def test_a_gpu_that_stops_answering_is_a_gap(nvml: FakeNvml) -> None:
    counter = NvmlCounter()
    before = counter.read()

    nvml.is_failing = True

    assert energy_between(before, counter.read()) is None


def test_missing_package_missing_driver_and_no_gpu_are_told_apart(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.is_failing = True
    with pytest.raises(MeterUnavailableError, match="Driver Not Loaded"):
        NvmlCounter()

    nvml.is_failing, nvml.millijoules = False, []
    with pytest.raises(MeterUnavailableError, match="lists no GPU"):
        NvmlCounter()

    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(MeterUnavailableError, match=r"ayni\[nvidia\]"):
        NvmlCounter()
