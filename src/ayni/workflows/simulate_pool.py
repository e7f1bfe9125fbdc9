"""What if: replay a trace against a pool under several policies, and compare what each costs whom.

    pool.yaml + hourly grids + trace  ->  replays  ->  cost, carbon, waiting, fairness, welfare  ->  report

Every member alone is always replayed, because the others are measured against it. With `clairvoyant` the
bound on welfare, cost and carbon is computed too.

Not covered: which policy a pool should choose. The report shows what each gives up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.errors import UserError
from ayni.footprint.grid.importers import read_hourly_prices, read_intensity_file
from ayni.jobs.pool_spec import PoolSpec, load_pool
from ayni.market.baselines.clairvoyant import clairvoyant_bound
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.fairness import jain_index
from ayni.market.simulation.demand import Assumptions, Demand, make_demand
from ayni.market.simulation.engine import Replay, replay
from ayni.market.simulation.forecast import DAY_HOURS, NUM_DAYS
from ayni.market.simulation.market_books import MarketBooks
from ayni.market.simulation.market_rounds import MarketRounds
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.measures import (
    GRAMS_PER_KILOGRAM,
    JobMeasures,
    Measures,
    by_member,
    envious_pairs,
    finish_time_ratios,
    measure_jobs,
    measures_of,
    share_ratios,
    utilisation,
)
from ayni.market.simulation.policies import ALONE, CLAIRVOYANT, POLICIES, PolicySettings
from ayni.market.simulation.pool import GangTooLargeError, Pool, PoolSite
from ayni.market.traces import Trace, read_trace
from ayni.units import MICROCREDITS_PER_CREDIT, credits_to_microcredits
from ayni.workflows.progress import Progress, SilentProgress

Floats = NDArray[np.float64]
GRAMS_PER_TONNE = 1e6
KWH_PER_MWH = 1000
DAY = timedelta(days=1)


class UnknownPolicyError(UserError):
    """No policy has this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"There is no policy {name!r}. There are: {', '.join((*POLICIES, CLAIRVOYANT))}.")


class StrangerInTraceError(UserError):
    """The trace has jobs of somebody who has no site in the pool."""

    def __init__(self, strangers: Sequence[str], members: Sequence[str]) -> None:
        self.strangers = tuple(strangers)
        super().__init__(
            f"The trace has jobs of {', '.join(strangers)}, and the pool has sites of {', '.join(members)}. "
            "Give them a site in the pool file, or leave their rows out of the trace."
        )


class GridHoursMissingError(UserError):
    """An hourly file does not hold every hour that it should."""

    def __init__(self, *, file: str, zone: str, reason: str) -> None:
        self.zone = zone
        super().__init__(
            f"{file}, zone {zone}: {reason}. Fill the hours from a better source: the simulator guesses none."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A pool with the jobs that are replayed on it, and what its policies need."""

    spec: PoolSpec
    pool: Pool
    demand: Demand
    settings: PolicySettings
    seed: int


def simulate_pool(
    pool_file: Path,
    trace_file: Path,
    policies: Sequence[str],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Replay the trace under each policy; returns the simulation object (docs/simulate.md).

    Raises:
        UnknownPolicyError: no policy has one of the names.
        JobFileError, BadJobError: the pool file is none.
        TraceFileError: the trace has rows that cannot be.
        StrangerInTraceError, GangTooLargeError: trace and pool do not fit together.
        GridFileError, GridHoursMissingError, HoursExhaustedError: the hourly files lack something.
        MissingExtraError: numpy, numba or scipy is not installed.
    """
    for name in policies:
        if name not in POLICIES and name != CLAIRVOYANT:
            raise UnknownPolicyError(name)
    progress = progress or SilentProgress()
    progress.started("load", total=None)
    scenario = load_scenario(pool_file, trace_file, seed=seed)
    progress.finished(
        "load", text=f"{scenario.demand.num_jobs:,} jobs on {scenario.pool.num_machines} machines"
    )
    wanted = list(dict.fromkeys([ALONE, *policies]))
    results: dict[str, dict[str, Any]] = {}
    alone: dict[str, Measures] | None = None
    for name in wanted:
        if name == CLAIRVOYANT:
            continue
        progress.started(name, total=None)
        try:
            result, members = run_policy(scenario, name, alone=alone)
        except GangTooLargeError:
            # Nobody asked for it by name: then fairness against it is unknown, and that is said.
            if name != ALONE or ALONE in policies:
                raise
            progress.finished(name, text="a member cannot hold its own gangs; fairness is unknown")
            continue
        alone = members if name == ALONE else alone
        results[name] = result
        progress.finished(name, text=_in_words(result["measures"]))
    bounds = _bounds(scenario, progress) if CLAIRVOYANT in wanted else None
    return view_of(scenario, results, bounds=bounds)


def load_scenario(pool_file: Path, trace_file: Path, *, seed: int = 0) -> Scenario:
    """Read the files and make up what they do not say; see `simulate_pool` for errors."""
    spec = load_pool(pool_file)
    trace = read_trace(trace_file)
    members = tuple(dict.fromkeys(site.member for site in spec.sites))
    strangers = sorted(set(trace.members) - set(members))
    if strangers:
        raise StrangerInTraceError(strangers, members)
    trace = _with_members(trace, members)
    pool, before_SH = _pool(spec, members, pool_file.parent)
    price = max(site.ask_microcredits_per_hour / site.throughput for site in pool.sites)
    jobs = spec.jobs
    assumptions = Assumptions(
        slack_hours=jobs.slack_hours,
        grace_seconds=jobs.grace_minutes * 60,
        worth_least_factor=jobs.worth_least_factor,
        worth_median_factor=jobs.worth_median_factor,
        worth_spread=jobs.worth_spread,
        data_median_gigabytes=jobs.data_median_gigabytes,
        data_spread=jobs.data_spread,
        share_suspendable=jobs.share_suspendable,
    )
    demand = make_demand(trace, assumptions=assumptions, price_microcredits_per_hour=price, seed=seed)
    settings = PolicySettings(rules=_rules(spec), before_SH=before_SH, seed=seed)
    return Scenario(spec=spec, pool=pool, demand=demand, settings=settings, seed=seed)


def run_policy(
    scenario: Scenario, name: str, *, alone: Mapping[str, Measures] | None
) -> tuple[dict[str, Any], dict[str, Measures]]:
    """Replay one policy; its part of the simulation object, and its measures by member."""
    named = POLICIES[name]
    policy = named.make(scenario.pool, scenario.demand, scenario.settings)
    replayed = replay(scenario.pool, scenario.demand, policy, only_own_sites=named.is_local)
    jobs = measure_jobs(replayed)
    members = by_member(replayed, jobs)
    whole = measures_of(replayed, jobs)
    charge = scenario.settings.rules.clearing.carbon_microcredits_per_kilogram
    result = {
        "name": name,
        "meaning": named.meaning,
        "measures": whole.to_json(),
        "welfare_microcredits": whole.welfare_microcredits(carbon_microcredits_per_kilogram=charge),
        "utilisation": utilisation(replayed),
        "members": {member: measures.to_json() for member, measures in members.items()},
        "fairness": _fairness(members, members if name == ALONE else alone),
        "days": _by_day(replayed, jobs),
        "num_events": replayed.num_events,
        "num_rounds": replayed.num_rounds,
        "market": _market(policy.books, scenario) if isinstance(policy, MarketRounds) else None,
    }
    return result, members


def view_of(
    scenario: Scenario, results: Mapping[str, dict[str, Any]], *, bounds: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The simulation object: plain JSON values."""
    pool, demand = scenario.pool, scenario.demand
    machines = {
        member: sum(pool.sites[site].num_machines for site in pool.sites_of(index))
        for index, member in enumerate(pool.members)
    }
    last_release = float(demand.release_seconds_J[-1]) if demand.num_jobs else 0.0
    return {
        "name": scenario.spec.name,
        "seed": scenario.seed,
        "start": pool.start.isoformat(),
        "num_jobs": demand.num_jobs,
        "reference_hours": float(demand.machine_hours_J.sum()),
        "hours_of_releases": last_release / 3600.0,
        "num_machines": pool.num_machines,
        "load": float(demand.machine_hours_J.sum()) / max(1.0, last_release / 3600.0 * pool.num_machines),
        "sites": [asdict(site) for site in pool.sites],
        "machines_by_member": machines,
        "carbon_microcredits_per_kilogram": scenario.settings.rules.clearing.carbon_microcredits_per_kilogram,
        "assumptions": scenario.spec.jobs.model_dump(mode="json"),
        "market_rules": scenario.spec.market.model_dump(mode="json"),
        "counting": scenario.spec.carbon.counting,
        "policies": list(results.values()),
        "bounds": bounds,
    }


def _with_members(trace: Trace, members: tuple[str, ...]) -> Trace:
    """The members of the pool in its order, those without jobs too."""
    number = np.array([members.index(name) for name in trace.members], dtype=np.int64)
    return replace(trace, members=members, member_J=number[trace.member_J])


def _pool(spec: PoolSpec, members: tuple[str, ...], folder: Path) -> tuple[Pool, Floats | None]:
    start = datetime.fromisoformat(spec.start)
    start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
    if start.minute or start.second or start.microsecond:
        start = start.replace(minute=0, second=0, microsecond=0)
    zones = list(dict.fromkeys(site.zone for site in spec.sites))
    carbon = {zone: _carbon(spec, zone, folder, start) for zone in zones}
    prices = {zone: _prices(spec, zone, folder, start) for zone in zones} if spec.prices else {}
    num_hours = min(len(after) for _, after in (*carbon.values(), *prices.values()))
    microcredits_SH = np.array(
        [
            prices[site.zone][1][:num_hours]
            if prices
            else np.full(num_hours, credits_to_microcredits(site.electricity_credits_per_kwh or 0.0))
            for site in spec.sites
        ]
    )
    pool = Pool(
        start=start,
        members=members,
        sites=tuple(
            _site(spec, index, float(microcredits_SH[index].mean())) for index in range(len(spec.sites))
        ),
        grams_per_kwh_SH=np.array([carbon[site.zone][1][:num_hours] for site in spec.sites]),
        microcredits_per_kwh_SH=microcredits_SH,
        transfer_microcredits_per_gigabyte=credits_to_microcredits(spec.transfer.credits_per_gigabyte),
        gigabytes_per_second=spec.transfer.gigabits_per_second / 8,
        restart_seconds=spec.transfer.restart_seconds,
    )
    befores = [carbon[site.zone][0] for site in spec.sites]
    return pool, _whole_days(befores)


def _whole_days(befores: Sequence[Sequence[float]]) -> Floats | None:
    """As many whole days before the start as all zones have, at most what a forecast looks at."""
    num_hours = min(NUM_DAYS, min(len(before) for before in befores) // DAY_HOURS) * DAY_HOURS
    return np.array([before[len(before) - num_hours :] for before in befores]) if num_hours else None


def _site(spec: PoolSpec, index: int, mean_microcredits_per_kwh: float) -> PoolSite:
    site = spec.sites[index]
    machine = spec.machine_classes[site.machine_class]
    wear = credits_to_microcredits(site.wear_credits_per_machine_hour)
    # An ask is set for a year, not for an hour, so it holds the mean price of electricity.
    usual = wear + max(0, round(machine.watts * site.pue / 1000 * mean_microcredits_per_kwh))
    ask = site.ask_credits_per_machine_hour
    return PoolSite(
        name=site.name,
        member=site.member,
        zone=site.zone,
        machine_class=site.machine_class,
        num_machines=site.machines,
        watts=machine.watts,
        throughput=machine.throughput,
        pue=site.pue,
        wear_microcredits_per_hour=wear,
        ask_microcredits_per_hour=usual if ask is None else credits_to_microcredits(ask),
        reliability=site.reliability,
    )


Hours = tuple[Sequence[float], Sequence[float]]
"""The hours before the start, as far back as none is missing, and the hours from the start on."""


def _carbon(spec: PoolSpec, zone: str, folder: Path, start: datetime) -> Hours:
    series = read_intensity_file(folder / spec.carbon.file, zone=zone, counting=spec.carbon.counting)
    return _split(spec.carbon.file, zone, series.first_hour, series.grams_co2e_per_kwh, start)


def _prices(spec: PoolSpec, zone: str, folder: Path, start: datetime) -> Hours:
    assert spec.prices is not None
    first_hour, prices = read_hourly_prices(folder / spec.prices.file, zone=zone)
    before, after = _split(spec.prices.file, zone, first_hour, prices, start)
    factor = spec.prices.credits_per_unit * MICROCREDITS_PER_CREDIT
    factor /= KWH_PER_MWH if spec.prices.per == "MWh" else 1
    return before, [price * factor for price in after]


def _split(
    file: str, zone: str, first_hour: datetime, values: Sequence[float | None], start: datetime
) -> Hours:
    offset = round((start - first_hour).total_seconds() / 3600)
    if not 0 <= offset < len(values):
        reason = f"it holds {len(values)} hours from {first_hour.isoformat()} on, not {start.isoformat()}"
        raise GridHoursMissingError(file=file, zone=zone, reason=reason)
    after = values[offset:]
    known = [value for value in after if value is not None]
    if len(known) < len(after):
        hole = start + timedelta(hours=next(hour for hour, value in enumerate(after) if value is None))
        raise GridHoursMissingError(file=file, zone=zone, reason=f"the hour {hole.isoformat()} has no value")
    newest = list(takewhile(lambda value: value is not None, reversed(values[:offset])))
    before = [value for value in reversed(newest) if value is not None]
    return before, known


def _rules(spec: PoolSpec) -> MarketRules:
    market = spec.market
    grams_per_kilogram_share = GRAMS_PER_KILOGRAM / GRAMS_PER_TONNE
    return MarketRules(
        clearing=ClearingPolicy(
            carbon_microcredits_per_kilogram=credits_to_microcredits(
                market.carbon_credits_per_tonne * grams_per_kilogram_share
            ),
            greenest_within=market.greenest_within,
            share_cap=market.share_cap,
        ),
        slot_seconds=market.slot_minutes * 60,
        lookahead_hours=market.lookahead_hours,
        cap_share=market.cap_share,
        move_saving=market.move_saving,
        segment_hours=market.segment_hours,
    )


def _fairness(here: Mapping[str, Measures], alone: Mapping[str, Measures] | None) -> dict[str, Any] | None:
    if alone is None:
        return None
    shares, ratios = share_ratios(here, alone), finish_time_ratios(here, alone)
    return {
        "share_ratios": shares,
        "min_share_ratio": min(shares.values(), default=None),
        "jain_index": jain_index(shares.values()),
        "envy_count": envious_pairs(shares),
        "finish_time_ratios": ratios,
        "max_finish_time_ratio": max(ratios.values(), default=None),
    }


def _by_day(replayed: Replay, jobs: JobMeasures) -> list[dict[str, Any]]:
    """Work, cost and carbon of the jobs that were released on each day."""
    demand = replayed.demand
    day_J = (demand.release_seconds_J // DAY.total_seconds()).astype(np.int64)
    size = int(day_J.max(initial=-1)) + 1
    columns: dict[str, Floats] = {
        "reference_hours": demand.machine_hours_J,
        "grams": jobs.grams_J,
        "cost_microcredits": jobs.cost_microcredits_J,
    }
    sums = {name: np.bincount(day_J, values, minlength=size) for name, values in columns.items()}
    return [{"day": day, **{name: float(sums[name][day]) for name in sums}} for day in range(size)]


def _market(books: MarketBooks, scenario: Scenario) -> dict[str, Any]:
    """What the market promised and moved."""
    members = scenario.pool.members
    at_once = float(books.expected_at_once_grams_J.sum())
    return {
        "expected_saving": 1.0 - float(books.expected_grams_J.sum()) / at_once if at_once else 0.0,
        "paid_microcredits": dict(zip(members, books.paid_microcredits_M, strict=True)),
        "earned_microcredits": dict(zip(members, books.earned_microcredits_M, strict=True)),
        "carbon_microcredits": books.carbon_microcredits,
        "surplus_microcredits": sum(books.paid_microcredits_M)
        - sum(books.earned_microcredits_M)
        - books.carbon_microcredits,
        "num_leases": books.num_leases,
        "num_moves": books.num_moves,
        "num_reclaimed": books.num_reclaimed,
        "num_refusals": books.num_refusals,
        "largest_round": books.largest_round,
    }


def _bounds(scenario: Scenario, progress: Progress) -> dict[str, Any]:
    progress.started(CLAIRVOYANT, total=None)
    charge = scenario.settings.rules.clearing.carbon_microcredits_per_kilogram
    bounds = {
        objective: asdict(
            clairvoyant_bound(
                scenario.pool,
                scenario.demand,
                objective=objective,
                carbon_microcredits_per_kilogram=charge,
            )
        )
        for objective in ("welfare", "cost", "carbon")
    }
    progress.finished(CLAIRVOYANT, text="bounds of welfare, cost and carbon")
    return bounds


def _in_words(measures: Mapping[str, Any]) -> str:
    per_hour = measures["microcredits_per_reference_hour"] / MICROCREDITS_PER_CREDIT
    return (
        f"{per_hour:.4f} credits and {measures['grams_per_reference_hour']:.0f} g a machine-hour, "
        f"{measures['waiting_mean_seconds'] / 3600:.1f} h of waiting"
    )
