"""Litres of water that electricity and cooling use: on the site and at the power plants.

    on site    = IT energy * WUE                 water usage effectiveness, litres per kWh of IT energy
    off site   = IT energy * PUE * EWIF          energy water intensity of the zone, litres per kWh

WUE is per kWh of the machines, not of the facility: multiplying it with facility energy counts PUE twice.
A site that does not declare its WUE has an unknown on-site part, None and never 0; a site without
evaporative cooling declares 0.

EWIF is known for 49 countries; others have the world's with the range of all. A country's figure gets
x 0.4 .. 2.5: for the United States three sources say 3.1, 4.5 and 7.6 litres.

Not covered: water that is withdrawn and returned (consumption is counted), scarcity of water where it is
taken, and water embodied in hardware.

Source: WRI, "Guidance for Calculating Water Use Embedded in Purchased Electricity" (2020), as packaged by
EcoLogits; factors/NOTICE.md. For the spread: LBNL, United States Data Center Energy Usage Reports of 2016
and 2024.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ayni.footprint.grid.carbon import country_code
from ayni.footprint.impacts.quantities import Quantity, correlated_sum, product

ZONE_FACTORS = (0.4, 2.5)
WORLD = "WOR"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterIntensity:
    """Litres at the power plants per kWh of a zone; `zone` is the country's code or "world"."""

    litres_per_kwh: Quantity
    zone: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterUse:
    """Litres with their 90 % intervals, on site and off site apart; None is unknown."""

    on_site_litres: Quantity | None
    off_site_litres: Quantity | None
    zone: str

    @property
    def total_litres(self) -> Quantity | None:
        """Both together; None when either is unknown, never a partial sum."""
        if self.on_site_litres is None or self.off_site_litres is None:
            return None
        # Both follow from the same energy, so their errors go together.
        return correlated_sum([self.on_site_litres, self.off_site_litres])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        parts = {
            "on_site_litres": self.on_site_litres,
            "off_site_litres": self.off_site_litres,
            "total_litres": self.total_litres,
        }
        known = {name: None if part is None else part.to_json() for name, part in parts.items()}
        return {**known, "zone": self.zone}


def water_intensity(zone: str | None) -> WaterIntensity:
    """The off-site water of a zone or of the country it lies in; the world's where none is known."""
    table = _table()
    code = None if zone is None else country_code(zone)
    if code is None or code not in table["litres_per_kwh"]:
        world = table["litres_per_kwh"][WORLD]
        litres = Quantity(value=world, low=table["world_low"], high=table["world_high"])
        return WaterIntensity(litres_per_kwh=litres, zone="world", source=table["source"])
    litres = Quantity.within(
        table["litres_per_kwh"][code], low_factor=ZONE_FACTORS[0], high_factor=ZONE_FACTORS[1]
    )
    return WaterIntensity(litres_per_kwh=litres, zone=code, source=table["source"])


def water_of(
    it_kwh: Quantity | None,
    *,
    pue: float,
    wue_litres_per_kwh: Quantity | None,
    intensity: WaterIntensity,
) -> WaterUse:
    """What IT energy costs in water; both parts are None when the energy is unknown.

    Raises:
        ValueError: a PUE below 1.
    """
    if not pue >= 1:
        raise ValueError(f"PUE is facility energy over IT energy, so at least 1, not {pue}")
    on_site = None if it_kwh is None or wue_litres_per_kwh is None else product(it_kwh, wue_litres_per_kwh)
    off_site = None if it_kwh is None else product(it_kwh.times(pue), intensity.litres_per_kwh)
    return WaterUse(on_site_litres=on_site, off_site_litres=off_site, zone=intensity.zone)


@cache
def _table() -> dict[str, Any]:
    content = files("ayni.footprint").joinpath("factors/water_intensity.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(content)
    return table
