"""Karma: who lends unused machines earns credits, who borrows spends them, and credits decide who goes first.

`allocate` is the published algorithm for one divisible resource that everybody wants some of in each period.
In a round of the market credits become weights instead: a member's bids go before others by a factor between
1/2 and 2, which does not change within the round.

    weight = 2 ** clip(credits / scale, -1, 1)

Credits are counted in reference-hours of machines lent and borrowed. They decay, so that nobody lives on what
was lent long ago.

Source: M. Vuppalapati, G. Fikioris, R. Agarwal, A. Cidon, A. Khandelwal and E. Tardos, "Karma: Resource
Allocation for Dynamic Demands", OSDI 2023, algorithm 1. Its proofs (Pareto efficient, online strategyproof)
are for `allocate`; they do not hold for weights of an auction.

Not covered: buying credits with money; they are no credits of the ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ayni.market.clearing_policy import ClearingPolicy

LARGEST_WEIGHT = 2.0
MOST_DECAY = 0.10
"""Credits that may fade in a quarter, as a share; more would punish who lent in good faith."""


def weight_of(credits_reference_hours: float, *, policy: ClearingPolicy) -> float:
    """The factor by which the bids of a member with so many credits go before others: 1/2 to 2."""
    if not policy.uses_credits:
        return 1.0
    exponent = credits_reference_hours / policy.credit_scale_reference_hours
    return float(LARGEST_WEIGHT ** min(1.0, max(-1.0, exponent)))


def credits_after(
    credits: Mapping[str, float],
    *,
    lent_reference_hours: Mapping[str, float],
    borrowed_reference_hours: Mapping[str, float],
    decay: float = 0.0,
) -> dict[str, float]:
    """Karma credits after a round: what did not fade, plus what was lent, minus what was borrowed.

    Args:
        credits: before, by member; members that are missing have none.
        lent_reference_hours: work that others did on a member's machines.
        borrowed_reference_hours: work that a member did on machines of others.
        decay: share that fades in this round.

    Raises:
        ValueError: a decay of more than MOST_DECAY, or below 0.
    """
    if not 0 <= decay <= MOST_DECAY:
        raise ValueError(f"{decay:.0%} of the credits cannot fade; at most {MOST_DECAY:.0%} a quarter")
    members = sorted({*credits, *lent_reference_hours, *borrowed_reference_hours})
    return {
        member: credits.get(member, 0.0) * (1 - decay)
        + lent_reference_hours.get(member, 0.0)
        - borrowed_reference_hours.get(member, 0.0)
        for member in members
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class KarmaPeriod:
    """What members got in one period, and their credits after it."""

    allocated: Mapping[str, int]
    credits: Mapping[str, float]


def allocate(
    demands: Mapping[str, int], *, credits: Mapping[str, float], fair_share: int, guaranteed: float
) -> KarmaPeriod:
    """Share out slices of one resource for one period.

    Everybody has `guaranteed` (alpha) of its fair share at once and gets free credits for the rest. What is
    guaranteed and not used is donated. Borrowers with most credits are served first, a credit a slice;
    donors with fewest credits earn first.

    Args:
        demands: whole slices wanted, by member.
        credits: before the period.
        fair_share: slices of the resource for each member.
        guaranteed: alpha, the share of the fair share that nobody else can get; in [0, 1].

    Raises:
        ValueError: a negative demand or fair share, or alpha outside [0, 1].
    """
    if not 0 <= guaranteed <= 1 or fair_share < 0 or min(demands.values(), default=0) < 0:
        raise ValueError(f"cannot share out {dict(demands)} with {fair_share} each and alpha {guaranteed}")
    own = round(guaranteed * fair_share)
    left = {member: credits.get(member, 0.0) + fair_share - own for member in sorted(demands)}
    allocated = {member: min(demands[member], own) for member in left}
    donated = {member: own - allocated[member] for member in left}
    shared = len(left) * (fair_share - own)
    while True:
        borrowers = [member for member in left if allocated[member] < demands[member] and left[member] > 0]
        donors = [member for member in left if donated[member] > 0]
        if not borrowers or (not donors and not shared):
            return KarmaPeriod(allocated=allocated, credits=left)
        borrower = max(borrowers, key=lambda member: left[member])
        if donors:
            donor = min(donors, key=lambda member: left[member])
            left[donor] += 1
            donated[donor] -= 1
        else:
            shared -= 1
        allocated[borrower] += 1
        left[borrower] -= 1
