"""Who drew the energy of one window: jobs, everybody else, and the idle capacity nobody reserved.

    I = min(E, P0 * dt)          idle energy of the node          D = E - I     dynamic energy
    dynamic_i  = D * c_i / C     by CPU seconds c_i of job i in C busy CPU seconds of the node
    other      = D * (C - sum c) / C
    idle_i     = I * r_i / R     by reserved cores r_i of R cores
    unreserved = I * (R - sum r) / R

Integers of microjoules, split by largest remainder: sum(jobs) + other + unreserved = E, exactly. What
nobody reserved is reported to the owner of the node, never dropped.

Not covered: memory by bytes reserved, GPUs shared among jobs (a GPU belongs to one job as a whole).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ayni.units import MICROJOULES_PER_JOULE, split_exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUse:
    """What one job used of the node in one window; devices are its own as a whole."""

    cpu_seconds: float
    reserved_cores: int
    device_microjoules: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobShare:
    """The energy of one job in one window: its work, its share of idling, and devices held alone."""

    dynamic_microjoules: int
    idle_microjoules: int
    device_microjoules: int = 0

    @property
    def total_microjoules(self) -> int:
        """All of it."""
        return self.dynamic_microjoules + self.idle_microjoules + self.device_microjoules


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowShares:
    """The energy of one window, every microjoule in one account."""

    jobs: Mapping[str, JobShare]
    other_microjoules: int
    unreserved_idle_microjoules: int

    @property
    def total_microjoules(self) -> int:
        """The energy of the node."""
        jobs = sum(share.total_microjoules for share in self.jobs.values())
        return jobs + self.other_microjoules + self.unreserved_idle_microjoules


def attribute_window(
    processor_microjoules: int,
    uses: Mapping[str, JobUse],
    *,
    seconds: float,
    idle_watts: float,
    busy_cpu_seconds: float,
    num_cores: int,
) -> WindowShares:
    """Split the processor's energy of one window, and give devices to their jobs.

    Clocks tick: jobs may seem to have used more CPU time than the node. Then their times are scaled
    to the node's, and nothing is left for others. Jobs may not reserve more cores than there are.

    Raises:
        ValueError: negative energy or time, or more cores reserved than the node has.
    """
    reserved = [use.reserved_cores for use in uses.values()]
    if processor_microjoules < 0 or seconds < 0 or sum(reserved) > num_cores:
        raise ValueError(
            f"cannot attribute {processor_microjoules} uJ of {seconds} s "
            f"with {sum(reserved)} of {num_cores} cores reserved"
        )
    idle = min(processor_microjoules, round(idle_watts * seconds * MICROJOULES_PER_JOULE))
    cpu_seconds = [use.cpu_seconds for use in uses.values()]
    others_seconds = max(0.0, busy_cpu_seconds - sum(cpu_seconds))
    *dynamic_parts, other = split_exactly(processor_microjoules - idle, [*cpu_seconds, others_seconds])
    *idle_parts, unreserved = split_exactly(idle, [*map(float, reserved), float(num_cores - sum(reserved))])
    jobs = {
        job: JobShare(
            dynamic_microjoules=dynamic, idle_microjoules=idle_part, device_microjoules=use.device_microjoules
        )
        for (job, use), dynamic, idle_part in zip(uses.items(), dynamic_parts, idle_parts, strict=True)
    }
    return WindowShares(jobs=jobs, other_microjoules=other, unreserved_idle_microjoules=unreserved)
