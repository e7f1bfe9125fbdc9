"""Which counters this machine offers, best first, and what was tried and refused.

    whole machine      wall meter (W0)  >  components, extended to the wall by a calibration (W1+)
    processor, memory  RAPL counters (W1)  >  model calibrated on this node (W2)
                       >  model of the processor's design power (W3)  >  declared watts (W4)
                       >  model of a machine of this size (W3, twice as wide)
    GPUs               NVML and amdsmi counters (W1), when the job uses them  >  unknown (W5)

A wall meter shows the GPUs too. Where they have counters, these belong to the job and the rest of the wall
is split by CPU time; where they have none, all of it is. The two are never added up.

What belongs to the node, not to a job, is in files of one folder: `wall.json` (where the wall meter is
read) and `node-model.json` (the calibration). The choice is made once per start of a meter and never changes
silently: each choice opens a new entry in the window file, and a receipt names the worst tier it adds up.

Not covered: a GPU that the job uses and nothing can meter has no model. Its energy is unknown, and so
is every total that holds it.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.files import read_json, write_atomically
from ayni.footprint.counters.amd_counter import AmdCounter
from ayni.footprint.counters.combined_counters import ExtendedCounter, RestCounter, SumCounter
from ayni.footprint.counters.cpu_frequency import find_frequency
from ayni.footprint.counters.design_power import CPUINFO
from ayni.footprint.counters.meters import EnergyCounter, MeterUnavailableError, worst_tier
from ayni.footprint.counters.modelled_counter import ModelledCounter
from ayni.footprint.counters.node_model import NodeModel, read_node_model
from ayni.footprint.counters.nvml_counter import NvmlCounter
from ayni.footprint.counters.power_model import PowerModel, this_machine
from ayni.footprint.counters.rapl_counter import POWERCAP, RaplCounter
from ayni.footprint.counters.wall_meter import WallCounter, WallSource
from ayni.footprint.windows.cpu_time import CpuClock, choose_cpu_clock
from ayni.footprint.windows.reservation_folder import ReservationFolder
from ayni.footprint.windows.reservations import Reservations

WALL_FILE_NAME = "wall.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCounters:
    """The counters of one node.

    `processor` is split among the jobs by CPU time. `device` (the GPUs) belongs to the job as a
    whole; it is None when the job uses none. `unknown` names what the job uses and nothing can meter.
    `notes` says what was tried and refused, for the method text of receipts. `reservations` is where the
    meters of this node tell each other what their jobs reserve; None for a node that has one meter alone.
    """

    processor: EnergyCounter
    device: EnergyCounter | None
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    cpu_clock: CpuClock
    reservations: Reservations | None = None

    @property
    def tier(self) -> str:
        """Of the node's total: the worst of its parts."""
        if self.unknown:
            return "W5"
        parts = [self.processor] if self.device is None else [self.processor, self.device]
        return worst_tier([part.trust.tier for part in parts])

    def to_json(self) -> dict[str, Any]:
        """Tier, interval and method of each part, for the window file and receipts."""
        return {
            "processor": self.processor.trust.to_json(),
            "device": None if self.device is None else self.device.trust.to_json(),
            "unknown": list(self.unknown),
            "notes": list(self.notes),
        }


def choose_counters(
    *,
    declared_watts: float | None = None,
    uses_gpu: bool = False,
    powercap: Path = POWERCAP,
    cpuinfo: Path = CPUINFO,
    cpu_clock: CpuClock | None = None,
    node_folder: Path | None = None,
) -> NodeCounters:
    """The best counters of this machine. Never fails: without a sensor it is the model of CPU time.

    `declared_watts` (the machine at full load) serve only where no sensor answers and the processor's design
    power is not known. `node_folder` holds what was set up for this node. A GPU that `uses_gpu` asks for and
    that has no counter makes the total unknown, unless a wall meter shows it.
    """
    clock = cpu_clock or choose_cpu_clock()
    notes: list[str] = []
    device, unknown = _choose_device(uses_gpu, notes)
    calibration = _calibration(node_folder, notes)
    model = _model(calibration, declared_watts, cpuinfo, notes)
    wall = _choose_wall(node_folder, model, notes)
    if wall is None:
        processor = _choose_processor(model, calibration, powercap, clock, notes)
    elif device is None:
        processor, unknown = wall, ()
    else:
        processor = RestCounter(wall, device)
    return NodeCounters(
        processor=processor,
        device=device,
        unknown=unknown,
        notes=tuple(notes),
        cpu_clock=clock,
        reservations=ReservationFolder(),
    )


def node_power_model(*, declared_watts: float | None = None, node_folder: Path | None = None) -> PowerModel:
    """The power model that plans of this node's work compute with: calibrated (W2), else as it is known."""
    return _model(_calibration(node_folder, []), declared_watts, CPUINFO, [])


def write_wall_source(node_folder: Path, source: WallSource) -> Path:
    """Set up this node's wall meter; returns the file, which others cannot read: commands hold passwords."""
    path = node_folder / WALL_FILE_NAME
    write_atomically(path, json.dumps(source.to_json(), indent=2).encode() + b"\n", mode=0o600)
    return path


def read_wall_source(node_folder: Path) -> WallSource | None:
    """This node's wall meter; None when none is set up.

    Raises:
        MeterUnavailableError: its file is damaged.
    """
    path = node_folder / WALL_FILE_NAME
    try:
        return WallSource.from_json(read_json(path))
    except FileNotFoundError:
        return None
    except (AyniError, ValueError, TypeError, AttributeError) as error:
        raise MeterUnavailableError(
            f"{path} does not say how the wall meter is read: {error}. Mend it or remove it."
        ) from error


def _calibration(node_folder: Path | None, notes: list[str]) -> NodeModel | None:
    import psutil

    if node_folder is None:
        return None
    try:
        return read_node_model(node_folder, num_cpus=psutil.cpu_count() or 1)
    except MeterUnavailableError as error:
        notes.append(str(error))
        return None


def _model(
    calibration: NodeModel | None, declared_watts: float | None, cpuinfo: Path, notes: list[str]
) -> PowerModel:
    if calibration is not None:
        return calibration.power_model()
    model = this_machine(declared_watts=declared_watts, cpuinfo=cpuinfo)
    if declared_watts is not None and model.trust.tier != "W4":
        notes.append(f"{declared_watts:g} W are declared; the design power is known and goes before them.")
    return model


def _choose_wall(node_folder: Path | None, model: PowerModel, notes: list[str]) -> EnergyCounter | None:
    if node_folder is None:
        return None
    try:
        source = read_wall_source(node_folder)
        idle_watts = max(model.idle_watts, model.lowest_watts)
        return None if source is None else WallCounter(source, idle_watts=idle_watts)
    except MeterUnavailableError as error:
        notes.append(str(error))
        return None


def _choose_processor(
    model: PowerModel, calibration: NodeModel | None, powercap: Path, clock: CpuClock, notes: list[str]
) -> EnergyCounter:
    try:
        component = RaplCounter(powercap=powercap)
    except MeterUnavailableError as error:
        notes.append(str(error))
        highest = None if calibration is None else calibration.highest_megahertz
        return ModelledCounter(model, clock, frequency=find_frequency(highest_megahertz=highest))
    if calibration is None or calibration.wall_line is None:
        return component
    line = calibration.wall_line
    return ExtendedCounter(component, base_watts=line.base_watts, factor=line.factor)


def _choose_device(uses_gpu: bool, notes: list[str]) -> tuple[EnergyCounter | None, tuple[str, ...]]:
    if not uses_gpu:
        return None, ()
    if sys.platform == "darwin":
        notes.append("Apple GPUs share the processor's package; no counter is read.")
        return None, ("gpu",)
    found: list[EnergyCounter] = []
    for make in (NvmlCounter, AmdCounter):
        try:
            found.append(make())
        except MeterUnavailableError as error:
            notes.append(str(error))
    if not found:
        return None, ("gpu",)
    return (found[0] if len(found) == 1 else SumCounter(found)), ()
