import sys
from types import ModuleType
from typing import Any

import pytest

from ayni.footprint.counters.amd_counter import AmdCounter
from ayni.footprint.counters.meters import MeterUnavailableError, energy_between

RESOLUTION_MICROJOULES = 15.3


class FakeAmdsmi(ModuleType):
    """The few functions of the vendor's library that are called; steps of 15.3 microjoules by GPU."""

    class AmdSmiException(Exception):  # noqa: N818 - the library's own name
        pass

    def __init__(self, *steps: int, key: str = "energy_accumulator") -> None:
        super().__init__("amdsmi")
        self.steps = list(steps)
        self.key = key
        self.is_failing = False

    def amdsmi_init(self) -> None:
        if self.is_failing:
            raise self.AmdSmiException("no driver")

    def amdsmi_get_processor_handles(self) -> list[int]:
        return list(range(len(self.steps)))

    def amdsmi_get_energy_count(self, handle: int) -> dict[str, Any]:
        if self.is_failing:
            raise self.AmdSmiException("device is lost")
        return {self.key: self.steps[handle], "counter_resolution": RESOLUTION_MICROJOULES, "timestamp": 0}


def install(monkeypatch: pytest.MonkeyPatch, library: FakeAmdsmi) -> FakeAmdsmi:
    monkeypatch.setitem(sys.modules, "amdsmi", library)
    return library


@pytest.mark.parametrize("key", ["energy_accumulator", "power"])
def test_steps_of_all_gpus_become_microjoules_under_both_names_of_the_field(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    library = install(monkeypatch, FakeAmdsmi(100, 7_000_000, key=key))
    counter = AmdCounter(now=lambda: 0.0)
    before = counter.read()

    library.steps = [1_100, 7_002_000]

    # Each count is rounded by itself, so the last microjoule is open.
    assert energy_between(before, counter.read()) == pytest.approx(3_000 * RESOLUTION_MICROJOULES, abs=1)


def test_a_counter_that_stands_still_has_lost_track_and_is_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    library = install(monkeypatch, FakeAmdsmi(100))
    seconds = [0.0]
    counter = AmdCounter(now=lambda: seconds[0])
    before = counter.read()

    seconds[0] = 1.0
    frozen = counter.read()
    seconds[0], library.steps = 2.0, [1_100]

    assert energy_between(before, frozen) is None
    assert energy_between(frozen, counter.read()) == 15_300


def test_a_counter_that_fell_has_lost_track(monkeypatch: pytest.MonkeyPatch) -> None:
    library = install(monkeypatch, FakeAmdsmi(5_000))
    counter = AmdCounter()
    before = counter.read()

    library.steps = [4_000]
    after = counter.read()
    library.steps = [4_010]

    assert energy_between(before, after) is None
    assert energy_between(after, counter.read()) == 153


def test_a_gpu_that_stops_answering_makes_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    library = install(monkeypatch, FakeAmdsmi(5_000))
    counter = AmdCounter()
    before = counter.read()

    library.is_failing = True

    assert energy_between(before, counter.read()) is None


def test_no_package_no_driver_and_no_gpu_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    with pytest.raises(MeterUnavailableError, match=r"pip install 'ayni\[amd\]'"):
        AmdCounter()

    install(monkeypatch, FakeAmdsmi()).is_failing = True
    with pytest.raises(MeterUnavailableError, match="no driver"):
        AmdCounter()

    install(monkeypatch, FakeAmdsmi())
    with pytest.raises(MeterUnavailableError, match="lists no GPU"):
        AmdCounter()
