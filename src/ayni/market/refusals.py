"""Why a bid got nothing, in a word and in a sentence that says what to change.

Not covered: who was preferred and what worth would have won; that is `explanation`.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ayni.market.bids import Bid
from ayni.market.compiled import fast
from ayni.market.rounds import MarketRound, Refusal, RefusalCode
from ayni.units import microcredits_to_credits

if TYPE_CHECKING:
    from ayni.market.auction import Auction


def refusal_of(market: MarketRound, auction: "Auction", number: int) -> Refusal:
    """The refusal of the bid with this number."""
    bid = market.bids[number]
    code, reason = _why(market, auction, number)
    return Refusal(bid=bid.id, member=bid.member, code=code, reason=reason)


def _why(market: MarketRound, auction: "Auction", number: int) -> tuple[RefusalCode, str]:
    bid = market.bids[number]
    least = cheapest_reserve(auction, number)
    if least is None:
        return "no place", _no_place(market, auction, number)
    if least > bid.limit_microcredits:
        return "worth below cost", (
            f"The cheapest place costs {microcredits_to_credits(least):g} credits and the bid pays at most "
            f"{microcredits_to_credits(bid.limit_microcredits):g}."
        )
    if auction.choices.notes[number]["was_over_budget"]:
        left = float(auction.end.grams_left_M[auction.arrays.facts.bids[number]["member"]])
        return "carbon budget", (
            f"What it could pay for emits more than the {left:.0f} g that are left of {bid.member}'s budget."
        )
    return "outbid", "Every place that it could pay for went to bids of more worth for their work."


def cheapest_reserve(auction: "Auction", number: int) -> int | None:
    """The least that any place would have cost as the round began; None = there was none."""
    from ayni.market.free_machines import machines_of
    from ayni.market.place_search import make_room, no_places, search_all
    from ayni.market.round_arrays import NO_COST

    facts, best = auction.contest.facts, no_places(1)
    find = fast(search_all, work=auction.work)
    find(facts, machines_of(facts.free_RT), math.inf, number, 0, NO_COST, make_room(facts), best)
    least = int(best[0]["cost"])
    if least == NO_COST:
        return None
    return max(least, int(facts.bids[number]["equal_cost"]))


def _no_place(market: MarketRound, auction: "Auction", number: int) -> str:
    """The first of the bid's conditions that nothing on offer meets."""
    bid, arrays = market.bids[number], auction.arrays
    ratio_R = arrays.facts.ratio_SR[arrays.facts.bids[number]["pattern"]]
    allowed = [row for row in range(len(ratio_R)) if ratio_R[row] > 0]
    if not allowed:
        return _no_allowed_row(market, bid)
    most_free_R = arrays.facts.rows["most_free"]
    largest = max(allowed, key=lambda row: int(most_free_R[row]))
    machines = int(most_free_R[largest])
    if machines < bid.gang:
        offer = arrays.row_offers[largest][0]
        return (
            f"It needs {bid.gang} machines at once. The most that is free where it may run is {machines}, of "
            f"class {offer.machine_class.name!r} at {offer.site!r}.{_who_would_hold(auction, bid, allowed)}"
        )
    hours = min(bid.work_reference_hours / (bid.gang * float(ratio_R[row])) for row in allowed)
    window = (bid.deadline - max(bid.release, market.horizon.start)).total_seconds() / 3600
    if hours > window:
        return f"It takes {hours:.1f} hours on the fastest machines and has {window:.1f} until its deadline."
    if bid.carbon_cap_grams is not None:
        return (
            f"No place that is free for {hours:.1f} hours or more in its time keeps its carbon cap of "
            f"{bid.carbon_cap_grams:g} g."
        )
    return f"No place has {bid.gang} machines free for as long as it takes before its deadline."


def _who_would_hold(auction: "Auction", bid: Bid, allowed: Sequence[int]) -> str:
    """The largest site that has enough machines and cannot give them now, or may not."""
    arrays = auction.arrays
    most_R = arrays.capacity_RT.max(axis=1, initial=0)
    able = [row for row in range(len(most_R)) if most_R[row] >= bid.gang]
    if not able:
        return " No site on offer has so many."
    row = max(able, key=lambda row: (row in allowed, int(most_R[row])))
    offer, machines = arrays.row_offers[row][0], int(most_R[row])
    why = "they are taken" if row in allowed else "its classes, kind of work or residency rule them out"
    return f" {offer.site!r} has {machines} of class {offer.machine_class.name!r}, but {why}."


def _no_allowed_row(market: MarketRound, bid: Bid) -> str:
    classes = {offer.machine_class.name for offer in market.offers}
    if not market.offers:
        return "Nothing is offered."
    if bid.classes and not classes & set(bid.classes):
        return f"It wants machines of {', '.join(bid.classes)}. On offer are {', '.join(sorted(classes))}."
    if not any(offer.machine_class.throughput(bid.work_kind) for offer in market.offers):
        return f"No machine class on offer says how fast it does work of the kind {bid.work_kind!r}."
    places = ", ".join(sorted(bid.residency or ()))
    return f"No machines of the classes it may use are offered where its data may be ({places})."
