"""Promises of a round, counted over random rounds: what is broken, and what lies gain.

For each promise that is proved the number of rounds that break it must be 0: nobody pays more than the bid
or than alone, payments cover asks and carbon, machines are never promised twice, caps and deadlines hold,
more worth never loses, and no lie of a member with one bid pays. Each is counted over random rounds and over
rounds in which most bidders own machines and go first. What is not proved is measured: lies of
members with several bids about one of them, and sellers that ask for more than their cost.

Not covered: lies over several rounds, and several bids of a member that lie together.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from ayni.market.clearing import clear_round
from ayni.market.rounds import Clearing, MarketRound
from benchmarks.pool_rounds import pool_round
from benchmarks.random_rounds import broken_promises, non_monotone, owners_round, profitable, random_round
from benchmarks.registry import Benchmark, Outcome

SEED = 20260301
FACTORS = (1.1, 1.25, 1.5, 2.0)
"""By which a seller raises its ask."""


def measure(quick: bool) -> Outcome:
    """1,000 random rounds for each promise; quick takes 60."""
    num_rounds, num_pools = (60, 3) if quick else (1_000, 20)
    broken = _count_broken(random_round, num_rounds) + _count_broken(owners_round, num_rounds)
    one, several = (_count_lies(random_round, num_rounds, one_bid_each=each) for each in (True, False))
    owners = _count_lies(owners_round, num_rounds, one_bid_each=True)
    values: dict[str, Any] = {
        "num_rounds": num_rounds,
        "broken": dict(broken),
        "num_lies_that_pay_one_bid": one["pays"],
        "num_liars_one_bid": one["liars"],
        "num_lies_that_pay_one_bid_of_owners": owners["pays"],
        "num_liars_one_bid_of_owners": owners["liars"],
        "num_liars_several_bids": several["liars"],
        "share_of_liars_that_gain_several_bids": several["gainers"] / max(1, several["liars"]),
        "mean_best_gain_over_honest_gain_several_bids": several["gain"] / max(1, several["honest"]),
    }
    for factor in FACTORS:
        low, mean, high = _seller_regret(factor, num_pools)
        values |= {f"seller_gain_at_{factor}": mean, f"seller_gain_at_{factor}_interval": (low, high)}
    return Outcome(
        values=values,
        seeds=(SEED,),
        met=not broken and one["pays"] + owners["pays"] == 0 and num_rounds >= 1_000,
    )


def _count_broken(draw: Callable[[Random], MarketRound], num_rounds: int) -> Counter[str]:
    """Rounds that break each promise."""
    broken: Counter[str] = Counter()
    for index in range(num_rounds):
        market = draw(Random(SEED + index))
        result = clear_round(market).result
        broken.update(set(broken_promises(market, result)))
        broken.update({"more worth never loses or pays more" for _ in non_monotone(market, result)})
    return broken


def _count_lies(draw: Callable[..., MarketRound], num_rounds: int, *, one_bid_each: bool) -> Counter[str]:
    """How many lies pay, of one bid in each round; gains are the best of each liar, in micro-credits."""
    found: Counter[str] = Counter()
    for index in range(num_rounds):
        rng = Random(2 * SEED + index)
        market = draw(rng, one_bid_each=one_bid_each)
        liar = rng.randrange(len(market.bids))
        member = market.bids[liar].member
        if not one_bid_each and sum(bid.member == member for bid in market.bids) < 2:
            continue
        result = clear_round(market).result
        gains = list(profitable(market, result, liar, rng))
        worths = {bid.id: bid.limit_microcredits for bid in market.bids}
        found["liars"] += 1
        found["pays"] += len(gains)
        found["gainers"] += bool(gains)
        found["gain"] += max(gains, default=0)
        found["honest"] += sum(
            worths[each.bid] - each.payment_microcredits
            for each in result.allocations
            if each.member == member
        )
    return found


def _seller_regret(factor: float, num_pools: int) -> tuple[float, float, float]:
    """What one seller gains by asking more, over what its sales cost it if honest: low, mean, high.

    Pools of 60 bids and 6 sites; a 95 % interval by bootstrap over (pool, seller).
    """
    gains, costs = [], []
    for seed in range(num_pools):
        market = pool_round(60, 6, seed=seed, largest_gang=4)
        honest = clear_round(market).result
        for index, offer in enumerate(market.offers):
            ask = offer.ask_microcredits_per_machine_hour
            offers = list(market.offers)
            offers[index] = replace(offer, ask_microcredits_per_machine_hour=int(ask * factor))
            lying = clear_round(replace(market, offers=offers)).result
            sold = _machine_hours(lying, offer.id)
            gains.append((int(ask * factor) - ask) * sold)
            costs.append(ask * _machine_hours(honest, offer.id))
    gain_S, cost_S = np.array(gains), np.array(costs)
    rng = np.random.default_rng(SEED)
    picks = rng.integers(0, len(gain_S), (2000, len(gain_S)))
    ratios = gain_S[picks].sum(axis=1) / np.maximum(1, cost_S[picks].sum(axis=1))
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(gain_S.sum() / max(1, cost_S.sum())), float(high)


def _machine_hours(result: Clearing, offer: str) -> float:
    return sum(
        each.option.machines * each.option.hours for each in result.allocations if each.option.offer == offer
    )


BENCHMARK = Benchmark(
    name="market_properties",
    topic="market",
    bar="1,000 random rounds each: no promise broken and no lie of a member with one bid pays; lies of "
    "members with several bids, and of sellers, are measured",
    seconds_quick=40,
    seconds_full=600,
    measure=measure,
)
