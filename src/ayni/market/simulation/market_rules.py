"""How the market is run in a replay, and how its members bid.

Not covered: the rules of one round, which are the clearing's own (`ayni.market.clearing_policy`).
"""

from dataclasses import dataclass, field, replace

from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.simulation.pool import SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRules:
    """How the market is run in a replay, and how members bid.

    slot_seconds: length of a slot, and a round at the start of each.
    horizon_hours: how far ahead slots are let.
    segment_hours: the longest lease of a job that can be suspended.
    lookahead_hours: how far ahead a job with slack books a place; None = as far as its slack reaches.
    Machines that idle now do not come back, so a job that books tomorrow's greener hour wastes today's.
    cap_share: the greenest share of the pool's machine-hours of the coming day that a job accepts at least as
    long as all of its slack is left (see `pacing`). None = any hours are accepted.
    move_saving: share of the carbon of the coming hours of a lease that a move must save; None = no moves.
    last_call_hours: with no more slack than this a job takes any place until its deadline.
    overdue_hours: how far ahead an overdue job looks.
    quarter_decay: Karma credits that fade in a quarter.
    """

    clearing: ClearingPolicy = field(default_factory=ClearingPolicy)
    slot_seconds: int = 1800
    horizon_hours: int = 48
    segment_hours: float = 24.0
    lookahead_hours: float | None = 0.0
    cap_share: float | None = 0.5
    move_saving: float | None = 0.1
    last_call_hours: float = 3.0
    overdue_hours: float = 6.0
    quarter_decay: float = 0.05

    def __post_init__(self) -> None:
        if self.slot_seconds < 1 or SECONDS_PER_HOUR % self.slot_seconds:
            raise ValueError(f"a slot of {self.slot_seconds} s is no whole part of an hour")
        if (
            not 0 < self.segment_hours <= self.horizon_hours
            or min(self.overdue_hours, self.last_call_hours) < 0
        ):
            raise ValueError(f"segments of {self.segment_hours} h in a horizon of {self.horizon_hours} h")
        if min(self.lookahead_hours or 0.0, self.move_saving or 0.0) < 0:
            raise ValueError(f"a look of {self.lookahead_hours} h ahead, moves that save {self.move_saving}")
        if self.cap_share is not None and not 0 < self.cap_share <= 1:
            raise ValueError(f"{self.cap_share} is no share of the machine-hours")

    @property
    def num_slots(self) -> int:
        """Slots of the horizon."""
        return round(self.horizon_hours * SECONDS_PER_HOUR / self.slot_seconds)


def carbon_blind(rules: MarketRules) -> MarketRules:
    """The same rules without a carbon charge, without caps and moves, and for the cheapest place."""
    clearing = replace(rules.clearing, carbon_microcredits_per_kilogram=0, greenest_within=None)
    return replace(rules, clearing=clearing, cap_share=None, move_saving=None)
