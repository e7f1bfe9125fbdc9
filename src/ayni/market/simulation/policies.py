"""The policies that a replay can be run under, by the names that people type.

`alone` is replayed whatever was asked for: fairness is measured against it. `clairvoyant` is no policy but a
bound, so it has no entry here.

Not covered: what a policy does; each has a file of its own in `ayni.market.baselines`.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ayni.market.baselines.alone import Alone
from ayni.market.baselines.double_auction import k_double_auction
from ayni.market.baselines.drf import Drf
from ayni.market.baselines.easy_backfill import EasyBackfill
from ayni.market.baselines.karma import Karma
from ayni.market.baselines.lowest_price import LowestPrice
from ayni.market.baselines.mcafee import mcafee
from ayni.market.baselines.sbba import sbba
from ayni.market.baselines.slot_market import Auction, SlotMarket
from ayni.market.baselines.slurm_fair_share import SlurmFairShare
from ayni.market.baselines.strict_fcfs import StrictFcfs
from ayni.market.baselines.wait_awhile import WaitAwhile
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import Policy
from ayni.market.simulation.market_rounds import MarketRounds
from ayni.market.simulation.market_rules import MarketRules, carbon_blind
from ayni.market.simulation.pool import Pool

ALONE, MARKET, CARBON_BLIND, CLAIRVOYANT = "alone", "market", "market-carbon-blind", "clairvoyant"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What policies that look further than the queue need. before_SH: see `RecentHours`."""

    rules: MarketRules = field(default_factory=MarketRules)
    before_SH: NDArray[np.float64] | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPolicy:
    """A policy that can be asked for. Jobs of an `is_local` one stay on their members' machines."""

    name: str
    meaning: str
    make: Callable[[Pool, Demand, PolicySettings], Policy]
    is_local: bool = False


def _auction(auction: Auction) -> Callable[[Pool, Demand, PolicySettings], Policy]:
    def make(pool: Pool, demand: Demand, settings: PolicySettings) -> Policy:
        return SlotMarket(pool, demand, auction=auction, slot_seconds=settings.rules.slot_seconds)

    return make


def _sbba(pool: Pool, demand: Demand, settings: PolicySettings) -> Policy:
    rng = random.Random(settings.seed)
    slot_seconds = settings.rules.slot_seconds
    return SlotMarket(pool, demand, auction=lambda b, a: sbba(b, a, rng=rng), slot_seconds=slot_seconds)


def _market(pool: Pool, demand: Demand, settings: PolicySettings) -> MarketRounds:
    return MarketRounds(pool, demand, rules=settings.rules, seed=settings.seed, before_SH=settings.before_SH)


def _blind(pool: Pool, demand: Demand, settings: PolicySettings) -> MarketRounds:
    return _market(pool, demand, replace(settings, rules=carbon_blind(settings.rules)))


_ALL = (
    NamedPolicy(
        name=ALONE,
        meaning="every member on its own machines, with backfilling",
        make=lambda pool, demand, settings: Alone(pool, demand),
        is_local=True,
    ),
    NamedPolicy(
        name="wait-awhile",
        meaning="every member on its own machines, at the greenest slots before the deadline",
        make=lambda pool, demand, settings: WaitAwhile(
            pool, demand, slot_seconds=settings.rules.slot_seconds, before_SH=settings.before_SH
        ),
        is_local=True,
    ),
    NamedPolicy(
        name="strict-fcfs",
        meaning="first come, first served; nobody overtakes",
        make=lambda pool, demand, settings: StrictFcfs(),
    ),
    NamedPolicy(
        name="easy-backfill",
        meaning="first come, first served, and small jobs fill the holes",
        make=lambda pool, demand, settings: EasyBackfill(demand),
    ),
    NamedPolicy(
        name="slurm-fair-share",
        meaning="who used little lately comes first, with backfilling",
        make=lambda pool, demand, settings: SlurmFairShare(pool, demand),
    ),
    NamedPolicy(
        name="lowest-price",
        meaning="each job at once at the cheapest site that has room",
        make=lambda pool, demand, settings: LowestPrice(pool, demand),
    ),
    NamedPolicy(
        name="drf",
        meaning="who has the smallest dominant share comes first",
        make=lambda pool, demand, settings: Drf(pool, demand),
    ),
    NamedPolicy(
        name="karma",
        meaning="credits for machines lent, spent on machines borrowed",
        make=lambda pool, demand, settings: Karma(pool, demand, quantum_seconds=settings.rules.slot_seconds),
    ),
    NamedPolicy(
        name="k-double-auction",
        meaning="machine-hours at one price between the last bid and the last ask",
        make=_auction(k_double_auction),
    ),
    NamedPolicy(name="mcafee", meaning="machine-hours by McAfee's double auction", make=_auction(mcafee)),
    NamedPolicy(name="sbba", meaning="machine-hours by the strongly balanced double auction", make=_sbba),
    NamedPolicy(name=CARBON_BLIND, meaning="the market without carbon charge and without caps", make=_blind),
    NamedPolicy(name=MARKET, meaning="the market, as the pool file sets it", make=_market),
)
POLICIES: Mapping[str, NamedPolicy] = {policy.name: policy for policy in _ALL}
