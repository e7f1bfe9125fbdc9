import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from ayni.footprint.counters.cascade import NodeCounters, choose_counters, node_power_model, write_wall_source
from ayni.footprint.counters.meters import Trust
from ayni.footprint.counters.node_model import (
    NodeModel,
    PowerPoint,
    WallLine,
    fit_curve,
    processor_name,
    write_node_model,
)
from ayni.footprint.counters.wall_meter import WallSource


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
    generic = choose_counters(powercap=tmp_path, cpuinfo=tmp_path / "absent")
    declared = choose_counters(powercap=tmp_path, cpuinfo=tmp_path / "absent", declared_watts=65.0)

    assert (generic.tier, declared.tier) == ("W3", "W4")
    assert "model of CPU time" in generic.to_json()["processor"]["method"]
    assert "No RAPL package" in generic.notes[0]


def test_a_gpu_that_the_job_uses_and_nothing_meters_makes_the_total_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path)
    for package in ("pynvml", "amdsmi"):
        monkeypatch.setitem(sys.modules, package, None)

    counters = choose_counters(powercap=tmp_path, uses_gpu=True)

    assert counters.tier == "W5"
    assert counters.unknown == ("gpu",)


def test_a_gpu_that_the_job_does_not_use_is_left_out(tmp_path: Path) -> None:
    counters = choose_counters(powercap=tmp_path, uses_gpu=False)

    assert counters.device is None
    assert counters.unknown == ()


class FakeNvml(ModuleType):
    """One NVIDIA GPU with an energy counter."""

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        return 1_000


@pytest.fixture
def node_folder(tmp_path: Path) -> Path:
    """A node with a wall meter at 200 W and RAPL counters below `powercap`."""
    folder = tmp_path / "node"
    (folder / "powercap").mkdir(parents=True)
    write_package(folder / "powercap")
    (folder / "watts").write_text("200 W")
    write_wall_source(folder, WallSource(file=str(folder / "watts")))
    return folder


def calibrate(folder: Path, *, wall_line: WallLine | None = None, processor: str | None = None) -> None:
    points = tuple(PowerPoint(load=load, watts=10 + 40 * load) for load in (0.0, 0.25, 0.5, 1.0))
    reference = Trust(tier="W0", low_factor=0.95, high_factor=1.05, method="a plug", scope="whole machine")
    model = NodeModel(
        processor=processor or processor_name(),
        num_cpus=psutil.cpu_count() or 1,
        calibrated_at="2026-01-02T03:04:05+00:00",
        reference=reference,
        curve=fit_curve(points),
        highest_megahertz=None,
        wall_line=wall_line,
        points=points,
        mean_error=0.0,
    )
    write_node_model(folder, model)


def choose(folder: Path, **changes: Any) -> NodeCounters:
    return choose_counters(powercap=folder / "powercap", node_folder=folder, **changes)


def test_a_wall_meter_goes_before_everything_and_is_not_added_to_its_parts(node_folder: Path) -> None:
    calibrate(node_folder)

    counters = choose(node_folder)

    assert counters.tier == "W0"
    assert counters.processor.trust.scope == "whole machine at the wall"
    assert counters.processor.idle_watts == pytest.approx(10.0, rel=0.05)


def test_a_wall_meter_that_does_not_answer_is_noted_and_the_next_tier_is_taken(node_folder: Path) -> None:
    (node_folder / "watts").write_text("offline")

    counters = choose(node_folder)

    assert counters.tier == "W1"
    assert "'offline'" in counters.notes[0]


def test_a_calibration_extends_the_processors_counters_to_the_wall(node_folder: Path) -> None:
    (node_folder / "wall.json").unlink()
    calibrate(node_folder, wall_line=WallLine(base_watts=86.0, factor=1.2))

    assert choose(node_folder).tier == "W1+"


def test_without_counters_the_calibrated_model_goes_before_declared_watts(node_folder: Path) -> None:
    (node_folder / "wall.json").unlink()
    calibrate(node_folder)

    counters = choose_counters(powercap=node_folder / "absent", node_folder=node_folder, declared_watts=65.0)

    assert counters.tier == "W2"
    assert "against: a plug" in counters.processor.trust.method
    assert node_power_model(node_folder=node_folder, declared_watts=65.0).trust == counters.processor.trust


def test_a_calibration_of_another_machine_is_noted_and_not_used(node_folder: Path) -> None:
    (node_folder / "wall.json").unlink()
    calibrate(node_folder, processor="Another CPU")

    absent = node_folder / "absent"
    counters = choose_counters(powercap=absent, cpuinfo=absent, node_folder=node_folder, declared_watts=65.0)

    assert counters.tier == "W4"
    assert "Another CPU" in counters.notes[0]


def test_declared_watts_behind_a_known_design_power_are_not_dropped_silently(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name : AMD EPYC 7763 64-Core Processor\nphysical id : 0\nflags : fpu\n")

    counters = choose_counters(powercap=tmp_path, cpuinfo=cpuinfo, declared_watts=65.0)

    assert counters.tier == "W3"
    assert "280 W design power of AMD EPYC 7763" in counters.processor.trust.method
    assert any("65 W are declared" in note for note in counters.notes)


def test_a_gpu_with_a_counter_is_taken_out_of_the_wall_and_given_to_the_job(
    node_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    monkeypatch.setitem(sys.modules, "amdsmi", None)

    counters = choose(node_folder, uses_gpu=True)

    assert counters.device is not None
    assert counters.unknown == ()
    assert counters.processor.trust.scope == "whole machine at the wall, without GPUs"


def test_a_gpu_without_a_counter_is_inside_the_wall_and_so_not_unknown(
    node_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("pynvml", "amdsmi"):
        monkeypatch.setitem(sys.modules, package, None)

    counters = choose(node_folder, uses_gpu=True)

    assert (counters.tier, counters.device, counters.unknown) == ("W0", None, ())


def test_a_damaged_wall_file_is_noted_with_its_path(node_folder: Path) -> None:
    (node_folder / "wall.json").write_text('{"command": 5}')

    counters = choose(node_folder)

    assert counters.tier == "W1"
    assert "wall.json" in counters.notes[0]


def test_how_a_wall_meter_is_read_is_kept_from_others(tmp_path: Path) -> None:
    path = write_wall_source(tmp_path / "meters", WallSource(command=("read-plug", "--password=x"), unit="W"))

    assert path.stat().st_mode & 0o077 == 0
