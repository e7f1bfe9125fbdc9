"""A round of the market as arrays: capacity rows, bids, and the carbon of the hours.

Columns that belong to one thing are one array of records, such as `facts.bids[bid]["limit"]`: what a kernel
is handed is a few arrays then, which it costs little to pass on.

Shapes: R rows, T slots (index T is the tail), N bids, Z zones, M members, S patterns of rows that a bid may
use (kind of work, classes and residency together), L leases.

Offers that agree in site, class, owner, ask, zone, PUE, reliability and source become one row, so that a gang
may span them. Not covered: a gang that spans rows, for example machines of one site with different asks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ayni.market.bids import Bid
from ayni.market.horizon import Horizon
from ayni.market.offers import Offer
from ayni.market.rounds import MarketRound, RunningLease

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]
Record = Any
"""One record of such an array; numpy has no type for its fields."""

UNKNOWN_ZONE = 0
"""Index of the zone that stands for all that have no forecast."""
WHOLE_SLOT_TOLERANCE = 1e-9
MAX_PIECES = 6
"""Runs of slots in which suspended work may be done."""
NO_ROW = -1
NO_COST = 2**62
"""Micro-credits above all that anything can cost: says that there is no place."""

ROWS = np.dtype(
    [
        ("member", np.int64),
        ("zone", np.int64),
        ("ask", np.float64),  # micro-credits for a machine and an hour
        ("kilowatts", np.float64),  # of a machine, with PUE
        ("rerun_share", np.float64),
        ("most_free", np.int64),  # machines in its best slot
    ],
    align=True,
)
BIDS = np.dtype(
    [
        ("limit", np.int64),  # the most that it can pay
        ("gang", np.int64),
        ("work", np.float64),  # reference-hours of the whole gang
        ("first", np.int64),  # its first slot
        ("last", np.float64),  # its deadline in slots
        ("cap", np.float64),  # grams, infinite without a cap
        ("transfer", np.float64),
        ("member", np.int64),
        ("pattern", np.int64),
        ("suspends", np.int64),
        ("may_rest", np.int64),  # it may be suspended, and its time has slots to rest in
        ("goes_first", np.int64),  # by right of its member's own machines, see `own_machines_first`
        ("can_wait", np.int64),  # its hours may be chosen at last, see `lanes`
        ("equal_cost", np.int64),  # up to which places count as equal to the cheapest; -1 = none do
        ("scale", np.float64),  # these three make its place in the order, see `greedy.key_of`
        ("offset", np.float64),
        ("tie", np.int64),
    ],
    align=True,
)
PATTERNS = np.dtype(
    [("num_rows", np.int64), ("least_ratio", np.float64), ("most_ratio", np.float64)], align=True
)
ZONES = np.dtype(
    [("tail_rate", np.float64), ("least_rate", np.float64), ("most_rate", np.float64)], align=True
)
SETTINGS = np.dtype(
    [
        ("num_slots", np.int64),
        ("slot_hours", np.float64),
        ("tail_slots", np.float64),
        ("carbon_per_gram", np.float64),
        ("restart_hours", np.float64),
        ("most_charge", np.float64),  # the dearest carbon of a machine and an hour in any row
        ("most_rerun", np.float64),
        ("nothing_known", np.int64),  # these two are arguments of searches, see `place_search.search_all`
        ("any_cost", np.int64),
        ("most_slot_price", np.float64),
        ("has_lanes", np.int64),
    ],
    align=True,
)
PLACES = np.dtype(
    [
        ("row", np.int64),  # NO_ROW = no place
        ("rank", np.int64),  # of the row for the bid; -1, before all, for own machines that go first
        ("num_pieces", np.int64),  # 0 = hours of the row that are chosen at last, see `lanes`
        ("starts", np.int64, (MAX_PIECES,)),
        ("ends", np.int64, (MAX_PIECES,)),
        ("hours", np.float64),
        ("grams", np.float64),
        ("cost", np.int64),
        ("group", np.int64),  # 0 = counts as equal to the cheapest
    ],
    align=True,
)


class Facts(NamedTuple):
    """What does not change in a round.

    free_RT counts machines that running leases leave, the tail last. ratio_SR is the throughput of rows for
    the work of a pattern (0 = not allowed), order_SR lists rows by their ask for it, rank_SR is a row's place
    in that. cumulative_ZT[z, t] is the grams of a kilowatt from slot 0 until slot t begins. slot_price_T[t]
    sums the prices of the slots before t, for a machine of the reference class.
    """

    rows: Records
    bids: Records
    patterns: Records
    zones: Records
    settings: Records
    free_RT: Integers
    ratio_SR: Floats
    order_SR: Integers
    rank_SR: Integers
    cumulative_ZT: Floats
    slot_price_T: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundArrays:
    """All arrays of a round, and the values that their indices stand for."""

    members: tuple[str, ...]
    row_offers: tuple[tuple[Offer, ...], ...]
    capacity_RT: Integers
    leased_RT: Integers
    facts: Facts


def make_round_arrays(market: MarketRound) -> RoundArrays:
    """Turn the values of a round into arrays. Keys of bids, and what counts as equal, are not yet in them."""
    row_offers = _group(market.offers)
    members = tuple(sorted({offer.member for offer in market.offers} | {bid.member for bid in market.bids}))
    member_index = {member: index for index, member in enumerate(members)}
    zones: tuple[str | None, ...] = (None, *sorted(market.carbon))
    capacity_RT = _capacity(row_offers, market.horizon)
    leased_RT = _leased(row_offers, market.leases, market.horizon)
    free_RT = np.maximum(capacity_RT - leased_RT, 0)
    rows = _rows([group[0] for group in row_offers], free_RT, member_index, zones)
    bids = _bids(market, member_index)
    ratio_SR = _ratios(market.bids, [group[0] for group in row_offers], bids)
    price_SR = np.full_like(ratio_SR, np.inf)
    np.divide(rows["ask"], ratio_SR, out=price_SR, where=ratio_SR > 0)
    order_SR = np.argsort(price_SR, axis=1, kind="stable").astype(np.int64)
    patterns = np.zeros(len(ratio_SR), dtype=PATTERNS)
    patterns["num_rows"] = (ratio_SR > 0).sum(axis=1)
    patterns["least_ratio"] = np.where(ratio_SR > 0, ratio_SR, np.inf).min(axis=1, initial=np.inf)
    patterns["most_ratio"] = ratio_SR.max(axis=1, initial=0.0)
    bids["may_rest"] = _may_rest(market, bids, patterns)
    rates_ZT = _rates(market, zones)
    cumulative_ZT = np.zeros((len(zones), market.horizon.num_slots + 1))
    cumulative_ZT[:, 1:] = np.cumsum(rates_ZT, axis=1) * market.horizon.slot_hours
    zone_records = np.zeros(len(zones), dtype=ZONES)
    zone_records["tail_rate"] = rates_ZT.mean(axis=1)
    zone_records["least_rate"], zone_records["most_rate"] = rates_ZT.min(axis=1), rates_ZT.max(axis=1)
    facts = Facts(
        rows=rows,
        bids=bids,
        patterns=patterns,
        zones=zone_records,
        settings=_settings(market, rows, zone_records),
        free_RT=free_RT,
        ratio_SR=ratio_SR,
        order_SR=order_SR,
        rank_SR=np.argsort(order_SR, axis=1, kind="stable").astype(np.int64),
        cumulative_ZT=cumulative_ZT,
        slot_price_T=_slot_prices(market),
    )
    return RoundArrays(
        members=members, row_offers=row_offers, capacity_RT=capacity_RT, leased_RT=leased_RT, facts=facts
    )


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
    here = [lease for lease in leases if lease.offer in row_of]
    row_L = np.array([row_of[lease.offer] for lease in here], dtype=np.int64)
    machines_L = np.array([lease.machines for lease in here], dtype=np.int64)
    begin, after = horizon.start, horizon.num_slots + 1
    start_L = np.array([(lease.start - begin).total_seconds() for lease in here])
    end_L = np.array([(lease.end - begin).total_seconds() for lease in here])
    first_L = np.minimum(np.maximum(start_L // horizon.slot_seconds, 0), after).astype(np.int64)
    last_L = np.minimum(np.ceil(end_L / horizon.slot_seconds), after).astype(np.int64)
    last_L = np.maximum(first_L, last_L)
    # Machines that come and go at the slots, of which the sums are those that are held.
    change_RT = np.zeros((len(row_offers), after + 1), dtype=np.int64)
    np.add.at(change_RT, (row_L, first_L), machines_L)
    np.subtract.at(change_RT, (row_L, last_L), machines_L)
    leased_RT: Integers = np.cumsum(change_RT, axis=1)[:, :-1]
    return leased_RT


def _rows(
    offers: Sequence[Offer], free_RT: Integers, member_index: Mapping[str, int], zones: Sequence[str | None]
) -> Records:
    zone_index = {zone: index for index, zone in enumerate(zones)}
    rows = np.zeros(len(offers), dtype=ROWS)
    rows["member"] = [member_index[offer.member] for offer in offers]
    rows["zone"] = [zone_index.get(offer.zone, UNKNOWN_ZONE) for offer in offers]
    rows["ask"] = [offer.ask_microcredits_per_machine_hour for offer in offers]
    rows["kilowatts"] = [offer.machine_class.watts * offer.pue / 1000 for offer in offers]
    rows["rerun_share"] = [1 - offer.reliability for offer in offers]
    rows["most_free"] = free_RT.max(axis=1, initial=0)
    return rows


def _bids(market: MarketRound, member_index: Mapping[str, int]) -> Records:
    horizon, bids = market.horizon, market.bids
    records = np.zeros(len(bids), dtype=BIDS)
    columns: dict[str, Iterable[float]] = {
        "limit": (bid.limit_microcredits for bid in bids),
        "gang": (bid.gang for bid in bids),
        "work": (bid.work_reference_hours for bid in bids),
        "first": (horizon.first_slot_at(bid.release) for bid in bids),
        "last": (horizon.seconds_at(bid.deadline) / horizon.slot_seconds for bid in bids),
        "cap": (np.inf if bid.carbon_cap_grams is None else bid.carbon_cap_grams for bid in bids),
        "transfer": (bid.data_gigabytes * market.policy.transfer_microcredits_per_gigabyte for bid in bids),
        "member": (member_index[bid.member] for bid in bids),
        "suspends": (bid.can_suspend for bid in bids),
    }
    for name, values in columns.items():
        records[name] = np.fromiter(values, dtype=BIDS[name])
    records["equal_cost"] = -1
    return records


def _may_rest(market: MarketRound, bids: Records, patterns: Records) -> npt.NDArray[np.bool_]:
    """Whether two runs and a slot between them fit into the bid's time on the fastest row."""
    ratio_N = patterns["most_ratio"][bids["pattern"]]
    hours_N = np.full(len(bids), np.inf)
    np.divide(bids["work"], bids["gang"] * ratio_N, out=hours_N, where=ratio_N > 0)
    slots_N = (hours_N + market.policy.restart_hours) / market.horizon.slot_hours
    end_N = np.minimum(market.horizon.num_slots, np.floor(bids["last"] + WHOLE_SLOT_TOLERANCE))
    fits_N = np.maximum(1.0, np.ceil(slots_N - WHOLE_SLOT_TOLERANCE)) + 1 <= end_N - bids["first"]
    may_rest_N: npt.NDArray[np.bool_] = (bids["suspends"] == 1) & fits_N
    return may_rest_N


def _ratios(bids: Sequence[Bid], offers: Sequence[Offer], records: Records) -> Floats:
    """The throughput of rows for the work of each pattern; enters the patterns of bids."""
    index: dict[tuple[object, ...], int] = {}
    ratios: list[list[float]] = []
    patterns: list[int] = []
    for bid in bids:
        key = (bid.work_kind, bid.classes, bid.residency)
        if key not in index:
            index[key] = len(ratios)
            ratios.append([_ratio(bid, offer) for offer in offers])
        patterns.append(index[key])
    records["pattern"] = patterns
    return np.array(ratios, dtype=np.float64).reshape(len(ratios), len(offers))


def _ratio(bid: Bid, offer: Offer) -> float:
    """The throughput of the offer's machines for the bid; 0 where it may not or cannot run."""
    return throughput_of(bid, offer) if bid.may_be_in(offer.zone) else 0.0


def throughput_of(bid: Bid, offer: Offer) -> float:
    """The throughput of the offer's machines for the bid, wherever they stand; 0 if it cannot run on them."""
    machine_class = offer.machine_class
    if bid.classes and machine_class.name not in bid.classes:
        return 0.0
    return machine_class.throughput(bid.work_kind) or 0.0


def _rates(market: MarketRound, zones: Sequence[str | None]) -> Floats:
    """Grams per kWh by zone and slot."""
    unknown = np.full(market.horizon.num_slots, market.policy.grams_per_kwh_where_unknown)
    known = [np.asarray(market.carbon[zone], dtype=np.float64) for zone in zones if zone is not None]
    return np.array([unknown, *known])


def _slot_prices(market: MarketRound) -> Floats:
    """Sums of the prices before each slot; the tail has none."""
    sums_T = np.zeros(market.horizon.num_slots + 2)
    if market.slot_prices:
        sums_T[1:-1] = np.cumsum(market.slot_prices)
        sums_T[-1] = sums_T[-2]
    return sums_T


def _settings(market: MarketRound, rows: Records, zones: Records) -> Records:
    horizon, policy = market.horizon, market.policy
    per_gram = policy.carbon_microcredits_per_kilogram / 1000
    most_grams_R = rows["kilowatts"] * zones["most_rate"][rows["zone"]]
    settings = np.zeros(1, dtype=SETTINGS)
    settings["num_slots"], settings["slot_hours"] = horizon.num_slots, horizon.slot_hours
    settings["tail_slots"] = horizon.tail_seconds / horizon.slot_seconds
    settings["carbon_per_gram"], settings["restart_hours"] = per_gram, policy.restart_hours
    settings["most_charge"] = most_grams_R.max(initial=0.0) * per_gram
    settings["most_rerun"] = rows["rerun_share"].max(initial=0.0)
    # Constants would do, but numba compiles a kernel anew for each constant that it is handed.
    settings["most_slot_price"] = max(market.slot_prices, default=0.0)
    settings["nothing_known"], settings["any_cost"] = 0, NO_COST
    return settings
