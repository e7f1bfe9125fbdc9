"""What the receipts of one measurement add up to, and how it is said in one line.

    28 J (12 to 73, W3), 0.003 g CO2e (0.0015 to 0.0087, annual mean, DE)

All receipts of a measurement are of one node and one set of meters, so their errors are the same error:
ends of intervals are added and do not shrink. Two digits are printed where the tier is worse than W1: a
model carries no more. A sum with an unknown part is unknown.

Not covered: sums over several measurements, which may overlap (a receipt says within which other it was
made).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ayni.footprint.counters.meters import TIERS, worst_tier
from ayni.footprint.grid.basis import Basis, one_basis
from ayni.footprint.grid.intensity_chain import LINKS
from ayni.footprint.impacts.quantities import Quantity, correlated_sum
from ayni.footprint.receipts.receipt import Receipt
from ayni.units import MICROJOULES_PER_JOULE

# From which value on a unit is used, its size, its name. Carbon is said in grams as long as they can be read.
_JOULES = ((1e9, 1e9, "GJ"), (1e6, 1e6, "MJ"), (1e3, 1e3, "kJ"), (1.0, 1.0, "J"), (0.0, 1e-3, "mJ"))
_GRAMS = (
    *((1e6, 1e6, "t CO2e"), (1e3, 1e3, "kg CO2e"), (1e-3, 1.0, "g CO2e")),
    *((1e-6, 1e-3, "mg CO2e"), (0.0, 1e-6, "ug CO2e")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Energy, carbon, water and time of a measurement, each with its 90 % interval; None is unknown.

    `energy_joules` is IT energy, `grams_co2e` are of the electricity, `embodied_grams_co2e` of making the
    machine. `unknown_parts` names what was used and could not be metered.
    """

    energy_joules: Quantity | None
    tier: str
    meter: str
    scope: str
    unknown_parts: tuple[str, ...]
    grams_co2e: Quantity | None
    basis: str
    zone: str
    worst_link: str
    embodied_grams_co2e: Quantity | None
    water_litres: Quantity | None
    wall_seconds: float
    cpu_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; a quantity is {"value", "low", "high"}."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: value.to_json() if isinstance(value, Quantity) else value for name, value in values.items()
        } | {"unknown_parts": list(self.unknown_parts)}

    def __str__(self) -> str:
        energy = _energy_text(self.energy_joules, self.tier, self.unknown_parts)
        place = "no zone" if self.zone == "unknown" else self.zone
        where = f"{self.worst_link}, {place}"
        if self.grams_co2e is None:
            return f"{energy}, unknown g CO2e ({where})"
        return f"{energy}, {_text(self.grams_co2e, _GRAMS, digits=2, note=where)}"


def footprint_of(receipts: Sequence[Receipt]) -> Footprint:
    """Add up the receipts of one measurement.

    Raises:
        ValueError: no receipt.
        BasisMismatchError: their carbon figures count different things.
        KeyError: one lacks a field.
    """
    carbon = [receipt["carbon"] for receipt in receipts]
    return Footprint(
        energy_joules=_sum(receipts, _joules),
        tier=worst_tier([receipt["tier"] for receipt in receipts]),
        meter=_joined(receipt["meter"] for receipt in receipts),
        scope=_joined(receipt["scope"] for receipt in receipts),
        unknown_parts=tuple(sorted({part for receipt in receipts for part in receipt["unknown_parts"]})),
        grams_co2e=_sum(carbon, _grams),
        basis=str(one_basis(Basis.of_text(each["basis"]) for each in carbon)),
        zone=_joined(each["zone"] for each in carbon),
        worst_link=max((each["worst_link"] for each in carbon), key=LINKS.index),
        embodied_grams_co2e=_sum([receipt["embodied"] for receipt in receipts], _grams),
        water_litres=_sum([receipt["water"] for receipt in receipts], _litres),
        wall_seconds=round(math.fsum(receipt["wall_seconds"] for receipt in receipts), 6),
        cpu_seconds=round(math.fsum(receipt["cpu_seconds"] for receipt in receipts), 6),
    )


def _sum(
    parts: Sequence[dict[str, Any]], quantity: Callable[[dict[str, Any]], Quantity | None]
) -> Quantity | None:
    """The sum, ends added; None as soon as one part is unknown."""
    found = [quantity(part) for part in parts]
    known = [each for each in found if each is not None]
    return correlated_sum(known) if len(known) == len(found) else None


def _joules(receipt: dict[str, Any]) -> Quantity | None:
    ends = [receipt[f"energy_{name}microjoules"] for name in ("", "low_", "high_")]
    if None in ends:
        return None
    value, low, high = (end / MICROJOULES_PER_JOULE for end in ends)
    return Quantity(value=value, low=low, high=high)


def _grams(part: dict[str, Any]) -> Quantity | None:
    value, low, high = (part[f"{name}grams_co2e"] for name in ("", "low_", "high_"))
    return None if value is None else Quantity(value=value, low=low, high=high)


def _litres(water: dict[str, Any]) -> Quantity | None:
    total = water["total_litres"]
    return None if total is None else Quantity(**total)


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _energy_text(energy: Quantity | None, tier: str, unknown_parts: Sequence[str]) -> str:
    if energy is None:
        why = f", {' and '.join(unknown_parts)} not metered" if unknown_parts else ""
        return f"unknown J ({tier}{why})"
    # Counters inside the hardware are worth three digits, models two.
    digits = 3 if TIERS.index(tier) <= TIERS.index("W1") else 2
    return _text(energy, _JOULES, digits=digits, note=tier)


def _text(quantity: Quantity, scales: Sequence[tuple[float, float, str]], *, digits: int, note: str) -> str:
    """`28 J (12 to 73, W3)`, in the unit that fits the value."""
    size, unit = next((size, unit) for least, size, unit in scales if quantity.value >= least)
    ends = (quantity.value, quantity.low, quantity.high)
    value, low, high = (_significant(end / size, digits) for end in ends)
    return f"{value} {unit} ({low} to {high}, {note})"


def _significant(value: float, digits: int) -> str:
    """So many significant digits, never in powers of ten: 0.0031, 28, 1200."""
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):.{max(0, decimals)}f}"
