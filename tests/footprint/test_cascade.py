import sys
from pathlib import Path

import pytest

from ayni.footprint.cascade import choose_counters


def write_package(powercap: Path) -> None:
    zone = powercap / "intel-rapl:0"
    zone.mkdir()
    for name, content in {"name": "package-0", "energy_uj": "5", "max_energy_range_uj": "1000"}.items():
        (zone / name).write_text(content)


def test_a_sensor_is_preferred_to_declared_watts(tmp_path: Path) -> None:
    write_package(tmp_path)

    counters = choose_counters(powercap=tmp_path, declared_watts=65.0)

    assert counters.tier == "W1"
    assert counters.notes == ()


def test_without_a_sensor_the_tier_says_model_and_the_note_says_why(tmp_path: Path) -> None:
    generic = choose_counters(powercap=tmp_path)
    declared = choose_counters(powercap=tmp_path, declared_watts=65.0)

    assert (generic.tier, declared.tier) == ("W3", "W4")
    assert "model of CPU time" in generic.to_json()["processor"]["method"]
    assert "No RAPL package" in generic.notes[0]


def test_a_gpu_that_the_job_uses_and_nothing_meters_makes_the_total_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)

    counters = choose_counters(powercap=tmp_path, uses_gpu=True)

    assert counters.tier == "W5"
    assert counters.unknown == ("gpu",)


def test_a_gpu_that_the_job_does_not_use_is_left_out(tmp_path: Path) -> None:
    counters = choose_counters(powercap=tmp_path, uses_gpu=False)

    assert counters.device is None
    assert counters.unknown == ()
