"""What a pool declares about its rounds: what carbon costs, who goes first, and what is fair.

Not covered: grants, decay and dividends, which are policy of the ledger.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingPolicy:
    """The rules of a round. The defaults are those of the recommended mechanism.

    carbon_microcredits_per_kilogram: charge that breaks ties between places and hours; 190,000 = 190 credits
    a tonne, near the social cost of carbon of the US EPA (2023) if a credit is a dollar.
    grams_per_kwh_where_unknown: what is charged where a zone is not known; a coal grid, so that hiding the
    zone never pays. A carbon cap is never met by an unknown zone.
    transfer_microcredits_per_gigabyte: for data that travels to another member's site.
    own_first: whether members have their own machines before others (no member is worse off than alone).
    uses_credits: whether members with Karma credits go first (weights of 1/2 to 2).
    credit_scale_reference_hours: Karma credits that double a member's weight.
    share_cap: times its fair share that a member gets on machines of others while others wait; None = no cap.
    greenest_within: take the least carbon among options at most this share dearer than the cheapest (0.1 =
    10 %); None = the cheapest.
    restart_hours: machine time lost by each stop of a job that is suspended.
    size_exponent: bids go in the order of worth over work to this power. 0.5 has the best guarantee for the
    worst case (Lehmann, O'Callaghan and Shoham, 2002). Less lets large jobs go sooner, which pools of few
    machines gain by; more lets dense ones go sooner, and leaves wide gangs without a place.
    wide_gangs_wait: whether gangs that take more than half of a row are promised hours there first, which are
    chosen when all bids had their turns (`lanes`). More of them fit; each pays at least what the dearest
    hours of the row would cost it. Rounds of at most 1,000 bids; not together with greenest_within.
    """

    carbon_microcredits_per_kilogram: int = 190_000
    grams_per_kwh_where_unknown: float = 1000.0
    transfer_microcredits_per_gigabyte: int = 0
    own_first: bool = True
    uses_credits: bool = True
    credit_scale_reference_hours: float = 100.0
    share_cap: float | None = None
    greenest_within: float | None = None
    restart_hours: float = 0.1
    size_exponent: float = 0.5
    wide_gangs_wait: bool = False

    def __post_init__(self) -> None:
        amounts = (
            self.carbon_microcredits_per_kilogram,
            self.grams_per_kwh_where_unknown,
            self.transfer_microcredits_per_gigabyte,
            self.restart_hours,
            self.share_cap or 0.0,
            self.greenest_within or 0.0,
            self.size_exponent,
        )
        if not all(math.isfinite(amount) and amount >= 0 for amount in amounts):
            raise ValueError(f"a policy has no negative amounts: {self}")
        if not self.credit_scale_reference_hours > 0:
            raise ValueError("the scale of credits must be above 0")
