"""The best place and hours that are free for a bid: kernels that look at every row and start.

Rows are tried in the order of their ask for the work, and the search ends where the ask alone is as dear as
the best found; so most of a thousand sites are never looked at. Work that may be suspended can also be
divided (`suspended_work`).

What a place costs is in `place_costs`. Shapes: see `round_arrays`.
"""

import math
from typing import NamedTuple

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.free_machines import MOST_IN_LANE, NUM_IN_LANE, Machines, may_fit
from ayni.market.lanes import fits_lane, goes_in_lane, leaves_lane
from ayni.market.place_costs import (
    ask_of,
    carbon_charge,
    cost_without_carbon,
    end_slot_of,
    grams_of,
    hours_of,
    keeps_cap,
    least_cost_of,
    most_cost_of,
    num_slots_of,
    slot_charge,
)
from ayni.market.round_arrays import (
    MAX_PIECES,
    NO_COST,
    NO_ROW,
    PLACES,
    WHOLE_SLOT_TOLERANCE,
    Facts,
    Floats,
    Integers,
    Record,
    Records,
)
from ayni.market.suspended_work import divide, find_ways, room_for_ways

OVER_BUDGET = 1 << MOST_IN_LANE
"""Index into the notes of a search: something better was left out for its member's carbon budget."""


class Room(NamedTuple):
    """Room for what is looked at, so that a search allocates nothing; notes_I are its side remarks.

    looked_at holds one place. starts_T and ends_T are of unbroken work in one row, ways of divided work.
    notes_I is also where `lanes` keeps the ends of its sets, before the remark.
    """

    looked_at: Records
    starts_T: Integers
    ends_T: Integers
    ways: Floats
    notes_I: Integers


def no_places(num: int) -> Records:
    """Places for so many bids, none found yet."""
    places = np.zeros(num, dtype=PLACES)
    places["row"], places["cost"], places["group"] = NO_ROW, NO_COST, 1
    return places


def make_room(facts: Facts) -> Room:
    """Room for one search at a time."""
    num_slots = facts.free_RT.shape[1]
    starts_T, ends_T = np.zeros((2, num_slots), dtype=np.int64)
    notes_I = np.zeros(OVER_BUDGET + 1, dtype=np.int64)
    return Room(no_places(1), starts_T, ends_T, room_for_ways(facts), notes_I)


@kernel
def may_have_place(
    facts: Facts, machines: Machines, bid: int, row: int, hours: float, first: int, end: int
) -> bool:
    """Whether a row may be free for unbroken work that begins in [first, end); False is certain."""
    if facts.rows[row]["most_free"] < facts.bids[bid]["gang"]:
        return False
    num_slots = num_slots_of(hours / facts.settings[0]["slot_hours"])
    # Work that goes on in the tail takes its last slots there, and they are one.
    at_once = num_slots if facts.settings[0]["tail_slots"] == 0 else min(num_slots, 2)
    first = max(first, facts.bids[bid]["first"])
    return may_fit(machines, row, first, min(math.ceil(facts.bids[bid]["last"]), end + num_slots), at_once)


@kernel
def find_starts(
    facts: Facts, machines: Machines, bid: int, row: int, slots: float, first: int, last: int, room: Room
) -> int:
    """The starts in [first, last) of unbroken work in a row with machines for the gang; returns how many.

    Only starts within the bid's time count; they are entered in room.
    """
    num, gang, num_slots = 0, facts.bids[bid]["gang"], facts.settings[0]["num_slots"]
    length, latest = num_slots_of(slots), facts.bids[bid]["last"] - slots + WHOLE_SLOT_TOLERANCE
    first = max(first, facts.bids[bid]["first"])
    checked = free_from = first
    for start in range(first, min(last, num_slots)):
        end = start + length
        if end > num_slots:
            end = end_slot_of(facts, start, slots)
        if end < 0 or start > latest:
            break
        while checked < end:
            if machines.free_RT[row, checked] < gang:
                free_from = checked + 1
            checked += 1
        if start >= free_from:
            room.starts_T[num], room.ends_T[num] = start, end
            num += 1
    return num


@kernel
def set_none(best: Records) -> None:
    """Enter that there is no place."""
    for index in range(len(best)):
        best[index]["row"], best[index]["cost"], best[index]["group"] = NO_ROW, NO_COST, 1


@kernel
def is_no_place(place: Record) -> bool:
    """Whether nothing was found."""
    return bool(place["row"] == NO_ROW)


@kernel
def is_better(place: Record, best: Record) -> bool:
    """Whether a place goes before another, in an order in which no two places are equal.

    Of those that count as equal to the cheapest the greener goes first, else the cheaper; then the rank of
    the row, unbroken work before broken, and the earlier start decide.
    """
    if place["group"] != best["group"]:
        return place["group"] < best["group"]
    if place["group"] == 0 and place["grams"] != best["grams"]:
        return place["grams"] < best["grams"]
    if place["cost"] != best["cost"]:
        return place["cost"] < best["cost"]
    if place["rank"] != best["rank"]:
        return place["rank"] < best["rank"]
    if place["num_pieces"] != best["num_pieces"]:
        return place["num_pieces"] < best["num_pieces"]
    return place["starts"][0] < best["starts"][0]


@kernel
def enter_if_better(
    facts: Facts, machines: Machines, grams_left: float, bid: int, row: int, room: Room, best: Records
) -> bool:
    """Enter the place that is looked at in best if it is allowed and better than the last; whether it was.

    best holds as many places as it has room for, from the best on. The runs, hours, grams and cost of the one
    that is looked at must be in room.
    """
    place, at = room.looked_at[0], len(best) - 1
    if not keeps_cap(facts, bid, row, place["grams"]):
        return False
    place["row"], place["rank"] = row, facts.rank_SR[facts.bids[bid]["pattern"], row]
    place["group"] = 0 if place["cost"] <= facts.bids[bid]["equal_cost"] else 1
    if not is_better(place, best[at]):
        return False
    if place["grams"] > grams_left:
        room.notes_I[OVER_BUDGET] = 1
        return False
    is_crowded = machines.mask_RW[row, NUM_IN_LANE] > 0 and place["num_pieces"] > 0
    if is_crowded and not leaves_lane(facts, machines, bid, place, room.notes_I):
        return False
    while at > 0 and is_better(place, best[at - 1]):
        best[at] = best[at - 1]
        at -= 1
    best[at] = place
    return True


@kernel
def search_lane(
    facts: Facts,
    machines: Machines,
    grams_left: float,
    bid: int,
    row: int,
    most_cost: int,
    room: Room,
    best: Records,
) -> bool:
    """As `search_row` for a bid whose hours in the row may wait; all of them cost the same."""
    hours, looked_at = hours_of(facts, bid, row), room.looked_at[0]
    looked_at["cost"], looked_at["hours"] = most_cost_of(facts, bid, row, hours), hours
    if looked_at["cost"] > most_cost:
        return False
    if machines.mask_RW[row, NUM_IN_LANE] < MOST_IN_LANE:
        if not fits_lane(facts, machines, row, bid, room.notes_I):
            return False
        looked_at["num_pieces"], looked_at["grams"] = 0, 0.0
        return enter_if_better(facts, machines, grams_left, bid, row, room, best)
    # The lane has as many promises as it can: its hours are chosen now.
    looked_at["num_pieces"], is_found = 1, False
    slots = hours / facts.settings[0]["slot_hours"]
    for index in range(find_starts(facts, machines, bid, row, slots, 0, machines.free_RT.shape[1], room)):
        looked_at["starts"][0], looked_at["ends"][0] = room.starts_T[index], room.ends_T[index]
        looked_at["grams"] = grams_of(facts, bid, row, room.starts_T[index], slots)
        if enter_if_better(facts, machines, grams_left, bid, row, room, best):
            is_found = True
    return is_found


@kernel
def may_be_divided(facts: Facts, machines: Machines, grams_left: float, bid: int, row: int) -> bool:
    """Whether the best way to divide work in a row can be found: of limits to ways only free slots are known.

    Beside promises in a lane, or with prices of slots a limit of carbon, the best way may be ruled out and
    the next best is not known. To look at some others would let a narrower window pay.
    """
    is_limited = min(facts.bids[bid]["cap"], grams_left) < np.inf
    has_prices = facts.settings[0]["most_slot_price"] > 0
    return bool(machines.mask_RW[row, NUM_IN_LANE] == 0 and not (is_limited and has_prices))


@kernel
def search_divided(
    facts: Facts,
    machines: Machines,
    grams_left: float,
    bid: int,
    row: int,
    most_cost: int,
    for_carbon: bool,
    room: Room,
    best: Records,
) -> bool:
    """As `search_row` for work that rests in between, for the least cost or the least carbon."""
    hours, is_found, looked_at = hours_of(facts, bid, row), False, room.looked_at[0]
    least_cost = least_cost_of(facts, bid, row, hours + facts.settings[0]["restart_hours"])
    if least_cost > most_cost or least_cost > max(best[len(best) - 1]["cost"], facts.bids[bid]["equal_cost"]):
        return False
    most_runs = find_ways(facts, machines, bid, row, hours, room.ways, for_carbon)
    for num_pieces in range(2, most_runs + 1):
        if not divide(facts, machines, bid, row, hours, num_pieces, room.ways, for_carbon, looked_at):
            continue
        cost = cost_without_carbon(facts, bid, row, looked_at["hours"])
        looked_at["cost"] = cost + carbon_charge(facts, looked_at["grams"])
        looked_at["cost"] += slot_charge(facts, bid, row, looked_at)
        if looked_at["cost"] <= most_cost and enter_if_better(
            facts, machines, grams_left, bid, row, room, best
        ):
            is_found = True
    return is_found


@kernel
def search_row(
    facts: Facts,
    machines: Machines,
    grams_left: float,
    bid: int,
    row: int,
    first: int,
    end: int,
    most_cost: int,
    room: Room,
    best: Records,
) -> bool:
    """Look for better places in one row; enters them in best and says whether there was one.

    Unbroken work must use a slot of [first, end). Places that cost more than most_cost or emit more than
    grams_left are left out.
    """
    if goes_in_lane(facts, bid, row):
        return search_lane(facts, machines, grams_left, bid, row, most_cost, room, best)
    hours, is_found, looked_at = hours_of(facts, bid, row), False, room.looked_at[0]
    slots, least = hours / facts.settings[0]["slot_hours"], cost_without_carbon(facts, bid, row, hours)
    worst = len(best) - 1
    earliest = max(0, first - num_slots_of(slots) + 1)
    for index in range(find_starts(facts, machines, bid, row, slots, earliest, end, room)):
        grams = grams_of(facts, bid, row, room.starts_T[index], slots)
        looked_at["num_pieces"], looked_at["starts"][0] = 1, room.starts_T[index]
        looked_at["ends"][0], looked_at["hours"] = room.ends_T[index], hours
        cost = least + carbon_charge(facts, grams) + slot_charge(facts, bid, row, looked_at)
        most = max(best[worst]["cost"], facts.bids[bid]["equal_cost"])
        if cost > most_cost or cost > most:
            continue
        looked_at["grams"], looked_at["cost"] = grams, cost
        if enter_if_better(facts, machines, grams_left, bid, row, room, best):
            is_found = True
    if facts.bids[bid]["may_rest"] and may_be_divided(facts, machines, grams_left, bid, row):
        # Without prices of slots the cheapest ways are the greenest.
        has_two_goals = facts.bids[bid]["equal_cost"] >= 0 and facts.settings[0]["most_slot_price"] > 0
        for goal in range(2 if has_two_goals else 1):
            if search_divided(facts, machines, grams_left, bid, row, most_cost, goal == 1, room, best):
                is_found = True
    return is_found


@kernel
def first_row_of(facts: Facts, bid: int, known_cost: int) -> int:
    """The place in the order of rows from which on a cost of known_cost is possible, by their asks alone."""
    if known_cost == 0:
        return 0
    pattern, settings = facts.bids[bid]["pattern"], facts.settings[0]
    hours = facts.bids[bid]["work"] / (facts.bids[bid]["gang"] * facts.patterns[pattern]["least_ratio"])
    worked = hours + settings["restart_hours"] * (MAX_PIECES - 1) * facts.bids[bid]["suspends"]
    beside = facts.bids[bid]["gang"] * worked * settings["most_charge"] + facts.bids[bid]["transfer"] + 3
    machine_slots = facts.bids[bid]["work"] * worked / (hours * settings["slot_hours"])
    machine_slots += facts.bids[bid]["gang"] * facts.patterns[pattern]["most_ratio"]
    beside += machine_slots * settings["most_slot_price"]
    # Beside the ask of its hours: restarts, reruns, the dearest carbon and the dearest slots of all.
    factor = (1 + settings["most_rerun"]) * worked / hours
    low, high = 0, facts.patterns[pattern]["num_rows"]
    while low < high:
        middle = (low + high) // 2
        row = facts.order_SR[pattern, middle]
        if ask_of(facts, bid, row, hours_of(facts, bid, row)) * factor + beside < known_cost:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def search_all(
    facts: Facts,
    machines: Machines,
    grams_left: float,
    bid: int,
    known_cost: int,
    most_cost: int,
    room: Room,
    best: Records,
) -> bool:
    """Look everywhere for places better than those in best, and enter them there; whether there was one.

    Nothing that costs less than known_cost is free, as the caller knows: rows that are cheaper at any start
    are left out. Ties go to the row with the lower ask for the work, then to the first start.
    """
    is_found, pattern, equal_cost = False, facts.bids[bid]["pattern"], facts.bids[bid]["equal_cost"]
    first, num_slots, worst = facts.bids[bid]["first"], machines.free_RT.shape[1], len(best) - 1
    for index in range(first_row_of(facts, bid, known_cost), facts.patterns[pattern]["num_rows"]):
        row = facts.order_SR[pattern, index]
        hours = hours_of(facts, bid, row)
        ask = ask_of(facts, bid, row, hours)
        if ask > most_cost or (ask >= best[worst]["cost"] and ask > equal_cost):
            break
        if not (
            may_have_place(facts, machines, bid, row, hours, first, num_slots) or facts.bids[bid]["may_rest"]
        ):
            continue
        least_cost = least_cost_of(facts, bid, row, hours)
        if least_cost >= best[worst]["cost"] and least_cost > equal_cost:
            continue
        if known_cost > 0 and most_cost_of(facts, bid, row, hours) < known_cost:
            continue
        if search_row(facts, machines, grams_left, bid, row, first, num_slots, most_cost, room, best):
            is_found = True
    return is_found


@kernel
def find_cheapest(
    facts: Facts, machines: Machines, room: Room, best: Records, cost_N: Integers, first: int, last: int
) -> None:
    """The cost of the cheapest place of each bid in [first, last) as the round begins; NO_COST = none."""
    for bid in range(first, last):
        set_none(best)
        search_all(
            facts,
            machines,
            np.inf,
            bid,
            facts.settings[0]["nothing_known"],
            facts.settings[0]["any_cost"],
            room,
            best,
        )
        cost_N[bid] = best[0]["cost"]
