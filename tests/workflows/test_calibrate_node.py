"""A calibration stores what it found, says how well it fits, and what speaks against it."""

import json
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from ayni.footprint.counters.cascade import WALL_FILE_NAME
from ayni.footprint.counters.cpu_frequency import ScriptedFrequency
from ayni.footprint.counters.node_model import FILE_NAME, NodeCalibrationError
from ayni.footprint.windows.cpu_time import ScriptedCpuClock
from ayni.workflows.calibrate_node import (
    Bench,
    CalibrateRequest,
    NoReferenceMeterError,
    WallSetupError,
    calibrate,
)
from ayni.workflows.progress import RecordedProgress

NUM_CPUS = psutil.cpu_count() or 1


class PretendedNode:
    """A plug whose file shows 20 W + 60 W * load, and RAPL with 30 W less, in a time of its own."""

    def __init__(self, folder: Path, *, idle_load: float = 0.0, is_plug_elsewhere: bool = False) -> None:
        self.plug = folder / "watts"
        self.powercap = folder / "powercap"
        self.is_plug_elsewhere = is_plug_elsewhere
        self.idle_load = idle_load
        self.seconds = 0.0
        self.load = idle_load
        self.cpu_clock = ScriptedCpuClock()
        self.rapl_microjoules = 0
        self.show()

    def add_rapl(self) -> None:
        zone = self.powercap / "intel-rapl:0"
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0")
        (zone / "max_energy_range_uj").write_text(str(10**12))
        (zone / "energy_uj").write_text("0")

    def show(self) -> None:
        watts = 55.0 if self.is_plug_elsewhere else 20.0 + 60.0 * self.load
        self.plug.write_text(f"{watts}\n")
        if (counter := self.powercap / "intel-rapl:0" / "energy_uj").exists():
            counter.write_text(str(self.rapl_microjoules))

    def set(self, *, num_busy: int, share: float) -> None:
        self.load = max(self.idle_load, num_busy * share / NUM_CPUS)
        self.show()

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.cpu_clock.node_seconds += self.load * NUM_CPUS * seconds
        self.rapl_microjoules += round((10.0 + 50.0 * self.load) * seconds * 1e6)
        self.show()

    def bench(self, *, tells_clock: bool = False) -> Bench:
        return Bench(
            load=self,
            cpu_clock=self.cpu_clock,
            frequency=ScriptedFrequency() if tells_clock else None,
            num_cpus=NUM_CPUS,
            now=lambda: self.seconds,
            sleep=self.sleep,
        )

    def calibrate(
        self, folder: Path, progress: RecordedProgress | None = None, **request: Any
    ) -> dict[str, Any]:
        return calibrate(
            CalibrateRequest(**request),
            folder,
            progress=progress,
            bench=self.bench(),
            powercap=self.powercap,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "meters"


@pytest.fixture
def node(tmp_path: Path) -> PretendedNode:
    return PretendedNode(tmp_path)


def test_beside_a_wall_meter_both_files_are_written_and_the_fit_is_told(
    node: PretendedNode, folder: Path
) -> None:
    progress = RecordedProgress()

    found = node.calibrate(folder, progress, wall_file=node.plug, unit="W")

    assert (found["wall_file"], found["model_file"]) == (
        str(folder / WALL_FILE_NAME),
        str(folder / FILE_NAME),
    )
    assert found["model"]["mean_error"] < 0.03
    assert all(abs(row["model_watts"] / row["watts"] - 1) < 0.1 for row in found["fit"])
    assert (found["reference"]["tier"], found["tier_now"]) == ("W0", "W0")
    assert [note for note in found["notes"] if "RAPL" not in note] == []
    assert progress.events[0] == ("started", "calibrate", "")
    assert progress.events[-1][0] == "finished"
    assert json.loads(json.dumps(found))["tier_now"] == "W0"


def test_a_borrowed_meter_leaves_the_model_alone_and_the_node_gets_its_tier(
    node: PretendedNode, folder: Path
) -> None:
    found = node.calibrate(folder, wall_file=node.plug, unit="W", is_borrowed=True)

    assert found["wall_file"] is None
    assert not (folder / WALL_FILE_NAME).exists()
    assert found["tier_now"] == "W2"


def test_rapl_beside_the_wall_is_joined_to_it(node: PretendedNode, folder: Path) -> None:
    node.add_rapl()

    found = node.calibrate(folder, wall_file=node.plug, unit="W", is_borrowed=True)

    # 20 + 60 u at the wall beside 10 + 50 u
    assert found["model"]["wall_line"]["factor"] == pytest.approx(1.2, rel=0.05)
    assert found["model"]["wall_line"]["base_watts"] == pytest.approx(8.0, abs=2.0)
    assert found["tier_now"] == "W1+"


def test_rapl_alone_is_a_reference_too(node: PretendedNode, folder: Path) -> None:
    node.add_rapl()

    found = node.calibrate(folder)

    assert found["reference"]["tier"] == "W1"
    assert found["model"]["wall_line"] is None
    assert found["tier_now"] == "W1"


def test_the_wall_meter_of_before_is_taken_again(node: PretendedNode, folder: Path) -> None:
    only = node.calibrate(folder, wall_file=node.plug, unit="W", is_only_setup=True)

    again = node.calibrate(folder)

    assert (only["model"], only["model_file"], only["tier_now"]) == (None, None, "W0")
    assert again["reference"]["tier"] == "W0"
    assert again["model_file"] is not None


def test_without_any_meter_nothing_can_be_learned(node: PretendedNode, folder: Path) -> None:
    with pytest.raises(NoReferenceMeterError, match=r"No RAPL package.*--wall-command or --wall-file"):
        node.calibrate(folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"wall_command": "echo 5"}, "Declare it with --unit"),
        ({"wall_command": "echo 5", "unit": "MW"}, "'MW'"),
        ({"wall_command": "sh -c 'echo"}, "No closing quotation"),
        ({"wall_command": "no-such-program-here", "unit": "W"}, "cannot be read"),
        ({"wall_command": "echo 5 W", "wall_file": Path("x")}, "by one of them only"),
        ({"wall_command": "echo 5 W", "accuracy_percent": 200.0}, "accuracy"),
        ({"is_borrowed": True}, "Which wall meter"),
        ({"unit": "W"}, "Which wall meter"),
    ],
)
def test_a_wall_meter_that_cannot_be_says_why_and_nothing_is_written(
    node: PretendedNode, folder: Path, request_: dict[str, Any], reason: str
) -> None:
    with pytest.raises(WallSetupError, match=reason):
        node.calibrate(folder, **request_)
    assert not folder.exists()


def test_a_command_is_found_again_from_another_folder(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, node: PretendedNode
) -> None:
    script = tmp_path / "plug.sh"
    script.write_text("#!/bin/sh\necho 55 W\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.chdir(tmp_path)

    node.calibrate(folder, wall_command="./plug.sh", is_only_setup=True)

    assert json.loads((folder / WALL_FILE_NAME).read_text())["command"] == [str(script)]


def test_a_node_that_is_busy_is_refused_and_keeps_its_wall_meter(tmp_path: Path, folder: Path) -> None:
    node = PretendedNode(tmp_path, idle_load=0.8)

    with pytest.raises(NodeCalibrationError, match="80% busy") as caught:
        node.calibrate(folder, wall_file=node.plug, unit="W")

    assert (folder / WALL_FILE_NAME).exists()
    assert not (folder / FILE_NAME).exists()
    assert caught.value.__notes__ == [f"The wall meter is set up all the same: {folder / WALL_FILE_NAME}"]


def test_what_speaks_against_a_calibration_is_said(tmp_path: Path, folder: Path) -> None:
    busy = PretendedNode(tmp_path, idle_load=0.2)
    notes_of_busy = busy.calibrate(folder, wall_file=busy.plug, unit="W")["notes"]
    elsewhere = PretendedNode(tmp_path, is_plug_elsewhere=True)
    notes_of_elsewhere = elsewhere.calibrate(folder, wall_file=elsewhere.plug, unit="W")["notes"]

    assert any("20% busy when it should have been idle" in note for note in notes_of_busy)
    assert any("hardly changed, 55 to 55 W" in note for note in notes_of_elsewhere)
