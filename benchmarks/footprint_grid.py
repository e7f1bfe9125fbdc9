"""Whether the 90 % intervals of the carbon chain hold: each link against hours that it was not made from.

    published hour    EIA's hours against Electricity Maps' of the same hours, 4 areas, 2022
    climatology       shipped for 2022 from EIA, against Electricity Maps' hours of 2023, the same 4 areas
    annual mean       shipped figures of 7 countries, against Electricity Maps' hours of 2022 and 2023
    of the country    figures of 9 countries for 11 of their parts, against the same hours
    world             the world's figure against all 18 zones, both years

Beside it stands what hourly data are for: how far the grams of a job of 4 hours are off by each link.
Not covered: forecasts (no archive was at hand), direct figures, and zones outside these 18.
"""

import csv
import runpy
import statistics
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from ayni.footprint.grid.carbon import carbon_intensity, country_intensity
from ayni.footprint.grid.climatology import shipped_climatology
from ayni.footprint.grid.importers import read_intensity_file
from ayni.footprint.grid.intensity_series import HOUR, PUBLISHED_FACTORS, IntensitySeries
from benchmarks.registry import HERE, Benchmark, Outcome

DATA = HERE.parent.parent / "shared" / "data" / "carbon"
AREAS = ("US-CAL-CISO", "US-MIDA-PJM", "US-NY-NYIS", "US-TEX-ERCO")
COUNTRIES = {"DE-LU": "DE", "ES": "ES", "GB": "GB", "KR": "KR", "NO": "NO", "SG": "SG", "ZA": "ZA"}
JOB_HOURS = 4
Pair = tuple[float, float, float]
"""What a link says at the low end and at the high end, and what the hour weighed."""


def measure(quick: bool) -> Outcome:
    """All zones and hours; quick takes every 25th hour."""
    every = 25 if quick else 1
    years = {year: _zones_of(DATA / f"ci_lca_{year}_hourly_utc.csv") for year in (2022, 2023)}
    both = [series for zones in years.values() for series in zones.values()]
    links = {
        "published_hour": _published(years[2022], every),
        "climatology": _climatology(years[2023], every),
        "annual_mean": _annual((one for one in both if one.zone in COUNTRIES), every),
        "mean_of_the_country": _annual((one for one in both if one.zone not in COUNTRIES), every),
        "world_mean": _world(both, every),
    }
    values: dict[str, Any] = {}
    for link, by_zone in links.items():
        covered = {zone: _coverage(pairs) for zone, pairs in by_zone.items()}
        values |= {
            f"{link}_coverage": statistics.fmean(covered.values()),
            f"{link}_worst_zone": min(covered, key=lambda zone: covered[zone]),
            f"{link}_worst_coverage": min(covered.values()),
            f"{link}_hours": sum(len(pairs) for pairs in by_zone.values()),
        }
    values |= _errors_of_jobs(years[2023], every)
    judged = [values[f"{link}_coverage"] for link in ("published_hour", "climatology", "annual_mean")]
    return Outcome(values=values, seeds=(), met=all(0.85 <= coverage <= 0.95 for coverage in judged))


def _zones_of(path: Path) -> dict[str, IntensitySeries]:
    with path.open(encoding="utf-8", newline="") as file:
        zones = next(csv.reader(file))[1:]
    return {zone: read_intensity_file(path, zone=zone, counting="life-cycle") for zone in zones}


def _hours(series: IntensitySeries, every: int) -> Iterable[tuple[datetime, float]]:
    for index, grams in list(enumerate(series.grams_co2e_per_kwh))[::every]:
        if grams is not None:
            yield series.first_hour + HOUR * index, grams


def _published(zones: dict[str, IntensitySeries], every: int) -> dict[str, list[Pair]]:
    script = runpy.run_path(str(HERE.parent / "dev" / "make_climatology.py"))
    by_zone = {
        one.zone: one
        for one in script["read_areas"](DATA / "us_ba_hourly_2022_avgCI_gperkwh.csv.gz").values()
    }
    low, high = PUBLISHED_FACTORS
    return {
        zone: [
            (low * said, high * said, grams)
            for hour, grams in _hours(zones[zone], every)
            if (said := by_zone[zone].at(hour)) is not None
        ]
        for zone in AREAS
    }


def _climatology(zones: dict[str, IntensitySeries], every: int) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for zone in AREAS:
        table = shipped_climatology(zone)
        assert table is not None
        found[zone] = [
            (table.low_factor * said, table.high_factor * said, grams)
            for hour, grams in _hours(zones[zone], every)
            if (said := table.at(hour)) is not None
        ]
    return found


def _annual(all_series: Iterable[IntensitySeries], every: int) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for series in all_series:
        country = COUNTRIES.get(series.zone)
        figure = carbon_intensity(country) if country else country_intensity(series.zone)
        assert figure is not None
        pairs = [(figure.low, figure.high, grams) for _, grams in _hours(series, every)]
        found[f"{series.zone} {series.first_hour.year}"] = pairs
    return found


def _world(all_series: Iterable[IntensitySeries], every: int) -> dict[str, list[Pair]]:
    world = carbon_intensity(None)
    return {
        f"{series.zone} {series.first_hour.year}": [
            (world.low, world.high, grams) for _, grams in _hours(series, every)
        ]
        for series in all_series
    }


def _coverage(pairs: list[Pair]) -> float:
    return statistics.fmean(low <= grams <= high for low, high, grams in pairs)


def _errors_of_jobs(zones: dict[str, IntensitySeries], every: int) -> dict[str, float]:
    """Mean error of the grams of a 4-hour job at constant power, for the climatology and the annual mean."""
    errors: dict[str, list[float]] = {"climatology": [], "annual": []}
    for zone in AREAS:
        table, annual = shipped_climatology(zone), carbon_intensity(zone).grams_co2e_per_kwh
        assert table is not None
        values = zones[zone].grams_co2e_per_kwh
        for start in range(0, len(values) - JOB_HOURS, every):
            hours = [value for value in values[start : start + JOB_HOURS] if value is not None]
            moments = [zones[zone].first_hour + HOUR * (start + index) for index in range(JOB_HOURS)]
            usual = [value for moment in moments if (value := table.at(moment)) is not None]
            truth = statistics.fmean(hours)
            errors["climatology"].append(abs(statistics.fmean(usual) / truth - 1))
            errors["annual"].append(abs(annual / truth - 1))
    return {f"error_of_4_hours_by_{link}": statistics.fmean(of_link) for link, of_link in errors.items()}


BENCHMARK = Benchmark(
    name="footprint_grid",
    topic="footprint: carbon",
    bar="of published hours, climatology and annual means, the 90 % interval covers 85 to 95 % of hours that "
    "they were not made from",
    seconds_quick=15,
    seconds_full=90,
    measure=measure,
)
