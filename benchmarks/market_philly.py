"""Eleven organisations in eleven grids on four weeks of Philly: the market beside every baseline.

For three mappings of organisations to grids (a season each), loads of 40, 60 and 90 % and slacks of 0, 6 and
24 hours: cost and carbon of a reference GPU-hour, waiting, jobs in time and fairness, with intervals. The
tables are in docs/market-philly.md; a row keeps what the bar is about, and the clairvoyant bound beside it.

All of that is on a pool whose machines are the same. At the load and slack of the bar it is done again on a
pool of three generations of machines (see `benchmarks.philly`), where every member alone has its own class.
The bar is that of the pool whose machines are the same; a row says of each whether it would meet it:
`same_is_met` and `generations_is_met`.

    saving        1 - grams of the policy / grams of every member alone, all mappings together
    interval      95 %, by drawing whole days of a mapping with replacement (2,000 times), both together
    share ratio   work done in time here over that alone, by member; the least over members and mappings

Settings were chosen on mappings 11, 12 and 13, which no row has: the carbon charge is the largest of 190,
400, 700 and 1,200 credits a tonne with which none of the three cost more than alone, and limits and moves are
those that saved most there. Not covered: jobs influence each other across days, so that intervals are rather
too narrow; forecasts better than yesterday; members that lie; machines that fail; how fast each job is on
each class. Machines that nobody uses are counted beside: `with_idle_draw` lets them draw a fifth.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.files import write_atomically
from ayni.market.baselines.clairvoyant import clairvoyant_bound
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.simulation.engine import Replay, replay
from ayni.market.simulation.market_books import MarketBooks
from ayni.market.simulation.market_rounds import MarketRounds
from ayni.market.simulation.market_rules import MarketRules
from ayni.market.simulation.measures import (
    JobMeasures,
    Measures,
    by_member,
    finish_time_ratios,
    measure_jobs,
    measures_of,
    share_ratios,
)
from ayni.market.simulation.policies import ALONE, CARBON_BLIND, MARKET, POLICIES, PolicySettings
from benchmarks.philly import GENERATIONS, SAME, Scenario, scenario
from benchmarks.registry import HERE, Benchmark, Outcome

Floats = NDArray[np.float64]
PAGE = HERE.parent / "docs" / "market-philly.md"
SEEDS, LOADS, SLACKS = (1, 2, 3), (0.4, 0.6, 0.9), (0.0, 6.0, 24.0)
BAR_LOAD, BAR_SLACK, BAR_SAVING = 0.6, 24.0, 0.30
# Their starts do not depend on deadlines, so that one replay serves all slacks.
USES_SLACK = {"wait-awhile", "market", "market-carbon-blind"}
NUM_DRAWS, IDLE_SHARE = 2000, 0.2
CHARGE = 700_000
"""Micro-credits a kilogram: 700 credits a tonne."""
RULES = MarketRules(
    clearing=ClearingPolicy(carbon_microcredits_per_kilogram=CHARGE),
    # Twice as often as by default: what becomes free waits for less long.
    slot_seconds=900,
)
NUM_PROCESSES = 2
# What else was tried, for the front of carbon and cost at the load and slack of the bar.
FRONT: Mapping[str, MarketRules] = (
    {
        f"charge of {charge:,} credits a tonne": replace(
            RULES, clearing=ClearingPolicy(carbon_microcredits_per_kilogram=charge * 1000)
        )
        for charge in (0, 190, 400, 1200)
    }
    | {
        f"least carbon at most {share:.0%} dearer, charge of 190": replace(
            RULES, clearing=ClearingPolicy(greenest_within=share)
        )
        for share in (0.02, 0.05, 0.2)
    }
    | {
        "charge of 700, a round every half hour": replace(RULES, slot_seconds=1800),
        "charge of 700, nobody moves": replace(RULES, move_saving=None),
        "charge of 700, limits from a third on": replace(RULES, cap_share=0.33),
        "charge of 700, no limits": replace(RULES, cap_share=None),
        "charge of 700, owners do not go first": replace(
            RULES, clearing=replace(RULES.clearing, own_first=False)
        ),
    }
)
MICROCREDITS, DAY_SECONDS = 1e6, 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One policy on one mapping: totals, members, and per day of release grams, cost and work."""

    measures: Measures
    members: Mapping[str, Measures]
    days: Mapping[str, Floats]
    most_let: float
    books: MarketBooks | None


Cell = dict[str, list[Found]]
"""For each policy one entry a mapping, in the order of the seeds."""


def measure(quick: bool) -> Outcome:
    """All of it; quick takes one mapping, two weeks, and the load and slack of the bar."""
    seeds, loads, slacks = (SEEDS[:1], (BAR_LOAD,), (BAR_SLACK,)) if quick else (SEEDS, LOADS, SLACKS)
    weeks = 2 if quick else 4
    names = (ALONE, "easy-backfill", "lowest-price", CARBON_BLIND, MARKET)
    variants = dict(list(FRONT.items())[:2]) if quick else FRONT
    with ProcessPoolExecutor(NUM_PROCESSES) as pool:
        of_loads = {
            (load, seed): pool.submit(_replay_load, load, slacks, seed=seed, weeks=weeks)
            for load in loads
            for seed in seeds
        }
        of_seeds = [
            pool.submit(replayed_at_bar, [seed], names, weeks=weeks, machines=GENERATIONS) for seed in seeds
        ]
        of_variants = [pool.submit(_front, [seed], variants, weeks=weeks) for seed in seeds]
        cells = {
            (load, slack): _together([of_loads[load, seed].result()[slack] for seed in seeds])
            for load in loads
            for slack in slacks
        }
        generations = _together([future.result() for future in of_seeds])
        front = _together([future.result() for future in of_variants])
    values: dict[str, Any] = {"num_jobs": sum(found.measures.num_jobs for found in _at_bar(cells)[MARKET])}
    for (load, slack), cell in cells.items():
        values |= _values(cell, prefix=f"load{load * 100:.0f}_slack{slack:.0f}")
    values |= values_of_bar(_at_bar(cells), seeds, weeks=weeks, machines=SAME)
    of_generations = values_of_bar(generations, seeds, weeks=weeks, machines=GENERATIONS)
    values["same_is_met"] = meets_bar(values)
    values |= {f"generations_{name}": value for name, value in of_generations.items()}
    values["generations_is_met"] = meets_bar(of_generations)
    page = _page(cells, generations, front, values, seeds=seeds, weeks=weeks)
    write_atomically(PAGE, page.encode())
    return Outcome(values=values, seeds=seeds, met=values["same_is_met"])


def meets_bar(values: Mapping[str, Any]) -> bool:
    """Whether a pool meets the bar."""
    return bool(
        values["saving"] >= BAR_SAVING
        and values["cost_ratio"] <= 1.0
        and values["least_share_ratio"] >= 1.0 - 1e-9
    )


def replayed_at_bar(seeds: Sequence[int], names: Sequence[str], *, weeks: int, machines: str) -> Cell:
    """Some policies on one of the pools, at the load and slack of the bar."""
    cell: Cell = {name: [] for name in names}
    for seed in seeds:
        found = _scenario_of_bar(seed, weeks=weeks, machines=machines)
        for name, so_far in cell.items():
            so_far.append(_found(*_replayed(found, name, seed=seed)))
    return cell


def _scenario_of_bar(seed: int, *, weeks: int, machines: str) -> Scenario:
    return scenario(load=BAR_LOAD, slack_hours=BAR_SLACK, seed=seed, weeks=weeks, machines=machines)


def _at_bar(cells: Mapping[tuple[float, float], Cell]) -> Cell:
    return cells[BAR_LOAD, BAR_SLACK]


def _replay_load(load: float, slacks: Sequence[float], *, seed: int, weeks: int) -> dict[float, Cell]:
    """Every policy on one mapping at a load, by slack; those that do not use slack are replayed once."""
    kept: dict[str, tuple[Replay, MarketBooks | None]] = {}
    cells: dict[float, Cell] = {}
    for slack in slacks:
        found = scenario(load=load, slack_hours=slack, seed=seed, weeks=weeks)
        cells[slack] = {}
        for name in POLICIES:
            if name in USES_SLACK or name not in kept:
                kept[name] = _replayed(found, name, seed=seed)
            replayed, books = kept[name]
            # The same pieces under this slack's deadlines.
            replayed = replace(replayed, demand=found.demand)
            cells[slack][name] = [_found(replayed, books)]
    return cells


def _together(mappings: Sequence[Cell]) -> Cell:
    """One cell of the entries of several, in their order."""
    return {name: [found for cell in mappings for found in cell[name]] for name in mappings[0]}


def _front(seeds: Sequence[int], variants: Mapping[str, MarketRules], *, weeks: int) -> Cell:
    """The market with other rules, at the load and slack of the bar."""
    cell: Cell = {name: [] for name in variants}
    for seed in seeds:
        found = _scenario_of_bar(seed, weeks=weeks, machines=SAME)
        for name, rules in variants.items():
            policy = MarketRounds(found.pool, found.demand, rules=rules, seed=seed, before_SH=found.before_SH)
            cell[name].append(_found(replay(found.pool, found.demand, policy), policy.books))
    return cell


def _replayed(found: Scenario, name: str, *, seed: int) -> tuple[Replay, MarketBooks | None]:
    settings = PolicySettings(rules=RULES, before_SH=found.before_SH, seed=seed)
    policy = POLICIES[name].make(found.pool, found.demand, settings)
    replayed = replay(found.pool, found.demand, policy, only_own_sites=POLICIES[name].is_local)
    return replayed, policy.books if isinstance(policy, MarketRounds) else None


def _found(replayed: Replay, books: MarketBooks | None) -> Found:
    jobs = measure_jobs(replayed)
    return Found(
        measures=measures_of(replayed, jobs),
        members=by_member(replayed, jobs),
        days=_days(replayed, jobs),
        most_let=_most_let(replayed),
        books=books,
    )


def _days(replayed: Replay, jobs: JobMeasures) -> dict[str, Floats]:
    demand = replayed.demand
    day_J = (demand.release_seconds_J // DAY_SECONDS).astype(np.int64)
    columns = {"grams": jobs.grams_J, "cost": jobs.cost_microcredits_J, "hours": demand.machine_hours_J}
    return {name: np.bincount(day_J, values).astype(np.float64) for name, values in columns.items()}


def _most_let(replayed: Replay) -> float:
    """The largest share of a site's machines in use at any moment: above 1 would be a stampede."""
    pieces, gang_P = replayed.pieces, replayed.demand.gang_J[replayed.pieces.job_P]
    most = 0.0
    for site, described in enumerate(replayed.pool.sites):
        here = pieces.site_P == site
        moments = np.concatenate([pieces.start_seconds_P[here], pieces.end_seconds_P[here]])
        changes = np.concatenate([gang_P[here], -gang_P[here]])
        # Machines given back at a moment are free at it.
        order = np.lexsort((changes, moments))
        most = max(most, float(np.cumsum(changes[order]).max(initial=0)) / described.num_machines)
    return most


def _values(cell: Cell, *, prefix: str) -> dict[str, Any]:
    alone, market = cell[ALONE], cell[MARKET]
    saving, low, high = _saving(market, alone, "grams")
    dearer, dearer_low, dearer_high = _saving(market, alone, "cost")
    return {
        f"{prefix}_saving": saving,
        f"{prefix}_saving_low": low,
        f"{prefix}_saving_high": high,
        f"{prefix}_cost_ratio": 1 - dearer,
        f"{prefix}_cost_ratio_low": 1 - dearer_high,
        f"{prefix}_cost_ratio_high": 1 - dearer_low,
        f"{prefix}_least_share_ratio": _least_share(market, alone),
        f"{prefix}_waiting_hours": _mean(market, "waiting_mean_seconds") / 3600,
        f"{prefix}_alone_waiting_hours": _mean(alone, "waiting_mean_seconds") / 3600,
    }


def values_of_bar(cell: Cell, seeds: Sequence[int], *, weeks: int, machines: str) -> dict[str, Any]:
    """What the bar is about, and the clairvoyant bound beside it."""
    alone, market = cell[ALONE], cell[MARKET]
    saving, low, high = _saving(market, alone, "grams")
    values: dict[str, Any] = {
        "saving": saving,
        "saving_low": low,
        "saving_high": high,
        "cost_ratio": 1 - _saving(market, alone, "cost")[0],
        "least_share_ratio": _least_share(market, alone),
        "work_in_time": _work_in_time(market),
        "alone_work_in_time": _work_in_time(alone),
        "largest_finish_time_ratio": _largest_rho(market, alone),
        "realised_saving_against_at_once": 1
        - sum(found.measures.grams for found in market)
        / sum(found.measures.at_once_grams for found in market),
        "expected_saving_against_at_once": _expected(market),
        "lost_by_jobs_that_got_worse": sum(found.measures.grams_lost for found in market)
        / sum(found.measures.at_once_grams for found in market),
        "share_of_jobs_that_got_worse": sum(found.measures.jobs_lost for found in market)
        / sum(found.measures.num_jobs for found in market),
        "most_machines_let_at_once": max(found.most_let for found in market),
    }
    most = []
    for position, seed in enumerate(seeds):
        found = _scenario_of_bar(seed, weeks=weeks, machines=machines)
        one, other = market[position].measures, alone[position].measures
        bound = clairvoyant_bound(found.pool, found.demand, objective="carbon")
        welfare = clairvoyant_bound(found.pool, found.demand, objective="welfare")
        most.append((other.grams, bound.grams))
        values |= {
            f"mapping{seed}_saving": 1 - one.grams / other.grams,
            f"mapping{seed}_most_that_anybody_could_save": 1 - bound.grams / other.grams,
            f"mapping{seed}_cost_ratio": one.cost_microcredits / other.cost_microcredits,
            f"mapping{seed}_welfare_of_bound": one.welfare_microcredits(carbon_microcredits_per_kilogram=0)
            / welfare.value,
            f"mapping{seed}_welfare_of_bound_alone": other.welfare_microcredits(
                carbon_microcredits_per_kilogram=0
            )
            / welfare.value,
            f"mapping{seed}_saving_with_idle_draw": _saving_with_idle(found, one, other),
        }
    values["most_that_anybody_could_save"] = 1 - sum(g for _, g in most) / sum(g for g, _ in most)
    return values


def _saving(here: Sequence[Found], there: Sequence[Found], column: str) -> tuple[float, float, float]:
    """1 - sum here / sum there, and its 95 % interval by drawing days of mappings, both sides together."""
    ours = np.concatenate([found.days[column] for found in here])
    theirs = np.concatenate([found.days[column] for found in there])
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(ours), (NUM_DRAWS, len(ours)))
    savings = 1 - ours[drawn].sum(axis=1) / theirs[drawn].sum(axis=1)
    low, high = np.quantile(savings, [0.025, 0.975])
    return 1 - float(ours.sum() / theirs.sum()), float(low), float(high)


def _least_share(here: Sequence[Found], alone: Sequence[Found]) -> float:
    pairs = zip(here, alone, strict=True)
    return min(ratio for one, other in pairs for ratio in share_ratios(one.members, other.members).values())


def _largest_rho(here: Sequence[Found], alone: Sequence[Found]) -> float:
    pairs = zip(here, alone, strict=True)
    return max(r for one, other in pairs for r in finish_time_ratios(one.members, other.members).values())


def _work_in_time(cell: Sequence[Found]) -> float:
    hours = sum(found.measures.reference_hours for found in cell)
    return sum(found.measures.reference_hours_in_time for found in cell) / hours


def _expected(market: Sequence[Found]) -> float:
    books = [found.books for found in market if found.books is not None]
    expected = sum(float(book.expected_grams_J.sum()) for book in books)
    return 1 - expected / sum(float(book.expected_at_once_grams_J.sum()) for book in books)


def _saving_with_idle(found: Scenario, one: Measures, other: Measures) -> float:
    """The saving if machines that nobody uses draw IDLE_SHARE of their power while jobs are released."""
    pool = found.pool
    until = float(found.demand.release_seconds_J[-1])
    sites = np.arange(len(pool.sites))
    whole = pool.grams.between(sites, np.zeros(len(sites)), np.full(len(sites), until))
    idle = IDLE_SHARE * sum(
        grams * site.num_machines for grams, site in zip(whole.tolist(), pool.sites, strict=True)
    )
    # A machine at work draws 1 - IDLE_SHARE more than one that idles.
    saved: float = (1 - IDLE_SHARE) * (other.grams - one.grams) / ((1 - IDLE_SHARE) * other.grams + idle)
    return saved


def _mean(found: Sequence[Found], name: str) -> float:
    return float(np.mean([getattr(one.measures, name) for one in found]))


def _page(
    cells: Mapping[tuple[float, float], Cell],
    generations: Cell,
    front: Cell,
    values: Mapping[str, Any],
    *,
    seeds: Sequence[int],
    weeks: int,
) -> str:
    parts = [_HEAD.format(weeks=weeks, seeds=", ".join(map(str, seeds)))]
    verdicts = {name: "meets" if values[f"{name}_is_met"] else "does not meet" for name in _POOL_NAMES}
    parts += [_SUMMARY.format(verdict=verdicts["same"], **values)]
    parts += [_SUMMARY_OF_GENERATIONS.format(verdict=verdicts["generations"], **values)]
    parts += ["\n## Three generations, load 60%, slack 24 h\n", _COLUMNS.format("policy"), _LINE]
    parts += [_row(name, found, generations[ALONE]) for name, found in generations.items()]
    for (load, slack), cell in cells.items():
        parts += [f"\n## Load {load:.0%}, slack {slack:.0f} h\n", _COLUMNS.format("policy"), _LINE]
        parts += [_row(name, found, cell[ALONE]) for name, found in cell.items()]
    bar = _at_bar(cells)
    parts += ["\n## The market with other rules, load 60%, slack 24 h\n", _COLUMNS.format("rules"), _LINE]
    parts.append(
        _row(
            "as above: charge of 700, a round every quarter of an hour, limits from a half on, moves",
            bar[MARKET],
            bar[ALONE],
        )
    )
    parts += [_row(name, found, bar[ALONE]) for name, found in front.items()]
    return "\n".join(parts) + "\n"


def _row(name: str, found: Sequence[Found], alone: Sequence[Found]) -> str:
    hours = sum(one.measures.reference_hours for one in found)
    cost = sum(one.measures.cost_microcredits for one in found) / hours / MICROCREDITS
    grams = sum(one.measures.grams for one in found) / hours
    in_time = sum(one.measures.jobs_in_time for one in found) / sum(one.measures.num_jobs for one in found)
    cells = [
        name,
        f"{cost:.4f}",
        f"{grams:.1f}",
        _change(found, alone, "grams"),
        _change(found, alone, "cost"),
        f"{_mean(found, 'waiting_mean_seconds') / 3600:.1f}",
        f"{_mean(found, 'waiting_p95_seconds') / 3600:.1f}",
        f"{in_time:.1%}",
        f"{_least_share(found, alone):.2f}",
        f"{_largest_rho(found, alone):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _change(found: Sequence[Found], alone: Sequence[Found], column: str) -> str:
    if found is alone:
        return ""
    saving, low, high = _saving(found, alone, column)
    return f"{-saving:+.1%} ({-high:+.1%} to {-low:+.1%})"


_POOL_NAMES = ("same", "generations")
_SUMMARY = """**All machines the same:** at 60 % load and 24 hours of slack the market emits {saving:.1%} less
than every member alone ({saving_low:.1%} to {saving_high:.1%}), at {cost_ratio:.3f} times the cost, with a
least share ratio of {least_share_ratio:.2f}. Nobody could save more than
{most_that_anybody_could_save:.1%}, the clairvoyant bound of carbon. This pool {verdict} the bar (30 % less,
at no higher cost, share ratio of at least 1)."""
_SUMMARY_OF_GENERATIONS = """
**Three generations:** the market emits {generations_saving:.1%} less ({generations_saving_low:.1%} to
{generations_saving_high:.1%}), at {generations_cost_ratio:.3f} times the cost, with a least share ratio of
{generations_least_share_ratio:.2f}; {generations_work_in_time:.0%} of the work is done in time, and alone
{generations_alone_work_in_time:.0%}. The clairvoyant bound, which does all work in time, saves
{generations_most_that_anybody_could_save:.1%}. This pool {verdict} the bar."""
_COLUMNS = (
    "| {} | credits an hour | g CO2e an hour | carbon against alone (95 %) | cost against alone (95 %) "
    "| waiting, mean h | waiting, 95 % h | jobs in time | least share ratio | largest rho |"
)
_LINE = "|---" * 10 + "|"
_HEAD = """# Eleven organisations on the Philly trace

Made by `python -m benchmarks run market_philly`; do not edit. {weeks} weeks of real jobs (Jeon et al., USENIX
ATC 2019) of the eleven largest virtual clusters, each an organisation with a site in a grid of its own,
hourly carbon (life-cycle, Electricity Maps) and wholesale prices of 2023. Mappings of organisations to grids:
{seeds}.

- Every policy runs the same jobs to their end. *Alone* is each member on its own machines, with backfilling.
- An hour of the trace is an hour of a reference machine (P100), which draws 400 W with its share of the host,
  at a PUE of 1.2, and costs 0.30 credits of wear. Deadlines, worth and data of jobs are made up by the seed
  (`ayni.market.simulation.demand`).
- Three generations: members own K80 dies (250 W, 0.31 times the reference), P100 (400 W) or V100 (400 W, 1.31
  times), dealt by the seed, as many as their own jobs need at the load. Throughput is the median of isolated
  steps a second over the job rows of Gavel's table; watts are NVIDIA's board powers and 100 W of the host.
- *Share ratio*: work that a member has done in time, over that alone. *Rho*: mean time from release to
  end, over that alone. Both as the worst member in any mapping has it.
- Intervals draw whole days with replacement. Jobs of one day touch those of the next, so they are rather
  too narrow.
- Who waits for lighter hours uses the slack that jobs declare: its waiting is a choice and not a queue.
"""

BENCHMARK = Benchmark(
    name="market_philly",
    topic="market: simulator",
    bar="11 organisations, 11 grids, 3 mappings, 4 weeks of Philly: at 60 % load and 24 h slack at least "
    "30 % less carbon than every member alone at no higher cost, and a least share ratio of at least 1",
    seconds_quick=120,
    seconds_full=4500,
    measure=measure,
)
