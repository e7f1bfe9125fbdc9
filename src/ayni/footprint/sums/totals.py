"""What many entries add up to: energy, carbon by basis, embodied carbon, water, cost, and what is unknown.

Carbon of different bases is never added: a total has one sum a basis. Entries of other tools (`origin`) are
not added to receipts either; whoever calls this keeps them apart.

Not covered: nested entries, which `entries.without_nested` takes out first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ayni.footprint.counters.meters import TIERS, worst_tier
from ayni.footprint.grid.intensity_chain import LINKS
from ayni.footprint.sums.amounts import Amount, Total, add_up
from ayni.footprint.sums.entries import FootprintEntry

UNDECLARED_BASIS = "not declared"


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintTotal:
    """Sums over entries. Energies are in microjoules, carbon in grams of CO2e, water in litres.

    Attributes:
        carbon: by what is counted; never added up.
        facility: energy of the machines times PUE, without an interval of its own.
        electricity_microcredits: of the entries whose price is known; it may be below 0.
        num_unknown_costs: entries whose electricity has no known cost.
        microjoules_by_tier: known energy, best tier first.
        facility_microjoules_by_link: by what knew the intensity of the hour, best link first.
    """

    num_entries: int
    wall_seconds: float
    tier: str
    energy: Total
    facility: Total
    carbon: Mapping[str, Total]
    embodied: Total
    on_site_water: Total
    off_site_water: Total
    electricity_microcredits: int
    num_unknown_costs: int
    machine_microcredits: int
    microjoules_by_tier: Mapping[str, int]
    facility_microjoules_by_link: Mapping[str, int]

    @property
    def total_microcredits(self) -> int | None:
        """Electricity and machine time; None while any cost is unknown."""
        if self.num_unknown_costs:
            return None
        return self.electricity_microcredits + self.machine_microcredits

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; keys end in their unit."""
        return {
            "entries": self.num_entries,
            "wall_seconds": self.wall_seconds,
            "tier": self.tier,
            "energy_microjoules": self.energy.to_json(),
            "facility_energy_microjoules": self.facility.to_json(),
            "carbon": [
                {"basis": basis, "grams_co2e": total.to_json()} for basis, total in self.carbon.items()
            ],
            "embodied_grams_co2e": self.embodied.to_json(),
            "on_site_water_litres": self.on_site_water.to_json(),
            "off_site_water_litres": self.off_site_water.to_json(),
            "cost": {
                "electricity_microcredits": None if self.num_unknown_costs else self.electricity_microcredits,
                "known_electricity_microcredits": self.electricity_microcredits,
                "num_unknown": self.num_unknown_costs,
                "machine_microcredits": self.machine_microcredits,
                "total_microcredits": self.total_microcredits,
            },
            "energy_microjoules_by_tier": dict(self.microjoules_by_tier),
            "facility_microjoules_by_link": dict(self.facility_microjoules_by_link),
        }


def total_of(entries: Iterable[FootprintEntry]) -> FootprintTotal:
    """Add entries up.

    Raises:
        ValueError: receipts and figures of other tools among them.
    """
    given = list(entries)
    if len({entry.origin for entry in given}) > 1:
        raise ValueError("receipts and figures of other tools are never added up")
    known_costs = [e.electricity_microcredits for e in given if e.electricity_microcredits is not None]
    return FootprintTotal(
        num_entries=len(given),
        wall_seconds=round(sum(entry.wall_seconds for entry in given), 6),
        tier=worst_tier([entry.tier for entry in given]),
        energy=add_up((entry.energy, entry.energy_errors) for entry in given),
        facility=add_up((_facility(entry), entry.energy_errors) for entry in given),
        carbon=_carbon(given),
        embodied=add_up((entry.embodied, entry.embodied_errors) for entry in given),
        on_site_water=add_up(
            (entry.on_site_litres, (*entry.energy_errors, ("site", entry.site))) for entry in given
        ),
        off_site_water=add_up(
            (entry.off_site_litres, (*entry.energy_errors, ("water", entry.water_zone))) for entry in given
        ),
        electricity_microcredits=sum(known_costs),
        num_unknown_costs=len(given) - len(known_costs),
        machine_microcredits=sum(entry.machine_microcredits for entry in given),
        microjoules_by_tier=_by_tier(given),
        facility_microjoules_by_link=_by_link(given),
    )


def _facility(entry: FootprintEntry) -> Amount | None:
    return None if entry.facility_microjoules is None else Amount(value=entry.facility_microjoules)


def _carbon(entries: Sequence[FootprintEntry]) -> dict[str, Total]:
    bases = sorted({entry.basis or UNDECLARED_BASIS for entry in entries})
    return {
        basis: add_up(
            (entry.carbon, entry.carbon_errors)
            for entry in entries
            if (entry.basis or UNDECLARED_BASIS) == basis
        )
        for basis in bases
    }


def _by_tier(entries: Sequence[FootprintEntry]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in entries:
        if entry.energy is not None:
            sums[entry.tier] = sums.get(entry.tier, 0) + round(entry.energy.value)
    return {tier: sums[tier] for tier in TIERS if tier in sums}


def _by_link(entries: Sequence[FootprintEntry]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in entries:
        for link, energy in entry.facility_microjoules_by_link.items():
            sums[link] = sums.get(link, 0) + energy
    return {link: sums[link] for link in LINKS if link in sums}
