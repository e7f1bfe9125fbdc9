"""Grams of CO2e per kilowatt-hour of a zone's grid, with an interval and a declared basis.

Annual averages by location are the default: they can be observed and added. The interval covers what
an annual average hides and what sources disagree about. Hour by hour a zone's grid is 0.59 to 2.05
times its annual mean (5 to 95 %, the most variable of the zones compared), and two annual sources of
one country differ by up to 1.46 (France: 2.4, by vintage and import tracing):

    low = exp(-sqrt(ln(0.59)^2 + ln(1.46)^2)) = 0.52        high = 2.25

An undeclared place is `unknown`: the world's mean with the range of all countries. It is never guessed
from the network, and never some default country.

Hour by hour is `emissions`, which comes back to these figures where nothing better is known.

Not covered: marginal intensity, market-based claims (certificates, offsets), and parts of countries but
for the states and some balancing areas of the United States. Life-cycle and direct numbers differ by 1.18
to 1.53; figures of different `basis` are not added.

Source: factors/NOTICE.md.
"""

import difflib
import json
import math
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from ayni.errors import UserError
from ayni.footprint.grid.climatology import area_code, shipped_climatologies

_LOW_FACTOR, _HIGH_FACTOR = 0.52, 2.25
_PART_FACTORS = (0.11, 1.86)
_LIFE_CYCLE = "average, location-based, life-cycle"
_DIRECT = "average, location-based, direct"
_COUNTRY_SOURCE = "Our World in Data (Ember, Energy Institute), CC BY 4.0, by CodeCarbon"
_STATE_SOURCE = "US EPA eGRID2023, public domain"
# Reserved by ISO 3166 for these two countries, and what people there write.
_OTHER_NAMES = {"UK": "GBR", "EL": "GRC"}


class UnknownZoneError(UserError):
    """A zone name that the table of grids does not hold."""

    def __init__(self, zone: str, nearest: list[str]) -> None:
        self.zone = zone
        self.nearest = nearest
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        super().__init__(
            f"No grid is known by the name {zone!r}.{hint} Use an ISO 3166 code of two or three letters "
            "(DE, DEU), a state of the United States (US-CA), one of its balancing areas (US-CAL-CISO), or "
            "leave the zone out."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CarbonIntensity:
    """Intensity of one zone's electricity with its 90 % interval.

    `zone` is the ISO code, a balancing area, or "unknown"; `basis` says what is counted and `year` when,
    None where the years are mixed.
    """

    grams_co2e_per_kwh: float
    low: float
    high: float
    zone: str
    basis: str
    source: str
    year: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "CarbonIntensity":
        """The value that `to_json` wrote."""
        return cls(**data)


def carbon_intensity(zone: str | None) -> CarbonIntensity:
    """The annual carbon intensity of a zone; None gives the world's mean and range, zone "unknown".

    Raises:
        UnknownZoneError: no such zone; names the nearest.
    """
    table = _table()
    if zone is None:
        world = table["world"]
        return CarbonIntensity(
            grams_co2e_per_kwh=world["grams_co2e_per_kwh"],
            low=world["low"],
            high=world["high"],
            zone="unknown",
            basis=f"{_LIFE_CYCLE}, annual, world because no zone was declared",
            source=_COUNTRY_SOURCE,
            year=None,
        )
    code = zone.strip().upper()
    if code in table["us_states"]:
        return _annual(code, table["us_states"][code], _DIRECT, _STATE_SOURCE)
    if area := shipped_climatologies().get(area_code(code)):
        entry = {"grams_co2e_per_kwh": area.mean, "year": int(area.years)}
        return _annual(area.zone, entry, _LIFE_CYCLE, area.source)
    code3 = _codes().get(code)
    if code3 is None:
        raise UnknownZoneError(zone, _nearest(zone))
    return _annual(table["countries"][code3]["iso2"], table["countries"][code3], _LIFE_CYCLE, _COUNTRY_SOURCE)


def country_intensity(zone: str) -> CarbonIntensity | None:
    """The annual intensity of the country that a zone such as `SE-SE3` or `US-CA` lies in; None if unknown.

    The part of the name before the first hyphen is the country's code, as with Electricity Maps. A part is
    not the whole: the means of 85 zones were 0.11 to 1.86 times those of their countries (5 to 95 %, 2022,
    Tasmania to Hawaii), so the interval of the country's figure is widened by that.
    """
    country, hyphen, _ = zone.strip().upper().partition("-")
    if not hyphen or country not in _codes():
        return None
    whole = carbon_intensity(country)
    low = math.exp(-math.hypot(math.log(_LOW_FACTOR), math.log(_PART_FACTORS[0])))
    high = math.exp(math.hypot(math.log(_HIGH_FACTOR), math.log(_PART_FACTORS[1])))
    return replace(
        whole,
        low=round(whole.grams_co2e_per_kwh * low, 3),
        high=round(whole.grams_co2e_per_kwh * high, 3),
        basis=f"{whole.basis}, of the country",
    )


def country_code(zone: str) -> str | None:
    """The three-letter code of the country that a zone is or lies in (DE, DE-LU, US-CA); None if unknown."""
    code = area_code(zone)
    return _codes().get(code) or _codes().get(code.partition("-")[0])


def _annual(zone: str, entry: dict[str, Any], basis: str, source: str) -> CarbonIntensity:
    grams = entry["grams_co2e_per_kwh"]
    return CarbonIntensity(
        grams_co2e_per_kwh=grams,
        low=round(grams * _LOW_FACTOR, 3),
        high=round(grams * _HIGH_FACTOR, 3),
        zone=zone,
        basis=f"{basis}, annual",
        source=source,
        year=entry["year"],
    )


@cache
def _table() -> dict[str, Any]:
    content = files("ayni.footprint").joinpath("factors/annual_intensity.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(content)
    return table


@cache
def _codes() -> dict[str, str]:
    """Two-letter and three-letter codes -> three-letter code."""
    codes = dict(_OTHER_NAMES)
    for code3, entry in _table()["countries"].items():
        codes[code3] = codes[entry["iso2"]] = code3
    return codes


def _nearest(zone: str) -> list[str]:
    """Up to two codes whose code or name looks like what was written."""
    table = _table()
    code_of = {entry["name"].upper(): entry["iso2"] for entry in table["countries"].values()}
    code_of |= {entry["name"].upper(): code for code, entry in table["us_states"].items()}
    code_of |= {area.name.upper(): zone for zone, area in shipped_climatologies().items()}
    code_of |= {code: code for code in [*_codes(), *table["us_states"], *shipped_climatologies()]}
    close = difflib.get_close_matches(zone.strip().upper(), list(code_of), n=2, cutoff=0.5)
    return list(dict.fromkeys(code_of[name] for name in close))
