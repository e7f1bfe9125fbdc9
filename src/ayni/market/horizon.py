"""The time that a round of the market looks at, cut into slots, and carbon forecasts by slot.

Slot t is the half-open interval [start + t * slot, start + (t + 1) * slot). All times are UTC, where every
day has 24 hours; local clocks never enter the market.

After the last slot comes the tail: `tail_seconds` in which jobs that were begun may go on. It is one long
slot, so that two jobs in it are taken to be there at once, which can refuse too much and never too little.

Not covered: slots of unequal length.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECONDS_PER_HOUR = 3600.0

CarbonForecast = Mapping[str, Sequence[float]]
"""Grams of CO2e per kWh by zone, one value for each slot of a horizon; lists or arrays of floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """`num_slots` slots of `slot_seconds` from `start` on, and a tail."""

    start: datetime
    slot_seconds: int = 3600
    num_slots: int = 48
    tail_seconds: int = 0

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise ValueError(f"the horizon's start {self.start} has no time zone")
        if self.slot_seconds < 1 or self.num_slots < 1 or self.tail_seconds < 0:
            raise ValueError(f"{self.num_slots} slots of {self.slot_seconds} s are no horizon")
        object.__setattr__(self, "start", self.start.astimezone(UTC))

    @property
    def end(self) -> datetime:
        """The end of the last slot, where the tail begins."""
        return self.start + timedelta(seconds=self.slot_seconds * self.num_slots)

    @property
    def slot_hours(self) -> float:
        """Length of a slot in hours."""
        return self.slot_seconds / SECONDS_PER_HOUR

    def seconds_at(self, moment: datetime) -> float:
        """Seconds from the start of the horizon; negative before it."""
        return (moment - self.start).total_seconds()

    def first_slot_at(self, moment: datetime) -> int:
        """The first slot that begins at `moment` or later; at least 0."""
        return max(0, math.ceil(self.seconds_at(moment) / self.slot_seconds))

    def moment(self, slot: int) -> datetime:
        """When a slot begins."""
        return self.start + timedelta(seconds=slot * self.slot_seconds)


def check_carbon(carbon: CarbonForecast, *, horizon: Horizon) -> None:
    """Refuse a forecast with holes or of another length.

    Raises:
        ValueError: a zone has not one finite value of at least 0 for each slot.
    """
    for zone, values in carbon.items():
        if len(values) != horizon.num_slots:
            raise ValueError(f"{zone}: {len(values)} carbon intensities for {horizon.num_slots} slots")
        wrong = [value for value in values if not 0 <= value < math.inf]
        if wrong:
            raise ValueError(f"{zone}: {wrong[0]} g per kWh is no carbon intensity")


def falling_prices(horizon: Horizon, *, microcredits_a_slot: float) -> tuple[float, ...]:
    """Prices of slots that fall by so much from each to the next, to nothing; rising ones if it is negative.

    With prices that fall, who can wait leaves the early hours to who cannot: right where no bids come after
    this round. Where they keep coming, rising prices leave the late hours to them and waste none of the
    early ones. A thousandth of what a machine costs is enough, it decides among places that cost the same.
    """
    prices = [microcredits_a_slot * (horizon.num_slots - 1 - slot) for slot in range(horizon.num_slots)]
    return tuple(price - min(*prices, 0.0) for price in prices)


def check_slot_prices(prices: Sequence[float], *, horizon: Horizon) -> None:
    """Refuse prices of slots that are negative or of another number; none at all are allowed.

    Raises:
        ValueError: there are prices, and not one finite value of at least 0 for each slot.
    """
    if prices and len(prices) != horizon.num_slots:
        raise ValueError(f"{len(prices)} prices for {horizon.num_slots} slots")
    wrong = [price for price in prices if not (math.isfinite(price) and price >= 0)]
    if wrong:
        raise ValueError(f"{wrong[0]} micro-credits is no price of a slot")
