"""Embodied carbon: the share of making and scrapping a machine that falls to a job.

    M = TE * (TiR / EL) * (RR / ToR)

TE is the carbon embodied in a device, TiR the time it is reserved, EL its expected lifetime, RR / ToR the
reserved share of its resources (cores of a server, one of eight accelerators). What nobody reserves stays
with the owner of the machine: the shares of jobs and owner add up to TE * T / EL in whole micrograms.

    declared product carbon footprint    x 0.7 .. 1.4
    bottom-up                            x 0.5 .. 2; three published figures of one H100 lie between 273
                                         and 575 kg

Bottom-up, a server is 1000 kg with one processor and 16 GB; each further processor adds 100 kg, each
further GB of memory 533 / 384 kg, each SSD 100 kg and each hard disk 50 kg. Accelerators are devices of
their own and without a share of their server, which is counted once.

A machine that nobody declared is guessed from what it shows, and its interval says how roughly:

    virtual machine                       CPUs / 128 of a host with 2 processors and 512 GB, x 0.3 .. 3
    one processor, at most 64 GB          400 kg, 150 to 1300: laptops, desktops and small servers
    otherwise                             bottom-up

The assumed host and the range of small machines are ours.

Not covered: buildings, cooling, network, and transport between owners.

Source: SCI specification 1.1 (ISO/IEC 21031), section on embodied emissions. Server: B. Davy, "Building an
AWS EC2 Carbon Emissions Dataset", Teads, 2021, as used by Cloud Carbon Footprint; its memory figure is from
Dell's life-cycle assessment of the PowerEdge R740. A100: A. Chien et al., 2023. H100: ADEME (Lees-Perasso et
al.), as used by EcoLogits; NVIDIA's own product carbon footprint is 164 kg.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ayni.errors import UserError
from ayni.footprint.impacts.quantities import Quantity
from ayni.units import split_exactly

HOURS_PER_YEAR = 8760.0
SERVER_YEARS, DESKTOP_YEARS = 4.0, 6.0
DECLARED_FACTORS, BOTTOM_UP_FACTORS = (0.7, 1.4), (0.5, 2.0)
GRAMS_PER_KILOGRAM = 1000.0
_MICROGRAMS_PER_KILOGRAM = 1e9
_SERVER_KILOGRAMS, _SERVER_GIGABYTES = 1000.0, 16.0
_KILOGRAMS_PER_PROCESSOR, _KILOGRAMS_PER_GIGABYTE = 100.0, 533 / 384
_KILOGRAMS_PER_SSD, _KILOGRAMS_PER_DISK = 100.0, 50.0
_ACCELERATOR_KILOGRAMS = {"A100": 318.0, "H100": 273.0, "V100": 150.0}
_OTHER_ACCELERATOR = Quantity(value=220.0, low=88.0, high=570.0)
_HOST_CPUS, _HOST_GIGABYTES = 128, 512.0
_SMALL_GIGABYTES = 64.0
_SMALL_MACHINE = Quantity(value=400.0, low=150.0, high=1300.0)
_ROUNDING = 1e-9


class OverReservedError(UserError):
    """Jobs reserve more of a device than there is of it."""

    def __init__(self, device: str, reserved: float, available: float) -> None:
        self.device = device
        self.reserved_hours = reserved
        self.available_hours = available
        super().__init__(
            f"Jobs reserve {reserved:g} device-hours of {device}, which has {available:g} in this time. "
            "Check the shares and hours of the reservations."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Something that was made: its embodied carbon in kilograms, its lifetime, and how both are known."""

    name: str
    kilograms_co2e: Quantity
    lifetime_hours: float
    method: str

    def __post_init__(self) -> None:
        if self.lifetime_hours <= 0:
            raise ValueError(f"{self.name} cannot live for {self.lifetime_hours} hours")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.name,
            "kilograms_co2e": self.kilograms_co2e.to_json(),
            "lifetime_hours": self.lifetime_hours,
            "method": self.method,
        }


def declared_device(name: str, *, kilograms_co2e: float, lifetime_years: float = SERVER_YEARS) -> Device:
    """A device with the maker's product carbon footprint (without its use) in kilograms."""
    low, high = DECLARED_FACTORS
    return Device(
        name=name,
        kilograms_co2e=Quantity.within(kilograms_co2e, low_factor=low, high_factor=high),
        lifetime_hours=lifetime_years * HOURS_PER_YEAR,
        method="declared product carbon footprint",
    )


def server(
    *,
    num_processors: int,
    memory_gigabytes: float,
    num_ssds: int = 0,
    num_disks: int = 0,
    lifetime_years: float = SERVER_YEARS,
) -> Device:
    """A server from its parts, without accelerators."""
    if num_processors < 1 or memory_gigabytes <= 0 or num_ssds < 0 or num_disks < 0:
        raise ValueError(f"no server has {num_processors} processors and {memory_gigabytes} GB of memory")
    kilograms = (
        _SERVER_KILOGRAMS
        + _KILOGRAMS_PER_PROCESSOR * (num_processors - 1)
        + _KILOGRAMS_PER_GIGABYTE * max(0.0, memory_gigabytes - _SERVER_GIGABYTES)
        + _KILOGRAMS_PER_SSD * num_ssds
        + _KILOGRAMS_PER_DISK * num_disks
    )
    low, high = BOTTOM_UP_FACTORS
    return Device(
        name="server",
        kilograms_co2e=Quantity.within(kilograms, low_factor=low, high_factor=high),
        lifetime_hours=lifetime_years * HOURS_PER_YEAR,
        method=f"bottom-up: {num_processors} processors, {memory_gigabytes:g} GB, {num_ssds} SSDs, "
        f"{num_disks} hard disks",
    )


def undeclared_machine(
    *,
    num_processors: int,
    num_cpus: int,
    memory_gigabytes: float,
    is_virtual: bool,
    lifetime_years: float = SERVER_YEARS,
) -> Device:
    """A machine of which only the operating system is known to tell. `num_cpus` counts hardware threads."""
    if is_virtual:
        share = min(1.0, num_cpus / _HOST_CPUS)
        host = server(num_processors=2, memory_gigabytes=_HOST_GIGABYTES).kilograms_co2e.value
        kilograms = Quantity.within(host * share, low_factor=0.3, high_factor=3.0)
        name, method = "virtual machine", f"{num_cpus} of {_HOST_CPUS} CPUs of an assumed host"
    elif num_processors == 1 and memory_gigabytes <= _SMALL_GIGABYTES:
        kilograms, name = _SMALL_MACHINE, "laptop, desktop or small server"
        method = "range of machines with one processor"
    else:
        device = server(num_processors=num_processors, memory_gigabytes=memory_gigabytes)
        kilograms, name, method = device.kilograms_co2e, device.name, device.method
    return Device(
        name=name,
        kilograms_co2e=kilograms,
        lifetime_hours=lifetime_years * HOURS_PER_YEAR,
        method=method,
    )


def accelerator(model: str, *, lifetime_years: float = SERVER_YEARS) -> Device:
    """One accelerator by a name such as `NVIDIA H100 80GB HBM3`; an unknown one has the range of all."""
    low, high = BOTTOM_UP_FACTORS
    known = next((name for name in _ACCELERATOR_KILOGRAMS if name in model.upper()), None)
    kilograms = _OTHER_ACCELERATOR
    if known is not None:
        value = _ACCELERATOR_KILOGRAMS[known]
        kilograms = Quantity.within(value, low_factor=low, high_factor=high)
    return Device(
        name=model,
        kilograms_co2e=kilograms,
        lifetime_hours=lifetime_years * HOURS_PER_YEAR,
        method=f"published figure of {known}" if known else "range of published accelerators",
    )


def embodied_grams(device: Device, *, reserved_hours: float, reserved_share: float) -> Quantity:
    """Grams of CO2e of a device that fall to a job: TE * TiR / EL * RR / ToR.

    Raises:
        ValueError: a share outside 0 .. 1, or negative hours.
    """
    if not 0 <= reserved_share <= 1 or reserved_hours < 0:
        raise ValueError(f"nobody can reserve {reserved_share} of a device for {reserved_hours} hours")
    share = reserved_hours / device.lifetime_hours * reserved_share
    return device.kilograms_co2e.times(GRAMS_PER_KILOGRAM * share)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbodiedAccount:
    """Micrograms of a device over a time: those of each job, and what stays with its owner; exact."""

    device: Device
    hours: float
    jobs: Mapping[str, int]
    unallocated_micrograms: int

    @property
    def total_micrograms(self) -> int:
        """TE * T / EL."""
        return sum(self.jobs.values()) + self.unallocated_micrograms


def split_embodied(device: Device, *, hours: float, reserved: Mapping[str, float]) -> EmbodiedAccount:
    """Split what a device embodies over `hours` among jobs, by their reserved device-hours.

    Device-hours are hours times share: half a server for two hours is 1.

    Raises:
        OverReservedError: together they reserve more than `hours`.
        ValueError: negative hours.
    """
    taken = sum(reserved.values())
    if hours < 0 or any(value < 0 for value in reserved.values()):
        raise ValueError(f"negative hours: {hours} of {device.name}, reserved {dict(reserved)}")
    if taken > hours * (1 + _ROUNDING):
        raise OverReservedError(device.name, taken, hours)
    total = round(device.kilograms_co2e.value * _MICROGRAMS_PER_KILOGRAM * hours / device.lifetime_hours)
    *shares, rest = split_exactly(total, [*reserved.values(), max(0.0, hours - taken)])
    return EmbodiedAccount(
        device=device,
        hours=hours,
        jobs=dict(zip(reserved, shares, strict=True)),
        unallocated_micrograms=rest,
    )
