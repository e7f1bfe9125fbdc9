"""The best hours of work that rests in between: a kernel that finds the optimum over all ways to divide it.

Work that may be suspended runs in up to MAX_PIECES runs of slots, with at least one slot between two, and
each stop costs the hours of a restart. For each number of runs p the slots that it takes are known:

    n(p) = ceil((hours + (p - 1) * restart) / slot)

and so is the least that they can cost, by dynamic programming over slots t, chosen slots j and runs r:

    runs (t, j, r) = price(t) + min(runs(t - 1, j - 1, r), rests(t - 1, j - 1, r - 1))   if t is free
    rests(t, j, r) =            min(runs(t - 1, j, r),     rests(t - 1, j, r))

The last slot is used in part and priced so. An optimum can only get dearer when less is free or a window
narrower. A rule of thumb that sometimes misses it would break that, and with it payments (`critical_values`)
and that a narrower window never pays.

Shapes: see `round_arrays`; J chosen slots, P runs. Cost: O(T * spare slots * P). Not covered: pieces in the
tail, rows with promises in a lane, and prices of slots together with a carbon cap or budget; there work runs
unbroken.
"""

import math

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.free_machines import Machines
from ayni.market.place_costs import num_slots_of
from ayni.market.round_arrays import MAX_PIECES, WHOLE_SLOT_TOLERANCE, Facts, Floats, Record

RUNS, RESTS = 0, 1
TIE = 1e-9
"""Micro-credits that a gram weighs beside its charge, so that of equal prices the greener wins."""


def room_for_ways(facts: Facts) -> Floats:
    """Room for the least prices of `find_ways`, by RUNS or RESTS, t, j and r; little if no bid may rest."""
    num_slots = facts.free_RT.shape[1] if facts.bids["may_rest"].any() else 0
    return np.zeros((2, num_slots + 1, num_slots + 1, MAX_PIECES + 1))


@kernel
def slots_needed(facts: Facts, hours: float, num_pieces: int) -> int:
    """Slots of work in so many runs."""
    worked = hours + facts.settings[0]["restart_hours"] * (num_pieces - 1)
    return num_slots_of(worked / facts.settings[0]["slot_hours"])


@kernel
def last_slot(facts: Facts, bid: int) -> int:
    """The slot after the last that suspended work may use."""
    whole = math.floor(facts.bids[bid]["last"] + WHOLE_SLOT_TOLERANCE)
    return int(min(facts.settings[0]["num_slots"], whole))


@kernel
def price_of(facts: Facts, bid: int, row: int, slot: int, part: float, for_carbon: bool) -> float:
    """What a slot costs one machine of which a part is used: carbon and the slot's price, or grams alone."""
    zone = facts.rows[row]["zone"]
    rate = facts.cumulative_ZT[zone, slot + 1] - facts.cumulative_ZT[zone, slot]
    grams = facts.rows[row]["kilowatts"] * rate * part
    if for_carbon:
        return float(grams)
    price = grams * (facts.settings[0]["carbon_per_gram"] + TIE)
    if facts.settings[0]["most_slot_price"] > 0 and facts.rows[row]["member"] != facts.bids[bid]["member"]:
        ratio = facts.ratio_SR[facts.bids[bid]["pattern"], row]
        price += ratio * (facts.slot_price_T[slot + 1] - facts.slot_price_T[slot])
    return float(price)


@kernel
def rule_out(ways: Floats, step: int, chosen: int, most_runs: int) -> None:
    """Enter that so many slots cannot be chosen by then."""
    for runs in range(most_runs + 1):
        ways[RUNS, step, chosen, runs] = ways[RESTS, step, chosen, runs] = np.inf


@kernel
def find_ways(
    facts: Facts, machines: Machines, bid: int, row: int, hours: float, ways: Floats, for_carbon: bool
) -> int:
    """Fill ways for a bid and a row; returns the most runs that fit into the bid's time, 0 = not even two."""
    first, end, gang = facts.bids[bid]["first"], last_slot(facts, bid), facts.bids[bid]["gang"]
    span, most_runs = end - first, 0
    for num_pieces in range(2, MAX_PIECES + 1):
        if slots_needed(facts, hours, num_pieces) + num_pieces - 1 <= span:
            most_runs = num_pieces
    if most_runs == 0:
        return 0
    most_chosen = slots_needed(facts, hours, most_runs)
    spare = span - slots_needed(facts, hours, 2) + 1
    for chosen in range(most_chosen + 1):
        rule_out(ways, 0, chosen, most_runs)
    ways[RESTS, 0, 0, 0] = 0.0
    for step in range(1, span + 1):
        slot = first + step - 1
        is_free = machines.free_RT[row, slot] >= gang
        price = price_of(facts, bid, row, slot, 1.0, for_carbon) if is_free else np.inf
        # With more slots left out than there are to spare, no way ends in time.
        least = max(0, step - spare)
        for chosen in range(least, min(most_chosen, step) + 1):
            for runs in range(most_runs + 1):
                rests = min(ways[RUNS, step - 1, chosen, runs], ways[RESTS, step - 1, chosen, runs])
                ways[RESTS, step, chosen, runs] = rests if chosen < step else np.inf
                before = np.inf
                if is_free and chosen > 0 and runs > 0:
                    before = min(
                        ways[RUNS, step - 1, chosen - 1, runs], ways[RESTS, step - 1, chosen - 1, runs - 1]
                    )
                ways[RUNS, step, chosen, runs] = before + price
        if step < most_chosen:
            rule_out(ways, step, step + 1, most_runs)
        if least > 0:
            rule_out(ways, step, least - 1, most_runs)
    return most_runs


@kernel
def divide(
    facts: Facts,
    machines: Machines,
    bid: int,
    row: int,
    hours: float,
    num_pieces: int,
    ways: Floats,
    for_carbon: bool,
    place: Record,
) -> bool:
    """Enter the best way with so many runs in a place, but for its cost; False = there is none.

    ways must have been filled for the same bid and row.
    """
    first, gang = facts.bids[bid]["first"], facts.bids[bid]["gang"]
    span, needed = last_slot(facts, bid) - first, slots_needed(facts, hours, num_pieces)
    worked = hours + facts.settings[0]["restart_hours"] * (num_pieces - 1)
    part = min(1.0, worked / facts.settings[0]["slot_hours"] - (needed - 1))
    best, best_step = np.inf, 0
    for step in range(needed + num_pieces - 1, span + 1):
        if machines.free_RT[row, first + step - 1] < gang:
            continue
        before = min(
            ways[RUNS, step - 1, needed - 1, num_pieces], ways[RESTS, step - 1, needed - 1, num_pieces - 1]
        )
        if before < np.inf:
            price = before + price_of(facts, bid, row, first + step - 1, part, for_carbon)
            if price < best:
                best, best_step = price, step
    if best_step == 0:
        return False
    step, chosen, runs, carbon = best_step, needed, num_pieces, 0.0
    place["num_pieces"], place["ends"][num_pieces - 1] = num_pieces, first + step
    zone, share = facts.rows[row]["zone"], part
    while chosen > 0:
        slot = first + step - 1
        carbon += share * (facts.cumulative_ZT[zone, slot + 1] - facts.cumulative_ZT[zone, slot])
        share, chosen, step = 1.0, chosen - 1, step - 1
        if ways[RUNS, step, chosen, runs] <= ways[RESTS, step, chosen, runs - 1]:
            continue
        # A run begins here; before it the work rests, or has not begun.
        runs -= 1
        place["starts"][runs] = slot
        if chosen > 0:
            step -= 1
            while ways[RESTS, step, chosen, runs] < ways[RUNS, step, chosen, runs]:
                step -= 1
            place["ends"][runs - 1] = first + step
    place["hours"], place["grams"] = worked, gang * facts.rows[row]["kilowatts"] * carbon
    return True
