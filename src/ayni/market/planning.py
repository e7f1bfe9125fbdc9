"""The plan of a job: where and when each step would run, and what it would take, before anything does.

    grams of CO2e = energy in kWh * PUE * carbon intensity
    cost          = reserved core-hours * ask + energy in kWh * PUE * tariff

Every figure has a low and a high end. They are products of the ends of their factors, which is
wider than a 90 % interval of the product would be: a plan should rather surprise by what is left.

Energy that nothing here can meter is unknown (None, tier W5), and so are its carbon and the price of its
electricity; a step then costs its machine time, as it will be settled. Limits on what is unknown cannot be
watched, so they are refused before anything starts.

A plan also names what else there would have been, and why it was not taken (`alternatives`).

Not covered: several sites for one job. Steps run one after the other on one site.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from ayni.errors import UserError
from ayni.market.alternatives import Alternative
from ayni.market.offers import Limits
from ayni.market.own_machine import OwnMachine
from ayni.units import (
    JOULES_PER_KWH,
    MICROCREDITS_PER_CREDIT,
    joules_to_kwh,
)


class CarbonIntensityLike(Protocol):
    """Grams of CO2e per kWh of a grid with low and high end, however they were found."""

    @property
    def grams_co2e_per_kwh(self) -> float:
        """The figure to compute with."""
        ...

    @property
    def low(self) -> float:
        """Low end in the same unit."""
        ...

    @property
    def high(self) -> float:
        """High end in the same unit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """What one step is expected to take, whatever it costs.

    num_cores are reserved (and paid) for wall_seconds. Energy is that of the machines in joules, with
    both ends, or all three are None = unknown; tier names how it was estimated. high_seconds None = as
    long as wall_seconds.
    """

    step: str
    wall_seconds: float
    num_cores: int
    energy_joules: float | None
    low_joules: float | None
    high_joules: float | None
    tier: str
    high_seconds: float | None = None

    def __post_init__(self) -> None:
        low, energy, high = self.low_joules, self.energy_joules, self.high_joules
        if low is None or energy is None or high is None:
            is_possible = low is energy is high is None
        else:
            is_possible = 0 <= low <= energy <= high < float("inf")
        if not is_possible:
            raise ValueError(f"{self.step}: the energy {energy} J is not within [{low}, {high}]")
        if not (0 <= self.wall_seconds <= self.longest_seconds < float("inf")) or self.num_cores < 1:
            raise ValueError(
                f"{self.step}: {self.wall_seconds} s (at most {self.longest_seconds} s) on "
                f"{self.num_cores} cores cannot be"
            )

    @property
    def longest_seconds(self) -> float:
        """High end of the wall time."""
        return self.wall_seconds if self.high_seconds is None else self.high_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One step in the plan, in the half-open interval [start, end). None = unknown, as its energy is."""

    step: str
    site: str
    start: datetime
    end: datetime
    longest_seconds: float
    num_cores: int
    energy_joules: float | None
    low_joules: float | None
    high_joules: float | None
    tier: str
    grams_co2e: float | None
    low_grams_co2e: float | None
    high_grams_co2e: float | None
    machine_microcredits: int
    electricity_microcredits: int | None
    high_cost_microcredits: int

    @property
    def cost_microcredits(self) -> int:
        """Machine time and electricity together; electricity that is unknown is not charged."""
        return self.machine_microcredits + (self.electricity_microcredits or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitViolation:
    """A limit below what the plan needs. Numbers are in the limit's own unit, as in the job file."""

    limit: str
    unit: str
    allowed: float
    estimated: float
    high: float

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.limit}: about {self.estimated:.4g} {self.unit} needed (up to {self.high:.4g}), "
            f"{self.allowed:.4g} allowed"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All steps of a job on one offer, with what they are expected to take.

    Raises:
        UnwatchableLimitError: energy or carbon is limited, and the energy of a step is unknown.
    """

    rows: tuple[PlanRow, ...]
    offer: OwnMachine
    limits: Limits
    alternatives: tuple[Alternative, ...] = ()

    def __post_init__(self) -> None:
        limited = {"energy_kwh": self.limits.energy_kwh, "carbon_grams": self.limits.carbon_grams}
        names = [name for name, allowed in limited.items() if allowed is not None]
        unknown = [row.step for row in self.rows if row.energy_joules is None]
        if names and unknown:
            raise UnwatchableLimitError(limits=names, steps=unknown)

    def total(self, field: str) -> float:
        """Sum of one number that all rows have; integers stay integers."""
        total: float = sum(getattr(row, field) for row in self.rows)
        return total

    def known_total(self, field: str) -> float | None:
        """The same; None when a row does not know the number, never a partial sum."""
        is_known = all(getattr(row, field) is not None for row in self.rows)
        return self.total(field) if is_known else None

    def violations(self, limits: Limits | None = None) -> list[LimitViolation]:
        """The limits (the plan's own by default) that the estimate itself exceeds."""
        return [found for found in self._compared(limits or self.limits) if found.estimated > found.allowed]

    def risks(self, limits: Limits | None = None) -> list[LimitViolation]:
        """The limits that the estimate keeps and its high end exceeds."""
        return [
            found
            for found in self._compared(limits or self.limits)
            if found.estimated <= found.allowed < found.high
        ]

    def _compared(self, limits: Limits) -> list[LimitViolation]:
        seconds = sum((row.end - row.start).total_seconds() for row in self.rows)
        per_credit, per_kwh = MICROCREDITS_PER_CREDIT, JOULES_PER_KWH
        compared = [
            ("credits", "credits", limits.credits, "cost_microcredits", "high_cost_microcredits", per_credit),
            ("energy_kwh", "kWh", limits.energy_kwh, "energy_joules", "high_joules", per_kwh),
            ("carbon_grams", "g CO2e", limits.carbon_grams, "grams_co2e", "high_grams_co2e", 1.0),
        ]
        found = []
        for name, unit, allowed, field, high_field, scale in compared:
            estimated, high = self.known_total(field), self.known_total(high_field)
            if allowed is not None and estimated is not None and high is not None:
                estimated, high = estimated / scale, high / scale
                found.append(
                    LimitViolation(limit=name, unit=unit, allowed=allowed, estimated=estimated, high=high)
                )
        if (deadline := limits.deadline_seconds) is not None:
            longest = self.total("longest_seconds")
            found.append(
                LimitViolation(limit="deadline", unit="s", allowed=deadline, estimated=seconds, high=longest)
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: rows, totals (for readers), offer, limits, alternatives, violations and risks."""
        return {
            "rows": [_row_to_json(row) for row in self.rows],
            "totals": {
                "seconds": sum((row.end - row.start).total_seconds() for row in self.rows),
                **{field: self.known_total(field) for field in TOTALLED_FIELDS},
            },
            "offer": self.offer.to_json(),
            "limits": self.limits.to_json(),
            "alternatives": [each.to_json() for each in self.alternatives],
            "violations": [asdict(found) for found in self.violations()],
            "risks": [asdict(found) for found in self.risks()],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The plan that `to_json` wrote; totals and violations are computed anew."""
        return cls(
            rows=tuple(_row_from_json(row) for row in data["rows"]),
            offer=OwnMachine.from_json(data["offer"]),
            limits=Limits.from_json(data["limits"]),
            # Plans of runs from before there were any are still read.
            alternatives=tuple(Alternative.from_json(each) for each in data.get("alternatives", ())),
        )


TOTALLED_FIELDS = (
    "longest_seconds",
    "energy_joules",
    "low_joules",
    "high_joules",
    "grams_co2e",
    "low_grams_co2e",
    "high_grams_co2e",
    "machine_microcredits",
    "electricity_microcredits",
    "cost_microcredits",
    "high_cost_microcredits",
)


class BudgetTooSmallError(UserError):
    """The plan needs more than the job's limits allow."""

    def __init__(self, violations: Sequence[LimitViolation]) -> None:
        self.violations = tuple(violations)
        lines = "\n".join(f"  {violation}" for violation in violations)
        raised = " ".join(f"--set limits.{found.limit}={_enough(found)}" for found in violations)
        super().__init__(
            f"The plan exceeds {len(violations)} of the job's limits, so nothing was started:\n{lines}\n"
            f"Ask for less work (fewer train.rounds or train.local_steps), raise the limits ({raised}), "
            "or say --yes to go on all the same."
        )


class UnwatchableLimitError(UserError):
    """The job limits what nothing on this machine can meter."""

    def __init__(self, *, limits: Sequence[str], steps: Sequence[str]) -> None:
        self.limits = tuple(limits)
        self.steps = tuple(steps)
        named = " and ".join(f"limits.{name}" for name in limits)
        dropped = " ".join(f"--set limits.{name}=null" for name in limits)
        super().__init__(
            f"Nothing here can meter the accelerator that the job uses in {', '.join(steps)} (tier W5: "
            f"unknown), so {named} cannot be watched, and nothing was started. Leave the limit out "
            f"({dropped}), or run where the energy is known: on the CPU (--set train.device=cpu), or with "
            "the counters of an NVIDIA GPU (pip install 'ayni[nvidia]')."
        )


def make_plan(
    estimates: Sequence[StepEstimate],
    *,
    offer: OwnMachine,
    limits: Limits,
    now: datetime,
    carbon_intensity: CarbonIntensityLike,
) -> Plan:
    """Put the steps one after the other on the offer, from `now`, and price each.

    Raises:
        UnwatchableLimitError: energy or carbon is limited, and the energy of a step is unknown.
        ValueError: `now` has no time zone, or there is no step.
    """
    if now.tzinfo is None:
        raise ValueError(f"the plan's start {now} has no time zone")
    if not estimates:
        raise ValueError("a plan without steps")
    rows, start = [], now
    for estimate in estimates:
        row = _planned(estimate, offer=offer, start=start, carbon_intensity=carbon_intensity)
        rows.append(row)
        start = row.end
    return Plan(rows=tuple(rows), offer=offer, limits=limits)


def _planned(
    estimate: StepEstimate, *, offer: OwnMachine, start: datetime, carbon_intensity: CarbonIntensityLike
) -> PlanRow:
    # More learners than cores share the cores: no more than all of them can be reserved.
    num_cores = min(estimate.num_cores, offer.num_cores)
    energy, low, high = estimate.energy_joules, estimate.low_joules, estimate.high_joules
    price = offer.price(core_seconds=num_cores * estimate.wall_seconds, energy_joules=energy or 0.0)
    high_price = offer.price(core_seconds=num_cores * estimate.longest_seconds, energy_joules=high or 0.0)

    def grams(joules: float | None, grams_co2e_per_kwh: float) -> float | None:
        return None if joules is None else joules_to_kwh(joules) * offer.pue * grams_co2e_per_kwh

    return PlanRow(
        step=estimate.step,
        site=offer.site,
        start=start,
        end=start + timedelta(seconds=estimate.wall_seconds),
        longest_seconds=estimate.longest_seconds,
        num_cores=num_cores,
        energy_joules=energy,
        low_joules=low,
        high_joules=high,
        tier=estimate.tier,
        grams_co2e=grams(energy, carbon_intensity.grams_co2e_per_kwh),
        low_grams_co2e=grams(low, carbon_intensity.low),
        high_grams_co2e=grams(high, carbon_intensity.high),
        machine_microcredits=price.machine_microcredits,
        electricity_microcredits=None if energy is None else price.electricity_microcredits,
        high_cost_microcredits=high_price.total_microcredits,
    )


def _row_to_json(row: PlanRow) -> dict[str, Any]:
    times = {"start": row.start.isoformat(), "end": row.end.isoformat()}
    return {**asdict(row), **times, "cost_microcredits": row.cost_microcredits}


def _row_from_json(data: dict[str, Any]) -> PlanRow:
    times = {name: datetime.fromisoformat(data[name]) for name in ("start", "end")}
    return PlanRow(**{name: data[name] for name in data if name != "cost_microcredits"} | times)


def _enough(violation: LimitViolation) -> str:
    """A value of the limit that the plan keeps, rounded up to two digits: 1.31 becomes 1.4."""
    if violation.limit == "deadline":
        return f"{int(violation.high // 60) + 1}m"
    digits = f"{violation.high:.1e}"
    rounded = float(digits)
    if rounded < violation.high:
        mantissa, exponent = digits.split("e")
        rounded = float(f"{float(mantissa) + 0.1:.1f}e{exponent}")
    return f"{rounded:g}"
