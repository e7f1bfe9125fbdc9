"""Write factors/water_intensity.json: litres at the power plants per kWh, by country.

    python dev/make_water_factors.py electricity_mixes.json

The file is that of EcoLogits. Countries for which it repeats the world's figure are left out, so that the
product can say what it does not know. The world's range is the 5th to 95th percentile of the countries.
"""

import json
import sys
from pathlib import Path
from statistics import quantiles

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src" / "ayni" / "footprint" / "factors" / "water_intensity.json"
REPEATS_THE_WORLD = "electricity-mix-wue-world"
SOURCE = "WRI guidance (2020), by EcoLogits 0.11.3 (MPL-2.0)"


def water_file(path: Path) -> str:
    """The text of the file."""
    mixes = json.loads(path.read_text(encoding="utf-8"))["electricity_mixes"]
    litres = {mix["name"]: mix["wue"] for mix in mixes if REPEATS_THE_WORLD not in (mix["warnings"] or [])}
    cuts = quantiles([value for code, value in litres.items() if code != "WOR"], n=20, method="inclusive")
    table = {
        "source": SOURCE,
        "world_low": round(cuts[0], 2),
        "world_high": round(cuts[-1], 2),
        "litres_per_kwh": dict(sorted(litres.items())),
    }
    return json.dumps(table, indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(water_file(Path(sys.argv[1])), encoding="utf-8")
    print(f"Wrote {TARGET.relative_to(ROOT)}.")
