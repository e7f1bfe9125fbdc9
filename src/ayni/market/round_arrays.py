"""A round of the market as arrays: capacity rows, bids, and the carbon of the hours.

Shapes: R rows, T slots (index T is the tail), N bids, Z zones, M members, S patterns of rows that a bid may
use (kind of work, classes and residency together).

Offers that agree in site, class, owner, ask, zone, PUE, reliability and source become one row, so that a gang
may span them. Not covered: a gang that spans rows, for example machines of one site with different asks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ayni.market.bids import Bid
from ayni.market.horizon import Horizon
from ayni.market.offers import Offer
from ayni.market.rounds import MarketRound, RunningLease

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

UNKNOWN_ZONE = 0
"""Index of the zone that stands for all that have no forecast."""
WHOLE_SLOT_TOLERANCE = 1e-9


class RowArrays(NamedTuple):
    """Capacity rows. free_RT counts machines that running leases leave, the tail last."""

    free_RT: Integers
    member_R: Integers
    zone_R: Integers
    ask_R: Floats
    kilowatts_R: Floats
    rerun_share_R: Floats


class BidArrays(NamedTuple):
    """Bids. first_N and last_N bound the work in slots; cap_N is infinite without a cap."""

    limit_N: Integers
    gang_N: Integers
    work_N: Floats
    first_N: Integers
    last_N: Floats
    cap_N: Floats
    transfer_N: Floats
    member_N: Integers
    pattern_N: Integers
    suspends_N: Integers


class PatternArrays(NamedTuple):
    """Which rows a pattern allows: throughput ratio (0 = not allowed), and rows by their ask for the work.

    rank_SR is the place of a row in order_SR.
    """

    ratio_SR: Floats
    order_SR: Integers
    rank_SR: Integers
    num_S: Integers


class TimeArrays(NamedTuple):
    """Carbon and time. cumulative_ZT[z, t] = grams of a kilowatt from slot 0 until slot t begins.

    greenest_ZT lists the slots of a zone from green to dark, those of one intensity in their order.
    """

    cumulative_ZT: Floats
    greenest_ZT: Integers
    tail_rate_Z: Floats
    slot_hours: float
    num_slots: int
    tail_slots: float
    carbon_per_gram: float
    restart_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundArrays:
    """All arrays of a round, and the values that their indices stand for."""

    members: tuple[str, ...]
    row_offers: tuple[tuple[Offer, ...], ...]
    zones: tuple[str | None, ...]
    capacity_RT: Integers
    leased_RT: Integers
    rows: RowArrays
    bids: BidArrays
    patterns: PatternArrays
    times: TimeArrays


def make_round_arrays(market: MarketRound) -> RoundArrays:
    """Turn the values of a round into arrays."""
    horizon = market.horizon
    row_offers = _group(market.offers)
    members = tuple(sorted({offer.member for offer in market.offers} | {bid.member for bid in market.bids}))
    member_index = {member: index for index, member in enumerate(members)}
    zones: tuple[str | None, ...] = (None, *sorted(market.carbon))
    zone_index = {zone: index for index, zone in enumerate(zones)}
    capacity_RT = _capacity(row_offers, horizon)
    leased_RT = _leased(row_offers, market.leases, horizon)
    first = [group[0] for group in row_offers]
    rows = RowArrays(
        free_RT=np.maximum(capacity_RT - leased_RT, 0),
        member_R=_whole(member_index[offer.member] for offer in first),
        zone_R=_whole(zone_index.get(offer.zone, UNKNOWN_ZONE) for offer in first),
        ask_R=_real(offer.ask_microcredits_per_machine_hour for offer in first),
        kilowatts_R=_real(offer.machine_class.watts * offer.pue / 1000 for offer in first),
        rerun_share_R=_real(1 - offer.reliability for offer in first),
    )
    patterns, pattern_N = _patterns(market.bids, first, rows.ask_R)
    return RoundArrays(
        members=members,
        row_offers=row_offers,
        zones=zones,
        capacity_RT=capacity_RT,
        leased_RT=leased_RT,
        rows=rows,
        bids=_bid_arrays(market, member_index, pattern_N),
        patterns=patterns,
        times=_time_arrays(zones, market),
    )


def _whole(values: Iterable[int]) -> Integers:
    return np.fromiter(values, dtype=np.int64)


def _real(values: Iterable[float]) -> Floats:
    return np.fromiter(values, dtype=np.float64)


def _group(offers: Sequence[Offer]) -> tuple[tuple[Offer, ...], ...]:
    groups: dict[tuple[object, ...], list[Offer]] = {}
    for offer in sorted(offers, key=lambda offer: offer.id):
        key = (
            offer.site,
            offer.machine_class.name,
            offer.member,
            offer.ask_microcredits_per_machine_hour,
            offer.zone,
            offer.pue,
            offer.reliability,
            offer.source,
        )
        groups.setdefault(key, []).append(offer)
    return tuple(tuple(group) for group in groups.values())


def _capacity(row_offers: Sequence[Sequence[Offer]], horizon: Horizon) -> Integers:
    """Machines whose windows cover a whole slot, by row and slot; the tail counts who stays through it."""
    capacity_RT = np.zeros((len(row_offers), horizon.num_slots + 1), dtype=np.int64)
    tail_end = horizon.end + timedelta(seconds=horizon.tail_seconds)
    for row, group in enumerate(row_offers):
        for offer in group:
            for start, end in offer.windows:
                first = horizon.first_slot_at(start)
                last = int(min(max(0, horizon.seconds_at(end) // horizon.slot_seconds), horizon.num_slots))
                if last > first:
                    capacity_RT[row, first:last] += offer.count
                if horizon.tail_seconds and start <= horizon.end and end >= tail_end:
                    capacity_RT[row, -1] += offer.count
    return capacity_RT


def _leased(
    row_offers: Sequence[Sequence[Offer]], leases: Sequence[RunningLease], horizon: Horizon
) -> Integers:
    """Machines that leases hold in any part of a slot."""
    row_of = {offer.id: row for row, group in enumerate(row_offers) for offer in group}
    leased_RT = np.zeros((len(row_offers), horizon.num_slots + 1), dtype=np.int64)
    for lease in leases:
        row = row_of.get(lease.offer)
        if row is None:
            continue
        first = int(max(0, horizon.seconds_at(lease.start) // horizon.slot_seconds))
        last = min(horizon.first_slot_at(lease.end), horizon.num_slots + 1)
        leased_RT[row, first:last] += lease.machines
    return leased_RT


def _patterns(
    bids: Sequence[Bid], row_offers: Sequence[Offer], ask_R: Floats
) -> tuple[PatternArrays, Integers]:
    index: dict[tuple[object, ...], int] = {}
    pattern_N = np.zeros(len(bids), dtype=np.int64)
    ratios: list[Floats] = []
    for number, bid in enumerate(bids):
        key = (bid.work_kind, bid.classes, bid.residency)
        if key not in index:
            index[key] = len(ratios)
            ratios.append(_real(_ratio(bid, offer) for offer in row_offers))
        pattern_N[number] = index[key]
    ratio_SR = np.array(ratios, dtype=np.float64).reshape(len(ratios), len(row_offers))
    price_SR = np.full_like(ratio_SR, np.inf)
    np.divide(ask_R, ratio_SR, out=price_SR, where=ratio_SR > 0)
    order_SR = np.argsort(price_SR, axis=1, kind="stable").astype(np.int64)
    num_S = (ratio_SR > 0).sum(axis=1).astype(np.int64)
    rank_SR = np.argsort(order_SR, axis=1, kind="stable").astype(np.int64)
    return PatternArrays(ratio_SR=ratio_SR, order_SR=order_SR, rank_SR=rank_SR, num_S=num_S), pattern_N


def _ratio(bid: Bid, offer: Offer) -> float:
    """The throughput of the offer's machines for the bid; 0 where it may not or cannot run."""
    machine_class = offer.machine_class
    if bid.classes and machine_class.name not in bid.classes:
        return 0.0
    return (machine_class.throughput(bid.work_kind) or 0.0) if bid.may_be_in(offer.zone) else 0.0


def _bid_arrays(market: MarketRound, member_index: Mapping[str, int], pattern_N: Integers) -> BidArrays:
    horizon, bids = market.horizon, market.bids
    per_gigabyte = market.policy.transfer_microcredits_per_gigabyte
    caps = (np.inf if bid.carbon_cap_grams is None else bid.carbon_cap_grams for bid in bids)
    return BidArrays(
        limit_N=_whole(bid.limit_microcredits for bid in bids),
        gang_N=_whole(bid.gang for bid in bids),
        work_N=_real(bid.work_reference_hours for bid in bids),
        first_N=_whole(horizon.first_slot_at(bid.release) for bid in bids),
        last_N=_real(horizon.seconds_at(bid.deadline) / horizon.slot_seconds for bid in bids),
        cap_N=_real(caps),
        transfer_N=_real(bid.data_gigabytes * per_gigabyte for bid in bids),
        member_N=_whole(member_index[bid.member] for bid in bids),
        pattern_N=pattern_N,
        suspends_N=_whole(bid.can_suspend for bid in bids),
    )


def _time_arrays(zones: Sequence[str | None], market: MarketRound) -> TimeArrays:
    horizon, policy = market.horizon, market.policy
    unknown = np.full(horizon.num_slots, policy.grams_per_kwh_where_unknown)
    rates_ZT = np.array(
        [unknown if zone is None else np.asarray(market.carbon[zone], dtype=np.float64) for zone in zones]
    )
    cumulative_ZT = np.zeros((len(zones), horizon.num_slots + 1))
    cumulative_ZT[:, 1:] = np.cumsum(rates_ZT, axis=1) * horizon.slot_hours
    return TimeArrays(
        cumulative_ZT=cumulative_ZT,
        greenest_ZT=np.argsort(rates_ZT, axis=1, kind="stable").astype(np.int64),
        tail_rate_Z=rates_ZT.mean(axis=1),
        slot_hours=horizon.slot_hours,
        num_slots=horizon.num_slots,
        tail_slots=horizon.tail_seconds / horizon.slot_seconds,
        carbon_per_gram=policy.carbon_microcredits_per_kilogram / 1000,
        restart_hours=policy.restart_hours,
    )
