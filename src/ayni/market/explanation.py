"""Why a bid got what it got, who stood in its way, and what worth or deadline would have won.

Everything said was tried. The least winning worth is that of the payment rule (`critical_values`); the least
deadline is found by clearing the round again with later ones; who gets something else if this bid is gone (a
winner), or would pay anything (a loser), is who waits behind or stood in its way.

Not covered: rounds to come, several changes at once, and whether the member could pay the worth.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ayni.market.bids import Bid
from ayni.market.clearing import ClearedRound, clear_round
from ayni.market.double_entry import LARGEST_AMOUNT
from ayni.market.rounds import Allocation, Clearing, MarketRound, Refusal
from ayni.units import microcredits_to_credits

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BidExplanation:
    """One bid in a round.

    placed and refused say what it got; one of them is None. least_worth_microcredits is the least with which
    it wins while the others stay as they are, None = none would do. least_deadline is the earliest by whole
    hours later that was found to win, for a bid that lost; None = it won, or none does up to the horizon's
    end. others are the bids that get something else without it (placed), or if it could pay anything
    (refused).
    """

    bid: Bid
    placed: Allocation | None
    refused: Refusal | None
    least_worth_microcredits: int | None
    least_deadline: datetime | None
    others: tuple[Bid, ...]

    @property
    def reason(self) -> str:
        """All of it in a few sentences."""
        names = ", ".join(bid.id for bid in self.others)
        if self.placed is not None:
            return self._why_placed(self.placed, names)
        assert self.refused is not None
        told = [self.refused.reason]
        if names:
            told.append(f"In its way: {names}.")
        if self.least_worth_microcredits is None:
            told.append("No worth would have won.")
        else:
            told.append(
                f"It wins from {microcredits_to_credits(self.least_worth_microcredits):g} credits on."
            )
        if self.least_deadline is not None:
            told.append(f"So it does with a deadline of {self.least_deadline.isoformat()}.")
        return " ".join(told)

    def _why_placed(self, placed: Allocation, names: str) -> str:
        option = placed.option
        paid = microcredits_to_credits(placed.payment_microcredits)
        cost = microcredits_to_credits(option.reserve_microcredits)
        where = f"{option.machines} of {option.machine_class} at {option.site}"
        if placed.payment_microcredits <= option.reserve_microcredits:
            return f"It got {where}, the best place that was free, at its cost of {cost:g} credits."
        behind = f" Behind it: {names}." if names else ""
        return (
            f"It got {where}, the best place that was free. It pays {paid:g} credits, the least that wins "
            f"against the others, and the place costs {cost:g}.{behind}"
        )


def explain_bid(market: MarketRound, bid: str, *, cleared: ClearedRound | None = None) -> BidExplanation:
    """Why the bid with this id got what it gets in a round. Cost: about a dozen rounds.

    Args:
        market: the round.
        bid: an id.
        cleared: what `clear_round(market)` returned, if it is at hand.

    Raises:
        ValueError: no bid of the round has this id.
    """
    number = next((index for index, each in enumerate(market.bids) if each.id == bid), None)
    if number is None:
        raise ValueError(f"no bid {bid!r} is in the round; it has {len(market.bids)} others")
    known = clear_round(market) if cleared is None else cleared
    asked, placed = market.bids[number], _placed(known.result, bid)
    if placed is None:
        changed = clear_round(_with(market, number, _eager(asked))).result
    else:
        changed = clear_round(replace(market, bids=[each for each in market.bids if each.id != bid])).result
    least = known.auction.winning_limit(number)
    return BidExplanation(
        bid=asked,
        placed=placed,
        refused=next((each for each in known.result.refused if each.bid == bid), None),
        least_worth_microcredits=least if placed is None else placed.payment_microcredits,
        least_deadline=_least_deadline(market, number) if placed is None else None,
        others=tuple(
            each for each in market.bids if each.id != bid and _differs(known.result, changed, each.id)
        ),
    )


def _eager(bid: Bid) -> Bid:
    return replace(bid, worth_microcredits=LARGEST_AMOUNT, budget_microcredits=None)


def _with(market: MarketRound, number: int, bid: Bid) -> MarketRound:
    return replace(market, bids=[*market.bids[:number], bid, *market.bids[number + 1 :]])


def _least_deadline(market: MarketRound, number: int) -> datetime | None:
    """By doubling, then halving; a deadline in between that wins by chance may be passed over."""
    failed, bid = 0, market.bids[number]
    for hours in _doubling(market, bid):
        if _wins_later(market, number, hours):
            return bid.deadline + _halved(market, number, failed=failed, won=hours) * HOUR
        failed = hours
    return None


def _doubling(market: MarketRound, bid: Bid) -> Iterator[int]:
    """1, 2, 4, ... hours, and last as many as the round looks ahead."""
    end = market.horizon.end + timedelta(seconds=market.horizon.tail_seconds)
    most, hours = (end - bid.deadline) // HOUR, 1
    while hours < most:
        yield hours
        hours *= 2
    if most > 0:
        yield most


def _halved(market: MarketRound, number: int, *, failed: int, won: int) -> int:
    """Hours that win, next to hours that do not."""
    while won - failed > 1:
        middle = (won + failed) // 2
        won, failed = (middle, failed) if _wins_later(market, number, middle) else (won, middle)
    return won


def _wins_later(market: MarketRound, number: int, hours: int) -> bool:
    bid = market.bids[number]
    later = replace(bid, deadline=bid.deadline + hours * HOUR)
    return _placed(clear_round(_with(market, number, later)).result, bid.id) is not None


def _placed(result: Clearing, bid: str) -> Allocation | None:
    return next((each for each in result.allocations if each.bid == bid), None)


def _differs(before: Clearing, after: Clearing, bid: str) -> bool:
    """Whether a bid has another place, or none instead of one, or one instead of none."""
    places = [_placed(each, bid) for each in (before, after)]
    first, second = (None if each is None else (each.option.offer, each.option.pieces) for each in places)
    return first != second
