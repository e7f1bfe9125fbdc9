"""Rounds of a pool to measure clearing with: real sizes, durations and carbon; made-up prices.

Gangs and durations are drawn from the jobs of the Philly trace (2017) that take ten minutes or more;
durations are clipped to 12 h and gangs to 32. Carbon is a random stretch of 2023 of 18 zones. Worths, asks,
sites and slack are made up. There are as many machines as make the wanted load; at a load of 1 all bids
together would fill three quarters of the horizon.

Not covered: worths and asks of real people.
"""

import csv
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from ayni.market.bids import Bid
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.horizon import Horizon
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer
from ayni.market.rounds import MarketRound
from benchmarks.registry import HERE

DATA = HERE.parent.parent / "shared" / "data"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NUM_SLOTS = 48
CREDIT = 1_000_000
RATIOS = (1.0, 1.6, 2.5)
CLASSES = {
    ratio: MachineClass(
        name=f"class-{ratio}",
        cores=8,
        memory_bytes=1 << 36,
        accelerator=f"gpu-{ratio}",
        watts=250 * ratio**0.7,
        reference_throughput={"any": ratio},
    )
    for ratio in RATIOS
}
MIXED_SLACK = (1, 6, 24)
WITHOUT_FAIRNESS = ClearingPolicy(own_first=False, uses_credits=False)


def pool_round(
    num_bids: int,
    num_sites: int,
    *,
    seed: int,
    load: float = 1.5,
    slack_hours: tuple[int, ...] = MIXED_SLACK,
    largest_gang: int = 32,
    num_members: int | None = None,
    policy: ClearingPolicy = WITHOUT_FAIRNESS,
) -> MarketRound:
    """A round of so many bids and sites over 48 hours.

    Args:
        num_bids: each of a member of its own, unless num_members says among how many they are shared out.
        num_sites: likewise.
        seed: of everything that is drawn.
        load: work over capacity.
        slack_hours: from which the time between need and deadline is drawn.
        largest_gang: gangs are clipped to that.
        num_members: members with bids and sites; None = all are different.
        policy: of the round.
    """
    rng = np.random.default_rng(seed)
    jobs = _jobs()[rng.integers(0, len(_jobs()), num_bids)]
    hours = np.clip(jobs[:, 0] / 3600, 0.25, 12)
    gang = np.minimum(jobs[:, 1], largest_gang).astype(int)
    worth = hours * gang * CREDIT * rng.lognormal(0.5, 0.6, num_bids)
    release = rng.integers(0, 24, num_bids) * (rng.random(num_bids) < 0.5)
    slack = rng.choice(slack_hours, num_bids)
    zones, carbon_ZT = _carbon()
    first = int(rng.integers(0, carbon_ZT.shape[1] - NUM_SLOTS))
    bids = [
        Bid(
            id=f"bid-{index:05}",
            member=f"member-{index % num_members}" if num_members else f"buyer-{index:05}",
            work_reference_hours=float(hours[index] * gang[index]),
            gang=int(gang[index]),
            release=START + int(release[index]) * HOUR,
            deadline=START + (int(release[index]) + hours[index] + int(slack[index])) * HOUR,
            worth_microcredits=int(worth[index]),
        )
        for index in range(num_bids)
    ]
    needed = float((hours * gang).sum()) / load / (0.75 * NUM_SLOTS)
    return MarketRound(
        bids=bids,
        offers=_offers(num_sites, needed, rng, zones, num_members),
        horizon=Horizon(start=START, num_slots=NUM_SLOTS),
        carbon={zone: carbon_ZT[index, first : first + NUM_SLOTS] for index, zone in enumerate(zones)},
        policy=policy,
        seed=seed,
    )


def _offers(
    num_sites: int, needed: float, rng: np.random.Generator, zones: tuple[str, ...], num_members: int | None
) -> list[Offer]:
    """One offer a site; together they have as many reference machines as needed."""
    ratios, sizes = rng.choice(RATIOS, num_sites), rng.lognormal(0, 0.8, num_sites)
    counts = np.maximum(1, np.round(sizes / sizes.sum() * needed / ratios)).astype(int)

    def offer(index: int) -> Offer:
        values: dict[str, Any] = {
            "ask_microcredits_per_machine_hour": int(CREDIT * ratios[index] * rng.uniform(0.25, 1.0)),
            "zone": zones[int(rng.integers(len(zones)))],
            "pue": float(rng.choice([1.1, 1.3, 1.5])),
            "reliability": float(rng.choice([1.0, 0.98, 0.95])),
        }
        return Offer(
            id=f"offer-{index:05}",
            site=f"site-{index:05}",
            member=f"member-{index % num_members}" if num_members else f"seller-{index:05}",
            machine_class=CLASSES[float(ratios[index])],
            count=int(counts[index]),
            windows=((START, START + NUM_SLOTS * HOUR),),
            **values,
        )

    return [offer(index) for index in range(num_sites)]


@cache
def _jobs() -> Any:
    """Duration in seconds and GPUs of each job of ten minutes or more."""
    with (DATA / "jobs" / "philly_jobs_2017.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["timestamp"]]
    jobs = np.array([(float(row["duration"]), int(row["num_gpus"])) for row in rows])
    return jobs[jobs[:, 0] >= 600]


@cache
def _carbon() -> tuple[tuple[str, ...], Any]:
    """Zones, and their grams per kWh by hour of 2023."""
    with (DATA / "carbon" / "ci_lca_2023_hourly_utc.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return tuple(rows[0][1:]), np.array([[float(value) for value in row[1:]] for row in rows[1:]]).T
