"""Which meters this node has: every rung of the ladder is tried, and says what it is or what it lacks.

`cascade` chooses and keeps going; this tells a person why it chose so, what was refused, and how to allow
it. The order of the rungs is that of the choice:

    whole machine           wall meter (W0)
    processor and memory    RAPL counters (W1; with a calibration at the wall W1+)  >  calibrated model (W2)
                              >  model of the design power, or of the size (W3)
    GPUs                    NVML counters, amdsmi counters (W1)

GPUs are looked for by the files of their drivers, so that nothing is asked of a library for hardware that is
not there.

Not covered: declared watts (W4), which belong to a job; Apple's and Intel's GPUs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ayni.footprint.counters.amd_counter import AmdCounter
from ayni.footprint.counters.cascade import WALL_FILE_NAME, NodeCounters, choose_counters, read_wall_source
from ayni.footprint.counters.cpu_frequency import find_frequency
from ayni.footprint.counters.design_power import CPUINFO
from ayni.footprint.counters.meters import EnergyCounter, MeterUnavailableError, Trust, energy_between
from ayni.footprint.counters.node_model import FILE_NAME as MODEL_FILE_NAME
from ayni.footprint.counters.node_model import NodeModel, processor_name, read_node_model
from ayni.footprint.counters.nvml_counter import NvmlCounter
from ayni.footprint.counters.power_model import this_machine
from ayni.footprint.counters.rapl_counter import POWERCAP, RaplCounter
from ayni.footprint.counters.wall_meter import WallCounter
from ayni.footprint.windows.cpu_time import CgroupCpuClock
from ayni.units import MICROJOULES_PER_JOULE

State = Literal["in use", "answers", "refused", "not set up", "not here"]
MACHINE, PROCESSOR, GPUS = "whole machine", "processor and memory", "GPUs"
_GPU_FILES = {
    "NVML counters": ("/dev/nvidiactl", "/proc/driver/nvidia/gpus"),
    "amdsmi counters": ("/dev/kfd",),
}
_GPU_COUNTERS: dict[str, Callable[[], EnergyCounter]] = {
    "NVML counters": NvmlCounter,
    "amdsmi counters": AmdCounter,
}
_CALIBRATE = "ayni footprint calibrate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way of metering a part of the node.

    `says` is its method when it answers, else the reason why not; `remedy` is what a person can do, None
    where nothing helps. `tier` is the one that it has or would have.
    """

    part: str
    name: str
    tier: str
    state: State
    says: str
    remedy: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSurvey:
    """What this node is, what it can be metered with, and what was chosen.

    `has_gpu` is whether the files of a driver are there. `tells_clock` is whether the processor's
    frequency can be read, `cpu_time` where the CPU time of this process comes from.
    """

    processor: str
    num_cpus: int
    has_gpu: bool
    tells_clock: bool
    cpu_time: str
    counters: NodeCounters
    rungs: tuple[Rung, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "processor": self.processor,
            "num_cpus": self.num_cpus,
            "has_gpu": self.has_gpu,
            "tells_clock": self.tells_clock,
            "cpu_time": self.cpu_time,
            "tier": self.counters.tier,
            "counters": self.counters.to_json(),
            "rungs": [rung.to_json() for rung in self.rungs],
        }


def survey_node(
    node_folder: Path, *, powercap: Path = POWERCAP, cpuinfo: Path = CPUINFO, root: Path = Path("/")
) -> NodeSurvey:
    """Try every meter. Never fails: a meter that cannot be read is a rung that says so.

    `node_folder` holds what was set up for this node; below `root` are the files of GPU drivers.
    """
    import psutil

    num_cpus = psutil.cpu_count() or 1
    wall = _wall_rung(node_folder)
    calibration, calibrated = _calibrated_rung(node_folder, num_cpus)
    processor = [_rapl_rung(powercap, calibration), calibrated, _model_rung(cpuinfo)]
    gpus = [_gpu_rung(name, root) for name in _GPU_COUNTERS]
    has_gpu = any(rung.state != "not here" for rung in gpus)
    counters = choose_counters(node_folder=node_folder, powercap=powercap, cpuinfo=cpuinfo, uses_gpu=has_gpu)
    clock = counters.cpu_clock
    return NodeSurvey(
        processor=processor_name(),
        num_cpus=num_cpus,
        has_gpu=has_gpu,
        tells_clock=find_frequency() is not None,
        cpu_time="its own cgroup" if isinstance(clock, CgroupCpuClock) else "the tree of its processes",
        counters=counters,
        rungs=(*_in_use([wall, *processor]), *(_used(rung) for rung in gpus)),
    )


def measure_watts(
    counter: EnergyCounter, *, seconds: float = 1.0, sleep: Callable[[float], None] = time.sleep
) -> float | None:
    """Mean power over the next moments; None when the counter lost track."""
    begun, before = time.monotonic(), counter.read()
    sleep(seconds)
    elapsed, energy = time.monotonic() - begun, energy_between(before, counter.read())
    return None if energy is None or elapsed <= 0 else energy / MICROJOULES_PER_JOULE / elapsed


def _in_use(rungs: list[Rung]) -> list[Rung]:
    """The first that answers is the one that is used."""
    first = next((rung for rung in rungs if rung.state == "answers"), None)
    return [_used(rung) if rung is first else rung for rung in rungs]


def _used(rung: Rung) -> Rung:
    if rung.state != "answers":
        return rung
    return Rung(part=rung.part, name=rung.name, tier=rung.tier, state="in use", says=rung.says)


def _wall_rung(node_folder: Path) -> Rung:
    def rung(state: State, says: str, remedy: str | None = None) -> Rung:
        return Rung(part=MACHINE, name="wall meter", tier="W0", state=state, says=says, remedy=remedy)

    try:
        source = read_wall_source(node_folder)
        if source is None:
            return rung(
                "not set up",
                "a power strip, a plug or the board's controller (BMC) that a command or a file reads",
                f"{_CALIBRATE} --wall-command 'COMMAND' --unit W",
            )
        return rung("answers", WallCounter(source).trust.method)
    except MeterUnavailableError as error:
        return rung("refused", str(error), f"mend or remove {node_folder / WALL_FILE_NAME}")


def _rapl_rung(powercap: Path, calibration: NodeModel | None) -> Rung:
    is_extended = calibration is not None and calibration.wall_line is not None
    tier = "W1+" if is_extended else "W1"

    def rung(state: State, says: str, remedy: str | None = None) -> Rung:
        return Rung(part=PROCESSOR, name="RAPL counters", tier=tier, state=state, says=says, remedy=remedy)

    try:
        method = RaplCounter(powercap=powercap).trust.method
        return rung("answers", f"{method}, extended to the wall" if is_extended else method)
    except MeterUnavailableError as error:
        if not isinstance(error.__cause__, PermissionError):
            return rung("not here", str(error))
        return rung(
            "refused",
            str(error),
            f"sudo chmod a+r {powercap}/*/energy_uj (until the next boot)",
        )


def _calibrated_rung(node_folder: Path, num_cpus: int) -> tuple[NodeModel | None, Rung]:
    def rung(state: State, says: str, remedy: str | None = None) -> Rung:
        return Rung(part=PROCESSOR, name="calibrated model", tier="W2", state=state, says=says, remedy=remedy)

    try:
        model = read_node_model(node_folder, num_cpus=num_cpus)
    except MeterUnavailableError as error:
        return None, rung("refused", str(error), f"{_CALIBRATE}, or remove {node_folder / MODEL_FILE_NAME}")
    if model is None:
        return None, rung(
            "not set up",
            "a wall meter for two minutes (it may be borrowed), or RAPL",
            f"{_CALIBRATE} --wall-command 'COMMAND' --unit W --borrowed",
        )
    return model, rung("answers", model.power_model().trust.method)


def _model_rung(cpuinfo: Path) -> Rung:
    trust: Trust = this_machine(cpuinfo=cpuinfo).trust
    return Rung(part=PROCESSOR, name="model", tier=trust.tier, state="answers", says=trust.method)


def _gpu_rung(name: str, root: Path) -> Rung:
    files = [root / file.lstrip("/") for file in _GPU_FILES[name]]
    found = next((file for file in files if file.exists()), None)
    if found is None:
        return Rung(part=GPUS, name=name, tier="W1", state="not here", says=f"no {files[0]}: no such driver")
    try:
        method = _GPU_COUNTERS[name]().trust.method
    except MeterUnavailableError as error:
        return Rung(part=GPUS, name=name, tier="W1", state="refused", says=str(error))
    return Rung(part=GPUS, name=name, tier="W1", state="answers", says=method)


def describe_power(counter: EnergyCounter, watts: float | None) -> dict[str, float | None]:
    """Watts with their 90 % interval, as JSON; nulls where they are unknown."""
    trust = counter.trust
    return {
        "value": watts,
        "low": None if watts is None else watts * trust.low_factor,
        "high": None if watts is None else watts * trust.high_factor,
    }
