"""What waiting for lighter hours saves: 4 hours of work within 24, at every hour of a year.

Eight balancing areas of the United States in 2022 (EIA) and 18 zones in 2023 (Electricity Maps). For each the
saving of who knows the future, the saving really had by yesterday's hours and by the mean of two weeks (the
rule that is in use), and the share of jobs that became worse. The advice "no use" is judged by the other year
where there is one: on zones where it is given for 2022, what waiting would have saved in 2023.

Not covered: forecasts that are published, and what waiting draws.
"""

import csv
import runpy
from typing import Any

from ayni.footprint.grid.importers import read_intensity_file
from ayni.footprint.grid.scheduling import NO_USE_BELOW, ReplayedSavings, Work, replay, replay_fortnight
from benchmarks.registry import HERE, Benchmark, Outcome

DATA = HERE.parent.parent / "shared" / "data" / "carbon"
WORK = Work(hours=4, within_hours=24)
PUBLISHED = {"CISO": (0.322, 0.303), "ERCO": (0.144, 0.044), "PJM": (0.050, 0.026), "SOCO": (0.053, 0.037)}
"""Oracle and realised saving as published for these areas; the replay must find them again."""
TOLERANCE = 0.003


def measure(quick: bool) -> Outcome:
    """Every start of the year; quick takes the four published areas and four zones."""
    script = runpy.run_path(str(HERE.parent / "dev" / "make_climatology.py"))
    areas = script["read_areas"](DATA / "us_ba_hourly_2022_avgCI_gperkwh.csv.gz")
    series_of = {f"{area} 2022": areas[area] for area in (PUBLISHED if quick else areas)}
    zones = ("DE-LU", "GB", "US-TEX-ERCO", "SG") if quick else _zones()
    for year in (2022, 2023):
        path = DATA / f"ci_lca_{year}_hourly_utc.csv"
        for zone in zones:
            series_of[f"{zone} {year}"] = read_intensity_file(path, zone=zone, counting="life-cycle")
    by_yesterday = {name: _known(replay(series, WORK)) for name, series in series_of.items()}
    in_use = {name: _known(replay_fortnight(series, WORK)) for name, series in series_of.items()}
    values: dict[str, Any] = {}
    for name, savings in by_yesterday.items():
        key = name.replace(" ", "_").replace("-", "_")
        values |= {
            f"{key}_oracle": savings.oracle,
            f"{key}_yesterday": savings.realised,
            f"{key}_yesterday_worse": savings.share_worse,
            f"{key}_realised": in_use[name].realised,
            f"{key}_worse": in_use[name].share_worse,
        }
    values["better_than_yesterday"] = sum(
        savings.realised > by_yesterday[name].realised for name, savings in in_use.items()
    )
    values |= {"num_series": len(series_of)} | _no_use(in_use, zones)
    is_met = _is_as_published(by_yesterday) and values["no_use_missed_at_most"] < 0.1
    return Outcome(values=values, seeds=(), met=is_met)


def _zones() -> tuple[str, ...]:
    with (DATA / "ci_lca_2023_hourly_utc.csv").open(encoding="utf-8", newline="") as file:
        return tuple(next(csv.reader(file))[1:])


def _known(savings: ReplayedSavings | None) -> ReplayedSavings:
    assert savings is not None
    return savings


def _is_as_published(found: dict[str, ReplayedSavings]) -> bool:
    return all(
        abs(found[f"{area} 2022"].oracle - oracle) <= TOLERANCE
        and abs(found[f"{area} 2022"].realised - realised) <= TOLERANCE
        for area, (oracle, realised) in PUBLISHED.items()
    )


def _no_use(found: dict[str, ReplayedSavings], zones: tuple[str, ...]) -> dict[str, Any]:
    """Zones called flat by 2022, and the most that waiting there would have saved in 2023."""
    flat = [zone for zone in zones if found[f"{zone} 2022"].realised < NO_USE_BELOW]
    used = [zone for zone in zones if zone not in flat]
    return {
        "num_zones": len(zones),
        "num_no_use": len(flat),
        "no_use_missed_at_most": max((found[f"{zone} 2023"].realised for zone in flat), default=0.0),
        "use_saved_at_least": min((found[f"{zone} 2023"].realised for zone in used), default=0.0),
    }


BENCHMARK = Benchmark(
    name="footprint_when",
    topic="footprint: carbon",
    bar="4 hours within 24: the published savings of four grids within 0.3 points; where 2022 says 'no use', "
    "waiting would have saved less than 10 % in 2023",
    seconds_quick=25,
    seconds_full=120,
    measure=measure,
)
