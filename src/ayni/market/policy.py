"""What a pool declares about its credits: amounts and rates that are policy, not measurements.

Each has its reason beside it. Bounds that keep a cooperative one are checked here and cannot be declared
away: decay is at most 10 % a quarter, a grant at most a week of fair share.

Not covered: who may change a policy, and voting about it.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from ayni.units import MICROCREDITS_PER_CREDIT, microcredits_to_credits

LARGEST_DECAY = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditPolicy:
    """What a pool declares about its credits.

    money_per_credit: price of one credit in `currency`, for readers; nothing is booked in money.
    new_member_grant_microcredits: what a new member starts with; 100 credits are some 10,000 core-hours
    at the default ask, enough to begin before anything was lent.
    carbon_charge_microcredits_per_kilogram: charge on each kilogram of CO2e, to the climate fund.
    """

    currency: str = "EUR"
    money_per_credit: float = 1.0
    new_member_grant_microcredits: int = 100 * MICROCREDITS_PER_CREDIT
    carbon_charge_microcredits_per_kilogram: int = 0

    def __post_init__(self) -> None:
        amounts = (self.new_member_grant_microcredits, self.carbon_charge_microcredits_per_kilogram)
        if not self.money_per_credit > 0 or min(amounts) < 0:
            raise ValueError(f"a credit policy needs a rate above 0 and no negative amounts, not {self}")

    def money(self, microcredits: int) -> float:
        """An amount in `currency`, for people to read."""
        return microcredits_to_credits(microcredits) * self.money_per_credit

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodPolicy:
    """What the cooperative does at the end of a quarter.

    decay_share: of what a member has beyond the exempt amount, this share goes back to where grants come
    from; credits that lie idle would concentrate with the largest lenders. At most 0.1.
    decay_exempt_microcredits: what does not decay, so that small members keep what they need.
    """

    decay_share: float = 0.05
    decay_exempt_microcredits: int = 100 * MICROCREDITS_PER_CREDIT

    def __post_init__(self) -> None:
        if not 0 <= self.decay_share <= LARGEST_DECAY:
            raise ValueError(f"a decay of {self.decay_share} a quarter; it is from 0 to {LARGEST_DECAY}")
        if self.decay_exempt_microcredits < 0:
            raise ValueError(f"{self.decay_exempt_microcredits} micro-credits cannot be exempt from decay")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePolicy:
    """How leases are watched, verified and settled.

    heartbeat_seconds: a site that is silent for longer has lost the lease; three ticks, so that one lost
    message is no loss.
    start_seconds: how long after its start a site may need to begin.
    grace_seconds: from the owner's reclaim, or a window's end, to the stop: time to save a checkpoint.
    verification_share: of what a buyer pays beyond ask and carbon charge, this share pays for checks of work;
    the rest is surplus.
    least_check_rate: share of the work of the most trusted site that is checked all the same.
    trust_halves_at: passed checks after which half of a site's work is checked.
    """

    heartbeat_seconds: float = 180.0
    start_seconds: float = 600.0
    grace_seconds: float = 300.0
    verification_share: float = 0.25
    least_check_rate: float = 0.05
    trust_halves_at: int = 20

    def __post_init__(self) -> None:
        seconds = (self.heartbeat_seconds, self.start_seconds, self.grace_seconds)
        if not all(math.isfinite(each) and each > 0 for each in seconds):
            raise ValueError(f"the times of a lease policy are above 0 and finite, not {seconds}")
        if not 0 <= self.verification_share <= 1 or not 0 < self.least_check_rate <= 1:
            raise ValueError(
                f"a verification share of {self.verification_share} and a least rate of checks of "
                f"{self.least_check_rate}: both are shares, and the rate is above 0"
            )
        if self.trust_halves_at < 1:
            raise ValueError(f"trust that halves at {self.trust_halves_at} checks; at least 1")


def new_member_grant(policy: CreditPolicy, *, fair_share_week_microcredits: int) -> int:
    """What a new organisation is granted: the declared amount, at most a week of a member's fair share.

    More would be worth founding organisations for.
    """
    if fair_share_week_microcredits < 0:
        raise ValueError(f"a fair share of {fair_share_week_microcredits} micro-credits a week")
    return min(policy.new_member_grant_microcredits, fair_share_week_microcredits)
