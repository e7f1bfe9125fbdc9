"""The Philly trace on a pool of eleven organisations in eleven grids: scenarios that benchmarks share.

Members are the eleven virtual clusters with the most jobs; each gets a grid by the seed, and so many
machines that its own jobs would load them as asked (but enough for its largest gang). Grids are those with
hourly carbon and hourly prices of 2023 whose hours are not all estimates: a made-up hour has no shape to plan
by.

There are two pools: all machines are the same, or members own machines of three generations, dealt by the
seed. An hour of the trace is an hour of the reference class (P100) in both; a member's machines are as many
as its own jobs need in hours of its own class. Throughput over the reference is the median over the job rows
of `gavel_isolated_throughput.csv` (isolated steps a second, all scales; rows without a value are left out).

Not measured but assumed: watts of a machine are the published board power of an accelerator (K80: half of the
board's 300 W, which has two dies; P100 SXM2 300 W; V100 SXM2 300 W: NVIDIA's data sheets "Tesla K80 GPU
Accelerator" BD-07317-001, "Tesla P100" and "Tesla V100") and 100 W for its share of the host; a PUE of 1.2;
wear of 0.30 credits a reference machine-hour whatever the class, so that no saving of cost rests on a made-up
price of old machines; wholesale prices of electricity (1 credit = 1 USD); and what
`ayni.market.simulation.demand` makes up. One throughput for all jobs: the trace does not say what they
compute, and a V100 is slower than a P100 for some of the rows and eight times as fast for others.

Source of the data: Jeon et al., USENIX ATC 2019 (Philly); Electricity Maps; HewlettPackard/sustain-cluster;
Narayanan et al., OSDI 2020 (Gavel).
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
from ayni.market.simulation.forecast import DAY_HOURS, NUM_DAYS
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
PUE, WEAR_MICROCREDITS = 1.2, 300_000
HOST_WATTS = 100.0
BOARD_WATTS = {"K80": 150.0, "P100": 300.0, "V100": 300.0}
REFERENCE_CLASS = "P100"
SAME, GENERATIONS = "same machines", "three generations"
POOLS = (SAME, GENERATIONS)
TRANSFER_MICROCREDITS_PER_GIGABYTE = 10_000
MICROCREDITS_PER_KWH_OF_USD_PER_MWH = 1000.0
# The first two weeks of the trace have few jobs; from the third on it is about 90,000 GPU-hours a week.
FIRST_WEEK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A pool and its jobs; before_SH are the hours before the start, for forecasts."""

    pool: Pool
    demand: Demand
    before_SH: Floats


def scenario(
    *, load: float, slack_hours: float, seed: int, weeks: int | None = 4, machines: str = SAME
) -> Scenario:
    """A mapping of members to grids at a load.

    Args:
        load: machine-hours of the jobs over those of the machines, while jobs are released.
        slack_hours: of every job.
        seed: of the mapping, of the season, and of what is made up.
        weeks: how many weeks of the trace; None = all of it.
        machines: one of POOLS.
    """
    trace = _trace(weeks)
    zones = zones_of(seed)
    classes = [REFERENCE_CLASS] * NUM_MEMBERS if machines == SAME else classes_of(seed)
    pool, before_SH = _pool(trace, zones, classes, load=load, seed=seed)
    # An hour of the reference class: worth does not depend on who owns what.
    price = max(site.ask_microcredits_per_hour / site.throughput for site in pool.sites)
    demand = make_demand(
        trace, assumptions=Assumptions(slack_hours=slack_hours), price_microcredits_per_hour=price, seed=seed
    )
    return Scenario(pool=pool, demand=demand, before_SH=before_SH)


def zones_of(seed: int) -> list[str]:
    """Eleven different grids in the order of the members."""
    carbon, prices = _table("carbon/ci_lca_2023_hourly_utc.csv"), _table(PRICES)
    known = sorted((set(carbon) & set(prices)) - WHOLLY_ESTIMATED)
    chosen = np.random.default_rng(seed).choice(len(known), NUM_MEMBERS, replace=False)
    return [known[index] for index in chosen]


def classes_of(seed: int) -> list[str]:
    """The class of each member's machines: each of the three as often as eleven members allow."""
    names = sorted(BOARD_WATTS)
    dealt = [names[index % len(names)] for index in range(NUM_MEMBERS)]
    # Another stream than that of the grids, or old machines would follow certain grids.
    order = np.random.default_rng([seed, 1]).permutation(NUM_MEMBERS)
    return [dealt[index] for index in order]


@functools.cache
def throughputs() -> dict[str, float]:
    """Work that a machine of each class does in an hour of the reference class: medians over job rows."""
    with (DATA / "hetero" / "gavel_isolated_throughput.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for name in BOARD_WATTS:
        pairs = [(float(row[_column(name)]), float(row[_column(REFERENCE_CLASS)])) for row in rows]
        found[name] = float(np.median([steps / reference for steps, reference in pairs if steps > 0]))
    return found


def _column(name: str) -> str:
    return f"{name.lower()}_steps_s"


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


def _pool(
    trace: Trace, zones: Sequence[str], classes: Sequence[str], *, load: float, seed: int
) -> tuple[Pool, Floats]:
    hours = trace.machine_hours_by_member()
    released_hours = np.ceil(float(trace.release_seconds_J[-1]) / 86_400.0) * 24
    carbon, prices = _table("carbon/ci_lca_2023_hourly_utc.csv"), _table(PRICES)
    first, num_before = FIRST_DAY_OF_SEED.get(seed, 60) * 24, NUM_DAYS * DAY_HOURS
    sites = []
    for member, (name, zone, owned) in enumerate(zip(trace.members, zones, classes, strict=True)):
        watts, throughput = BOARD_WATTS[owned] + HOST_WATTS, throughputs()[owned]
        wear = round(WEAR_MICROCREDITS * throughput)
        needed = hours[name] / throughput / (load * released_hours)
        largest_gang = int(trace.gang_J[trace.member_J == member].max(initial=1))
        electricity = prices[zone].mean() * MICROCREDITS_PER_KWH_OF_USD_PER_MWH * watts * PUE / 1000
        sites.append(
            PoolSite(
                name=name,
                member=name,
                zone=zone,
                machine_class=owned,
                num_machines=max(largest_gang, int(np.ceil(needed))),
                watts=watts,
                throughput=throughput,
                pue=PUE,
                wear_microcredits_per_hour=wear,
                ask_microcredits_per_hour=wear + round(electricity),
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
    return pool, np.array([carbon[zone][first - num_before : first] for zone in zones])
