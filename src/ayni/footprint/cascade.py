"""Which counters this machine offers, best first, and what was tried and refused.

    processor and memory:  RAPL counters  >  model of CPU time, from declared watts if given
    GPUs:                  NVML counters, when the job uses them

The choice is made once per process and never changes silently: each choice opens a new entry in the
window file, and a receipt names the worst tier that it adds up.

Not covered: a GPU that the job uses and nothing can meter has no model. Its energy is unknown, and so
is every total that holds it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.footprint.cpu_time import CpuClock, choose_cpu_clock
from ayni.footprint.meters import EnergyCounter, MeterUnavailableError, worst_tier
from ayni.footprint.modelled_counter import ModelledCounter
from ayni.footprint.nvml_counter import NvmlCounter
from ayni.footprint.power_model import this_machine
from ayni.footprint.rapl_counter import POWERCAP, RaplCounter


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCounters:
    """The counters of one node.

    `processor` is split among the jobs by CPU time. `device` (the GPUs) belongs to the job as a
    whole; it is None when the job uses none. `unknown` names what the job uses and nothing can meter.
    `notes` says what was tried and refused, for the method text of receipts.
    """

    processor: EnergyCounter
    device: EnergyCounter | None
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    cpu_clock: CpuClock

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
    cpu_clock: CpuClock | None = None,
) -> NodeCounters:
    """The best counters of this machine. Never fails: without a sensor it is the model of CPU time.

    `declared_watts` (the machine at full load) serve only where no sensor answers. A GPU that `uses_gpu`
    asks for and that has no counter makes the total unknown.
    """
    clock = cpu_clock or choose_cpu_clock()
    notes: list[str] = []
    processor = _choose_processor(declared_watts, powercap, clock, notes)
    device, unknown = _choose_device(uses_gpu, notes)
    return NodeCounters(
        processor=processor, device=device, unknown=unknown, notes=tuple(notes), cpu_clock=clock
    )


def _choose_processor(
    declared_watts: float | None, powercap: Path, clock: CpuClock, notes: list[str]
) -> EnergyCounter:
    try:
        return RaplCounter(powercap=powercap)
    except MeterUnavailableError as error:
        notes.append(str(error))
    return ModelledCounter(this_machine(declared_watts=declared_watts), clock)


def _choose_device(uses_gpu: bool, notes: list[str]) -> tuple[EnergyCounter | None, tuple[str, ...]]:
    if not uses_gpu:
        return None, ()
    if sys.platform == "darwin":
        notes.append("Apple GPUs share the processor's package; no counter is read.")
        return None, ("gpu",)
    try:
        return NvmlCounter(), ()
    except MeterUnavailableError as error:
        notes.append(str(error))
        return None, ("gpu",)
