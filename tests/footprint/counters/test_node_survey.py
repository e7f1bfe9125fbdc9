"""The survey tells of every meter what it is or lacks, and agrees with what is chosen."""

import itertools
import sys
import time
from pathlib import Path

import psutil
import pytest

from ayni.footprint.counters.cascade import WALL_FILE_NAME, write_wall_source
from ayni.footprint.counters.meters import ScriptedCounter, Trust
from ayni.footprint.counters.node_model import (
    FILE_NAME,
    NodeModel,
    PowerPoint,
    WallLine,
    fit_curve,
    processor_name,
    write_node_model,
)
from ayni.footprint.counters.node_survey import NodeSurvey, Rung, describe_power, measure_watts, survey_node
from ayni.footprint.counters.wall_meter import WallSource


def write_package(powercap: Path) -> Path:
    zone = powercap / "intel-rapl:0"
    zone.mkdir(parents=True)
    for name, content in {"name": "package-0", "energy_uj": "5", "max_energy_range_uj": "1000"}.items():
        (zone / name).write_text(content)
    return zone / "energy_uj"


def write_model(folder: Path, *, has_wall_line: bool = False) -> None:
    points = tuple(PowerPoint(load=load, watts=20 + 40 * load) for load in (0.0, 0.3, 0.6, 1.0))
    write_node_model(
        folder,
        NodeModel(
            processor=processor_name(),
            num_cpus=psutil.cpu_count() or 1,
            calibrated_at="2026-11-22T00:00:00+00:00",
            reference=Trust(tier="W0", low_factor=0.95, high_factor=1.05, method="a plug", scope="all"),
            curve=fit_curve(points),
            highest_megahertz=None,
            wall_line=WallLine(base_watts=80.0, factor=1.2) if has_wall_line else None,
            points=points,
            mean_error=0.0,
        ),
    )


def write_wall(folder: Path) -> None:
    (folder / "watts").write_text("55 W")
    write_wall_source(folder, WallSource(file=str(folder / "watts")))


def survey(folder: Path) -> NodeSurvey:
    return survey_node(folder, powercap=folder / "powercap", cpuinfo=folder / "cpuinfo", root=folder / "root")


def rung_of(found: NodeSurvey, name: str) -> Rung:
    (rung,) = (rung for rung in found.rungs if rung.name == name)
    return rung


def test_a_bare_machine_has_its_model_and_is_told_what_would_be_better(tmp_path: Path) -> None:
    found = survey(tmp_path)

    assert {rung.name: rung.state for rung in found.rungs} == {
        "wall meter": "not set up",
        "RAPL counters": "not here",
        "calibrated model": "not set up",
        "model": "in use",
        "NVML counters": "not here",
        "amdsmi counters": "not here",
    }
    assert "--wall-command" in (rung_of(found, "wall meter").remedy or "")
    assert rung_of(found, "RAPL counters").remedy is None
    assert not found.has_gpu


@pytest.mark.parametrize(
    ("has_wall", "has_rapl", "calibration"),
    list(itertools.product([0, 1], [0, 1], ["", "alone", "to the wall"])),
)
def test_what_is_in_use_is_what_meters_choose(
    tmp_path: Path, has_wall: int, has_rapl: int, calibration: str
) -> None:
    if has_wall:
        write_wall(tmp_path)
    if has_rapl:
        write_package(tmp_path / "powercap")
    if calibration:
        write_model(tmp_path, has_wall_line=calibration == "to the wall")

    found = survey(tmp_path)

    (used,) = (rung for rung in found.rungs if rung.state == "in use")
    assert used.tier == found.counters.processor.trust.tier == found.counters.tier


def test_a_counter_that_may_not_be_read_says_how_to_allow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = write_package(tmp_path / "powercap")
    read_text = Path.read_text

    def refuse(path: Path, *arguments: str, **keywords: str) -> str:
        if path == counter:
            raise PermissionError(13, "Permission denied")
        return read_text(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "read_text", refuse)

    rung = rung_of(survey(tmp_path), "RAPL counters")

    assert rung.state == "refused"
    assert rung.remedy == f"sudo chmod a+r {tmp_path}/powercap/*/energy_uj (until the next boot)"


def test_a_wall_meter_that_does_not_answer_is_refused_and_names_its_file(tmp_path: Path) -> None:
    write_wall(tmp_path)
    (tmp_path / "watts").unlink()

    found = survey(tmp_path)

    assert rung_of(found, "wall meter").state == "refused"
    assert str(tmp_path / WALL_FILE_NAME) in (rung_of(found, "wall meter").remedy or "")
    assert rung_of(found, "model").state == "in use"


def test_a_calibration_of_another_machine_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_text(path.read_text().replace(processor_name(), "Another Processor"))

    rung = rung_of(survey(tmp_path), "calibrated model")

    assert rung.state == "refused"
    assert "this machine has" in rung.says


def test_a_gpu_whose_driver_is_there_and_cannot_be_metered_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (tmp_path / "root" / "dev").mkdir(parents=True)
    (tmp_path / "root" / "dev" / "nvidiactl").touch()

    found = survey(tmp_path)

    assert found.has_gpu
    assert (rung_of(found, "NVML counters").state, rung_of(found, "amdsmi counters").state) == (
        "refused",
        "not here",
    )
    assert "pip install 'ayni[nvidia]'" in rung_of(found, "NVML counters").says
    assert found.counters.tier == "W5"


def test_power_is_energy_over_time_and_unknown_when_the_counter_lost_track() -> None:
    steady, lost = ScriptedCounter(), ScriptedCounter()

    watts = measure_watts(steady, seconds=0.05, sleep=lambda seconds: _draw(steady, seconds, watts=10.0))
    nothing = measure_watts(lost, seconds=0.0, sleep=lambda _: lost.lose_track())

    assert watts == pytest.approx(10.0, rel=0.3)
    assert nothing is None
    assert describe_power(steady, 10.0) == {"value": 10.0, "low": 5.0, "high": 20.0}
    assert describe_power(lost, None) == {"value": None, "low": None, "high": None}


def _draw(counter: ScriptedCounter, seconds: float, *, watts: float) -> None:
    time.sleep(seconds)
    counter.add(round(watts * seconds * 1e6))
