"""Who drew the energy of one window: jobs, everybody else, and the idle capacity nobody reserved.

    I = min(E, P0 * dt)          idle energy of the node          D = E - I     dynamic energy
    dynamic_i  = D * c_i / C     by CPU seconds c_i of job i in C busy CPU seconds of the node
    other      = D * (C - sum c) / C
    idle_i     = I * r_i / R     by reserved cores r_i of R cores
    unreserved = I * (R - sum r) / R

Devices (GPUs) that several jobs share, each by itself, with u_i the share of the window in which job i kept
it busy and r_i the share of it that job i reserves:

    busy_i     = E * u_i               (E * u_i / sum u, where the busy shares add up to more than 1)
    idle_i     = E * (1 - sum u) * r_i
    unreserved = E * (1 - sum u) * (1 - sum r)

Where other meters of the node hold reservations too, the idle energy and the devices are shared with them as
`reservation_shares` says, and what is theirs is in the account of the neighbours. Their work is in `other`.

A device held alone: r = 1. Shared by utilisation: u is the time of the job's processes on the
multiprocessors, and r what was promised, perhaps 0. Slices of a device (MIG): r = slices / slices of the
whole, u = 0.

Integers of microjoules, split by largest remainder: sum(jobs) + other + unreserved + neighbours = E, exactly.
What nobody reserved is reported to the owner of the node, never dropped.

Not covered: memory by bytes reserved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ayni.footprint.windows.reservation_shares import Portion, Standing
from ayni.units import MICROJOULES_PER_JOULE, split_exactly

# Shares that people reserve are typed in or are sums of sevenths; they may exceed 1 by rounding alone.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUse:
    """What one job used of the node in one window; `device_microjoules` are of devices that it held alone."""

    cpu_seconds: float
    reserved_cores: int
    device_microjoules: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUse:
    """What one job had of one device in one window: the share reserved, and the share of the time busy."""

    reserved: float = 0.0
    busy: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.reserved <= 1 + _ROUNDING and self.busy >= 0):
            raise ValueError(f"no job reserves {self.reserved} of a device or keeps it busy for {self.busy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceWindow:
    """The energy of one device in one window, and who used it.

    `other_busy` is the share of the time that processes of no job kept it busy.
    """

    microjoules: int
    uses: Mapping[str, DeviceUse] = field(default_factory=dict)
    other_busy: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceShares:
    """The energy of one device in one window, every microjoule in one account."""

    jobs: Mapping[str, int]
    other_microjoules: int
    unreserved_idle_microjoules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobShare:
    """The energy of one job in one window: its work, its share of idling, and its part of devices."""

    dynamic_microjoules: int
    idle_microjoules: int
    device_microjoules: int = 0

    @property
    def total_microjoules(self) -> int:
        """All of it."""
        return self.dynamic_microjoules + self.idle_microjoules + self.device_microjoules


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowShares:
    """The energy of one window, every microjoule in one account.

    `neighbours_microjoules` is what jobs of other meters reserve: idle power of their cores, and GPUs.
    """

    jobs: Mapping[str, JobShare]
    other_microjoules: int
    unreserved_idle_microjoules: int
    neighbours_microjoules: int = 0

    @property
    def total_microjoules(self) -> int:
        """The energy of the node."""
        jobs = sum(share.total_microjoules for share in self.jobs.values())
        rest = self.unreserved_idle_microjoules + self.neighbours_microjoules
        return jobs + self.other_microjoules + rest


def attribute_window(
    processor_microjoules: int,
    uses: Mapping[str, JobUse],
    *,
    seconds: float,
    idle_watts: float,
    busy_cpu_seconds: float,
    num_cores: int,
    devices: Sequence[DeviceWindow] = (),
    standing: Standing | None = None,
) -> WindowShares:
    """Split the energy of one window: the processor's by CPU time, that of shared `devices` by their use.

    Clocks tick: jobs may seem to have used more CPU time than the node. Then their times are scaled
    to the node's, and nothing is left for others. Jobs may not reserve more cores than there are.

    `standing` says who else reserves parts of the node; without it these jobs have it to themselves. Then
    idle energy and the devices that jobs held alone are divided with the neighbours.

    Raises:
        ValueError: negative energy or time, more cores or more of a device reserved than there is, or a
            device used by a job that is not among `uses`.
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
    idle_parts, idle_portion = _split_idle(idle, reserved, num_cores, standing)
    held = [_split_held(use.device_microjoules, standing) for use in uses.values()]
    of_devices = [attribute_device(device) for device in devices]
    if strangers := {job for shares in of_devices for job in shares.jobs} - set(uses):
        raise ValueError(f"devices are used by jobs that do not use the node: {sorted(strangers)}")
    jobs = {
        job: JobShare(
            dynamic_microjoules=dynamic,
            idle_microjoules=idle_part,
            device_microjoules=portion.own + sum(shares.jobs.get(job, 0) for shares in of_devices),
        )
        for job, dynamic, idle_part, portion in zip(uses, dynamic_parts, idle_parts, held, strict=True)
    }
    return WindowShares(
        jobs=jobs,
        other_microjoules=other + sum(shares.other_microjoules for shares in of_devices),
        unreserved_idle_microjoules=idle_portion.unreserved
        + sum(shares.unreserved_idle_microjoules for shares in of_devices),
        neighbours_microjoules=idle_portion.neighbours + sum(portion.neighbours for portion in held),
    )


def _split_idle(
    idle: int, reserved: Sequence[int], num_cores: int, standing: Standing | None
) -> tuple[list[int], Portion]:
    """Idle energy of each job, and that of all of them beside neighbours and nobody."""
    if standing is None or not reserved:
        *parts, unreserved = split_exactly(idle, [*map(float, reserved), float(num_cores - sum(reserved))])
        return parts, Portion(own=idle - unreserved, neighbours=0, unreserved=unreserved)
    portion = standing.split_idle(idle)
    return split_exactly(portion.own, [float(cores) for cores in reserved]), portion


def _split_held(microjoules: int, standing: Standing | None) -> Portion:
    if standing is None:
        return Portion(own=microjoules, neighbours=0, unreserved=0)
    return standing.split_devices(microjoules)


def attribute_device(device: DeviceWindow) -> DeviceShares:
    """Split the energy of one device: held alone, shared by utilisation, or by slices.

    Raises:
        ValueError: negative energy or share, or more than the whole device reserved.
    """
    reserved = [use.reserved for use in device.uses.values()]
    if device.microjoules < 0 or device.other_busy < 0 or sum(reserved) > 1 + _ROUNDING:
        raise ValueError(
            f"cannot attribute {device.microjoules} uJ of a device of which {sum(reserved):.4g} is reserved"
        )
    busy = [use.busy for use in device.uses.values()]
    idle_share = max(0.0, 1.0 - sum(busy) - device.other_busy)
    *busy_parts, other, idle = split_exactly(device.microjoules, [*busy, device.other_busy, idle_share])
    *idle_parts, unreserved = split_exactly(idle, [*reserved, max(0.0, 1.0 - sum(reserved))])
    jobs = {
        job: busy_part + idle_part
        for job, busy_part, idle_part in zip(device.uses, busy_parts, idle_parts, strict=True)
    }
    return DeviceShares(jobs=jobs, other_microjoules=other, unreserved_idle_microjoules=unreserved)
