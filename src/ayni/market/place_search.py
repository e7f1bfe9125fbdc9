"""The best place and hours that are free for a bid: kernels that look at every row and start.

    hours = work / (gang * ratio)        slots = ceil(hours / slot)
    grams = gang * kW * PUE * integral of the carbon forecast over the work
    cost  = gang * hours * ask + grams * charge + transfer + (1 - reliability) * ask

Rows are tried in the order of their ask for the work, and the search ends where the ask alone is as dear as
the best found; so most of a thousand sites are never looked at. Work that may be suspended can also take the
greenest slots of its time, in at most MAX_PIECES runs; each stop costs the hours of a restart. Which slots
those are depends on what was free when the round began: chosen anew from what is left, a bid could get
something dearer by coming earlier, which payments must exclude.

Shapes: see `round_arrays`; P pieces. Not covered: greener sets of slots that need more runs.
"""

import math
from typing import NamedTuple

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.round_arrays import (
    UNKNOWN_ZONE,
    WHOLE_SLOT_TOLERANCE,
    BidArrays,
    Floats,
    Integers,
    PatternArrays,
    RowArrays,
    TimeArrays,
)

MAX_PIECES = 6
NO_ROW = -1
NO_COST = 2**62
"""Micro-credits above all that anything can cost: says that there is no place."""
OVER_BUDGET = 0
"""Index into the notes of a search: something better was left out for its member's carbon budget."""


class Facts(NamedTuple):
    """What does not change in a round. equal_cost_N is up to where places count as equal, -1 = none do."""

    rows: RowArrays
    bids: BidArrays
    patterns: PatternArrays
    times: TimeArrays
    equal_cost_N: Integers


class Places(NamedTuple):
    """A place for each bid, or none (row NO_ROW). group is 0 for places that count as equal to the cheapest.

    rank is that of the row in the bid's order of rows; -1, before all, for reserved own machines.
    """

    row_N: Integers
    rank_N: Integers
    num_pieces_N: Integers
    starts_NP: Integers
    ends_NP: Integers
    hours_N: Floats
    grams_N: Floats
    cost_N: Integers
    group_N: Integers


class Room(NamedTuple):
    """Room for what is looked at, so that a search allocates nothing; notes_I are its side remarks."""

    starts_P: Integers
    ends_P: Integers
    starts_T: Integers
    ends_T: Integers
    is_free_T: Integers
    notes_I: Integers


def no_places(num: int, num_pieces: int) -> Places:
    """Places for so many bids, none found yet."""
    return Places(
        np.full(num, NO_ROW, dtype=np.int64),
        np.zeros(num, dtype=np.int64),
        np.zeros(num, dtype=np.int64),
        np.zeros((num, num_pieces), dtype=np.int64),
        np.zeros((num, num_pieces), dtype=np.int64),
        np.zeros(num, dtype=np.float64),
        np.zeros(num, dtype=np.float64),
        np.full(num, NO_COST, dtype=np.int64),
        np.ones(num, dtype=np.int64),
    )


def make_room(facts: Facts) -> Room:
    """Room for one search at a time."""
    num_slots = facts.times.num_slots
    return Room(
        np.zeros(MAX_PIECES, dtype=np.int64),
        np.zeros(MAX_PIECES, dtype=np.int64),
        np.zeros(num_slots, dtype=np.int64),
        np.zeros(num_slots, dtype=np.int64),
        np.zeros(num_slots, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )


@kernel
def copy_place(source: Places, at: int, target: Places, to: int) -> None:
    """Copy one place."""
    target.row_N[to], target.rank_N[to] = source.row_N[at], source.rank_N[at]
    target.num_pieces_N[to] = source.num_pieces_N[at]
    for piece in range(source.num_pieces_N[at]):
        target.starts_NP[to, piece] = source.starts_NP[at, piece]
        target.ends_NP[to, piece] = source.ends_NP[at, piece]
    target.hours_N[to] = source.hours_N[at]
    target.grams_N[to] = source.grams_N[at]
    target.cost_N[to] = source.cost_N[at]
    target.group_N[to] = source.group_N[at]


@kernel
def to_whole(amount: float) -> int:
    """The nearest whole number; half goes up."""
    return math.floor(amount + 0.5)


@kernel
def carbon_until(times: TimeArrays, zone: int, moment: float) -> float:
    """Grams of one kilowatt from the start of the horizon until a moment in slots."""
    if moment >= times.num_slots:
        tail_hours = (moment - times.num_slots) * times.slot_hours
        return times.cumulative_ZT[zone, times.num_slots] + tail_hours * times.tail_rate_Z[zone]
    whole = int(moment)
    below = times.cumulative_ZT[zone, whole]
    return below + (moment - whole) * (times.cumulative_ZT[zone, whole + 1] - below)


@kernel
def num_slots_of(slots: float) -> int:
    """Whole slots that hold a length in slots, at least one."""
    return max(1, math.ceil(slots - WHOLE_SLOT_TOLERANCE))


@kernel
def end_slot_of(times: TimeArrays, start: int, slots: float) -> int:
    """The slot after the last; the tail counts as one slot, and -1 says that it is too short."""
    end = start + num_slots_of(slots)
    if end <= times.num_slots:
        return end
    if start + slots > times.num_slots + times.tail_slots + WHOLE_SLOT_TOLERANCE:
        return -1
    return times.num_slots + 1


@kernel
def hours_of(facts: Facts, bid: int, row: int) -> float:
    """Hours of a bid's work on a row's machines."""
    ratio = facts.patterns.ratio_SR[facts.bids.pattern_N[bid], row]
    return facts.bids.work_N[bid] / (facts.bids.gang_N[bid] * ratio)


@kernel
def ask_of(facts: Facts, bid: int, row: int, hours: float) -> int:
    """The ask alone, which no place in the row costs less than."""
    return to_whole(facts.bids.gang_N[bid] * hours * facts.rows.ask_R[row])


@kernel
def cost_of(facts: Facts, bid: int, row: int, hours: float, grams: float) -> int:
    """Ask, carbon charge, transfer and expected rerun, each in whole micro-credits."""
    ask = ask_of(facts, bid, row, hours)
    cost = ask + to_whole(grams * facts.times.carbon_per_gram) + to_whole(facts.rows.rerun_share_R[row] * ask)
    if facts.rows.member_R[row] != facts.bids.member_N[bid]:
        cost += to_whole(facts.bids.transfer_N[bid])
    return cost


@kernel
def keeps_cap(facts: Facts, bid: int, row: int, grams: float) -> bool:
    """Whether the bid's carbon cap allows it; where the zone is unknown, no cap does."""
    cap = facts.bids.cap_N[bid]
    return cap == np.inf or (grams <= cap and facts.rows.zone_R[row] != UNKNOWN_ZONE)


@kernel
def grams_of(facts: Facts, bid: int, row: int, start: int, slots: float) -> float:
    """Grams of unbroken work."""
    zone = facts.rows.zone_R[row]
    carbon = carbon_until(facts.times, zone, start + slots) - carbon_until(facts.times, zone, float(start))
    return facts.bids.gang_N[bid] * facts.rows.kilowatts_R[row] * carbon


@kernel
def find_starts(
    facts: Facts, free_RT: Integers, bid: int, row: int, slots: float, first: int, last: int, room: Room
) -> int:
    """The starts in [first, last) of unbroken work in a row with machines for the gang; returns how many.

    Only starts within the bid's time count; they are entered in room.
    """
    num, gang, times = 0, facts.bids.gang_N[bid], facts.times
    latest = facts.bids.last_N[bid] - slots + WHOLE_SLOT_TOLERANCE
    first = max(first, facts.bids.first_N[bid])
    checked = free_from = first
    for start in range(first, min(last, times.num_slots)):
        end = end_slot_of(times, start, slots)
        if end < 0 or start > latest:
            break
        while checked < end:
            if free_RT[row, checked] < gang:
                free_from = checked + 1
            checked += 1
        if start >= free_from:
            room.starts_T[num], room.ends_T[num] = start, end
            num += 1
    return num


@kernel
def split_slots(facts: Facts, row: int, first: int, end: int, num_slots: int, room: Room) -> int:
    """The `num_slots` greenest free slots of [first, end) as runs in room; how many runs, 0 = it cannot be.

    room.is_free_T says which slots are free; 2 marks a chosen one.
    """
    num_chosen = 0
    for slot in facts.times.greenest_ZT[facts.rows.zone_R[row]]:
        if first <= slot < end and room.is_free_T[slot] > 0:
            room.is_free_T[slot] = 2 if num_chosen < num_slots else 1
            num_chosen += 1
    if num_chosen < num_slots:
        return 0
    num_pieces = 0
    for slot in range(first, end):
        if room.is_free_T[slot] != 2:
            continue
        if slot > first and room.is_free_T[slot - 1] == 2:
            room.ends_P[num_pieces - 1] = slot + 1
            continue
        if num_pieces == MAX_PIECES:
            return 0
        room.starts_P[num_pieces], room.ends_P[num_pieces] = slot, slot + 1
        num_pieces += 1
    return num_pieces


@kernel
def split_work(facts: Facts, bid: int, row: int, hours: float, room: Room) -> tuple[int, float, float]:
    """Work in the greenest slots of the bid's time: runs (in room), hours with restarts, and grams.

    0 runs = it cannot be split, or is best unbroken. Looks at machines that were free as the round began.
    """
    times, zone, gang = facts.times, facts.rows.zone_R[row], facts.bids.gang_N[bid]
    first = facts.bids.first_N[bid]
    end = min(times.num_slots, math.floor(facts.bids.last_N[bid] + WHOLE_SLOT_TOLERANCE))
    num_slots, num_pieces, worked = num_slots_of(hours / times.slot_hours), 0, hours
    if end - first <= num_slots:
        return 0, 0.0, 0.0
    for slot in range(first, end):
        room.is_free_T[slot] = 1 if facts.rows.free_RT[row, slot] >= gang else 0
    for _ in range(MAX_PIECES):
        num_pieces = split_slots(facts, row, first, end, num_slots, room)
        worked = hours + times.restart_hours * (num_pieces - 1)
        needed = num_slots_of(worked / times.slot_hours)
        if num_pieces < 2 or needed <= num_slots:
            break
        num_slots = needed
    # Fewer runs may need fewer slots than were chosen, and then a run would end in an idle slot.
    if num_pieces < 2 or num_slots_of(worked / times.slot_hours) != num_slots:
        return 0, 0.0, 0.0
    left, carbon = worked / times.slot_hours, 0.0
    for piece in range(num_pieces):
        for slot in range(room.starts_P[piece], room.ends_P[piece]):
            rate = times.cumulative_ZT[zone, slot + 1] - times.cumulative_ZT[zone, slot]
            carbon += rate * min(1.0, left)
            left -= 1.0
    return num_pieces, worked, gang * facts.rows.kilowatts_R[row] * carbon


@kernel
def pieces_are_free(free_RT: Integers, row: int, gang: int, room: Room, num_pieces: int) -> bool:
    """Whether the runs in room have machines for the gang."""
    for piece in range(num_pieces):
        for slot in range(room.starts_P[piece], room.ends_P[piece]):
            if free_RT[row, slot] < gang:
                return False
    return True


@kernel
def set_none(places: Places, at: int) -> None:
    """Enter that there is no place."""
    places.row_N[at], places.cost_N[at], places.group_N[at] = NO_ROW, NO_COST, 1


@kernel
def is_better(
    group: int, cost: int, grams: float, rank: int, start: int, num_pieces: int, best: Places, at: int
) -> bool:
    """Whether a place goes before the best so far, in an order in which no two places are equal.

    Of those that count as equal to the cheapest the greener goes first, else the cheaper; then the rank of
    the row, unbroken work before broken, and the earlier start decide.
    """
    if group != best.group_N[at]:
        return group < best.group_N[at]
    if group == 0 and grams != best.grams_N[at]:
        return grams < best.grams_N[at]
    if cost != best.cost_N[at]:
        return cost < best.cost_N[at]
    if rank != best.rank_N[at]:
        return rank < best.rank_N[at]
    if num_pieces != best.num_pieces_N[at]:
        return num_pieces < best.num_pieces_N[at]
    return start < best.starts_NP[at, 0]


@kernel
def enter_if_better(
    facts: Facts,
    grams_left: float,
    bid: int,
    row: int,
    most_cost: int,
    hours: float,
    grams: float,
    num_pieces: int,
    room: Room,
    best: Places,
    at: int,
) -> bool:
    """Enter the place whose runs are in room if it is allowed and better; whether it was."""
    cost = cost_of(facts, bid, row, hours, grams)
    if cost > most_cost or not keeps_cap(facts, bid, row, grams):
        return False
    group = 0 if cost <= facts.equal_cost_N[bid] else 1
    rank = facts.patterns.rank_SR[facts.bids.pattern_N[bid], row]
    if not is_better(group, cost, grams, rank, room.starts_P[0], num_pieces, best, at):
        return False
    if grams > grams_left:
        room.notes_I[OVER_BUDGET] = 1
        return False
    best.row_N[at], best.rank_N[at], best.num_pieces_N[at] = row, rank, num_pieces
    for piece in range(num_pieces):
        best.starts_NP[at, piece], best.ends_NP[at, piece] = room.starts_P[piece], room.ends_P[piece]
    best.hours_N[at], best.grams_N[at] = hours, grams
    best.cost_N[at], best.group_N[at] = cost, group
    return True


@kernel
def search_row(
    facts: Facts,
    free_RT: Integers,
    grams_left: float,
    bid: int,
    row: int,
    first: int,
    end: int,
    most_cost: int,
    room: Room,
    best: Places,
    at: int,
) -> bool:
    """Look for a better place in one row; enters it in `best[at]` and says whether there was one.

    Unbroken work must use a slot of [first, end). Places that cost more than most_cost or emit more than
    grams_left are left out.
    """
    hours, is_found = hours_of(facts, bid, row), False
    slots = hours / facts.times.slot_hours
    earliest = max(0, first - num_slots_of(slots) + 1)
    for index in range(find_starts(facts, free_RT, bid, row, slots, earliest, end, room)):
        room.starts_P[0], room.ends_P[0] = room.starts_T[index], room.ends_T[index]
        grams = grams_of(facts, bid, row, room.starts_T[index], slots)
        if enter_if_better(facts, grams_left, bid, row, most_cost, hours, grams, 1, room, best, at):
            is_found = True
    if facts.bids.suspends_N[bid]:
        num_pieces, worked, grams = split_work(facts, bid, row, hours, room)
        is_free = num_pieces > 0 and pieces_are_free(free_RT, row, facts.bids.gang_N[bid], room, num_pieces)
        if is_free and enter_if_better(
            facts, grams_left, bid, row, most_cost, worked, grams, num_pieces, room, best, at
        ):
            is_found = True
    return is_found


@kernel
def search_all(
    facts: Facts,
    own: Places,
    free_RT: Integers,
    grams_left: float,
    bid: int,
    most_cost: int,
    room: Room,
    best: Places,
    at: int,
) -> bool:
    """The best free place of a bid, in `best[at]`; whether there is one beside its reserved own machines.

    Where own machines are reserved, only better places count. Ties go to the row with the lower ask for the
    work, then to the first in order, then to the first start.
    """
    if own.row_N[bid] != NO_ROW:
        copy_place(own, bid, best, at)
    else:
        set_none(best, at)
    is_found, pattern, equal_cost = False, facts.bids.pattern_N[bid], facts.equal_cost_N[bid]
    for index in range(facts.patterns.num_S[pattern]):
        row = facts.patterns.order_SR[pattern, index]
        ask = ask_of(facts, bid, row, hours_of(facts, bid, row))
        if ask > most_cost or (ask >= best.cost_N[at] and ask > equal_cost):
            break
        if search_row(facts, free_RT, grams_left, bid, row, 0, free_RT.shape[1], most_cost, room, best, at):
            is_found = True
    return is_found


@kernel
def move_machines(free_RT: Integers, places: Places, at: int, machines: int) -> None:
    """Add machines (negative: take them) in all slots of a place."""
    row = places.row_N[at]
    for piece in range(places.num_pieces_N[at]):
        for slot in range(places.starts_NP[at, piece], places.ends_NP[at, piece]):
            free_RT[row, slot] += machines


@kernel
def reserve_own(
    facts: Facts, free_RT: Integers, grams_left_M: Floats, order_N: Integers, own: Places, room: Room
) -> None:
    """Give each member's bids, in the order given, the best place on its own machines that is free.

    Fills own, and takes machines and carbon out of free_RT and grams_left_M. What a bid is worth plays no
    part: else what a bid has by right would depend on what its member says.
    """
    for bid in order_N:
        member, pattern = facts.bids.member_N[bid], facts.bids.pattern_N[bid]
        for index in range(facts.patterns.num_S[pattern]):
            row = facts.patterns.order_SR[pattern, index]
            if facts.rows.member_R[row] == member:
                search_row(
                    facts,
                    free_RT,
                    grams_left_M[member],
                    bid,
                    row,
                    0,
                    free_RT.shape[1],
                    NO_COST,
                    room,
                    own,
                    bid,
                )
        if own.row_N[bid] != NO_ROW:
            move_machines(free_RT, own, bid, -facts.bids.gang_N[bid])
            grams_left_M[member] -= own.grams_N[bid]
            own.rank_N[bid] = -1


@kernel
def find_cheapest(
    facts: Facts, none: Places, room: Room, best: Places, cost_N: Integers, first: int, last: int
) -> None:
    """The cost of the cheapest place of each bid in [first, last) as the round begins; NO_COST = none."""
    for bid in range(first, last):
        search_all(facts, none, facts.rows.free_RT, np.inf, bid, NO_COST, room, best, 0)
        cost_N[bid] = best.cost_N[0]
