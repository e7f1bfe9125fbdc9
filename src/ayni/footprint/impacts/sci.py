"""Software Carbon Intensity: grams of CO2e per unit of what the software is for.

    SCI = (O + M) / R

O is operational carbon (`emissions`), M embodied carbon (`embodied`), R the number of functional units, which
the user declares: a run, an epoch, a thousand images, tokens or requests. Offsets and certificates do not
enter. A part that is unknown makes the score unknown; a score without M is not an SCI score and is not made.

O and M err independently: distances from the value add in quadrature.

The energy per unit stands beside the score, for requests as watt-hours per 1,000 queries. That is the
quantity of the AI Energy Score, whose stars are given for H100 GPUs alone: it is printed without stars and
says what it was measured on.

Not covered: splitting one run among several units, and the separate scores of provider and consumer of "SCI
for AI".

Source: SCI specification 1.1, ISO/IEC 21031:2024.
"""

from dataclasses import dataclass
from typing import Any

from ayni.footprint.grid.basis import Basis
from ayni.footprint.impacts.quantities import Quantity, sum_of_groups

UNIT_SIZES = {"run": 1, "epoch": 1, "1k images": 1000, "1k tokens": 1000, "1k requests": 1000}
"""Functional unit -> how many runs, epochs, images, tokens or requests make one."""
WATT_HOURS_PER_KWH = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionalUnit:
    """What the software was for: `count` runs, epochs, images, tokens or requests, counted in `name`s."""

    name: str
    count: float

    def __post_init__(self) -> None:
        if self.name not in UNIT_SIZES:
            raise ValueError(f"{self.name!r} is no functional unit; there are {', '.join(UNIT_SIZES)}")
        if not self.count > 0:
            raise ValueError(f"a score needs at least one of its units, not {self.count:g}")

    @property
    def number(self) -> float:
        """R: how many units; 2,500 images are 2.5 of `1k images`."""
        return self.count / UNIT_SIZES[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class SciScore:
    """Grams of CO2e per functional unit with what it is made of; None is unknown.

    `kwh_per_unit` is IT energy. `measured_on` names the hardware.
    """

    unit: FunctionalUnit
    operational_grams: Quantity | None
    embodied_grams: Quantity | None
    it_kwh: Quantity | None
    basis: Basis
    measured_on: str

    @property
    def grams_per_unit(self) -> Quantity | None:
        """(O + M) / R."""
        if self.operational_grams is None or self.embodied_grams is None:
            return None
        both = sum_of_groups([[self.operational_grams], [self.embodied_grams]])
        return both.times(1 / self.unit.number)

    @property
    def watt_hours_per_unit(self) -> Quantity | None:
        """IT energy per unit; of `1k requests` the watt-hours per 1,000 queries."""
        return None if self.it_kwh is None else self.it_kwh.times(WATT_HOURS_PER_KWH / self.unit.number)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, with the parts that the standard asks to disclose."""
        quantities = {
            "sci_grams_co2e_per_unit": self.grams_per_unit,
            "operational_grams_co2e": self.operational_grams,
            "embodied_grams_co2e": self.embodied_grams,
            "watt_hours_per_unit": self.watt_hours_per_unit,
        }
        return {
            "functional_unit": self.unit.name,
            "functional_units": self.unit.number,
            **{name: None if each is None else each.to_json() for name, each in quantities.items()},
            "basis": str(self.basis),
            "measured_on": self.measured_on,
            "comparable_with_ai_energy_score": "H100" in self.measured_on.upper(),
        }
