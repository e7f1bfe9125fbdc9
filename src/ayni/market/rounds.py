"""Values that go into a round of the market, and those that come out of it.

Not covered: how they are decided (`clearing`), and booking them (`ledger`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ayni.market.bids import Bid
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.horizon import CarbonForecast, Horizon
from ayni.market.offers import Offer
from ayni.market.options import Option

RefusalCode = Literal["no place", "outbid", "worth below cost", "carbon budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningLease:
    """Machines of an offer that are taken by work that runs: free again from `end` on."""

    id: str
    offer: str
    member: str
    machines: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRound:
    """All that a round looks at.

    bids are the jobs that wait, offers the capacity (clouds included), carbon the forecast of each zone. A
    zone without forecast is charged as the policy declares and meets no carbon cap. credits are Karma credits
    of members in reference-hours, 0 where not given. carbon_budgets are grams that members may still emit in
    their month, without limit where not given. fair_shares are shares of the pool that members are entitled
    to, 1 / members where not given. leases are machines that are taken. slot_prices are micro-credits that a
    machine of the reference class costs in each slot beside its ask, for all but its owner: what hours were
    worth in earlier rounds (see `bound`), so that who can wait leaves room for who cannot; empty = nothing.
    They may not depend on the bids of this round. seed breaks ties among bids.
    """

    bids: Sequence[Bid]
    offers: Sequence[Offer]
    horizon: Horizon
    carbon: CarbonForecast
    policy: ClearingPolicy = field(default_factory=ClearingPolicy)
    credits: Mapping[str, float] = field(default_factory=dict)
    carbon_budgets: Mapping[str, float] = field(default_factory=dict)
    fair_shares: Mapping[str, float] = field(default_factory=dict)
    leases: Sequence[RunningLease] = ()
    slot_prices: Sequence[float] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityRow:
    """Machines that are alike: one site, class, ask and owner. Offers that agree in all that share a row.

    capacity and used count machines by slot; the last entry is the tail. used includes running leases.
    """

    site: str
    machine_class: str
    member: str
    zone: str | None
    is_cloud: bool
    ask_microcredits_per_machine_hour: int
    offers: tuple[str, ...]
    capacity: tuple[int, ...]
    used: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What a bid got, and what it pays.

    seller is the member that the ask goes to. alone_microcredits is what the bid would cost on its member's
    own machines in this round, None where they could not take it; the payment is never above it.
    """

    bid: str
    member: str
    seller: str
    option: Option
    payment_microcredits: int
    alone_microcredits: int | None

    @property
    def seller_microcredits(self) -> int:
        """What the seller gets if the work is metered as planned."""
        return self.option.ask_microcredits

    @property
    def surplus_microcredits(self) -> int:
        """What is left beside the ask and the carbon charge; transfers and reruns are paid from it."""
        return self.payment_microcredits - self.option.ask_microcredits - self.option.carbon_microcredits


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A bid that got nothing in this round, and why, in a word and in a sentence."""

    bid: str
    member: str
    code: RefusalCode
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """The result of a round."""

    horizon: Horizon
    allocations: tuple[Allocation, ...]
    refused: tuple[Refusal, ...]
    rows: tuple[CapacityRow, ...]
    welfare_microcredits: int
    """Sum of worth minus cost over the allocations."""

    @property
    def payments(self) -> Mapping[str, int]:
        """What each bid pays, in micro-credits."""
        return {allocation.bid: allocation.payment_microcredits for allocation in self.allocations}

    @property
    def surplus_microcredits(self) -> int:
        """What the cooperative keeps of the round, never negative."""
        return sum(allocation.surplus_microcredits for allocation in self.allocations)
