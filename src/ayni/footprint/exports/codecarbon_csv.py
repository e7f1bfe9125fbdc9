"""Receipts in the columns of CodeCarbon's emissions.csv, for its readers: kilograms and kilowatt-hours.

    emissions          kg of CO2e, operational          grams / 1000
    energy_consumed    kWh of the facility              IT energy * PUE, which CodeCarbon folds in
    water_consumed     litres on the site               IT energy * WUE; CodeCarbon's is PUE times that
    duration           seconds

One row a receipt: `run_id` is the run, `experiment_id` the step. A receipt does not know what other cells
ask for (watts, energy of processor and memory apart, coordinates), and they stay empty: unknown is not 0.
An entry whose energy or carbon is unknown has empty cells there too.

The row has no room for interval, tier, basis and signature: `codecarbon_version` says that Ayni wrote it, and
`experiment_name` of other tools is not used.

Not covered: reading the file back (`third_party` reads CodeCarbon's own, and refuses this one).

Source: codecarbon 3.3.2, output_methods/emissions_data.py (columns and their order).
"""

import csv
import io
from collections.abc import Sequence

from ayni.footprint.exports.options import to_export
from ayni.footprint.grid.carbon import country_code
from ayni.footprint.impacts.embodied import GRAMS_PER_KILOGRAM
from ayni.footprint.sums.entries import FootprintEntry
from ayni.units import microjoules_to_kwh

COLUMNS = (
    *("timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate"),
    *("cpu_power", "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed"),
    *("water_consumed", "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os"),
    *("python_version", "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model"),
    *("longitude", "latitude", "ram_total_size", "tracking_mode", "cpu_utilization_percent"),
    *("gpu_utilization_percent", "ram_utilization_percent", "ram_used_gb", "on_cloud", "pue", "wue"),
)
WRITTEN_BY = "ayni"


def codecarbon_csv(entries: Sequence[FootprintEntry]) -> str:
    """The table as text, one row a receipt, times in UTC.

    Raises:
        NothingToExportError: another tool measured them.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for entry in to_export(entries):
        writer.writerow({name: "" if value is None else value for name, value in _row(entry).items()})
    return stream.getvalue()


def _row(entry: FootprintEntry) -> dict[str, object]:
    kilograms = None if entry.carbon is None else entry.carbon.value / GRAMS_PER_KILOGRAM
    facility = entry.facility_microjoules
    country, region = _place(entry.zone)
    return {
        # CodeCarbon's times have no zone: the end of the run.
        "timestamp": f"{entry.ended_at:%Y-%m-%dT%H:%M:%S}",
        "project_name": _harmless(entry.job),
        "run_id": _harmless(entry.run),
        "experiment_id": _harmless(entry.step),
        "duration": entry.wall_seconds,
        "emissions": kilograms,
        "emissions_rate": None
        if kilograms is None or entry.wall_seconds == 0
        else kilograms / entry.wall_seconds,
        "energy_consumed": None if facility is None else microjoules_to_kwh(facility),
        "water_consumed": None if entry.on_site_litres is None else entry.on_site_litres.value,
        "country_iso_code": country,
        "region": region,
        "codecarbon_version": WRITTEN_BY,
        "tracking_mode": "process",
        "pue": entry.pue,
        "wue": entry.wue_litres_per_kwh,
    }


def _place(zone: str) -> tuple[str | None, str | None]:
    """The three-letter code of a zone's country, and the rest of a zone such as US-CA."""
    country, rest = country_code(zone), zone.partition("-")[2]
    return (None, None) if country is None else (country, rest.lower() or None)


def _harmless(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text
