"""A round of the market: offers and bids go in; who runs where, when and for how much comes out.

    1  members that own machines take turns, those with the cheapest first; until its turn a member's machines
       are held for it, whatever its bids are worth (entitlement)
    2  all others, greedy by weight * worth / work ** exponent: each bid takes the cheapest place and hours
       that are free (ask, carbon charge, transfer, expected rerun and the prices of slots), gangs whole or
       not at all
    3  payments: the least worth with which each winner still wins, never below ask and carbon charge
    4  sellers get their ask times the metered work; the rest is the cooperative's surplus

Promises, for members with one bid in a round: bidding what a job is worth is best, nobody pays more than the
bid or more than it would cost on the own machines, payments cover asks and carbon charges, and machines are
never promised twice. Not promised: sellers can gain by asking more than their cost, and members with several
bids by shading some; both are measured (docs/market.md). No mechanism can have it all: Myerson and
Satterthwaite, "Efficient mechanisms for bilateral trading", Journal of Economic Theory 29, 1983.

A pure function: clock and prices are arguments, ties are broken by the seed. Needs numpy, and numba for large
rounds. Not covered: booking and metering (`ledger`), and what a bid gains by waiting for another round.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ayni.errors import MissingExtraError
from ayni.market.bids import Bid, check_bids
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.horizon import CarbonForecast, Horizon, check_carbon, check_slot_prices
from ayni.market.karma import weight_of
from ayni.market.offers import Offer, check_offers
from ayni.market.options import Option
from ayni.market.rounds import Allocation, CapacityRow, Clearing, MarketRound, Refusal, RunningLease

if TYPE_CHECKING:
    from ayni.market.auction import Auction
    from ayni.market.round_arrays import Integers, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedRound:
    """A round, what was decided on its arrays, and the result: for explanations and bounds."""

    market: MarketRound
    auction: "Auction"
    result: Clearing


def clear(
    bids: Sequence[Bid],
    offers: Sequence[Offer],
    *,
    horizon: Horizon,
    carbon: CarbonForecast,
    policy: ClearingPolicy | None = None,
    credits: Mapping[str, float] | None = None,
    carbon_budgets: Mapping[str, float] | None = None,
    fair_shares: Mapping[str, float] | None = None,
    leases: Sequence[RunningLease] = (),
    slot_prices: Sequence[float] = (),
    seed: int = 0,
    num_threads: int = 1,
    says_why: bool = True,
) -> Clearing:
    """Clear one round; see `MarketRound` for the arguments. num_threads does not change the result.

    Without `says_why` refusals are left out of the result: to find a reason for each takes longer than to
    clear a round in which many are refused.

    Raises:
        InvalidBidError, DeadlinePassedError: a bid that no round should see.
        InvalidOfferError, OverlappingOffersError: an offer that no round should see.
        ValueError: a forecast that does not fit the horizon.
        MissingExtraError: numpy is not installed, or the round is large and numba is not.
    """
    market = MarketRound(
        bids=bids,
        offers=offers,
        horizon=horizon,
        carbon=carbon,
        policy=policy or ClearingPolicy(),
        credits=credits or {},
        carbon_budgets=carbon_budgets or {},
        fair_shares=fair_shares or {},
        leases=leases,
        slot_prices=slot_prices,
        seed=seed,
    )
    return clear_round(market, num_threads=num_threads, says_why=says_why).result


def clear_round(market: MarketRound, *, num_threads: int = 1, says_why: bool = True) -> ClearedRound:
    """As `clear`, with the arrays of the round beside the result."""
    check_bids(market.bids, now=market.horizon.start)
    check_offers(market.offers)
    check_carbon(market.carbon, horizon=market.horizon)
    check_slot_prices(market.slot_prices, horizon=market.horizon)
    try:
        from ayni.market.auction import hold_auction
        from ayni.market.round_arrays import make_round_arrays
    except ImportError as error:
        raise MissingExtraError(extra="market", package="numpy") from error
    auction = hold_auction(
        market,
        make_round_arrays(market),
        weights=_weights(market),
        ties=[tie_break(bid.id, seed=market.seed) for bid in market.bids],
        num_threads=num_threads,
    )
    return ClearedRound(market=market, auction=auction, result=_result(market, auction, says_why=says_why))


def _weights(market: MarketRound) -> list[float]:
    """Those of the bids, which are their members'."""
    members = {bid.member for bid in market.bids}
    of = {name: weight_of(market.credits.get(name, 0.0), policy=market.policy) for name in members}
    return [of[bid.member] for bid in market.bids]


def tie_break(bid: str, *, seed: int) -> bytes:
    """What decides among bids with one key: fair over seeds, and the same for the same seed."""
    return hashlib.sha256(f"{seed}:{bid}".encode()).digest()


def _result(market: MarketRound, auction: "Auction", *, says_why: bool) -> Clearing:
    from ayni.market.greedy import NOT_TAKEN
    from ayni.market.refusals import refusal_of

    allocations: list[Allocation] = []
    refused: list[Refusal] = []
    kinds = auction.choices.notes["kind"].tolist()
    for number, (bid, kind) in enumerate(zip(market.bids, kinds, strict=True)):
        if kind == NOT_TAKEN:
            if says_why:
                refused.append(refusal_of(market, auction, number))
            continue
        option = make_option(market, auction, auction.choices.places[number], number=number)
        alone = int(auction.own_N[number]["cost"])
        allocations.append(
            Allocation(
                bid=bid.id,
                member=bid.member,
                seller=auction.arrays.row_offers[option.row][0].member,
                option=option,
                payment_microcredits=int(auction.payment_N[number]),
                alone_microcredits=alone if auction.own_N[number]["row"] >= 0 else None,
            )
        )
    worths = {bid.id: bid.limit_microcredits for bid in market.bids}
    return Clearing(
        horizon=market.horizon,
        allocations=tuple(allocations),
        refused=tuple(refused),
        rows=_rows(auction),
        welfare_microcredits=sum(
            worths[allocation.bid] - allocation.option.cost_microcredits for allocation in allocations
        ),
    )


def make_option(market: MarketRound, auction: "Auction", place: "Record", *, number: int) -> Option:
    """One place as a value, for the bid with this number."""
    from ayni.market.greedy import reserve_of
    from ayni.market.place_costs import to_whole

    # All fields at once, in the order of PLACES: each look at one alone takes a third as long.
    row, _, num_pieces, starts, ends, hours, grams, _, _ = place.item()
    arrays, bid = auction.arrays, market.bids[number]
    facts, offer = arrays.facts, arrays.row_offers[row][0]
    ask = to_whole(bid.gang * hours * offer.ask_microcredits_per_machine_hour)
    pieces = zip(starts[:num_pieces].tolist(), ends[:num_pieces].tolist(), strict=True)
    transfer = 0.0 if offer.member == bid.member else float(facts.bids[number]["transfer"])
    return Option(
        bid=bid.id,
        row=row,
        offer=offer.id,
        site=offer.site,
        machine_class=offer.machine_class.name,
        machines=bid.gang,
        pieces=tuple(pieces),
        hours=hours,
        ask_microcredits=ask,
        grams=grams if offer.zone in market.carbon else None,
        carbon_microcredits=to_whole(grams * float(facts.settings[0]["carbon_per_gram"])),
        transfer_microcredits=to_whole(transfer),
        rerun_microcredits=to_whole(float(facts.rows[row]["rerun_share"]) * ask),
        reserve_microcredits=int(reserve_of(facts, place, number)),
    )


def _rows(auction: "Auction") -> tuple[CapacityRow, ...]:
    arrays = auction.arrays
    used_RT = arrays.leased_RT + _machines_taken(auction)
    return tuple(
        CapacityRow(
            site=group[0].site,
            machine_class=group[0].machine_class.name,
            member=group[0].member,
            zone=group[0].zone,
            is_cloud=group[0].is_cloud,
            ask_microcredits_per_machine_hour=group[0].ask_microcredits_per_machine_hour,
            offers=tuple(offer.id for offer in group),
            capacity=tuple(arrays.capacity_RT[row].tolist()),
            used=tuple(used_RT[row].tolist()),
        )
        for row, group in enumerate(arrays.row_offers)
    )


def _machines_taken(auction: "Auction") -> "Integers":
    """Machines that the round gave away, by row and slot, counted from the choices."""
    from ayni.market.greedy import TAKEN

    is_taken_N, taken_RT = auction.choices.notes["kind"] == TAKEN, auction.arrays.capacity_RT * 0
    places, gangs = auction.choices.places[is_taken_N], auction.arrays.facts.bids["gang"][is_taken_N].tolist()
    columns = (places[name].tolist() for name in ("row", "num_pieces", "starts", "ends"))
    for gang, row, num_pieces, starts, ends in zip(gangs, *columns, strict=True):
        for start, end in zip(starts[:num_pieces], ends[:num_pieces], strict=True):
            taken_RT[row, start:end] += gang
    return taken_RT
