"""How many job-events the simulator replays in a minute, under each policy, on the Philly trace.

An event is a release, a start, a suspension or an end of one job. The trace is that of `benchmarks.philly` at
a load of 60 % with 24 hours of slack: whole, or four weeks of it in the quick form. Policies take turns, and
the median of their times counts.

The bar holds for all policies, the two markets among them, whose rounds clear bids with critical-value
payments. Not covered: reading the trace, and measuring a replay.
"""

import statistics
import time
from typing import Any

from ayni.market.simulation.engine import replay
from ayni.market.simulation.policies import CARBON_BLIND, MARKET, POLICIES, PolicySettings
from benchmarks.philly import scenario
from benchmarks.registry import Benchmark, Outcome

EVENTS_A_MINUTE = 1_000_000
SEED, LOAD, SLACK_HOURS = 1, 0.6, 24.0
CLEARING = (MARKET, CARBON_BLIND)


def measure(quick: bool) -> Outcome:
    """Three turns over the whole trace; quick takes one over four weeks."""
    found = scenario(load=LOAD, slack_hours=SLACK_HOURS, seed=SEED, weeks=4 if quick else None)
    settings = PolicySettings(before_SH=found.before_SH, seed=SEED)
    # Where numba is there, the first round compiles for a minute: that is done once and on a small demand.
    warm = scenario(load=LOAD, slack_hours=SLACK_HOURS, seed=SEED, weeks=1)
    replay(warm.pool, warm.demand, POLICIES[MARKET].make(warm.pool, warm.demand, settings))
    seconds: dict[str, list[float]] = {name: [] for name in POLICIES}
    events: dict[str, int] = {}
    for _ in range(1 if quick else 3):
        for name, named in POLICIES.items():
            policy = named.make(found.pool, found.demand, settings)
            started = time.perf_counter()
            replayed = replay(found.pool, found.demand, policy, only_own_sites=named.is_local)
            seconds[name].append(time.perf_counter() - started)
            events[name] = replayed.num_events
    per_minute = {name: 60 * events[name] / statistics.median(times) for name, times in seconds.items()}
    slowest = min(rate for name, rate in per_minute.items() if name not in CLEARING)
    slowest_of_all = min(per_minute.values())
    values: dict[str, Any] = {
        f"{name.replace('-', '_')}_events_per_minute": round(rate) for name, rate in per_minute.items()
    }
    values |= {"num_jobs": found.demand.num_jobs, "slowest_without_clearing": round(slowest)}
    values["slowest"] = round(slowest_of_all)
    return Outcome(values=values, seeds=(SEED,), met=slowest_of_all >= EVENTS_A_MINUTE)


BENCHMARK = Benchmark(
    name="simulator_speed",
    topic="market: simulator",
    bar="every policy, the markets too, replays at least 1 million job-events a minute",
    seconds_quick=60,
    seconds_full=500,
    measure=measure,
)
