"""How long a round takes to clear, payments included: up to 10,000 bids, 1,000 sites and 48 hours.

Each bid has a member of its own, so none has machines by right and every winner's payment is searched for:
the slowest case. With few members most bids keep their own machines, which is measured beside. The first
round compiles the kernels or reads those that were kept; its time is printed and not part of the others.

Not covered: other shapes of demand; wide gangs and long slack take longer than short jobs.
"""

import statistics
import time
from typing import Any

from ayni.market.clearing import clear_round
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.rounds import Clearing, MarketRound
from benchmarks.pool_rounds import pool_round
from benchmarks.registry import Benchmark, Outcome

NUM_THREADS = 2
MOST_SECONDS = 10.0
SIZES = ((100, 10), (300, 30), (1_000, 100), (3_000, 300), (10_000, 1_000))
NUM_MEMBERS = 20


def measure(quick: bool) -> Outcome:
    """The growth table, each size as the median of its repeats; quick ends at 1,000 bids."""
    values: dict[str, Any] = {"first_round_seconds": _seconds(pool_round(200, 10, seed=0))[0]}
    sizes = SIZES[:3] if quick else SIZES
    repeats = 1 if quick else 3
    for num_bids, num_sites in sizes:
        values |= _measure_size(f"{num_bids}_bids", pool_round(num_bids, num_sites, seed=1), repeats)
    num_bids, num_sites = sizes[-1]
    few = pool_round(num_bids, num_sites, seed=1, num_members=NUM_MEMBERS, policy=ClearingPolicy())
    values |= _measure_size(f"{num_bids}_bids_of_{NUM_MEMBERS}_members", few, repeats)
    return Outcome(values=values, seeds=(1,), met=values[f"{sizes[-1][0]}_bids_seconds"] <= MOST_SECONDS)


def _measure_size(name: str, market: MarketRound, repeats: int) -> dict[str, Any]:
    rounds = [_seconds(market) for _ in range(repeats)]
    result = rounds[0][1]
    reserve = sum(
        allocation.payment_microcredits == allocation.option.reserve_microcredits
        for allocation in result.allocations
    )
    return {
        f"{name}_seconds": statistics.median(seconds for seconds, _ in rounds),
        f"{name}_placed": len(result.allocations),
        f"{name}_pay_the_reserve": reserve / max(1, len(result.allocations)),
    }


def _seconds(market: MarketRound) -> tuple[float, Clearing]:
    start = time.perf_counter()
    result = clear_round(market, num_threads=NUM_THREADS).result
    return time.perf_counter() - start, result


BENCHMARK = Benchmark(
    name="market_clearing",
    topic="market",
    bar="10,000 bids x 1,000 sites x 48 h with payments in at most 10 s on 2 cores, compilation aside",
    seconds_quick=60,
    seconds_full=180,
    measure=measure,
)
