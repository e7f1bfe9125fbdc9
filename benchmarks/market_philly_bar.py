"""The bar of `market_philly` alone: 60 % load and 24 h of slack, three mappings, both pools.

The same scenarios, settings and measures; without the other loads and slacks, the front of settings and most
baselines, which take an hour more.

The bar is that of the pool whose machines are the same. The pool of three generations of machines, where
every member alone has its own class, is replayed beside it: `generations_...`.

Not covered: see `market_philly`.
"""

from typing import Any

from ayni.market.simulation.policies import ALONE, CARBON_BLIND, MARKET
from benchmarks import market_philly as philly
from benchmarks.philly import GENERATIONS, SAME
from benchmarks.registry import Benchmark, Outcome

BESIDE = ("easy-backfill", CARBON_BLIND)


def measure(quick: bool) -> Outcome:
    """Three mappings and four weeks; quick takes one and two weeks."""
    seeds, weeks = (philly.SEEDS[:1], 2) if quick else (philly.SEEDS, 4)
    same = philly.replayed_at_bar(seeds, (ALONE, *BESIDE, MARKET), weeks=weeks, machines=SAME)
    generations = philly.replayed_at_bar(seeds, (ALONE, MARKET), weeks=weeks, machines=GENERATIONS)
    values: dict[str, Any] = philly.values_of_bar(same, seeds, weeks=weeks, machines=SAME)
    is_met = philly.meets_bar(values)
    of_generations = philly.values_of_bar(generations, seeds, weeks=weeks, machines=GENERATIONS)
    values |= {f"generations_{name}": value for name, value in of_generations.items()}
    values["generations_is_met"] = philly.meets_bar(of_generations)
    return Outcome(values=values, seeds=seeds, met=is_met)


BENCHMARK = Benchmark(
    name="market_philly_bar",
    topic=philly.BENCHMARK.topic,
    bar=philly.BENCHMARK.bar,
    seconds_quick=60,
    seconds_full=900,
    measure=measure,
)
