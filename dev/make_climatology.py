"""Write factors/us_climatology_2022.json: the month-by-hour climatology of eight balancing areas.

Run it once a new year of data is there: `python dev/make_climatology.py HOURLY.csv.gz`. The file has a
column `utc` (2022-01-01 00:00Z) and one column of g CO2e per kWh for each area.

What is done to the data, and nothing else:

- EIA stamps an hour by its end, so each value moves one hour back. (ERCOT's series then agrees with an
  independent one to r = 0.998, without it to 0.975; for PJM alone the stamps fit better as they are.)
- Blank hours are holes. Values of PJM below 150 g are as well: five hours of 43 to 47 g between neighbours
  of 340 and more, in a year whose next lowest hour has over 270 g.

The series are generation by fuel (EIA-930) times the life-cycle medians of IPCC AR5, Annex III, table A.III.2
(coal 820, gas 490, biomass and other 230, solar 41, hydropower 24, nuclear 12, wind 11 g/kWh; oil 650),
which the published rows of generation reproduce to the last digit. Imports of an area are not counted.
"""

import csv
import gzip
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.climatology import fit_climatology
from ayni.footprint.grid.intensity_series import HOUR, IntensitySeries, filled

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src" / "ayni" / "footprint" / "factors" / "us_climatology_2022.json"
SOURCE = (
    "US EIA-930 generation by fuel (public domain), times IPCC AR5 life-cycle medians, "
    "as published by HewlettPackard/dc-rl (MIT)"
)
# The zone names are those of Electricity Maps, so that files from there fit.
AREAS = {
    "AZPS": ("US-SW-AZPS", "Arizona Public Service"),
    "BPAT": ("US-NW-BPAT", "Bonneville Power Administration"),
    "CISO": ("US-CAL-CISO", "California ISO"),
    "ERCO": ("US-TEX-ERCO", "Electric Reliability Council of Texas"),
    "MISO": ("US-MIDW-MISO", "Midcontinent ISO"),
    "NYIS": ("US-NY-NYIS", "New York ISO"),
    "PJM": ("US-MIDA-PJM", "PJM Interconnection"),
    "SOCO": ("US-SE-SOCO", "Southern Company"),
}
LOWEST_PLAUSIBLE_GRAMS = {"PJM": 150.0}


def read_areas(path: Path) -> dict[str, IntensitySeries]:
    """One series for each area of the file, cleaned as said above."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {area: _series(area, rows) for area in AREAS}


def _series(area: str, rows: list[dict[str, str]]) -> IntensitySeries:
    lowest = LOWEST_PLAUSIBLE_GRAMS.get(area, 0.0)
    hours: dict[datetime, float | None] = {}
    for row in rows:
        value = float(row[area]) if row[area] else None
        ended_at = datetime.fromisoformat(row["utc"].replace("Z", "+00:00"))
        hours[ended_at - HOUR] = value if value is not None and value >= lowest else None
    first_hour, values = filled(hours)
    return IntensitySeries(
        zone=AREAS[area][0], basis=Basis(), source=SOURCE, first_hour=first_hour, grams_co2e_per_kwh=values
    )


def climatology_file(path: Path) -> str:
    """The text of the file: one line for each month, so that changes can be read."""
    fitted = [
        fit_climatology(series, name=AREAS[area][1]) for area, series in sorted(read_areas(path).items())
    ]
    head = {"basis": str(fitted[0].basis), "source": SOURCE, "years": "2022"}
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    zones = ",\n".join(_zone(each.to_json()) for each in fitted)
    return "{\n" + "\n".join(lines) + '\n  "zones": {\n' + zones + "\n  }\n}\n"


def _zone(data: dict[str, Any]) -> str:
    own = {name: data[name] for name in ("name", "mean", "low_factor", "high_factor")}
    months = ",\n".join(f"        {json.dumps(row)}" for row in data["cells"])
    return f"    {json.dumps(data['zone'])}: " + json.dumps(own)[:-1] + ', "cells": [\n' + months + "\n    ]}"


if __name__ == "__main__":
    TARGET.write_text(climatology_file(Path(sys.argv[1])), encoding="utf-8")
    print(f"Wrote {TARGET.relative_to(ROOT)}.")
