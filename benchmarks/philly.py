"""The Philly trace on a pool of eleven organisations in eleven grids: scenarios that benchmarks share.

Members are the eleven virtual clusters with the most jobs; each gets a grid by the seed, and so many
machines that its own jobs would load them as asked (but enough for its largest gang). Grids are those with
hourly carbon and hourly prices of 2023 whose hours are not all estimates: a made-up hour has no shape to plan
by.

Not measured but assumed: 400 W a machine at work, a PUE of 1.2, 0.30 credits of wear an hour, wholesale
prices of electricity (1 credit = 1 USD), and what `ayni.market.simulation.demand` makes up.

Source of the data: Jeon et al., USENIX ATC 2019 (Philly); Electricity Maps; HewlettPackard/sustain-cluster.
"""

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ayni.market.simulation.demand import Assumptions, Demand, make_demand
from ayni.market.simulation.pool import Pool, PoolSite
from ayni.market.traces import Trace, read_trace
from benchmarks.registry import HERE

Floats = NDArray[np.float64]
DATA = HERE.parent.parent / "shared" / "data"
NUM_MEMBERS = 11
WHOLLY_ESTIMATED = {"IN-WE", "JP-TK"}
FIRST_HOUR = datetime(2023, 1, 1, tzinfo=UTC)
# A season for each mapping, so that no result rests on one.
FIRST_DAY_OF_SEED = {1: 60, 2: 151, 3: 243}
WATTS, PUE, WEAR_MICROCREDITS = 400.0, 1.2, 300_000
TRANSFER_MICROCREDITS_PER_GIGABYTE = 10_000
MICROCREDITS_PER_KWH_OF_USD_PER_MWH = 1000.0
# The first two weeks of the trace have few jobs; from the third on it is about 90,000 GPU-hours a week.
FIRST_WEEK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A pool and its jobs; before_SD are the hours before the start, for forecasts."""

    pool: Pool
    demand: Demand
    before_SD: Floats


def scenario(*, load: float, slack_hours: float, seed: int, weeks: int | None = 4) -> Scenario:
    """A mapping of members to grids at a load.

    Args:
        load: machine-hours of the jobs over those of the machines, while jobs are released.
        slack_hours: of every job.
        seed: of the mapping, of the season, and of what is made up.
        weeks: how many weeks of the trace; None = all of it.
    """
    trace = _trace(weeks)
    zones = zones_of(seed)
    pool, before_SD = _pool(trace, zones, load=load, seed=seed)
    price = max(site.ask_microcredits_per_hour for site in pool.sites)
    demand = make_demand(
        trace, assumptions=Assumptions(slack_hours=slack_hours), price_microcredits_per_hour=price, seed=seed
    )
    return Scenario(pool=pool, demand=demand, before_SD=before_SD)


def zones_of(seed: int) -> list[str]:
    """Eleven different grids in the order of the members."""
    carbon, prices = _table("carbon/ci_lca_2023_hourly_utc.csv"), _table(PRICES)
    known = sorted((set(carbon) & set(prices)) - WHOLLY_ESTIMATED)
    chosen = np.random.default_rng(seed).choice(len(known), NUM_MEMBERS, replace=False)
    return [known[index] for index in chosen]


PRICES = "carbon/electricity_price_usd_mwh_2023_hourly_utc.csv"


@functools.cache
def _table(name: str) -> dict[str, Floats]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    columns = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]]).T
    return dict(zip(rows[0][1:], columns, strict=True))


@functools.cache
def _whole_trace() -> Trace:
    return read_trace(Path(DATA / "jobs" / "philly_jobs_2017.csv"))


def _trace(weeks: int | None) -> Trace:
    whole = _whole_trace()
    kept = whole.of_members(whole.largest_members(NUM_MEMBERS))
    if weeks is None:
        return kept
    week = 7 * 86_400.0
    return kept.between(FIRST_WEEK * week, (FIRST_WEEK + weeks) * week)


def _pool(trace: Trace, zones: Sequence[str], *, load: float, seed: int) -> tuple[Pool, Floats]:
    hours = trace.machine_hours_by_member()
    released_hours = np.ceil(float(trace.release_seconds_J[-1]) / 86_400.0) * 24
    carbon, prices = _table("carbon/ci_lca_2023_hourly_utc.csv"), _table(PRICES)
    first = FIRST_DAY_OF_SEED.get(seed, 60) * 24
    sites = []
    for member, (name, zone) in enumerate(zip(trace.members, zones, strict=True)):
        largest_gang = int(trace.gang_J[trace.member_J == member].max(initial=1))
        electricity = prices[zone].mean() * MICROCREDITS_PER_KWH_OF_USD_PER_MWH * WATTS * PUE / 1000
        sites.append(
            PoolSite(
                name=name,
                member=name,
                zone=zone,
                machine_class="gpu",
                num_machines=max(largest_gang, int(np.ceil(hours[name] / (load * released_hours)))),
                watts=WATTS,
                throughput=1.0,
                pue=PUE,
                wear_microcredits_per_hour=WEAR_MICROCREDITS,
                ask_microcredits_per_hour=WEAR_MICROCREDITS + round(electricity),
            )
        )
    pool = Pool(
        start=FIRST_HOUR + timedelta(hours=first),
        members=trace.members,
        sites=tuple(sites),
        grams_per_kwh_SH=np.array([carbon[zone][first:] for zone in zones]),
        microcredits_per_kwh_SH=np.array([prices[zone][first:] for zone in zones])
        * MICROCREDITS_PER_KWH_OF_USD_PER_MWH,
        transfer_microcredits_per_gigabyte=TRANSFER_MICROCREDITS_PER_GIGABYTE,
    )
    return pool, np.array([carbon[zone][first - 24 : first] for zone in zones])
