"""Carbon intensity from generation by fuel, for grids that publish megawatts and no grams.

    grams per kWh = sum(MW_fuel * grams_fuel) / sum(MW_fuel)

Life-cycle grams by fuel are the medians of IPCC AR5, Annex III, table A.III.2. It has no value for these:

    oil                         650, as in the common practice of grid data (the shipped US data use it too)
    lignite, peat, oil shale    1055, middle of 1033 to 1080 for lignite in Europe (Ember, 2024)
    gas from coal               as coal
    waste, other renewable      as biomass
    other                       700, a mix of fossil fuels

Pumped storage is left out of both sums: its energy was generated, and weighed, elsewhere and before.

A fuel that is blank in one hour and usually runs at that time of day makes the hour a hole, because
leaving out the coal would make the grid look clean. The factors are 0.79 and 1.33: those of published
hours, in quadrature with 0.85 .. 1.25 for the plants of one fuel (the table's ranges for coal and gas).

Not covered: imports and exports, so it is what is generated in the zone and not what is used there; direct
emissions.
"""

from collections.abc import Mapping
from datetime import datetime

from ayni.footprint.grid.intensity_series import hour_of

MIX_FACTORS = (0.79, 1.33)
GRAMS_OF_FUEL = {
    "biomass": 230.0,
    "coal": 820.0,
    "gas": 490.0,
    "geothermal": 38.0,
    "hydro": 24.0,
    "lignite": 1055.0,
    "marine": 17.0,
    "nuclear": 12.0,
    "oil": 650.0,
    "other": 700.0,
    "solar": 48.0,
    "wind offshore": 12.0,
    "wind onshore": 11.0,
}
"""Life-cycle grams of CO2e per kWh."""
MISSING_SHARE = 0.05
"""An hour whose missing fuels usually make up more than this share of it is a hole."""

Megawatts = Mapping[str, Mapping[datetime, float | None]]


def intensities_of_mix(megawatts: Megawatts) -> dict[datetime, float | None]:
    """Fuel -> time -> MW becomes time -> grams of CO2e per kWh, None for a hole.

    Raises:
        KeyError: a fuel without a figure in `GRAMS_OF_FUEL`.
    """
    usual = {fuel: _by_hour_of_day(values) for fuel, values in megawatts.items()}
    moments = sorted({moment for values in megawatts.values() for moment in values})
    return {moment: _intensity_at(moment, megawatts, usual) for moment in moments}


def _by_hour_of_day(values: Mapping[datetime, float | None]) -> dict[int, float]:
    """Mean MW of one fuel by hour of the day."""
    of_hour: dict[int, list[float]] = {}
    for moment, value in values.items():
        if value is not None:
            of_hour.setdefault(hour_of(moment).hour, []).append(value)
    return {hour: sum(known) / len(known) for hour, known in of_hour.items()}


def _intensity_at(
    moment: datetime, megawatts: Megawatts, usual: Mapping[str, Mapping[int, float]]
) -> float | None:
    running = grams = missing = 0.0
    for fuel, values in megawatts.items():
        value = values.get(moment)
        if value is None:
            missing += max(0.0, usual[fuel].get(moment.hour, 0.0))
        elif value > 0:  # Plants that draw more than they give report less than nothing.
            running += value
            grams += value * GRAMS_OF_FUEL[fuel]
    if running == 0 or missing > MISSING_SHARE * (running + missing):
        return None
    return grams / running
