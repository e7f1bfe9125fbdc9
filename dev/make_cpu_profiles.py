"""Writes benchmarks/data/cpu_profiles.csv from the load and energy profiles that CodeCarbon publishes.

    python dev/make_cpu_profiles.py FOLDER      with its *.csv, one for each processor and kind of load

Power is rapl_energy (kWh) over duration; the column rapl_power lags a row behind, so it is not used. The
folder "E5-1240" is the E3-1240 V2 again with doubled counters, so it is left out. Design power (TDP) of all
sockets and the highest clock of one core are from the makers' data sheets.
"""

import csv
import sys
from pathlib import Path

TARGET = Path(__file__).parent.parent / "benchmarks" / "data" / "cpu_profiles.csv"
# Beginning of the file's name -> name here, watts of design power, megahertz of the fastest core.
PROCESSORS = {
    "AMD_EPYC_8024P": ("AMD EPYC 8024P", 90, 3000),
    "AMD_Threadripper": ("AMD Ryzen Threadripper 1950X", 180, 4000),
    "E3-1240": ("Intel Xeon E3-1240 V2", 69, 3800),
    "E5-2620": ("2 x Intel Xeon E5-2620 v3", 170, 3200),
}
COLUMNS = (
    "processor",
    "design_watts",
    "nominal_megahertz",
    "kind",
    "load",
    "megahertz",
    "watts",
    "plug_watts",
)
JOULES_PER_KWH = 3.6e6


def main(folder: Path) -> None:
    """Write the table."""
    rows = []
    for beginning, (name, watts, megahertz) in PROCESSORS.items():
        for path in sorted(folder.glob(f"{beginning}*.csv")):
            with path.open(encoding="utf-8") as file:
                rows += [_row(name, watts, megahertz, line) for line in csv.DictReader(file)]
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(f"{TARGET}: {len(rows)} points")


def _row(name: str, watts: int, megahertz: int, line: dict[str, str]) -> list[object]:
    measured = float(line["rapl_energy"]) * JOULES_PER_KWH / float(line["duration"])
    plug = float(line["tapo_power"])
    return [
        name,
        watts,
        megahertz,
        line["load_type"],
        round(float(line["cpu_load"]) / 100, 4),
        round(float(line["cpu_freq"]), 1),
        round(measured, 3),
        round(plug, 1) if plug > 0 else "",
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
