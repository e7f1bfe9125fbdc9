"""How fair a result is: dominant shares, Jain's index, least share over entitlement, envy, finish times.

    dominant share = max over cores, memory and accelerators of (used / all of the pool), over the horizon
    Jain           = (sum x)^2 / (n * sum x^2)

Shares count all machines of the pool that a member's bids got, its own too; machines of clouds are no part of
the pool and count for nobody. The cap of a round (`auction`) counts others' machines alone.

Not covered: fairness over many rounds, which `karma` works for and the simulator measures.
Source: A. Ghodsi et al., "Dominant Resource Fairness", NSDI 2011; R. Jain, D. Chiu and W. Hawe, "A
Quantitative Measure of Fairness", DEC-TR-301, 1984; K. Mahajan et al., "Themis", NSDI 2020, section 3, for
finish-time fairness.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ayni.market.machine_classes import MachineClass
from ayni.market.rounds import Clearing, MarketRound

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    """A round in numbers; None where nobody has a share or an entitlement.

    dominant_shares are by member with bids. least_share_ratio is the least of share over entitlement among
    members that wait: who wants no more is not treated badly. num_envious are pairs, see `envy_count`.
    """

    dominant_shares: Mapping[str, float]
    jain: float | None
    least_share_ratio: float | None
    num_envious: int


def fairness_of(market: MarketRound, result: Clearing) -> Fairness:
    """The fairness of a round, by the entitlements of its fair_shares (equal where not given)."""
    shares = dominant_shares(market, result)
    equal = 1 / max(1, len(shares))
    entitled = {member: market.fair_shares.get(member, equal) for member in shares}
    waiting = {refusal.member for refusal in result.refused if refusal.code == "outbid"}
    ratios = share_ratios(shares, entitled)
    return Fairness(
        dominant_shares=shares,
        jain=jain_index(ratios.values()),
        least_share_ratio=min((ratios[member] for member in ratios if member in waiting), default=None),
        num_envious=envy_count(ratios, waiting=waiting),
    )


def dominant_shares(market: MarketRound, result: Clearing) -> dict[str, float]:
    """The dominant share of each member with bids, of the pool's machine-slots in the horizon."""
    classes = {offer.id: offer.machine_class for offer in market.offers}
    num_slots = market.horizon.num_slots
    totals: dict[str, float] = {}
    for row in result.rows:
        if not row.is_cloud:
            for name, amount in _resources(classes[row.offers[0]]).items():
                totals[name] = totals.get(name, 0.0) + amount * sum(row.capacity[:num_slots])
    used: dict[str, dict[str, float]] = {bid.member: {} for bid in market.bids}
    for each in result.allocations:
        row, mine = result.rows[each.option.row], used[each.member]
        slots = sum(max(0, min(end, num_slots) - start) for start, end in each.option.pieces)
        for name, amount in {} if row.is_cloud else _resources(classes[row.offers[0]]).items():
            mine[name] = mine.get(name, 0.0) + amount * each.option.machines * slots
    return {
        member: max((amount / totals[name] for name, amount in mine.items() if totals[name]), default=0.0)
        for member, mine in sorted(used.items())
    }


def _resources(machine_class: MachineClass) -> dict[str, float]:
    found = {"cores": float(machine_class.cores), "memory": float(machine_class.memory_bytes)}
    return found if machine_class.accelerator is None else {**found, machine_class.accelerator: 1.0}


def share_ratios(shares: Mapping[str, float], entitled: Mapping[str, float]) -> dict[str, float]:
    """Share over entitlement (weight) by member; members that are entitled to nothing are left out."""
    return {member: share / entitled[member] for member, share in shares.items() if entitled[member] > 0}


def jain_index(values: Collection[float]) -> float | None:
    """1 where all have as much, 1 / n where one has all; None without anything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else None


def envy_count(ratios: Mapping[str, float], *, waiting: Collection[str]) -> int:
    """Pairs of a member that waits and one that has more for its entitlement. 0 is envy-free.

    One gang can make so much of a difference: with whole jobs a few pairs cannot be helped.
    """
    return sum(
        ratios[poor] < ratios[rich] - TOLERANCE
        for poor in waiting
        if poor in ratios
        for rich in ratios
        if rich != poor
    )


def finish_time_ratios(hours_here: Mapping[str, float], hours_alone: Mapping[str, float]) -> dict[str, float]:
    """Time from release to end here over alone (rho of Themis), by member; above 1 = worse off than alone."""
    return {
        member: hours_here[member] / alone
        for member, alone in hours_alone.items()
        if alone > 0 and member in hours_here
    }
