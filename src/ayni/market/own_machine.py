"""The owner's own machine: the special case of an offer that `plan` uses when nobody else is asked.

The price of work has two lines that are kept apart everywhere, because different people set them: machine
time at the owner's ask, and electricity at its tariff.

    machine     = reserved core-hours * ask
    electricity = energy of the machines in kWh * PUE * tariff

Not covered: time windows (the owner's own machine is there whenever the owner is), accelerators as a priced
resource, tariffs by the hour, and enforcing a limit while a job runs: whoever meters the job compares and
stops it. What sites offer each other is `offers`.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from ayni.units import credits_to_microcredits, joules_to_kwh

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What something costs, in integer micro-credits, by line."""

    machine_microcredits: int
    electricity_microcredits: int

    @property
    def total_microcredits(self) -> int:
        """Both lines together."""
        return self.machine_microcredits + self.electricity_microcredits


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMachine:
    """The cores of one machine of the job's owner, at the owner's own cost.

    zone is the electricity grid (ISO country code or the like), None when unknown. pue is facility
    energy over the energy of the machines, at least 1.
    """

    site: str
    member: str
    num_cores: int
    memory_bytes: int
    zone: str | None
    pue: float
    ask_microcredits_per_core_hour: int
    electricity_microcredits_per_kwh: int

    def __post_init__(self) -> None:
        if self.num_cores < 1 or self.memory_bytes < 1:
            raise ValueError(f"an offer of {self.num_cores} cores and {self.memory_bytes} bytes is none")
        if not (math.isfinite(self.pue) and self.pue >= 1):
            raise ValueError(f"a PUE of {self.pue} is impossible: facility over machine energy is at least 1")
        if min(self.ask_microcredits_per_core_hour, self.electricity_microcredits_per_kwh) < 0:
            raise ValueError("an ask and a tariff cannot be negative")

    def price(self, *, core_seconds: float, energy_joules: float) -> Price:
        """What `core_seconds` reserved and `energy_joules` drawn by the machines cost here.

        Each line is rounded to the nearest micro-credit (half to even); the total is their sum.
        """
        core_hours = core_seconds / SECONDS_PER_HOUR
        facility_kwh = joules_to_kwh(energy_joules) * self.pue
        return Price(
            machine_microcredits=round(core_hours * self.ask_microcredits_per_core_hour),
            electricity_microcredits=round(facility_kwh * self.electricity_microcredits_per_kwh),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as kept in the plan."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The machine that `to_json` wrote."""
        return cls(**data)


def own_machine_offer(
    *,
    site: str,
    member: str,
    num_cores: int,
    memory_bytes: int,
    zone: str | None,
    pue: float,
    ask_credits_per_core_hour: float,
    electricity_credits_per_kwh: float,
) -> OwnMachine:
    """The owner's own machine at its own cost: what it declares for wear and for power.

    Raises:
        ValueError: no cores or memory, a PUE below 1, or a negative price.
    """
    return OwnMachine(
        site=site,
        member=member,
        num_cores=num_cores,
        memory_bytes=memory_bytes,
        zone=zone,
        pue=pue,
        ask_microcredits_per_core_hour=credits_to_microcredits(ask_credits_per_core_hour),
        electricity_microcredits_per_kwh=credits_to_microcredits(electricity_credits_per_kwh),
    )
