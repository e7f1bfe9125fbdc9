"""Offers and limits: what a site asks for its capacity, and what a job may cost at most.

The price of work on a site has two lines that are kept apart everywhere, because different people
set them: machine time at the site's ask, and electricity at its tariff.

    machine     = reserved core-hours * ask
    electricity = energy of the machines in kWh * PUE * tariff

Not covered: time windows of an offer (the owner's own machines are there whenever the owner is),
accelerators as a priced resource, tariffs by the hour, and enforcing a limit while a job runs: whoever
meters the job compares and stops it.
"""

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Self

from ayni.errors import UserError
from ayni.units import credits_to_microcredits, joules_to_kwh

SECONDS_PER_HOUR = 3600.0
_SECONDS_PER_UNIT = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)\s*")


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
class Offer:
    """Capacity of one site and the price asked for it.

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
        """The offer that `to_json` wrote."""
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
) -> Offer:
    """The owner's own machine as an offer, at its own cost: what it declares for wear and for power.

    Raises:
        ValueError: no cores or memory, a PUE below 1, or a negative price.
    """
    return Offer(
        site=site,
        member=member,
        num_cores=num_cores,
        memory_bytes=memory_bytes,
        zone=zone,
        pue=pue,
        ask_microcredits_per_core_hour=credits_to_microcredits(ask_credits_per_core_hour),
        electricity_microcredits_per_kwh=credits_to_microcredits(electricity_credits_per_kwh),
    )


class InvalidDurationError(UserError, ValueError):
    """A text that should be a duration is none. Also a ValueError, for validators."""

    def __init__(self, text: object) -> None:
        self.text = text
        super().__init__(
            f"{text!r} is not a duration. Write a number of seconds above 0 or numbers with the units "
            "s, m, h, d, like 90s, 15m, 2h or 1h30m."
        )


def parse_duration(text: str | float) -> float:
    """Seconds of a duration like `90s`, `15m`, `1h30m`, `1.5h`, `2d`; a bare number is seconds.

    Raises:
        InvalidDurationError: anything else, and durations that are not above zero and finite.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise InvalidDurationError(text)
    seconds = _seconds_of_text(text) if isinstance(text, str) else float(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidDurationError(text)
    return seconds


def _seconds_of_text(text: str) -> float:
    written = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", written):
        return float(written)
    if not re.fullmatch(f"(?:{_PART.pattern})+", written):
        raise InvalidDurationError(text)
    return sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in _PART.findall(written))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a job may cost; None = no limit.

    Energy is that of the machines alone, as receipts state it first; carbon and credits include the
    facility's overhead (PUE). Time is from the first step's start to the last step's end.
    """

    credits: float | None = None
    energy_kwh: float | None = None
    carbon_grams: float | None = None
    deadline_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"limits.{name} is {value}; it must be a number that is not negative")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The limits that `to_json` wrote."""
        return cls(**data)
